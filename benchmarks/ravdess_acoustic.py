"""Measure AcousticEncoder on real emotional speech (RAVDESS, speaker-independent).

Run from the root of the repository::

    python benchmarks/ravdess_acoustic.py [folder]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/flac16k/*.flac`` and ``ravdess/ravdess_av.npz`` with the labels, the
five published actor-disjoint folds (Luna-Jimenez et al. 2022) and openSMILE's eGeMAPS
functionals of the same recordings.

The classifier is chosen on folds 0 to 3 alone, leaving out one of them at a time; fold
4 has no say in it, nor had it in the design of the features. Then every fold is
predicted from the other four; "all" scores the pooled predictions. Nothing is
normalised per actor.

Every actor speaks the same two sentences, so that a model may learn what an emotion
makes of a sentence. "Other sentence" takes that away: trained on one sentence of the
other four folds, tested on the other sentence.

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


def predict_folds(classifier, X, y, fold, folds, sentence=None):
    """Predict each of the folds from the others of `folds`, as an array like `y`.

    With `sentence`, each sentence of a fold from the other sentence of the others.
    """
    predicted = y.copy()
    for test in folds:
        train = np.isin(fold, folds) & (fold != test)
        for part in [None] if sentence is None else np.unique(sentence):
            fit = train if part is None else train & (sentence != part)
            use = fold == test if part is None else (fold == test) & (sentence == part)
            model = make_pipeline(StandardScaler(), classifier).fit(X[fit], y[fit])
            predicted[use] = model.predict(X[use])
    return predicted


def score(truth, predicted):
    """Weighted F1, UA (balanced accuracy) and WA (accuracy), percent."""
    return 100 * np.array(
        [
            f1_score(truth, predicted, average="weighted"),
            balanced_accuracy_score(truth, predicted),
            accuracy_score(truth, predicted),
        ]
    )


def score_folds(y, predicted, fold, folds):
    """Scores of each fold, shape (n_folds, 3)."""
    return np.array([score(y[fold == f], predicted[fold == f]) for f in folds])


def choose(X, y, fold):
    """Choose the classifier on folds 0 to 3; return its name and the table."""
    table = {}
    for name, classifier in candidates(X.shape[1]).items():
        predicted = predict_folds(classifier, X, y, fold, CHOOSING)
        table[name] = score_folds(y, predicted, fold, CHOOSING)[:, 0]
    return max(table, key=lambda name: table[name].mean()), table


def report(name, X, y, fold, sentence):
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
        predicted = predict_folds(estimator, X, y, fold, range(5))
        scores, pooled = score_folds(y, predicted, fold, range(5)), score(y, predicted)
        yield f"  {classifier}"
        for i, measure in enumerate(("WF1", "UA", "WA")):
            folds = " ".join(f"{s:5.1f}" for s in scores[:, i])
            mean = f"mean {scores[:, i].mean():5.2f}   all {pooled[i]:5.2f}"
            yield f"    {measure:4s} folds 0-4: {folds}   {mean}"
        predicted = predict_folds(estimator, X, y, fold, range(5), sentence)
        scores = score_folds(y, predicted, fold, range(5))[:, 0]
        folds = " ".join(f"{s:5.1f}" for s in scores)
        yield f"    other sentence, WF1: {folds}   mean {scores.mean():5.2f}"
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
        sentence, egemaps = data["statement"], data["audio_egemaps"]
    # Names are of the audio-video versions (01-...); the sound alone is 03-...
    clips = [str(folder / "flac16k" / f"03{name[2:]}.flac") for name in names]

    lines = [
        f"RAVDESS, {len(clips)} clips, {np.unique(y).size} emotions, five folds of "
        "disjoint actors, no per-actor normalisation",
    ]
    # Time of the processor, which other work on the machine does not change much.
    start = time.process_time()
    AcousticEncoder(n_jobs=1, cache=None).fit_transform(clips[::10])
    seconds = (time.process_time() - start) / len(clips[::10])
    lines.append(
        f"one core: {1e3 * seconds:.1f} ms of processor time a clip with reading, "
        f"{1 / seconds:.0f} clips/s"
    )
    with tempfile.TemporaryDirectory() as cache:
        encoder = AcousticEncoder(n_jobs=options.n_jobs, cache=cache)
        for state in ("cold", "warm"):
            start = time.perf_counter()
            X = encoder.fit_transform(clips)
            seconds = time.perf_counter() - start
            lines.append(
                f"{state} cache: {seconds:.1f} s of wall time, "
                f"{len(clips) / seconds:.0f} clips/s, n_jobs={options.n_jobs}"
            )
    lines.append("")
    lines += report("AcousticEncoder", np.asarray(X), y, fold, sentence)
    lines += report("eGeMAPS (openSMILE)", egemaps, y, fold, sentence)
    text = "\n".join(lines).rstrip() + "\n"
    print(text, end="")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)


if __name__ == "__main__":
    main()
