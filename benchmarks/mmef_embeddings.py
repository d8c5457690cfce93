"""What MMEF-Net's support vector machines should be trained on: an ablation.

MMEF-Net trains a network, takes its codes of the training clips, and trains a
perceptron and support vector machines on them. The network knows the labels of these
clips, so that their codes lie further apart, class by class, than those of new clips
do. Compared are codes of training clips

- of the network that was trained on them (what the paper describes),
- of the same with its dropout at work,
- of networks that were trained on the other four fifths ("out of fold"), as they are,
  or rotated to where the network of all clips has them,
- of five networks, each with a perceptron and machines of its own that are trained on
  the fifth that the network has not seen, and which vote;

each with the perceptron's codes in sample, or out of fold too. Networks are trained
once per fold and seed, and shared by all rows of the table; all settings are those of
``skmer.recipes.make_mmef_net(refine=None)``.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/mmef_embeddings.py \
        [folder] [--clips folder] [--seeds 5] [--data ravdess clips]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/ravdess_av.npz``: eGeMAPS and action units of 1,440 clips, five folds of
disjoint actors. ``--clips`` is where ``make_clips`` writes its 600 clips, six folds,
with the offline encoders. Scores are weighted F1 of the predictions of all folds
together; "distance" is how far apart the perceptron's codes of two clips of different
classes are on average, in training clips over test clips: 1 would be what machines
should see.

Writes benchmarks/results/mmef_embeddings.txt.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline
from scipy.linalg import orthogonal_procrustes
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.datasets import make_clips
from skmer.ensemble import StreamVotingClassifier
from skmer.ensemble._members import fit_members
from skmer.preprocessing import ModalityImputer
from skmer.recipes import make_mmef_net

HERE = Path(__file__).resolve().parent
N_FOLDS = 5
IN, NOISY, FOLDS = "in sample", "in sample, dropout at work", "machines of each fold"
OUT, ROTATED = "out of fold, as they are", "out of fold, rotated"
SPEAKERS = "out of fold, rotated, whole speakers"


def ravdess(folder):
    """Features, labels, folds and actors of the RAVDESS pack."""
    with np.load(folder / "ravdess" / "ravdess_av.npz") as data:
        index = pd.Index(data["name"].tolist())
        parts = {"audio": "audio_egemaps", "video__face": "visual_au"}
        X = [
            pd.DataFrame(data[key], index=index).add_prefix(f"{stream}__")
            for stream, key in parts.items()
        ]
        return pd.concat(X, axis=1), data["y"], data["fold"], data["actor"]


def clips(folder):
    """Features of made-up clips by the offline encoders, labels and folds."""
    made = make_clips(600, folder, random_state=0)
    cache = Path(folder) / "features"
    first = make_mmef_net(sidecar_text=True, cache=cache, refine=None)[:2]
    X = first.fit_transform(made.paths)
    fold = np.empty(len(X), dtype=int)
    splitter = StratifiedKFold(6, shuffle=True, random_state=0)
    for number, (_, test) in enumerate(splitter.split(X, made.target)):
        fold[test] = number
    return X, np.asarray(made.target), fold, None


def parts(streams, seed):
    """The recipe's scaler, network and the steps from selection to vote."""
    model = make_mmef_net(
        encoders=None, streams=streams, refine=None, random_state=seed
    )
    steps = dict(model.steps)
    rest = [(name, steps[name]) for name in ("select", "project", "standardize")]
    net = steps["fuse"].estimator.set_params(random_state=seed)
    return steps["scale"], net, Pipeline([*rest, ("vote", steps["vote"])])


def with_dropout(net, X):
    """Codes of a network as it sees clips in training."""
    usual = net._set_training
    net._set_training = lambda training: usual(True)
    try:
        return net.transform(X)
    finally:
        del net._set_training


def fitted(net, X, y, splits):
    """The network of all rows, and one of each split's, trained side by side."""
    rows = [np.arange(len(X)), *(learn for learn, _ in splits)]
    nets = [clone(net) for _ in rows]
    return fit_members([(nets, [(X.iloc[part], y[part], None) for part in rows])])


def out_of_fold(whole, members, X, splits):
    """Codes of held-out rows, as they are and rotated."""
    plain, rotated = whole.copy(), whole.copy()
    for member, (learn, held) in zip(members, splits, strict=True):
        known, new = member.transform(X.iloc[learn]), member.transform(X.iloc[held])
        origin, aim = known.mean(axis=0), whole[learn].mean(axis=0)
        turn, _ = orthogonal_procrustes(known - origin, whole[learn] - aim)
        plain[held], rotated[held] = new, (new - origin) @ turn + aim
    return plain, rotated


def spread(codes, y):
    """Mean distance of two clips of different classes."""
    codes = np.asarray(codes, dtype=float)
    squares = (codes**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * codes @ codes.T, 0))
    return distances[y[:, None] != y].mean()


def judge(chain, codes, y, new, new_y):
    """Probabilities of new clips, and the distances of training over new codes."""
    chain = clone(chain)
    front, vote = chain[:-1], chain[-1]
    seen = front.fit_transform(codes, y)
    vote.fit(seen, y)
    future = front.transform(new)
    return vote.predict_proba(future), spread(seen, y) / spread(future, new_y)


def one_fold(X, y, train, test, actor, seed):
    """Probabilities and distances of every way, by name."""
    streams = tuple(dict.fromkeys(name.rpartition("__")[0] for name in X))
    scaler, net, chain = parts(streams, seed)
    scaler.set_output(transform="pandas")
    seen, new = scaler.fit_transform(X.iloc[train]), scaler.transform(X.iloc[test])
    truth, new_truth = y[train], y[test]
    splitter = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    splits = list(splitter.split(seen, truth))
    apart = []
    if actor is not None:
        splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
        apart = list(splitter.split(seen, truth, actor[train]))
    full, *members = fitted(net, seen, truth, splits + apart)
    whole = full.transform(seen)
    plain, rotated = out_of_fold(whole, members[:N_FOLDS], seen, splits)
    codes = {IN: whole, NOISY: with_dropout(full, seen), OUT: plain, ROTATED: rotated}
    if apart:
        codes[SPEAKERS] = out_of_fold(whole, members[N_FOLDS:], seen, apart)[1]
    found = {("the network itself", ""): (full.predict_proba(new), np.nan)}
    future = full.transform(new)
    for name, part in codes.items():
        for kind, cv in (("in sample", None), ("out of fold", N_FOLDS)):
            ready = clone(chain).set_params(project__cv=cv)
            found[name, kind] = judge(ready, part, truth, future, new_truth)
    ready = clone(chain).set_params(project__cv=None)
    votes = [
        judge(
            ready,
            member.transform(seen.iloc[held]),
            truth[held],
            member.transform(new),
            new_truth,
        )
        for member, (_, held) in zip(members[:N_FOLDS], splits, strict=True)
    ]
    proba, distances = zip(*votes, strict=True)
    found[FOLDS, "in sample"] = np.mean(proba, axis=0), np.mean(distances)
    return found


def references(X, y, fold):
    """Weighted F1 of plain models."""
    regression = LogisticRegression(max_iter=5000)
    models = {
        "one regression on all streams": regression,
        "product of a regression a stream": StreamVotingClassifier(
            clone(regression).set_params(C=0.1)
        ),
    }
    for name, model in models.items():
        guess = y.copy()
        whole = make_pipeline(ModalityImputer(), StandardScaler(), model)
        whole.set_output(transform="pandas")
        for number in np.unique(fold):
            test = fold == number
            guess[test] = clone(whole).fit(X[~test], y[~test]).predict(X[test])
        yield name, 100 * f1_score(y, guess, average="weighted")


def report(title, X, y, fold, actor, n_seeds):
    """Yield the lines of a table."""
    classes = np.unique(y)
    yield f"{title}: {len(X)} clips, {np.unique(fold).size} folds, seeds: {n_seeds}"
    yield ""
    for name, score in references(X, y, fold):
        yield f"{name:38s} {'':12s} {score:6.1f}"
    scores, distances = {}, {}
    for seed in range(n_seeds):
        whole = {}
        start = time.perf_counter()
        for number in np.unique(fold):
            test = np.flatnonzero(fold == number)
            train = np.flatnonzero(fold != number)
            found = one_fold(X, y, train, test, actor, seed)
            for key, (proba, distance) in found.items():
                whole.setdefault(key, np.empty(y.shape, dtype=y.dtype))
                whole[key][test] = classes[proba.argmax(axis=1)]
                distances.setdefault(key, []).append(distance)
        for key, guess in whole.items():
            score = 100 * f1_score(y, guess, average="weighted")
            scores.setdefault(key, []).append(score)
        done = ", ".join(
            f"{name} {kind} {s[-1]:.1f}" for (name, kind), s in scores.items()
        )
        print(f"seed {seed}, {time.perf_counter() - start:.0f} s: {done}", flush=True)
    heads = " ".join(f"{head:>8s}" for head in ("sd", "distance"))
    yield f"{'codes of training clips':38s} {'perceptron':12s} {'WF1':>6s} {heads}"
    for (name, kind), values in scores.items():
        sd = np.std(values, ddof=1) if len(values) > 1 else 0.0
        far = np.mean(distances[name, kind])
        shown = "" if np.isnan(far) else f"{far:8.2f}"
        yield f"{name:38s} {kind:12s} {np.mean(values):6.1f} {sd:8.1f} {shown}"
    yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--clips", type=Path, help="default: a temporary folder")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--data", nargs="*", choices=["ravdess", "clips"], default=["ravdess", "clips"]
    )
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "mmef_embeddings.txt"
    )
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        sources = {
            "ravdess": ("RAVDESS", lambda: ravdess(options.folder)),
            "clips": ("make_clips", lambda: clips(options.clips or temporary)),
        }
        for name in options.data:
            title, load = sources[name]
            for line in report(title, *load(), options.seeds):
                print(line, flush=True)
                lines.append(line.rstrip())
    options.output.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
