"""Time and accuracy of SVMEnsembleClassifier beside the same machines one by one.

Three kernels on five draws of 350 of 500 columns, 5,600 rows of six classes: the
ensemble against its members fitted as plain SVCs, in turn, in one process, with one
thread and with two. Medians over the rounds of wall time, and of processor time, which
other work on the machine changes less. Then where the time goes, how the linear kernel
does without ``scale_linear``, and accuracy on new rows.

With RAVDESS at hand (``folder`` or SKMER_SHARED_DATA, default ../shared/data), accuracy
on eGeMAPS and action units over the five actor-disjoint folds, C (and the kernel of the
single machine) chosen inside of the training folds.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/svm_ensemble.py

``--write`` keeps the report in ``benchmarks/results/svm_ensemble.txt``.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import sklearn
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skmer.ensemble import SVMEnsembleClassifier
from skmer.ensemble._svm_kernels import Kernel, kernel_matrix, resolve_gamma

HERE = Path(__file__).resolve().parent
KERNELS = ("linear", "rbf", "poly")
N_TEST = 1400


def data(n_rows, n_columns):
    """Return scaled training rows and classes, and test ones."""
    X, y = make_classification(
        n_rows + N_TEST,
        n_columns,
        n_informative=40,
        n_redundant=n_columns // 5,
        n_classes=6,
        class_sep=2.0,
        random_state=0,
    )
    scaler = StandardScaler().fit(X[:n_rows])
    X = scaler.transform(X)
    return X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]


def plain(member):
    """Return the SVC that a member should equal."""
    return SVC(
        kernel=member.kernel,
        C=member.C,
        gamma=member.gamma,
        degree=member.degree,
        coef0=member.coef0,
    )


def fit_plain(members, X, y, n_jobs):
    """Fit the members as plain SVCs, side by side in threads."""
    return Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_fit)(plain(member), X, y, member.features_) for member in members
    )


def _fit(machine, X, y, features):
    return machine.fit(np.ascontiguousarray(X[:, features]), y)


def timed(work):
    """Return what work gives, and its wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def speed(X, y, X_test, n_rounds, say):
    """Compare times; return the ensemble."""
    ensemble = SVMEnsembleClassifier(KERNELS, random_state=0).fit(X[::20], y[::20])
    for n_jobs in (1, 2):
        ensemble.set_params(n_jobs=n_jobs)
        rows = []
        for _ in range(n_rounds):
            _, *ours = timed(lambda: ensemble.fit(X, y))
            machines, *theirs = timed(
                lambda jobs=n_jobs: fit_plain(ensemble.members_, X, y, jobs)
            )
            rows.append([theirs, ours])
        times = np.array(rows)
        (theirs, theirs_cpu), (ours, ours_cpu) = np.median(times, axis=0)
        wall, cpu = np.median(times[:, 0] / times[:, 1], axis=0)
        say(
            f"n_jobs={n_jobs}: plain SVCs {theirs:6.1f} s (processor {theirs_cpu:.1f}),"
            f" ensemble {ours:5.1f} s ({ours_cpu:.1f}): {wall:.2f} times quicker "
            f"(processor {cpu:.2f}; wanted >= 5)"
        )
        say(
            f"  rounds: {' '.join(f'{r:.2f}' for r in times[:, 0, 0] / times[:, 1, 0])}"
        )
    worst = max(
        np.abs(
            machine.decision_function(X_test[:, member.features_])
            - member.decision_function(X_test)
        ).max()
        for machine, member in zip(machines, ensemble.members_, strict=True)
    )
    same = all(
        np.array_equal(machine.support_, member.support_)
        for machine, member in zip(machines, ensemble.members_, strict=True)
    )
    say(
        f"largest difference of decisions on {len(X_test)} new rows: {worst:.1e} "
        f"(wanted <= 1e-8); the same support vectors: {same}"
    )
    _, theirs, _ = timed(
        lambda: [
            machine.decision_function(X_test[:, member.features_])
            for machine, member in zip(machines, ensemble.members_, strict=True)
        ]
    )
    ensemble.set_params(n_jobs=1)
    _, ours, _ = timed(lambda: ensemble.member_scores(X_test))
    say(f"deciding on them: plain SVCs {theirs:.1f} s, ensemble {ours:.1f} s")
    return ensemble


def parts(X, y, features, say):
    """Say where the time of one draw goes, and of linear machines at C=1."""
    order = np.argsort(y, kind="stable")
    columns, y = np.ascontiguousarray(X[order][:, features]), y[order]
    products, wall, _ = timed(lambda: columns @ columns.T)
    squares = np.einsum("ij,ij->i", columns, columns)
    gamma = resolve_gamma("scale", columns)
    say("", "one draw, one thread, seconds (one go each)", f"products {wall:9.2f}")
    say("kernel      from products   solver alone   plain SVC   steps")
    buffers = [np.zeros(products.size)]
    for name, C in (*((k, 1.0) for k in KERNELS), ("linear, scale_linear=False", 1.0)):
        kernel = Kernel(name.partition(",")[0], gamma, 3, 0.0)
        C = C * gamma if name == "linear" else C
        values, making, _ = timed(
            lambda k=kernel: kernel_matrix(k, products, squares, None, buffers)
        )
        alone = SVC(kernel="precomputed", C=C)
        _, solving, _ = timed(lambda m=alone, values=values: m.fit(values, y))
        one = SVC(kernel=kernel.name, C=C, gamma=gamma)
        machine, wall, _ = timed(lambda m=one: m.fit(columns, y))
        if values is not products:
            buffers.append(values.base)
        say(
            f"{name:28}{making:6.2f}{solving:10.2f}{wall:12.2f}"
            f"{int(machine.n_iter_.sum()):12,}"
        )


def accuracy(X, y, X_test, y_test, ensemble, say):
    """Say how the ensemble does beside single machines on all columns."""
    say("", f"accuracy on {len(y_test)} new rows (C=1, linear C=gamma), percent")
    gamma = resolve_gamma("scale", X)
    for kernel in KERNELS:
        machine = SVC(kernel=kernel, C=gamma if kernel == "linear" else 1.0)
        right = machine.fit(X, y).score(X_test, y_test)
        say(f"  SVC {kernel:8}{100 * right:6.1f}")
    say(f"  ensemble, hard {100 * ensemble.score(X_test, y_test):6.1f}")
    soft = clone(ensemble).set_params(voting="soft")
    _, wall, _ = timed(lambda: soft.fit(X, y))
    for voting in ("soft", "logit"):
        soft.set_params(voting=voting)
        loss = log_loss(y_test, soft.predict_proba(X_test))
        right = 100 * soft.score(X_test, y_test)
        say(f"  ensemble, {voting:5}{right:6.1f}  log loss {loss:.3f}")
    say(f"  fitted for soft voting in {wall:.1f} s, one thread")


def ravdess(folder, say):
    """Say how the ensemble does on real features."""
    with np.load(folder / "ravdess" / "ravdess_av.npz") as pack:
        y, fold = pack["y"], pack["fold"]
        X = np.hstack([pack["audio_egemaps"], pack["visual_au"]])
    say(
        "",
        f"RAVDESS, {len(y)} clips, eGeMAPS and action units ({X.shape[1]} columns), "
        "five folds of other actors; C, and the kernel of the single machine, chosen "
        "inside of the training folds; soft voting takes the C of hard voting",
        f"{'':32}{'weighted F1 of the folds':>29}{'mean':>9}{'accuracy':>10}"
        f"{'log loss':>10}",
    )
    C = [1.0, 3.0, 10.0]
    linear_C = [0.003, 0.01, 0.03]
    single = [
        {"model__kernel": ["rbf", "poly"], "model__C": C},
        {"model__kernel": ["linear"], "model__C": linear_C},
    ]
    ensemble = SVMEnsembleClassifier(KERNELS, random_state=0)
    results = {}

    def note(name, truth, guess, proba=None):
        loss = np.nan if proba is None else log_loss(truth, proba)
        f1 = f1_score(truth, guess, average="weighted")
        results.setdefault(name, []).append(
            [100 * f1, 100 * accuracy_score(truth, guess), loss]
        )

    for test in np.unique(fold):
        rows = fold != test
        for name, model, grid in (
            ("best single SVC", SVC(), single),
            ("ensemble, hard", ensemble, {"model__C": C}),
        ):
            search = GridSearchCV(
                Pipeline([("scale", StandardScaler()), ("model", model)]),
                grid,
                cv=PredefinedSplit(fold[rows]),
                scoring="f1_weighted",
            ).fit(X[rows], y[rows])
            note(name, y[~rows], search.predict(X[~rows]))
        for calibration in ("temperature", "sigmoid"):
            soft = clone(search.best_estimator_)
            soft.set_params(model__voting="soft", model__calibration=calibration)
            soft.fit(X[rows], y[rows])
            for voting in ("soft", "logit"):
                soft.set_params(model__voting=voting)
                proba = soft.predict_proba(X[~rows])
                guess = soft.predict(X[~rows])
                note(f"ensemble, {voting}, {calibration}", y[~rows], guess, proba)
    for name, table in results.items():
        f1, right, loss = np.array(table).T
        folds = " ".join(f"{s:5.1f}" for s in f1)
        loss = "" if np.isnan(loss).any() else f"{loss.mean():10.3f}"
        say(f"{name:32}{folds}{f1.mean():9.2f}{right.mean():10.2f}{loss}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--rows", type=int, default=5600)
    parser.add_argument("--columns", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sections", nargs="+", default=["speed", "ravdess"], help="what to measure"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the report in benchmarks/results"
    )
    args = parser.parse_args()
    lines = []

    def say(*more):
        lines.extend(more)
        print(*more, sep="\n", flush=True)

    say(
        f"{len(KERNELS)} kernels x 5 draws of 70 % of {args.columns} columns, "
        f"{args.rows} rows, six classes; one BLAS thread, CPU; {args.rounds} rounds, "
        f"both ways in turn; scikit-learn {sklearn.__version__}"
    )
    if "speed" in args.sections:
        X, y, X_test, y_test = data(args.rows, args.columns)
        ensemble = speed(X, y, X_test, args.rounds, say)
        parts(X, y, ensemble.members_[0].features_, say)
        accuracy(X, y, X_test, y_test, ensemble, say)
    if "ravdess" in args.sections:
        if (args.folder / "ravdess" / "ravdess_av.npz").is_file():
            ravdess(args.folder, say)
        else:
            say("", f"No RAVDESS at {args.folder}: not measured.")
    if args.write:
        path = HERE / "results" / "svm_ensemble.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
