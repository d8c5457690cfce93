"""What every fit asks of X and y before it looks into them."""

import warnings

from sklearn.exceptions import DataConversionWarning


def require_y(name, y):
    """Raise scikit-learn's error where there is no y.

    Parameters
    ----------
    name : str
        Class of the estimator that asks.
    y : object
        What was given.

    Raises
    ------
    ValueError
        If y is None.
    """
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")


def warn_of_column(y, stacklevel):
    """Give scikit-learn's warning where y is a column in place of a row of labels.

    Parameters
    ----------
    y : object
        What was given.
    stacklevel : int
        As for :func:`warnings.warn`, counted from the caller: 1 is its own line.

    Returns
    -------
    is_column : bool
    """
    is_column = getattr(y, "ndim", 1) == 2 and y.shape[1] == 1
    if is_column:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected.",
            DataConversionWarning,
            stacklevel=stacklevel + 1,
        )
    return is_column


def refuse_complex(X):
    """Raise scikit-learn's error where X holds complex numbers.

    Parameters
    ----------
    X : object
        What was given.

    Raises
    ------
    ValueError
        If it does.
    """
    if getattr(getattr(X, "dtype", None), "kind", None) == "c":
        raise ValueError("Complex data not supported: X holds complex numbers.")
