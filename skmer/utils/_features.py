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
        dtypes = X.dtypes.to_numpy()
        # Thousands of columns are of few types
        numeric = {d: pd.api.types.is_numeric_dtype(d) for d in set(dtypes)}
        other = [not numeric[dtype] for dtype in dtypes]
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
            "in make_pipeline(ClipTable(), encoders, ...), or, if a recipe made it, "
            "leave encoders=None out."
        )


def refuse_sequences(estimator, X):
    """Raise an error that says what to do where cells of X hold sequences.

    Parameters
    ----------
    estimator : object
        Who asks; its class is named.
    X : object
        What was passed; only frames and 2-D arrays of objects are looked at.

    Raises
    ------
    ValueError
        If a column has a list, a tuple or an array of some dimension in a cell.
    """
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        X = pd.DataFrame(X)
    if not isinstance(X, pd.DataFrame):
        return
    objects = [pd.api.types.is_object_dtype(dtype) for dtype in X.dtypes]
    for i in np.flatnonzero(objects):
        column = X.iloc[:, i]
        found = next((cell for cell in column if _is_sequence(cell)), None)
        if found is not None:
            raise ValueError(
                f"{type(estimator).__name__} needs one number in each cell. Column "
                f"{X.columns[i]!r} has sequences ({type(found).__name__} in it). Pool "
                "them over time: make features with the encoder's pooling='mean'."
            )


def _first_cell(column):
    """Return the first cell of a column that has a value, None where none has."""
    known = column.dropna()
    return known.iloc[0] if len(known) else None


def _is_sequence(cell):
    """Return if a cell holds several steps; arrays on disk have a shape, too."""
    return isinstance(cell, (list, tuple)) or len(getattr(cell, "shape", ())) > 0


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
