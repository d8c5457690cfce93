"""Compare all fusion networks with plain references on real clips (RAVDESS).

Run from the root of the repository::

    python benchmarks/ravdess_networks.py [folder] [--seeds 5] [--networks NAME ...]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/ravdess_av.npz``: openSMILE's eGeMAPS functionals of the speech (88) and
means of OpenFace's action units (35) of 1,440 clips, their labels, actors and the five
published actor-disjoint folds (Luna-Jimenez et al. 2022).

Every network of ``skmer.fusion`` is fitted with its defaults, but told who speaks in
the training clips (``groups=``); classes weigh the same everywhere. Each fold is
predicted from the other four; a score is the mean over the folds, "all" the weighted
F1 of all folds' predictions together; "sd" is that of the seeds. "Vote" is the soft
vote of the nets of all seeds, one figure. Features are standardised by the training
rows and limited to three standard deviations, for networks and references alike;
nothing is computed from test rows.

Settings that all networks share (stream heads, mixing of groups, limits, dropout,
epochs) were chosen on nets trained on three folds and scored on a fourth, the mean over
all such choices. No net saw the fold that it is scored on, but the five folds together
had a say in the one choice, among some 80 settings that differ by little more than the
seeds do; a few of them were also seen in the table's own form. The scores of networks,
and the choice of C for the references, are therefore a little optimistic: this is no
nested selection.

Writes benchmarks/results/ravdess_networks.txt.
"""

import argparse
import inspect
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

import skmer.fusion
from skmer.fusion import FusionClassifier

HERE = Path(__file__).resolve().parent
STREAMS = ("audio", "video")
# One emotion has half as many clips as the others.
BALANCED = "balanced"
# A network that comes in kinds is shown once for each.
KINDS = {"AttentionFusionClassifier": [{}, {"attention": "per_stream"}]}
# What the shared settings add, shown for one network.
ABLATED = "AttentionFusionClassifier"
ABLATIONS = [
    {"stream_heads": None},
    {"group_mixing": 0.0},
    {"modality_dropout": 0.0},
    {"stream_heads": None, "group_mixing": 0.0},
]


def load(path):
    """Features as a frame, labels, folds and actors."""
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
        return X, data["y"], data["fold"], pd.Series(data["actor"], index=index)


def limited(X):
    """Values beyond three standard deviations brought back to them."""
    return X.clip(-3, 3)


def pipeline(*steps, limit=True):
    steps = ([FunctionTransformer(limited)] if limit else []) + list(steps)
    return make_pipeline(StandardScaler(), *steps).set_output(transform="pandas")


def only(stream, estimator, limit=True):
    """A pipeline that sees the columns of one stream."""
    columns = make_column_selector(pattern=f"^{stream}__")
    chosen = make_column_transformer(
        ("passthrough", columns), verbose_feature_names_out=False
    )
    return make_pipeline(chosen, pipeline(estimator, limit=limit)).set_output(
        transform="pandas"
    )


class Product:
    """The product of what one classifier per stream says."""

    def __init__(self, *members):
        self.members = members

    def fit(self, X, y):
        for member in self.members:
            member.fit(X, y)
        self.classes_ = self.members[0].classes_
        return self

    def predict(self, X):
        proba = np.prod([member.predict_proba(X) for member in self.members], axis=0)
        return self.classes_[proba.argmax(axis=1)]


def references():
    """Functions that make plain models, by name."""
    for stream in STREAMS:
        yield f"{stream}, LR", lambda s=stream: only(s, regression(1.0))
    yield "concatenated, LR", lambda: pipeline(regression(1.0))
    yield "concatenated, SVC(C=3)", lambda: pipeline(SVC(C=3, class_weight=BALANCED))
    for c in (1.0, 0.1):
        for limit in (False, True):
            name = f"product of two LRs, C={c:g}" + ("" if limit else ", no limits")
            yield (
                name,
                lambda c=c, limit=limit: Product(
                    *(only(stream, regression(c), limit) for stream in STREAMS)
                ),
            )


def regression(c):
    return LogisticRegression(C=c, class_weight=BALANCED, max_iter=5000)


def networks(names):
    """Network classes of skmer.fusion with the kinds to show, in order of name."""
    for name in sorted(skmer.fusion.__all__):
        cls = getattr(skmer.fusion, name)
        if not (inspect.isclass(cls) and issubclass(cls, FusionClassifier)):
            continue
        if cls is FusionClassifier or (names and name not in names):
            continue
        for params in KINDS.get(name, [{}]):
            yield cls, params


def score(y, predicted, fold):
    """Weighted F1, UA (balanced accuracy) and WA (accuracy), means over folds.

    Then weighted F1 of the predictions of all folds together.
    """
    rows = []
    for f in np.unique(fold):
        truth, guess = y[fold == f], predicted[fold == f]
        rows.append(
            [
                f1_score(truth, guess, average="weighted"),
                balanced_accuracy_score(truth, guess),
                accuracy_score(truth, guess),
            ]
        )
    pooled = f1_score(y, predicted, average="weighted")
    return 100 * np.append(np.mean(rows, axis=0), pooled)


def run_reference(make, X, y, fold):
    predicted = y.copy()
    for f in np.unique(fold):
        test = fold == f
        predicted[test] = make().fit(X[~test], y[~test]).predict(X[test])
    return score(y, predicted, fold)


def run_network(cls, params, X, y, fold, actor, seeds):
    """Scores of each seed, shape (n_seeds, 4), and of all seeds' vote."""
    classes = np.unique(y)
    proba = np.zeros((seeds, len(y), len(classes)))
    for seed in range(seeds):
        for f in np.unique(fold):
            test = fold == f
            settings = {"groups": actor, "class_weight": BALANCED, **params}
            net = pipeline(cls(random_state=seed, **settings))
            net.fit(X[~test], y[~test])
            proba[seed, test] = net.predict_proba(X[test])
    each = [score(y, classes[p.argmax(axis=1)], fold) for p in proba]
    return np.array(each), score(y, classes[proba.mean(axis=0).argmax(axis=1)], fold)


def title(name, params):
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in params.items())})"


def network_line(cls, params, X, y, fold, actor, seeds):
    name = title(cls.__name__.removesuffix("Classifier"), params)
    start = time.perf_counter()
    try:
        each, vote = run_network(cls, params, X, y, fold, actor, seeds)
    except ValueError as error:
        # A network of sequences has nothing to say about rows.
        return f"{name:58s} not fitted: {str(error).splitlines()[0]}"
    sd = each[:, 0].std(ddof=1) if seeds > 1 else 0.0
    wf1, ua, wa, pooled = each.mean(axis=0)
    seconds = (time.perf_counter() - start) / (seeds * len(np.unique(fold)))
    return (
        f"{name:58s} {wf1:5.1f} {sd:6.1f} {ua:6.1f} {wa:6.1f} {pooled:6.1f} "
        f"{vote[0]:6.1f} {seconds:6.1f}"
    )


def report(options, X, y, fold, actor):
    """Yield the lines of the table as they are known."""
    yield (
        f"RAVDESS, {len(X)} clips, {np.unique(y).size} emotions, eGeMAPS + action "
        f"units; five folds of disjoint actors, {options.seeds} seeds"
    )
    yield "Percent, means over the folds. s: seconds of a fit (the machine not idle)."
    yield ""
    heads = " ".join(f"{head:>6s}" for head in ("sd", "UA", "WA", "all", "vote", "s"))
    yield f"{'(LR: logistic regression)':58s} {'WF1':>5s} {heads}"
    for name, make in references():
        wf1, ua, wa, pooled = run_reference(make, X, y, fold)
        yield f"{name:58s} {wf1:5.1f} {'':6s} {ua:6.1f} {wa:6.1f} {pooled:6.1f}"
    yield ""
    for cls, params in networks(options.networks):
        yield network_line(cls, params, X, y, fold, actor, options.seeds)
    if options.ablation:
        yield ""
        yield "without what the networks share:"
        for params in ABLATIONS:
            cls = getattr(skmer.fusion, ABLATED)
            yield network_line(cls, params, X, y, fold, actor, options.seeds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--networks", nargs="*", help="classes of skmer.fusion; default: all"
    )
    parser.add_argument(
        "--ablation", action="store_true", help="also without the shared settings"
    )
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "ravdess_networks.txt"
    )
    options = parser.parse_args()
    path = options.folder / "ravdess" / "ravdess_av.npz"
    if not path.is_file():
        parser.error(f"no {path}; give the folder that holds ravdess/")
    lines = []
    for line in report(options, *load(path)):
        print(line, flush=True)
        lines.append(line.rstrip())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
