"""RefinedClassifier: weights, classes, leaks and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from leaks import changed_rows, differences
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skmer.label_refinement import LabelRefiner, RefinedClassifier


def planted(n=150, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=n)
    X = rng.normal(size=(n, 6))
    X[np.arange(n), codes] += 2.5
    X[np.arange(n), 3 + codes] += 2.5
    names = [f"{s}__{i}" for s in ("audio", "text") for i in range(3)]
    given = np.where(rng.random(n) < 0.2, (codes + 1) % 3, codes)
    frame = pd.DataFrame(X, columns=names, index=[f"c{i}" for i in range(n)])
    return frame, codes, given


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_is_a_fit_on_refined_labels_with_weights(weight):
    X, truth, given = planted()
    refiner = LabelRefiner(random_state=0)
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    model = RefinedClassifier(pipe, refiner, flagged_weight=weight).fit(X, given)
    _, labels = clone(refiner).fit_resample(X, given)
    flagged = model.refiner_.flagged_.to_numpy()
    assert 0 < flagged.sum() < 100
    weights = np.where(flagged, weight, 1.0)
    np.testing.assert_array_equal(model.sample_weight_, weights)
    rows = weights > 0
    plain = clone(pipe).fit(
        X[rows], labels[rows], logisticregression__sample_weight=weights[rows]
    )
    np.testing.assert_allclose(plain.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.score(X, given) == (model.predict(X) == given).mean()
    assert model.report().equals(model.refiner_.report())
    assert model.feature_names_in_.tolist() == X.columns.tolist()


def test_helps():
    X, _, given = planted(300)
    X_test, truth, _ = planted(300, seed=1)
    network = KNeighborsClassifier(1)
    noisy = clone(network).fit(X, given).score(X_test, truth)
    model = RefinedClassifier(network, flagged_weight=0, random_state=0).fit(X, given)
    assert model.score(X_test, truth) > noisy + 0.05


def test_weights_multiply_and_unlabelled_rows_have_none():
    X, _, given = planted()
    given[:10] = -1
    own = np.linspace(1, 2, 150)
    model = RefinedClassifier(LogisticRegression(), random_state=0)
    weights = clone(model).fit(X, given).sample_weight_.to_numpy()
    model.fit(X, given, sample_weight=own)
    np.testing.assert_allclose(model.sample_weight_, weights * own)
    assert (weights[:10] == 0).all() and model.classes_.tolist() == [0, 1, 2]


def test_what_takes_no_weights():
    X, _, given = planted()
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no weights"):
        RefinedClassifier(KNeighborsClassifier()).fit(X, given)
    sampling = make_sampling_pipeline(RandomOverSampler(), LogisticRegression())
    with pytest.raises(ValueError, match="samples rows"):
        RefinedClassifier(sampling).fit(X, given)
    for weight in (0, 1):
        model = RefinedClassifier(sampling, flagged_weight=weight)
        assert model.fit(X, given).predict(X).shape == (150,)


class Contrary(BaseEstimator, ClassifierMixin):
    """Agrees with no annotation of the last class, with all of the others."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        codes = X[:, 0].astype(int)
        return np.where(codes == 2, 1, codes)


def test_a_class_of_which_nothing_is_left():
    y = np.repeat([0, 1, 2], 20)
    X = np.column_stack([y, np.random.default_rng(0).normal(size=60)])
    refiner = LabelRefiner({"no": Contrary()}, rule="majority", flagged="drop")
    model = RefinedClassifier(LogisticRegression(), refiner)
    with pytest.warns(UserWarning, match="No row has the label 2"):
        model.fit(X, y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.estimator_.classes_.tolist() == [0, 1]
    proba = model.predict_proba(X)
    assert proba.shape == (60, 3) and (proba[:, 2] == 0).all()
    assert np.isneginf(model.predict_log_proba(X)[:, 2]).all()
    scores = model.decision_function(X)
    assert scores.shape == (60, 3)
    np.testing.assert_array_equal(scores.argmax(axis=1), model.predict(X))
    every = LabelRefiner({"no": Contrary()}, rule="majority")
    y = np.repeat([0, 1], 20)
    with pytest.raises(ValueError, match="No row is left to learn from: 40 of 40"):
        RefinedClassifier(LogisticRegression(), every, flagged_weight=0).fit(
            1 - y[:, np.newaxis], y
        )


def test_held_out_rows_change_nothing():
    X, _, given = planted()
    train, test = np.arange(100), np.arange(100, 150)
    other_X, other_y = changed_rows(X, given, test)
    model = RefinedClassifier(LogisticRegression(), random_state=0)
    first = clone(model).fit(X.iloc[train], given[train])
    second = clone(model).fit(other_X.iloc[train], other_y[train])
    assert differences(first, second) == []


def test_grid_search_and_raw_clips():
    X, _, given = planted()
    model = RefinedClassifier(LogisticRegression(), random_state=0)
    grid = {"flagged_weight": [0.1, 1.0], "estimator__C": [0.1]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, given)
    assert search.score(X, given) > 0.6
    clips = [f"{'lo' if i % 2 else 'hi'} clip{i}" for i in range(40)]
    words = make_pipeline(CountVectorizer(), LogisticRegression())
    y = np.arange(40) % 2
    raw = RefinedClassifier(words, LabelRefiner({"words": words}), random_state=0)
    assert raw.fit(clips, y).score(clips, y) == 1
    assert list(raw.sample_weight_.index) == clips


def test_a_class_is_no_classifier_and_what_it_lacks_is_said():
    X, _, given = planted(60)
    with pytest.raises(TypeError, match="estimator must be .*class LogisticRegression"):
        RefinedClassifier(LogisticRegression).fit(X, given)
    with pytest.raises(TypeError, match="refiner must be .*class LabelRefiner"):
        RefinedClassifier(LogisticRegression(), LabelRefiner).fit(X, given)
    model = RefinedClassifier(LinearSVC(), random_state=0).fit(X, given)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match="LinearSVC has no predict_proba"):
        model.predict_proba(X)
