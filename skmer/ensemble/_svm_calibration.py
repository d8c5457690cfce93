"""Probabilities from the scores of support vector machines."""

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV


class _Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose features are scores and whose decision they are."""

    def __init__(self, n_classes=2):
        self.n_classes = n_classes

    def __sklearn_is_fitted__(self):
        return True

    @property
    def classes_(self):
        return np.arange(self.n_classes)

    def fit(self, X, y, sample_weight=None):
        return self

    def decision_function(self, X):
        return X[:, 1] if self.n_classes == 2 else X

    def predict(self, X):
        scores = self.decision_function(X)
        return (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)


def fit_calibrator(scores, codes, n_classes, method, sample_weight=None):
    """Learn what scores are worth as probabilities.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        Scores from machines that have not seen the row; NaN where there are none.
    codes : ndarray of shape (n_rows,), dtype int64
        The classes that the rows have, each at least once.
    n_classes : int
        Number of classes.
    method : {"sigmoid", "temperature"}
        As for :class:`sklearn.calibration.CalibratedClassifierCV`.
    sample_weight : ndarray of shape (n_rows,) or None, default=None
        Weights of the rows.

    Returns
    -------
    calibrator : CalibratedClassifierCV
        Its ``predict_proba`` takes scores.
    """
    weights = np.ones(len(codes)) if sample_weight is None else sample_weight.copy()
    # Rows without a score stay, at no weight, so that every class occurs
    absent = np.isnan(scores).any(axis=1)
    weights[absent] = 0.0
    every = np.arange(len(codes))
    calibrator = CalibratedClassifierCV(
        _Scores(n_classes), method=method, cv=[(every, every)], ensemble=False
    )
    # Routing would ask for a request of weights, which are no business of others here
    with config_context(enable_metadata_routing=False):
        return calibrator.fit(np.where(absent[:, None], 0.0, scores), codes, weights)
