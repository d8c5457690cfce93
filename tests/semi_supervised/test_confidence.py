import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

from skmer.semi_supervised import AgreementSelfTrainingClassifier
from skmer.semi_supervised._confidence import (
    calibration_folds,
    class_logits,
    fit_temperature,
    predictions,
    sure_rows,
)


@pytest.fixture
def numbers():
    return make_classification(
        300, 12, n_informative=4, n_classes=3, flip_y=0.2, random_state=0
    )


@pytest.mark.parametrize("model", [LogisticRegression(C=100), LinearSVC()])
def test_temperature_is_scikit_learns(numbers, model):
    X, y = numbers
    theirs = CalibratedClassifierCV(model, method="temperature", cv=5, ensemble=False)
    theirs.fit(X, y)
    logits = cross_val_predict(model, X, y, cv=5, method="decision_function")
    temperature = fit_temperature(logits, y)
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert temperature == pytest.approx(1 / beta, rel=1e-5)
    assert abs(temperature - 1) > 0.05
    codes, confidence = predictions(
        class_logits(theirs.calibrated_classifiers_[0].estimator, X, np.arange(3))
        if hasattr(model, "decision_function") and not hasattr(model, "predict_proba")
        else theirs.calibrated_classifiers_[0].estimator.decision_function(X),
        temperature,
    )
    np.testing.assert_array_equal(codes, theirs.predict(X))
    np.testing.assert_allclose(
        confidence, theirs.predict_proba(X).max(axis=1), rtol=1e-5
    )


def test_temperature_makes_confidence_as_high_as_accuracy(numbers):
    X, y = numbers
    forest = RandomForestClassifier(20, max_features=1.0, random_state=0)
    proba = cross_val_predict(GaussianNB(), X, y, method="predict_proba")
    proba = np.clip(proba, 1e-9, 1) ** 4  # far too sure of itself
    logits = np.log(proba / proba.sum(axis=1, keepdims=True))
    right = (logits.argmax(axis=1) == y).mean()
    before = predictions(logits, 1.0)[1].mean()
    after = predictions(logits, fit_temperature(logits, y))[1].mean()
    assert before > right + 0.1
    assert after == pytest.approx(right, abs=0.05)
    # Probabilities of zero, which a forest gives, do not count for ever
    logits = class_logits(forest.fit(X[:200], y[:200]), X[200:], np.arange(3))
    assert np.isfinite(logits).all()


def test_weights_of_the_temperature(numbers):
    X, y = numbers
    logits = cross_val_predict(GaussianNB(), X, y, method="predict_log_proba")
    weight = np.random.default_rng(0).integers(0, 4, size=300)
    repeated = np.repeat(np.arange(300), weight)
    assert fit_temperature(logits, y, weight) == pytest.approx(
        fit_temperature(logits[repeated], y[repeated]), rel=1e-6
    )


def test_rows_of_classes_a_fold_does_not_know_are_left_out(numbers):
    X, y = numbers
    logits = cross_val_predict(GaussianNB(), X, y, method="predict_log_proba")
    more = np.hstack([logits, np.full((300, 1), -np.inf)])
    codes = np.r_[y, 3, 3]
    more = np.vstack([more, more[:2]])
    assert fit_temperature(more, codes) == fit_temperature(logits, y)
    assert fit_temperature(more[-2:], codes[-2:]) == 1.0


def test_logits_of_two_classes_and_of_unknown_ones():
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, "sad", "angry")
    classes = np.array(["angry", "happy", "sad"])
    logits = class_logits(LinearSVC().fit(X, y), X, classes)
    values = LinearSVC().fit(X, y).decision_function(X)
    np.testing.assert_array_equal(logits[:, 1], -np.inf)
    np.testing.assert_allclose(logits[:, 2] - logits[:, 0], values)
    model = LogisticRegression().fit(X, y)
    logits = class_logits(model, X, classes)
    _, confidence = predictions(logits, 1.0)
    np.testing.assert_allclose(confidence, model.predict_proba(X).max(axis=1))


def test_sure_rows_by_hand():
    codes = np.array([0, 0, 0, 1, 1, 1])
    confidence = np.array([0.9, 0.7, 0.9, 0.6, 0.8, 0.99])
    agreed = np.array([True, True, True, True, True, False])
    limits = np.array([0.7, 0.7])
    taken = sure_rows(codes, confidence, agreed, limits, None)
    assert taken.tolist() == [True, True, True, False, True, False]
    taken = sure_rows(codes, confidence, agreed, limits, np.array([1, 5]))
    assert taken.tolist() == [True, False, False, False, True, False]


def test_folds_keep_units_together_and_shrink():
    codes = np.repeat([0, 1], 12)
    units = np.arange(24) // 3
    folds = calibration_folds(codes, units, 5, 0)
    assert len(folds) == 4  # a class has four units
    for learn, held in folds:
        assert not set(units[learn]) & set(units[held])
        assert set(codes[held]) == {0, 1}
    with pytest.raises(ValueError, match="no class has rows of two clips or groups"):
        calibration_folds(np.array([0, 1]), np.array([0, 1]), 5, 0)


def _clips(n=90):
    rng = np.random.default_rng(0)
    codes = np.arange(n) % 3
    X = pd.DataFrame(
        rng.normal(size=(n, 5)) + 1.5 * np.eye(5)[codes],
        index=[f"c{i}" for i in range(n)],
        columns=[f"audio__{i}" for i in range(5)],
    )
    return X, codes


def test_temperatures_come_from_rows_held_out():
    X, codes = _clips()
    y = np.where(np.arange(90) < 60, codes, -1)
    model = AgreementSelfTrainingClassifier(
        LogisticRegression(C=30), GaussianNB(), threshold=0.6, n_folds=4
    ).set_params(calibrate="temperature", random_state=5)
    model.fit(X, y)
    assert set(model.temperatures_) == {"estimator", "partner"}
    assert model.temperatures_["estimator"] > 1.2  # in-sample it would be about 1
    first = LogisticRegression(C=30).fit(X[:60], y[:60])
    logits = first.predict_log_proba(X[60:])
    expected = predictions(logits, model.temperatures_["estimator"])[1]
    np.testing.assert_allclose(model.pseudo_labels_["confidence"], expected)
    plain = model.set_params(calibrate=None).fit(X, y)
    assert plain.temperatures_ == {"estimator": 1.0, "partner": 1.0}
    assert (plain.labeled_iter_ == 1).sum() > (expected >= 0.6).sum()


class Recorded(LogisticRegression):
    fits: list = []

    def fit(self, X, y, sample_weight=None):
        self.fits.append(X.index.tolist())
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("with_groups", [False, True])
def test_copies_and_groups_are_held_out_together(with_groups):
    X, codes = _clips()
    X = X.iloc[np.repeat(np.arange(90), 2)]  # each clip twice
    y = np.where(np.arange(180) < 120, np.repeat(codes, 2), -1)
    speakers = pd.Series([f"s{i // 3 % 6}" for i in range(90)], index=_clips()[0].index)
    Recorded.fits.clear()
    model = AgreementSelfTrainingClassifier(
        Recorded(), threshold=0.5, calibrate="temperature", n_folds=3, random_state=0
    )
    model.set_params(groups=speakers if with_groups else None).fit(X, y)
    everything = set(X.index[:120])
    folds = [set(rows) for rows in Recorded.fits[1:4]]
    for learnt in folds:
        held = everything - learnt
        assert 10 <= len(held) <= 30
        if with_groups:
            assert not set(speakers[list(held)]) & set(speakers[list(learnt)])
    assert all(set(Recorded.fits[1]) != rows for rows in folds[1:])
    with pytest.raises(ValueError, match="groups has no value for clip 'c0'"):
        model.set_params(groups=speakers[5:]).fit(X, y)


def test_a_class_of_one_clip():
    X, codes = _clips()
    y = np.where(np.arange(90) < 40, codes, -1)
    y[[1, 4, 7, *range(10, 40, 3)]] = -1
    y[1] = 1
    model = AgreementSelfTrainingClassifier(
        LogisticRegression(),
        GaussianNB(var_smoothing=0.1),
        threshold=None,
        n_per_class=5,
        calibrate="temperature",
        random_state=0,
    ).fit(X, y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(list(model.temperatures_.values())).all()
    few = np.full(90, -1)
    few[:3] = [0, 1, 2]
    with pytest.raises(ValueError, match="Label more clips, or pass calibrate=None"):
        model.fit(X, few)
    model.set_params(calibrate=None).fit(X, few)
    assert (model.labeled_iter_ == 1).sum() >= 5
