"""Which rows carry a label, and what their classes are."""

import warnings
from numbers import Integral, Real

import numpy as np
import pandas as pd

# What a missing label becomes where it is turned into a string
_WRITTEN_OUT = {"", "nan", "None", "<NA>"}


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

    Warns
    -----
    UserWarning
        If a class is a string that missing labels become in an array of strings:
        ``""``, ``"nan"``, ``"None"`` or ``"<NA>"``, or ``"-1"`` beside words.

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
    if kind == "string":
        _tell_of_missing(classes.tolist())
    return labelled, classes, codes


def _tell_of_missing(classes):
    """Warn of classes that look like missing labels turned into strings."""
    wrong = _WRITTEN_OUT.intersection(classes)
    if "-1" in classes and not all(map(_is_whole, classes)):
        wrong.add("-1")
    if wrong:
        # Of this line, so that each text is shown once and not for every fit
        warnings.warn(
            f"y holds the string {sorted(wrong)[0]!r}, which counts as a class. Mark "
            "unlabelled rows by None or NaN, in a list, a Series or an array of dtype "
            "object: an array of strings, as astype(str) makes it, cannot hold them. "
            "Rename the class if it is one.",
            UserWarning,
            stacklevel=1,
        )


def _is_whole(label):
    return label.removeprefix("-").isdigit()


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
