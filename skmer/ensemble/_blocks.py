"""Blocks of columns of X, and which clips have them."""

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array

from skmer.utils._sklearn import _safe_indexing


def as_table(X):
    """Return X as something whose columns can be picked.

    Parameters
    ----------
    X : DataFrame, or array-like or sparse array of shape (n_clips, n_features)
        Features.

    Returns
    -------
    table : DataFrame, ndarray or sparse array
        A pandas DataFrame is returned as it is, one of another library as one of
        pandas.

    Raises
    ------
    ValueError
        If X has not two dimensions, or no rows or columns.
    """
    if not isinstance(X, pd.DataFrame):
        names = getattr(X, "columns", None)
        X = check_array(X, accept_sparse="csr", dtype=None, ensure_all_finite=False)
        return X if names is None else pd.DataFrame(X, columns=list(names))
    if not X.size:
        what = "row(s)" if not len(X) else "feature(s)"
        raise ValueError(
            f"X has 0 {what} (shape={X.shape}) while a minimum of 1 is required."
        )
    return X


def take_block(X, columns, rows=None):
    """Return some columns, and rows, of X.

    Parameters
    ----------
    X : DataFrame, ndarray or sparse array of shape (n_clips, n_features)
        Features.
    columns : ndarray of int64
        Which columns, in this order.
    rows : ndarray of int64, or None
        Which rows; None for all.

    Returns
    -------
    block : of the type of X
        A view where neighbouring columns of all rows are asked for.
    """
    whole = np.array_equal(columns, np.arange(X.shape[1]))
    if not whole:
        first, last = int(columns[0]), int(columns[-1])
        if np.array_equal(columns, np.arange(first, last + 1)):
            columns = slice(first, last + 1)
        X = X.iloc[:, columns] if isinstance(X, pd.DataFrame) else X[:, columns]
    return X if rows is None else _safe_indexing(X, rows)


def has_values(block, missing):
    """Return which clips have values in a block of columns.

    Parameters
    ----------
    block : DataFrame, ndarray or sparse array of shape (n_clips, n_columns)
        Numbers, or cells of anything; None, NaN, NA and arrays without steps are
        missing values.
    missing : {"any", "all"}
        Whether a clip lacks the block where any value is missing, or where all are.

    Returns
    -------
    present : ndarray of shape (n_clips,), dtype bool
    """
    if sparse.issparse(block):
        return np.ones(block.shape[0], dtype=bool)
    if not isinstance(block, pd.DataFrame):
        return ~_missing(block, missing)
    kinds = {getattr(dtype, "kind", "O") for dtype in block.dtypes}
    if kinds == {"f"} and all(isinstance(dtype, np.dtype) for dtype in block.dtypes):
        return ~_missing(block.to_numpy(), missing)
    parts = [_missing(block.iloc[:, [i]], missing) for i in range(block.shape[1])]
    join = np.logical_or if missing == "any" else np.logical_and
    return ~join.reduce(parts)


def _missing(block, missing):
    """Return which rows of an array, or of a frame of one column, lack values."""
    reduce = np.any if missing == "any" else np.all
    values = np.asarray(block)
    if values.dtype.kind == "f":
        # A row's sum is NaN where a value is; infinities can make it so as well.
        with np.errstate(invalid="ignore", over="ignore"):
            doubtful = np.flatnonzero(np.isnan(values.sum(axis=1)))
        lacking = np.zeros(len(values), dtype=bool)
        lacking[doubtful] = reduce(np.isnan(values[doubtful]), axis=1)
        return lacking
    if values.dtype.kind != "O":
        return np.zeros(len(values), dtype=bool)
    cells = pd.isna(values)
    for place, cell in np.ndenumerate(values):
        if isinstance(cell, np.ndarray) and cell.size == 0:
            cells[place] = True
    return reduce(cells, axis=1)
