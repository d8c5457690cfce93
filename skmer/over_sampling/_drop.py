"""Leaving unlabelled rows to others."""

import numpy as np

from skmer.over_sampling._base import BaseLabelSampler
from skmer.utils._sklearn import _safe_indexing


class DropUnlabeled(BaseLabelSampler):
    """Drop unlabelled rows, for estimators that do not know what they are.

    scikit-learn's classifiers take -1 for a class and refuse None; skmer's own leave
    such rows out by themselves. Steps of a pipeline that learn from unlabelled rows
    too, a scaler for example, go before this one.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_labelled,), dtype int64
        Rows that were kept.
    n_features_in_ : int
        Number of columns of X, where it has columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    LabeledSampler : Runs a sampler on the labelled rows and keeps the others.
    skmer.model_selection.UnlabeledInTrain : Keeps them out of test parts.

    Notes
    -----
    Labels keep their type, but for numbers in an object array or Series (integers
    beside None): they become an array of integers or booleans, as scikit-learn takes
    objects for strings.

    Examples
    --------
    >>> from imblearn.pipeline import make_pipeline
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmer.over_sampling import DropUnlabeled
    >>> X = [[0.0], [1.0], [2.0], [3.0], [9.0]]
    >>> y = ["sad", "sad", "happy", "happy", None]
    >>> model = make_pipeline(StandardScaler(), DropUnlabeled(), LogisticRegression())
    >>> model.fit(X, y).predict([[0.5], [2.5]])
    array(['sad', 'happy'], dtype='<U5')
    """

    _parameter_constraints: dict = {}

    def __init__(self):
        pass

    def _fit_resample(self, X, labelled, classes, codes):
        rows = np.flatnonzero(labelled)
        return _safe_indexing(X, rows), rows, codes[rows]

    def fit_resample(self, X, y):
        """Drop unlabelled rows.

        Parameters
        ----------
        X : indexable of length n_rows
            Clips or features: list, array, Series or DataFrame.
        y : array-like of shape (n_rows,)
            Labels; -1 in integers and None or NaN in strings where unlabelled.

        Returns
        -------
        X_labelled : same type as X, of length n_labelled
            Rows with a label.
        y_labelled : same type as y, of length n_labelled
            Their labels.

        Raises
        ------
        ValueError
            If no row is labelled.
        """
        X, y = super().fit_resample(X, y)
        if isinstance(getattr(y, "dtype", None), np.dtype) and y.dtype.kind == "O":
            values = np.asarray(y).ravel()
            if not isinstance(values[0], str):
                whole = not isinstance(values[0], bool | np.bool_)
                y = y.astype(np.int64 if whole else bool)
        return X, y

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags
