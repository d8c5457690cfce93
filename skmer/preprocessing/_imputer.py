"""Filling the blocks of clips that lack a modality."""

from collections.abc import Mapping

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skmer._streams import resolve_streams
from skmer.utils._features import refuse_clips
from skmer.utils._sklearn import _check_feature_names_in, _fit_context


class ModalityImputer(TransformerMixin, BaseEstimator):
    """Fill missing values with training means, stream by stream.

    A clip without sound, face or words has NaN in that block of columns. skmer's
    fusion classifiers mask such a block; most other estimators refuse NaN, and this
    is what goes before them.

    Parameters
    ----------
    streams : None, sequence of str or dict, default=None
        The blocks of columns, as for the fusion classifiers: None reads them from
        the column names, a sequence names them, a dict gives each one's columns as
        a slice, names or indices. Columns of no stream are filled as well.
    add_indicator : bool, default=False
        Add a column per stream, ``<stream>__missing``: 1.0 where the whole block of
        a clip was missing, else 0.0.

    Attributes
    ----------
    statistics_ : ndarray of shape (n_features,), dtype float64
        Mean of each column over the training rows that have a value; 0.0 for a
        column that none has.
    streams_ : dict of str to ndarray of int64
        Column indices of each stream.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of X, where it has any.

    See Also
    --------
    skmer.fusion.AttentionFusionClassifier : Needs no imputer, masks missing streams.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.preprocessing import ModalityImputer
    >>> X = pd.DataFrame({"audio__0": [1.0, 3.0, np.nan], "text__0": [1.0, np.nan, 0]})
    >>> imputer = ModalityImputer(add_indicator=True).set_output(transform="pandas")
    >>> imputer.fit_transform(X)
       audio__0  text__0  audio__missing  text__missing
    0       1.0      1.0             0.0            0.0
    1       3.0      0.5             0.0            1.0
    2       2.0      0.0             1.0            0.0
    """

    _parameter_constraints: dict = {
        "streams": [None, "array-like", Mapping],
        "add_indicator": ["boolean"],
    }

    def __init__(self, *, streams=None, add_indicator=False):
        self.streams = streams
        self.add_indicator = add_indicator

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the mean of every column.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features, NaN where missing.
        y : None
            Ignored.

        Returns
        -------
        self : ModalityImputer

        Raises
        ------
        MissingStreamError
            If a stream is named that X does not have.
        """
        X = self._validated(X, reset=True)
        names = getattr(self, "feature_names_in_", None)
        self.streams_ = resolve_streams(self.streams, names, X.shape[1])
        known = ~np.isnan(X)
        counts = known.sum(axis=0)
        # Zeroed in place of masked: a reduction over a copy, half the memory of
        # numpy.nanmean and no warning for an empty column.
        totals = np.where(known, X, 0).sum(axis=0, dtype=np.float64)
        self.statistics_ = totals / np.maximum(counts, 1)
        return self

    def transform(self, X):
        """Fill missing values.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features, NaN where missing.

        Returns
        -------
        X_filled : ndarray of shape (n_clips, n_features [+ n_streams])
            Without NaN; float32 stays float32, other numbers become float64.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        missing = np.isnan(X)
        filled = np.where(missing, self.statistics_.astype(X.dtype), X)
        if not self.add_indicator:
            return filled
        indicators = [
            missing[:, columns].all(axis=1, keepdims=True)
            for columns in self.streams_.values()
        ]
        return np.hstack([filled, *indicators], dtype=X.dtype)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns in, for an X without names.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
        """
        check_is_fitted(self)
        names = list(_check_feature_names_in(self, input_features))
        if self.add_indicator:
            names += [f"{stream}__missing" for stream in self.streams_]
        return np.asarray(names, dtype=object)

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
