"""What scalers that use the statistics of some rows share."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import validate_data

from skmer.utils._features import refuse_clips
from skmer.utils._sklearn import Interval

# Cells that are looked at in one go: about 100 MB of scratch.
_BLOCK = 2**22


class Moments(NamedTuple):
    """Number of clips with a value, their mean and variance, for each column."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def moments(X):
    """Return the moments of the columns of X; mean and variance 0 without values."""
    n_clips, n_features = X.shape
    found = Moments(*np.zeros((3, n_features)))
    width = max(1, _BLOCK // max(n_clips, 1))
    for start in range(0, n_features, width):
        block = slice(start, start + width)
        for values, part in zip(found, _moments(X[:, block]), strict=True):
            values[block] = part
    return found


def _moments(X):
    known = ~np.isnan(X)
    count = known.sum(axis=0)
    divisor = np.maximum(count, 1)
    mean = np.where(known, X, 0).sum(axis=0, dtype=np.float64) / divisor
    rest = np.where(known, X - mean, 0)
    # The mean is rounded: what that adds is taken off again.
    variance = np.square(rest).sum(axis=0) - np.square(rest.sum(axis=0)) / divisor
    variance /= divisor
    # What a constant column has by rounding alone
    error = count * np.finfo(np.float64).eps
    variance[variance <= error * variance + (error * mean) ** 2] = 0.0
    return count, mean, variance


def _share(count, others):
    """Weight of own clips beside others, 0 without any."""
    total = np.asarray(count + others, dtype=np.float64)
    return np.divide(count, total, out=np.zeros_like(total), where=total > 0)


class ShrunkScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Scale rows by moments of their own, drawn towards those of the training rows.

    Subclasses say which rows belong together.
    """

    _parameter_constraints: dict = {
        "min_clips": [Interval(Integral, 1, None, closed="left")],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
    }

    def _fit_training(self, X):
        """Validate X and learn the statistics of all its rows."""
        X = self._validated(X, reset=True)
        _, self.mean_, self.var_ = moments(X)
        self.scale_ = np.where(self.var_ > 0, np.sqrt(self.var_), 1.0)
        return X

    def _statistics(self, own, within):
        """Return mean and scale to be used for rows that belong together.

        Parameters
        ----------
        own : Moments
            Those of the rows.
        within : ndarray of shape (n_features,), dtype float64
            Variance that such rows have on the average; at most that of all.
        """
        # The more of all variance is within groups, the less a group's mean is worth
        inner = np.divide(
            within, self.var_, out=np.ones_like(within), where=self.var_ > 0
        )
        share = _share(own.count, self.shrinkage * inner)
        mean = share * own.mean + (1 - share) * self.mean_
        unsure = (1 - share) * (self.var_ - within)
        share = _share(own.count, self.shrinkage)
        variance = share * own.variance + (1 - share) * within + unsure
        few = own.count < self.min_clips
        mean[few] = self.mean_[few]
        # A column without spread here is on the scale it has elsewhere
        few |= variance <= 0
        return mean, np.where(few, self.scale_, np.sqrt(np.maximum(variance, 0)))

    def _scale(self, X, mean, scale):
        """Scale X in place and return it."""
        if self.with_mean:
            X -= mean
        if self.with_std:
            X /= scale
        return X

    def _validated(self, X, *, reset):
        refuse_clips(self, X)
        return validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            reset=reset,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
