"""Taking labels out of whatever holds y, and putting others in."""

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils import indexable

from skmer.utils import split_labels
from skmer.utils._fit_inputs import refuse_complex, require_y


def check_inputs(X, y, name):
    """Return X to be indexed, and refuse what no estimator here can take.

    Parameters
    ----------
    X : object
        Whatever is to be refined.
    y : array-like
        Annotations.
    name : str
        What the caller is called.

    Returns
    -------
    X : indexable
    """
    require_y(name, y)
    if issparse(X):
        raise TypeError(
            f"{name} takes no sparse X: Sparse data was passed. Use X.toarray()."
        )
    (X,) = indexable(X)
    refuse_complex(X)
    shape = getattr(X, "shape", ())
    if len(shape) == 2 and shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={tuple(shape)}) while a minimum of "
            "1 is required."
        )
    return X


class Targets:
    """The labels of y, and how to give the same container back.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, 1)
        Labels.
    """

    def __init__(self, y):
        if not isinstance(y, (list, np.ndarray, pd.Series, pd.DataFrame)):
            y = np.asarray(y)
        self.y = y
        one_column = isinstance(y, pd.DataFrame) and y.shape[1] == 1
        column = y.iloc[:, 0] if one_column else y
        self.labelled, self.classes, self.codes = split_labels(column)

    def changed(self, codes, kept):
        """Return y of the rows ``kept`` with labels ``codes``, -1 where none is new."""
        rows = np.flatnonzero(codes >= 0)
        labels = self.classes[codes[rows]]
        if isinstance(self.y, pd.DataFrame):
            y = self.y.copy()
            y.iloc[rows, 0] = labels
            return y.iloc[kept]
        if isinstance(self.y, pd.Series):
            y = self.y.copy()
            y.iloc[rows] = labels
            return y.iloc[kept]
        if isinstance(self.y, np.ndarray):
            y = self.y.copy()
            y[rows] = labels.reshape((-1,) + (1,) * (y.ndim - 1))
            return y[kept]
        y = list(self.y)
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
            y[row] = label
        return [y[row] for row in kept]
