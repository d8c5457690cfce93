"""Measure AcousticEncoder on real emotional speech (RAVDESS, speaker-independent).

Run from the root of the repository::

    python benchmarks/ravdess_acoustic.py [folder]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/flac16k/*.flac`` and ``ravdess/ravdess_av.npz`` with the labels, the
five published actor-disjoint folds (Luna-Jimenez et al. 2022) and openSMILE's eGeMAPS
functionals of the same recordings.

The classifier is chosen on folds 0 to 3 alone, leaving out one of them at a time; fold
4 has no say in it, nor had it in the design of the features. Then every fold is
predicted from the other four. Nothing is normalised per actor.

Writes benchmarks/results/ravdess_acoustic.txt.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skmer.encoders import AcousticEncoder

HERE = Path(__file__).resolve().parent
CHOOSING = (0, 1, 2, 3)


def candidates(n_features):
    """Classifiers to choose from, by name."""
    grid = {}
    for c in (0.003, 0.01, 0.03, 0.1, 1.0):
        grid[f"LogisticRegression(C={c})"] = LogisticRegression(C=c, max_iter=5000)
    for c in (1, 3, 10, 30):
        for part in (1, 3):
            gamma = 1 / (part * n_features)
            name = f"SVC(C={c}, gamma=1/({part} n_features))"
            grid[name] = SVC(C=c, gamma=gamma)
    return grid


def predict_folds(classifier, X, y, fold, folds):
    """Predict each of the folds from the others of `folds`."""
    predicted = {}
    for test in folds:
        train = np.isin(fold, folds) & (fold != test)
        model = make_pipeline(StandardScaler(), classifier).fit(X[train], y[train])
        predicted[test] = model.predict(X[fold == test])
    return predicted


def score_folds(classifier, X, y, fold, folds):
    """Percent of shape (n_folds, 3): weighted F1, UA (balanced), WA (plain)."""
    rows = []
    for test, predicted in predict_folds(classifier, X, y, fold, folds).items():
        truth = y[fold == test]
        rows.append(
            [
                f1_score(truth, predicted, average="weighted"),
                balanced_accuracy_score(truth, predicted),
                accuracy_score(truth, predicted),
            ]
        )
    return 100 * np.array(rows)


def choose(X, y, fold):
    """Choose the classifier on folds 0 to 3; return its name and the table."""
    table = {
        name: score_folds(classifier, X, y, fold, CHOOSING)[:, 0]
        for name, classifier in candidates(X.shape[1]).items()
    }
    return max(table, key=lambda name: table[name].mean()), table


def report(name, X, y, fold):
    """Lines about one feature set: the choice on folds 0 to 3, then all five."""
    chosen, table = choose(X, y, fold)
    yield f"{name}: {X.shape[1]} features"
    yield "  chosen on folds 0-3 (weighted F1, each fold from the other three)"
    for classifier, scores in table.items():
        mark = "*" if classifier == chosen else " "
        folds = " ".join(f"{s:5.1f}" for s in scores)
        yield f"  {mark} {classifier:38s} {folds}   mean {scores.mean():5.2f}"
    shown = {chosen: candidates(X.shape[1])[chosen]}
    best_svc = max(
        (c for c in table if c.startswith("SVC")), key=lambda c: table[c].mean()
    )
    shown[best_svc] = candidates(X.shape[1])[best_svc]
    shown["LogisticRegression(C=1.0)"] = LogisticRegression(max_iter=5000)
    yield "  all five folds, each from the other four"
    for classifier, estimator in shown.items():
        scores = score_folds(estimator, X, y, fold, range(5))
        yield f"  {classifier}"
        for i, measure in enumerate(("WF1", "UA", "WA")):
            folds = " ".join(f"{s:5.1f}" for s in scores[:, i])
            mean = scores[:, i].mean()
            yield f"    {measure:4s} folds 0-4: {folds}   mean {mean:5.2f}"
    yield ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "ravdess_acoustic.txt"
    )
    options = parser.parse_args()
    folder = options.folder / "ravdess"
    if not (folder / "ravdess_av.npz").is_file():
        parser.error(f"no RAVDESS at {folder}; give the folder that holds ravdess/")
    with np.load(folder / "ravdess_av.npz") as data:
        names, y, fold = data["name"], data["y"], data["fold"]
        egemaps = data["audio_egemaps"]
    # Names are of the audio-video versions (01-...); the sound alone is 03-...
    clips = [str(folder / "flac16k" / f"03{name[2:]}.flac") for name in names]

    lines = [
        f"RAVDESS, {len(clips)} clips, {np.unique(y).size} emotions, five folds of "
        "disjoint actors, no per-actor normalisation",
    ]
    with tempfile.TemporaryDirectory() as cache:
        encoder = AcousticEncoder(n_jobs=options.n_jobs, cache=cache)
        for state in ("cold", "warm"):
            start = time.perf_counter()
            X = encoder.fit_transform(clips)
            seconds = time.perf_counter() - start
            lines.append(
                f"extraction {state}: {seconds:.1f} s with n_jobs={options.n_jobs}, "
                f"{len(clips) / seconds:.0f} clips/s"
            )
    lines.append("")
    lines += report("AcousticEncoder", np.asarray(X), y, fold)
    lines += report("eGeMAPS (openSMILE)", egemaps, y, fold)
    text = "\n".join(lines).rstrip() + "\n"
    print(text, end="")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)


if __name__ == "__main__":
    main()
