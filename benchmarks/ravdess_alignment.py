"""How well face and voice of real clips find each other after alignment (RAVDESS).

Run from the root of the repository::

    python benchmarks/ravdess_alignment.py [folder] [--seeds 5]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/ravdess_av.npz``: openSMILE's eGeMAPS functionals of the speech and
means of OpenFace's action units of 1,440 clips. ``ContrastiveAligner`` with its
defaults maps the action units of the clips of four actor-disjoint folds; the clips of
the fifth, of actors it never met, are retrieved by the cosines: R@1 is how often a
clip's own other half comes first, the mean of both directions, in multiples of chance
(one in as many clips as the fold has). "Permuted": the same with the pairs of the
training clips permuted, which leaves nothing to learn. Last, what alignment does to
the emotions: weighted F1 of one classifier with the action units as they are, and
aligned. Writes benchmarks/results/ravdess_alignment.txt.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from ravdess_networks import load
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.alignment import ContrastiveAligner
from skmer.fusion import AttentionFusionClassifier

HERE = Path(__file__).resolve().parent


def retrieval(X, fold, actor, seeds, *, permuted=False, **params):
    """Multiples of chance at R@1 and R@10, shape (n_seeds, n_folds, 2)."""
    found = []
    for seed in range(seeds):
        for f in np.unique(fold):
            learn, test = X[fold != f], X[fold == f]
            if permuted:
                learn = learn.copy()
                columns = [c for c in learn if c.startswith("video__")]
                order = np.random.default_rng(seed).permutation(len(learn))
                learn[columns] = learn[columns].to_numpy()[order]
            aligner = ContrastiveAligner(groups=actor, random_state=seed, **params)
            aligner.fit(learn)
            found.append([aligner.retrieval(test, k) * len(test) / k for k in (1, 10)])
    return np.reshape(found, (seeds, -1, 2))


def emotions(X, y, fold, actor, seeds, classifier, *, align):
    """Weighted F1 in percent, the mean over folds, of each seed."""
    scores = []
    for seed in range(seeds):
        folds = []
        for f in np.unique(fold):
            test = fold == f
            steps = [StandardScaler(), classifier(actor, seed)]
            if align:
                steps.insert(0, ContrastiveAligner(groups=actor, random_state=seed))
            model = make_pipeline(*steps).set_output(transform="pandas")
            model.fit(X[~test], y[~test])
            truth, guess = y[test], model.predict(X[test])
            folds.append(f1_score(truth, guess, average="weighted"))
        scores.append(100 * np.mean(folds))
    return np.array(scores)


def regression(actor, seed):
    return LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)


def network(actor, seed):
    return AttentionFusionClassifier(
        groups=actor, class_weight="balanced", random_state=seed
    )


def report(options, X, y, fold, actor):
    """Yield the lines of the table as they are known."""
    yield (
        f"RAVDESS, {len(X)} clips, action units into the space of eGeMAPS; five folds "
        f"of disjoint actors, {options.seeds} seeds"
    )
    yield ""
    yield f"{'multiples of chance':32s} {'R@1':>6s} {'sd':>6s} {'R@10':>6s} {'sd':>6s}"
    for name, params in (
        ("sound", {}),
        ("sound, pairs permuted", {"permuted": True}),
        ("paper", {"variant": "paper"}),
    ):
        by_seed = retrieval(X, fold, actor, options.seeds, **params).mean(axis=1)
        mean, sd = by_seed.mean(axis=0), by_seed.std(axis=0, ddof=1)
        yield f"{name:32s} {mean[0]:6.2f} {sd[0]:6.2f} {mean[1]:6.2f} {sd[1]:6.2f}"
    yield ""
    yield f"{'weighted F1':32s} {'as is':>6s} {'sd':>6s} {'aligned':>7s} {'sd':>6s}"
    for name, classifier in (
        ("logistic regression, C=0.1", regression),
        ("AttentionFusionClassifier", network),
    ):
        line = f"{name:32s}"
        for align in (False, True):
            scores = emotions(X, y, fold, actor, options.seeds, classifier, align=align)
            line += f" {scores.mean():6.1f} {scores.std(ddof=1):6.1f}"
        yield line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    path = options.folder / "ravdess" / "ravdess_av.npz"
    if not path.is_file():
        parser.error(f"no {path}; give the folder that holds ravdess/")
    lines = []
    for line in report(options, *load(path)):
        print(line, flush=True)
        lines.append(line.rstrip())
    output = HERE / "results" / "ravdess_alignment.txt"
    output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
