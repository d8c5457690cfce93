"""Find wrong labels put into RAVDESS: LabelRefiner beside cleanlab.

Run from the root of the repository::

    python benchmarks/label_noise.py [folder] [--seeds 5]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/ravdess_av.npz``: eGeMAPS and facial action units of 1,440 clips and the
five published actor-disjoint folds (Luna-Jimenez et al. 2022).

In the four training folds every label is wrong with a probability of 20 %: any other
class (symmetric), or the one it is most like (class-dependent: neutral and calm, happy
and surprised, sad and fearful, angry and disgust). cleanlab (``pip install
cleanlab==2.7.1``; its part is left out where it is absent) judges the out-of-fold
probabilities that LabelRefiner computed, the mean over the two streams, once the
product.

Chosen on these recordings, with noise of other seeds (1000 to 1024; 500 to 713 for the
prior, which parts of 240 and 720 clips, with and without noise, decided too): how
strongly the weak classifiers are regularised, the priors, and the mean of two
probabilities as quality. cleanlab is given the probabilities of either number of
rounds. One round is the default: in a second one an annotation has an indirect say in
how it is judged.

Writes benchmarks/results/label_noise.txt.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.label_refinement import LabelRefiner

try:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
except ImportError:
    find_label_issues = None

HERE = Path(__file__).resolve().parent
RATE = 0.2
LIKE = {"neutral": "calm", "happy": "surprised", "sad": "fearful", "angry": "disgust"}
FILTERS = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning")


def load(path):
    """Features as a frame, labels and folds."""
    with np.load(path) as data:
        parts = {"audio__egemaps": "audio_egemaps", "video__au": "visual_au"}
        index = pd.Index(data["name"].tolist())
        X = pd.concat(
            [
                pd.DataFrame(data[key], index=index).add_prefix(f"{stream}__")
                for stream, key in parts.items()
            ],
            axis=1,
        )
        return X, data["y"], data["fold"]


def with_noise(y, kind, seed):
    """Labels of which a fifth is wrong."""
    rng = np.random.default_rng(seed)
    classes, codes = np.unique(y, return_inverse=True)
    wrong = rng.random(len(y)) < RATE
    if kind == "symmetric":
        steps = rng.integers(1, len(classes), size=len(y))
        other = classes[(codes + steps) % len(classes)]
    else:
        pairs = LIKE | {b: a for a, b in LIKE.items()}
        other = np.array([pairs[label] for label in y])
    return np.where(wrong, other, y)


def fitted(X, y, weights=None):
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000, tol=1e-3),
    )
    return model.fit(X, y, logisticregression__sample_weight=weights)


def product(X, y, weights=None):
    """Predict by the product of one logistic regression a modality."""
    members = [
        (columns, fitted(X[columns], y, weights))
        for columns in (
            [name for name in X if name.startswith(stream)]
            for stream in ("audio", "video")
        )
    ]

    def predict(X):
        proba = [member.predict_proba(X[columns]) for columns, member in members]
        return members[0][1].classes_[np.prod(proba, axis=0).argmax(axis=1)]

    return predict


def one_fold(X, y, train, test, kind, seed):
    """Rows of both tables for one fold and seed, by name."""
    X_train, X_test, truth = X[train], X[test], y[train]
    given = with_noise(truth, kind, seed)
    wrong = given != truth
    found, downstream = {}, {}

    def tell(name, suspects, suspicion):
        caught = (suspects & wrong).sum()
        precision, recall = caught / max(suspects.sum(), 1), caught / wrong.sum()
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        rank = np.nan
        if suspicion is not None:
            rank = average_precision_score(wrong, suspicion)
        found[name] = precision, recall, f1, rank, suspects.mean()

    def score(name, labels, rows=slice(None), weights=None):
        if weights is not None:
            weights = weights[rows]
        predict = product(X_train[rows], labels[rows], weights)
        right = (labels[rows] == truth[rows]).mean()
        wf1 = f1_score(y[test], predict(X_test), average="weighted")
        downstream[name] = wf1, right, len(labels[rows]) / len(truth)

    score("labels with noise", given)
    score("labels without noise", truth)
    for rounds in (1, 2):
        refiner = LabelRefiner(rounds=rounds, random_state=seed)
        start = time.process_time()
        _, refined = refiner.fit_resample(X_train, given)
        seconds = time.process_time() - start
        mark = f"rounds={rounds}"
        flagged = refiner.flagged_.to_numpy()
        codes = np.searchsorted(refiner.classes_, given)
        doubted = refiner.probabilities_.to_numpy()[np.arange(len(given)), codes] < 0.5
        suspicion = 1 - refiner.quality_.to_numpy()
        tell(f"LabelRefiner({mark}), changed", refined != given, suspicion)
        tell(f"LabelRefiner({mark}), annotation < 0.5", doubted, None)
        tell(f"LabelRefiner({mark}), flagged", flagged, None)
        if find_label_issues is not None:
            mean = np.mean(list(refiner.out_of_fold_.values()), axis=0)
            margin = get_label_quality_scores(codes, mean, method="normalized_margin")
            own = get_label_quality_scores(codes, mean, method="self_confidence")
            for number, filter_by in enumerate(FILTERS):
                issues = find_label_issues(codes, mean, filter_by=filter_by, n_jobs=1)
                ranks = [-own, -margin, None, None][number]
                tell(f"cleanlab on rounds={rounds}, {filter_by}", issues, ranks)
                if filter_by in ("prune_by_noise_rate", "both"):
                    score(f"cleanlab on {mark}, {filter_by}, pruned", given, ~issues)
            if rounds == 1:
                told = np.prod(list(refiner.out_of_fold_.values()), axis=0)
                told /= told.sum(axis=1, keepdims=True)
                issues = find_label_issues(codes, told, filter_by="both", n_jobs=1)
                own = get_label_quality_scores(codes, told, method="self_confidence")
                tell("cleanlab on their product, both", issues, -own)
        score(f"LabelRefiner({mark})", refined)
        score(f"LabelRefiner({mark}), flagged dropped", refined, ~flagged)
        weights = np.where(flagged, 0.3, 1.0)
        score(f"LabelRefiner({mark}), flagged weigh 0.3", refined, weights=weights)
        doubt = refined != given
        score(f"LabelRefiner({mark}), changed dropped", given, ~doubt)
    votes = LabelRefiner(rounds=1, rule="majority", random_state=seed)
    _, refined = votes.fit_resample(X_train, given)
    tell("LabelRefiner(rounds=1, rule='majority'), changed", refined != given, None)
    score("LabelRefiner(rounds=1, rule='majority')", refined)
    return found, downstream, seconds


def by_size(X, y, fold, n_seeds):
    """Lines on what LabelRefiner does with fewer clips, wrong labels or none."""
    for kind in (None, "symmetric", "class-dependent"):
        for n_clips in (240, 720, len(y)):
            rows = []
            for seed in range(n_seeds):
                drawn = np.random.default_rng(seed).permutation(len(y))[:n_clips]
                for f in np.unique(fold):
                    train, test = np.sort(drawn[fold[drawn] != f]), fold == f
                    truth, given = y[train], y[train]
                    if kind is not None:
                        given = with_noise(truth, kind, 10 * seed + int(f))
                    refiner = LabelRefiner(random_state=seed)
                    _, refined = refiner.fit_resample(X.iloc[train], given)
                    row = [(refined != given).mean(), (refined == truth).mean()]
                    for labels in (given, refined):
                        told = product(X.iloc[train], labels)(X[test])
                        row.append(f1_score(y[test], told, average="weighted"))
                    rows.append(row)
            changed, right, before, after = 100 * np.mean(rows, axis=0)
            yield (
                f"{kind or 'no'} noise, {round(0.8 * n_clips):5d} clips: WF1 "
                f"{before:.1f} without, {after:.1f} with LabelRefiner; {changed:.1f} "
                f"changed, {right:.1f} right"
            )


def table(results, heads):
    """Lines with the mean over seeds and folds, and the deviation over seeds."""
    lines = [f"{'':52s}" + "".join(f"{head:>9s}" for head in heads)]
    for name in results[0][0]:
        values = np.array([[fold[name] for fold in seed] for seed in results])
        means = 100 * values.mean(axis=(0, 1))
        spread = 100 * values.mean(axis=1)[:, 0].std(ddof=1) if len(values) > 1 else 0
        cells = "".join("        -" if m != m else f"{m:9.1f}" for m in means)
        lines.append(f"{name:52s}{cells}   sd {spread:.1f}")
    return lines


def report(X, y, fold, n_seeds):
    yield (
        f"RAVDESS, {len(X)} clips, eGeMAPS + action units, five folds of disjoint "
        f"actors, {RATE:.0%} of the training labels wrong, {n_seeds} seeds"
    )
    yield "Percent, means over folds and seeds; sd: of the first column, over seeds."
    yield "named: rows found suspect; right, rows: labels right among the rows kept."
    yield (
        "AP (average precision of the ranking): LabelRefiner's quality_; cleanlab's "
        "self_confidence beside prune_by_noise_rate, normalized_margin beside "
        "prune_by_class."
    )
    if find_label_issues is None:
        yield "cleanlab is not installed: its lines are left out."
    taken = []
    for kind in ("symmetric", "class-dependent"):
        found, downstream = [], []
        for seed in range(n_seeds):
            rows = [
                one_fold(X, y, fold != f, fold == f, kind, 10 * seed + f)
                for f in np.unique(fold)
            ]
            found.append([row[0] for row in rows])
            downstream.append([row[1] for row in rows])
            taken += [row[2] for row in rows]
        yield ""
        yield f"{kind} noise: which labels are wrong"
        heads = ("precis.", "recall", "F1", "AP", "named")
        yield from table(found, heads)
        yield ""
        yield f"{kind} noise: weighted F1 on the clean test folds, after training on"
        yield from table(downstream, ("WF1", "right", "rows"))
    yield ""
    yield "LabelRefiner(rounds=1) with fewer training clips"
    yield from by_size(X, y, fold, n_seeds)
    yield ""
    yield f"one fit of LabelRefiner (rounds=2): {np.median(taken):.1f} s of one core"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "label_noise.txt"
    )
    options = parser.parse_args()
    path = options.folder / "ravdess" / "ravdess_av.npz"
    if not path.is_file():
        parser.error(f"no {path}; give the folder that holds ravdess/")
    lines = []
    for line in report(*load(path), options.seeds):
        print(line, flush=True)
        lines.append(line.rstrip())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
