"""Calibration against numbers computed by hand, and scikit-learn's log loss."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from skmer.evaluation._calibration import calibration_scores, reliability_bins


def test_ece_by_hand():
    # Two predictions of 0.9, one right; two of 0.6, both right
    proba = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    true = np.array([0, 1, 1, 0])
    scores = calibration_scores(true, proba)
    assert scores["ECE"] == pytest.approx(0.5 * abs(0.9 - 0.5) + 0.5 * abs(0.6 - 1))
    squares = [0.01 + 0.01, 0.81 + 0.81, 0.16 + 0.16, 0.16 + 0.16]
    assert scores["Brier"] == pytest.approx(np.mean(squares))
    assert scores["log_loss"] == pytest.approx(log_loss(true, proba))


def test_bins_hold_their_upper_end():
    proba = np.array([[0.5, 0.5], [1.0, 0.0], [0.7, 0.3]])
    bins = reliability_bins(np.array([0, 0, 1]), proba, n_bins=10)
    np.testing.assert_allclose(bins["high"], [0.5, 0.7, 1.0])
    assert bins["n"].tolist() == [1, 1, 1]
    assert bins["accuracy"].tolist() == [1, 0, 1]
    np.testing.assert_allclose(bins["confidence"], [0.5, 0.7, 1.0])


def test_a_calibrated_model_has_a_small_error():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, size=20_000)
    true = (rng.random(20_000) > sure).astype(int)
    proba = np.stack([sure, 1 - sure], axis=1)
    assert calibration_scores(true, proba)["ECE"] < 0.02
    overconfident = np.stack([np.sqrt(sure), 1 - np.sqrt(sure)], axis=1)
    assert calibration_scores(true, overconfident)["ECE"] > 0.1


def test_a_class_ruled_out_costs_a_finite_loss():
    scores = calibration_scores(np.array([1]), np.array([[1.0, 0.0]]))
    assert scores["log_loss"] == pytest.approx(-np.log(1e-15))
