"""Everything that learns from few, noisy, uneven labels, in one pipeline under CV."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline, make_pipeline
from leaks import changed_rows, differences
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate

from skmer.ensemble import (
    FoldVotingClassifier,
    StreamVotingClassifier,
    SVMEnsembleClassifier,
    VariantVotingClassifier,
)
from skmer.feature_selection import ChiSquareSelector
from skmer.fusion import AttentionFusionClassifier
from skmer.label_refinement import LabelRefiner, RefinedClassifier
from skmer.model_selection import UnlabeledInTrain
from skmer.over_sampling import (
    DropUnlabeled,
    LabeledSampler,
    NoiseEmbeddingSampler,
    at_least,
)
from skmer.preprocessing import (
    GroupStandardScaler,
    ModalityImputer,
    SplitStandardScaler,
)
from skmer.semi_supervised import AgreementSelfTrainingClassifier

N = 150
SPEAKERS = 10


@pytest.fixture(scope="module")
def data():
    """Features with offsets of speakers, uneven classes, wrong and missing labels."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, size=N, p=[0.5, 0.3, 0.2])
    speaker = rng.integers(SPEAKERS, size=N)
    offset = rng.normal(size=(SPEAKERS, 12))
    X = rng.normal(size=(N, 12)) + offset[speaker]
    X[:, 0] += 3 * (truth == 1)
    X[:, 6] += 3 * (truth == 2)
    names = [f"audio__{i}" for i in range(6)] + [f"video__face__{i}" for i in range(6)]
    index = [f"clip{i}" for i in range(N)]
    X = pd.DataFrame(X, columns=names, index=index)
    X.iloc[rng.choice(N, 12, replace=False), 6:] = np.nan
    y = np.array(["happy", "sad", "worried"], dtype=object)[truth]
    wrong = rng.choice(N, 20, replace=False)
    y[wrong] = np.roll(y[wrong], 1)
    y[rng.choice(N, 60, replace=False)] = None
    return X, y, pd.Series(speaker, index=index)


def chain(groups, classifier, *, scaler=None):
    """A pipeline of all that looks at labels or at statistics of X."""
    steps = [
        ("scale", scaler or GroupStandardScaler(groups)),
        ("impute", ModalityImputer()),
        ("refine", LabelRefiner(cv=3, groups=groups, random_state=0)),
        (
            "sample",
            LabeledSampler(
                RandomOverSampler(sampling_strategy=at_least(0.8), random_state=0)
            ),
        ),
        ("noise", NoiseEmbeddingSampler(n_copies=1, max_step=20, random_state=0)),
        ("select", ChiSquareSelector(k=8, min_per_stream=2)),
        ("classify", classifier),
    ]
    return Pipeline(steps).set_output(transform="pandas")


def classifiers():
    regression = LogisticRegression()
    svms = SVMEnsembleClassifier(n_seeds=2, voting="soft", n_folds=3, random_state=0)
    net = AttentionFusionClassifier(
        max_epochs=2, hidden_size=8, train_split=0.3, random_state=0
    )
    return {
        "self-training": AgreementSelfTrainingClassifier(
            svms,
            StreamVotingClassifier(regression),
            threshold=None,
            n_per_class=4,
            n_rounds=2,
            calibrate="temperature",
            n_folds=3,
            random_state=0,
        ),
        "refined": RefinedClassifier(
            net, LabelRefiner(cv=3, random_state=0), flagged_weight=0.3
        ),
        "folds": FoldVotingClassifier(
            make_pipeline(DropUnlabeled(), regression), cv=3, random_state=0
        ),
        "variants": VariantVotingClassifier(net, n_seeds=1, random_state=0),
    }


def fitted(model, X, y, groups):
    """Return the model and its score of each fold, and the folds."""
    cv = UnlabeledInTrain(3, groups=groups)
    done = cross_validate(
        model,
        X,
        y,
        cv=cv,
        return_estimator=True,
        return_indices=True,
        scoring="f1_weighted",
        error_score="raise",
    )
    return done["estimator"], done["test_score"], done["indices"]


@pytest.mark.parametrize("name", classifiers())
def test_held_out_rows_have_no_say(name, data):
    X, y, groups = data
    model = chain(groups, classifiers()[name])
    before, scores, folds = fitted(model, X, y, groups)
    for fold, test in enumerate(folds["test"]):
        # The splits depend on labels alone, so y may change in one fold's test part
        # only where they stay: compare fits on the same training rows.
        X2, y2 = changed_rows(X, y, test)
        train = folds["train"][fold]
        again = chain(groups, classifiers()[name]).fit(X2.iloc[train], y2[train])
        assert not differences(before[fold], again)
        assert y[test].tolist() != y2[test].tolist()
    assert np.mean(scores) > 0.3


@pytest.mark.parametrize("name", classifiers())
def test_the_comparison_sees_what_is_fitted(name, data):
    X, y, groups = data
    labelled = [i for i, label in enumerate(y) if label is not None]
    X2, y2 = changed_rows(X, y, labelled[:20])
    fits = [chain(groups, classifiers()[name]).fit(*d) for d in ((X, y), (X2, y2))]
    found = " ".join(differences(*fits))
    for state in ("scale", "impute", "refine", "select", "classify"):
        step = list(dict(fits[0].steps)).index(state)
        assert f".steps[{step}]" in found or state in found, state


def test_test_parts_hold_original_labelled_rows_only(data):
    X, y, groups = data
    model = chain(groups, classifiers()["self-training"])
    estimators, _, folds = fitted(model, X, y, groups)
    unlabelled = {X.index[i] for i, label in enumerate(y) if label is None}
    for estimator, train, test in zip(
        estimators, folds["train"], folds["test"], strict=True
    ):
        held_out = set(X.index[test])
        assert not held_out & unlabelled
        assert unlabelled <= set(X.index[train])
        assert not set(groups[list(held_out)]) & set(
            groups[[X.index[i] for i in train if y[i] is not None]]
        )
        assert not held_out & set(estimator["refine"].labels_.index)
        assert not held_out & set(estimator["classify"].pseudo_labels_.index)


def test_scaling_by_split_learns_nothing_from_test_rows(data):
    X, y, groups = data
    model = chain(groups, LogisticRegression(), scaler=SplitStandardScaler())
    # It refuses unlabelled rows, and there are none here.
    known = np.flatnonzero([label is not None for label in y])
    X, y = X.iloc[known], y[known]
    X2, y2 = changed_rows(X, y, range(70, len(y)))
    fits = [
        model.fit(X[:70], y[:70]),
        chain(groups, LogisticRegression(), scaler=SplitStandardScaler()).fit(
            X2[:70], y2[:70]
        ),
    ]
    assert not differences(*fits)
