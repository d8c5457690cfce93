"""What samplers have in common: labels, containers and clip ids."""

from itertools import count, islice

import numpy as np
import pandas as pd
import scipy.sparse
from imblearn.base import BaseSampler
from sklearn.utils import indexable
from sklearn.utils.validation import validate_data

from skmer.utils import split_labels
from skmer.utils._sklearn import _fit_context, _safe_indexing


class BaseLabelSampler(BaseSampler):
    """A sampler that knows unlabelled rows and keeps containers and clip ids.

    Subclasses write ``_fit_resample(X, labelled, classes, codes)``, which returns the
    rows after sampling, the row of X that each comes from, -1 for none, and the code
    of each one's label, -1 for unlabelled.
    """

    _sampling_type = "bypass"

    def fit(self, X, y):
        """Sample, and keep only what was learnt from it.

        Parameters
        ----------
        X : indexable of length n_rows
            Clips or features.
        y : array-like of shape (n_rows,)
            Labels.

        Returns
        -------
        self : sampler
        """
        self.fit_resample(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_resample(self, X, y):
        """Sample rows.

        Parameters
        ----------
        X : indexable of length n_rows
            Clips or features: list, array, Series or DataFrame.
        y : array-like of shape (n_rows,)
            Labels; -1 in integers and None or NaN in strings where unlabelled.

        Returns
        -------
        X_resampled : same type as X, of length n_rows_out
            The rows, each with its clip id where X has any.
        y_resampled : same type as y, of length n_rows_out
            Their labels.

        Raises
        ------
        ValueError
            If no row is labelled.
        """
        # Says what is missing where y is None; sets the columns' number and names
        validate_data(self, X, None if y is None else "no_validation", **_NO_CHECK)
        X, y = indexable(X, y)
        labelled, classes, codes = split_labels(y)
        if not labelled.any():
            raise ValueError(
                f"None of the {len(labelled)} rows is labelled, and "
                f"{type(self).__name__} works on classes (-1 in integers, and None or "
                "NaN in strings, mark an unlabelled row)."
            )
        sampled, rows, labels = self._fit_resample(X, labelled, classes, codes)
        self.sample_indices_ = rows
        sampled = with_index(sampled, X, rows)
        return sampled, labels_of(y, codes, labels, sampled, rows)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = True
        return tags


_NO_CHECK = {"reset": True, "skip_check_array": True}


def with_index(sampled, X, rows):
    """Give rows the clip ids of the rows of X that they come from."""
    if not isinstance(sampled, pd.DataFrame | pd.Series):
        return sampled
    sampled = sampled.copy(deep=False)
    sampled.index = index_of(X.index, rows)
    return sampled


def index_of(index, rows):
    """Return the ids of rows; new ones, which no row has, for those made up."""
    made_up = rows == -1
    ids = index.take(np.where(made_up, 0, rows))
    n_new = int(made_up.sum())
    if not n_new:
        return ids
    if pd.api.types.is_integer_dtype(index.dtype):
        values = ids.to_numpy(copy=True)
        values[made_up] = int(index.max()) + 1 + np.arange(n_new)
    else:
        values = ids.to_numpy(dtype=object, copy=True)
        taken = set(index)
        names = (f"synthetic_{number}" for number in count())
        free = (name for name in names if name not in taken)
        values[made_up] = list(islice(free, n_new))
    dtype = index.dtype if pd.api.types.is_string_dtype(index.dtype) else None
    return pd.Index(values, name=index.name, dtype=dtype)


def labels_of(y, codes, labels, sampled, rows):
    """Return labels in the type of y.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
        Labels before sampling.
    codes : ndarray of shape (n_rows,), dtype int64
        Codes of their classes, -1 for unlabelled.
    labels : ndarray of shape (n_rows_out,), dtype int64
        Codes after sampling.
    sampled : indexable of length n_rows_out
        Rows after sampling.
    rows : ndarray of shape (n_rows_out,), dtype int64
        Rows they come from, -1 for those made up.

    Returns
    -------
    y_resampled : same type as y, of length n_rows_out
    """
    # Any row of a class says how y writes that class
    present, first = np.unique(codes, return_index=True)
    taken = _safe_indexing(y, first[np.searchsorted(present, labels)])
    if isinstance(taken, pd.DataFrame | pd.Series):
        taken = taken.copy(deep=False)
        known = isinstance(sampled, pd.DataFrame | pd.Series)
        taken.index = sampled.index if known else index_of(y.index, rows)
    return taken


def stacked(first, second):
    """Return rows of one type below each other."""
    if isinstance(first, pd.DataFrame | pd.Series):
        return pd.concat([first, second])
    if scipy.sparse.issparse(first):
        return scipy.sparse.vstack([first, second], format=first.format)
    if isinstance(first, list):
        return first + list(second)
    return np.concatenate([first, second])
