"""How many landmarks the approximate support vector machines need on real features.

Run from the root of the repository::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
        python benchmarks/svm_landmarks.py [folder] [--seeds 3]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``meld/meld_text.npz`` (13,708 utterances, seven emotions) and
``ravdess/ravdess_av.npz`` (1,440 clips, eight emotions). MELD: words as TF-IDF in 300
singular directions, learnt on the training part, z-scores; 11,098 training and
development rows fit, 2,610 test rows are predicted. RAVDESS: eGeMAPS functionals of the
speech and means of action units, z-scores; the mean of the five published folds.

Three machines (linear, radial, cubic) on 70 % of the columns vote, drawn from each
seed; ``exact`` holds all products of rows, the others take so many rows for landmarks.
``apart`` is the share of test rows that are given another label than by the exact
machines. Seconds are processor time of one thread.

Writes benchmarks/results/svm_landmarks.txt.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.ensemble import SVMEnsembleClassifier

HERE = Path(__file__).resolve().parent
LANDMARKS = (None, 250, 500, 1000, 2000, 4000)


def meld(folder):
    """Yield training rows, their labels, test rows and theirs."""
    with np.load(folder / "meld" / "meld_text.npz") as data:
        text, y, split = data["text"], data["emotion"], data["split"]
    test = split == "test"
    words = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, 2),
        min_df=2,
        token_pattern=r"\b\w+\b|[!?.]+",
    )
    directions = TruncatedSVD(300, random_state=0)
    table = make_pipeline(words, directions, StandardScaler())
    yield (
        table.fit_transform(text[~test]),
        y[~test],
        table.transform(text[test]),
        y[test],
    )


def ravdess(folder):
    """Yield the same of each fold."""
    with np.load(folder / "ravdess" / "ravdess_av.npz") as data:
        X = np.hstack([data["audio_egemaps"], data["visual_au"]]).astype(np.float64)
        y, fold = data["y"], data["fold"]
    for one in np.unique(fold):
        test = fold == one
        scaler = StandardScaler().fit(X[~test])
        yield scaler.transform(X[~test]), y[~test], scaler.transform(X[test]), y[test]


def measure(parts, n_components, seed):
    """Return labels of all test rows, scores and seconds."""
    labels, scores = [], []
    fitting = predicting = 0.0
    for X, y, X_test, y_test in parts:
        model = SVMEnsembleClassifier(
            n_seeds=1,
            approximation=None if n_components is None else "nystroem",
            n_components=n_components or 1,
            max_gram_rows=20_000,
            random_state=seed,
        )
        begun = time.process_time()
        model.fit(X, y)
        fitted = time.process_time()
        said = model.predict(X_test)
        predicting += time.process_time() - fitted
        fitting += fitted - begun
        labels.append(said)
        scores.append(
            [
                100 * f1_score(y_test, said, average="weighted"),
                100 * balanced_accuracy_score(y_test, said),
            ]
        )
    return np.concatenate(labels), *np.mean(scores, axis=0), fitting, predicting


def main():
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[1] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    lines = []
    for name, parts_of in {"MELD, words": meld, "RAVDESS": ravdess}.items():
        parts = list(parts_of(Path(options.folder)))
        lines += ["" if lines else None, f"{name}: {len(parts[0][0])} rows fitted"]
        lines.append(
            f"{'landmarks':>10}{'WF1':>7}{'UA':>7}{'apart %':>9}{'fit s':>9}"
            f"{'predict s':>11}"
        )
        exact = {}
        for n_components in LANDMARKS:
            if n_components and n_components > len(parts[0][0]):
                continue
            found = []
            for seed in range(options.seeds):
                labels, *row = measure(parts, n_components, seed)
                reference = exact.setdefault(seed, labels)
                found.append([*row[:2], 100 * np.mean(labels != reference), *row[2:]])
            f1, ua, apart, fit, predict = np.mean(found, axis=0)
            lines.append(
                f"{n_components or 'exact':>10}{f1:7.1f}{ua:7.1f}{apart:9.1f}{fit:9.1f}"
                f"{predict:11.2f}"
            )
            print(lines[-1], flush=True)
    lines = [f"Seeds: {options.seeds}", ""] + [
        line for line in lines if line is not None
    ]
    (HERE / "results" / "svm_landmarks.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
