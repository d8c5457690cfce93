"""Telling clips from features."""

import os

import numpy as np
import pandas as pd


def refuse_clips(estimator, X):
    """Raise an error that says what to do where X holds clips in place of features.

    Parameters
    ----------
    estimator : object
        Who asks; its class is named.
    X : object
        What was passed; all but paths and words is left to other checks.

    Raises
    ------
    ValueError
        If X is a list, an array or a Series of paths, or a frame with a column of
        words.
    """
    if isinstance(X, pd.DataFrame):
        other = [not pd.api.types.is_numeric_dtype(dtype) for dtype in X.dtypes]
        cells = (_first_cell(X.iloc[:, i]) for i in np.flatnonzero(other))
        found = next((cell for cell in cells if _is_words(cell)), None)
    elif isinstance(X, pd.Series):
        found = _first_cell(X)
    elif isinstance(X, list | tuple | np.ndarray) and np.iterable(X):
        found = next(iter(X), None)
    else:
        found = None
    if _is_words(found):
        raise ValueError(
            f"{type(estimator).__name__} needs features, columns of numbers. Got "
            f"{type(X).__name__} with {str(found)!r} in it. Put encoders before it, as "
            "in make_pipeline(ClipTable(), encoders, ...)."
        )


def _first_cell(column):
    """Return the first cell of a column that has a value, None where none has."""
    known = column.dropna()
    return known.iloc[0] if len(known) else None


def _is_words(cell):
    """Return if a cell is a path or words, and no number written out."""
    if isinstance(cell, os.PathLike):
        return True
    if not isinstance(cell, str):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False
