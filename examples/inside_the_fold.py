"""What scores are worth when learning looks at test clips: four times nothing.

The features of this example are noise and the emotions are drawn by lot: whoever scores
above chance has seen the answers. Over-sampling, choosing features, correcting labels
and pseudo-labelling are each done twice: once on all clips before cross-validation, as
published scores often were, and once inside of a pipeline, in the training part of each
fold. Weighted F1, mean over folds.

Run it from the project's folder: ``python examples/inside_the_fold.py``
"""

import argparse

import numpy as np
import pandas as pd
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC

from skmer.feature_selection import ChiSquareSelector
from skmer.label_refinement import LabelRefiner
from skmer.model_selection import UnlabeledInTrain
from skmer.over_sampling import DropUnlabeled, LabeledSampler, at_least
from skmer.semi_supervised import AgreementSelfTrainingClassifier

EMOTIONS = np.array(["angry", "happy", "sad", "worried"], dtype=object)
FREQUENCY = [0.35, 0.35, 0.2, 0.1]


def draw(n_clips, n_features, random_state):
    """Clips whose features tell nothing."""
    rng = np.random.default_rng(random_state)
    half = n_features // 2
    names = [f"audio__{i}" for i in range(half)]
    names += [f"text__{i}" for i in range(n_features - half)]
    X = pd.DataFrame(rng.normal(size=(n_clips, n_features)), columns=names)
    X.index = [f"clip{i}" for i in range(n_clips)]
    return X, rng.choice(EMOTIONS, size=n_clips, p=FREQUENCY)


def score(model, X, y, cv=None):
    cv = cv or StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(model, X, y, cv=cv, scoring="f1_weighted").mean()


def main(n_clips=300, n_features=1000):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to draw.
    n_features : int
        How many columns of noise a clip has.
    """
    X, y = draw(n_clips, n_features, random_state=0)
    svm = SVC(gamma=1 / n_features)
    regression = LogisticRegression(max_iter=1000)
    partner = LogisticRegression(C=0.01, max_iter=1000)
    table = {}

    # Copies of a clip fall into both parts: the test part is learnt by heart.
    sampler = LabeledSampler(
        RandomOverSampler(sampling_strategy=at_least(1.0), random_state=0)
    )
    table["over-sampling"] = (
        score(svm, *sampler.fit_resample(X, y)),
        score(make_pipeline(sampler, svm), X, y),
    )

    # Of enough columns some fit by luck, on the test clips too if these were asked.
    selector = ChiSquareSelector(k=50)
    table["choosing features"] = (
        score(regression, selector.fit_transform(X, y), y),
        score(make_pipeline(selector, regression), X, y),
    )

    # Labels are changed to what classifiers find easy, and then scored with.
    refiner = LabelRefiner(regression, rule="majority", random_state=0)
    table["correcting labels"] = (
        score(regression, *refiner.fit_resample(X, y)),
        score(make_pipeline(refiner, regression), X, y),
    )

    # Pseudo-labels come from the features: whatever is in a test part as such is easy.
    partly = y.copy()
    partly[n_clips // 2 :] = None
    trained = AgreementSelfTrainingClassifier(
        regression, partner, threshold=0.0, random_state=0
    )
    pseudo = trained.fit(X, partly).transduction_
    table["pseudo-labels"] = (
        score(regression, *DropUnlabeled().fit_resample(X, pseudo)),
        score(trained, X, partly, UnlabeledInTrain(5)),
    )

    chance = float(np.sum(np.square(FREQUENCY)))
    print(f"{n_clips} clips of noise; guessing by frequency scores {chance:.2f}\n")
    print(f"{'':20s} {'before splitting':>16s} {'in each fold':>16s}")
    for name, (before, inside) in table.items():
        print(f"{name:20s} {before:16.2f} {inside:16.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-clips", type=int, default=300)
    parser.add_argument("--n-features", type=int, default=1000)
    options = parser.parse_args()
    main(options.n_clips, options.n_features)
