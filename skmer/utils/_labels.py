"""Which rows carry a label, and what their classes are."""

from numbers import Integral, Real

import numpy as np
import pandas as pd


def split_labels(y):
    """Tell labelled rows from unlabelled ones and encode the classes.

    A row is unlabelled where y is ``-1`` in integers (unless the labels are
    exactly -1 and 1, scikit-learn's binary convention) or None, NaN or NA in
    strings, integers or booleans.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Integers, whole floats, booleans or strings.

    Returns
    -------
    labelled : ndarray of shape (n_samples,), dtype bool
        True where the row has a label.
    classes : ndarray of shape (n_classes,)
        The sorted labels that occur; never the mark of an unlabelled row.
    codes : ndarray of shape (n_samples,), dtype int64
        Position of each label in ``classes``, -1 where unlabelled.

    Raises
    ------
    ValueError
        If y is not one-dimensional, holds fractional numbers, infinities, or
        strings beside numbers.

    Examples
    --------
    >>> from skmer.utils import split_labels
    >>> labelled, classes, codes = split_labels(["sad", None, "happy"])
    >>> labelled, classes, codes
    (array([ True, False,  True]), array(['happy', 'sad'], dtype=object),
     array([ 1, -1,  0]))
    """
    values, kind = _values(y)
    missing = pd.isna(values)
    labelled = ~missing
    if labelled.any() and kind == "number":
        numbers = values[labelled].astype(np.float64)
        if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
            raise ValueError(
                "y holds fractional or infinite numbers, so it is no set of "
                "classes. Unknown label type: continuous. Pass integers or strings."
            )
        if set(np.unique(numbers)) != {-1.0, 1.0}:
            labelled[labelled] = numbers != -1
    known = values[labelled]
    if kind == "number":
        known = _as_numbers(known, y)
    elif kind == "bool":
        # scikit-learn takes booleans in an object array for no labels at all
        known = known.astype(bool)
    elif isinstance(y, np.ndarray) and y.dtype.kind == "U":
        known = known.astype(y.dtype)
    codes = np.full(len(values), -1, dtype=np.int64)
    if len(known) == 0:
        return labelled, known, codes
    classes, inverse = np.unique(known, return_inverse=True)
    codes[labelled] = inverse
    return labelled, classes, codes


def _values(y):
    """Return y as a 1-D array that pandas.isna understands, and its kind."""
    values = y if isinstance(y, np.ndarray) else np.asarray(y, dtype=_dtype(y))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"y must be one label a row, a 1-D array. Got an array of shape "
            f"{values.shape}."
        )
    if values.dtype.kind in "biuf":
        return values, "bool" if values.dtype.kind == "b" else "number"
    if values.dtype.kind in "UST":
        return values.astype(object), "string"
    if values.dtype.kind != "O":
        raise ValueError(f"y must hold integers or strings. Got dtype {values.dtype}.")
    known = values[~pd.isna(values)]
    kinds = {_kind(value) for value in known}
    if len(kinds) > 1 or kinds == {"other"}:
        given = sorted({type(value).__name__ for value in known})
        raise ValueError(
            "y must hold integers or strings, not both, and unlabelled rows as "
            f"None or NaN beside strings, -1 beside integers. Got {', '.join(given)}."
        )
    return values, kinds.pop() if kinds else "string"


def _dtype(y):
    # A list of strings and None must not become the strings "sad" and "None".
    if hasattr(y, "dtype") and isinstance(y.dtype, np.dtype):
        return y.dtype
    if hasattr(y, "__array__"):
        return object
    return None if all(isinstance(v, Real) for v in y) else object


def _kind(value):
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (Integral, Real)):
        return "number"
    return "string" if isinstance(value, str) else "other"


def _as_numbers(known, y):
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return known.astype(dtype)
    return known.astype(np.int64)
