"""Scores of columns by scikit-learn's own functions, which know no NaN."""

import numpy as np
from sklearn.feature_selection import chi2, f_classif, mutual_info_classif
from sklearn.preprocessing import MinMaxScaler

from skmer.utils._seeds import draw_seeds


def score_columns(X, y, score_func, random_state):
    """Score columns, each on the clips that have a value in it.

    Parameters
    ----------
    X : ndarray of shape (n_clips, n_features)
        Finite numbers and NaN.
    y : ndarray of shape (n_clips,)
        Class of each clip.
    score_func : {"minmax", "f_classif", "mutual_info"}
        What to compute.
    random_state : int, RandomState or None
        For ``"mutual_info"``.

    Returns
    -------
    scores : ndarray of shape (n_features,), dtype float64
        0.0 for a column that is constant, has no values, or has them in one class.
    p_values : ndarray of shape (n_features,), dtype float64, or None
        1.0 for such a column; None for ``"mutual_info"``.
    """
    (seed,) = draw_seeds(random_state, 1)
    function = {
        "minmax": _minmax,
        "f_classif": _f_classif,
        "mutual_info": lambda X, y: (mutual_info_classif(X, y, random_state=seed), 1.0),
    }[score_func]
    scores, p_values = np.zeros(X.shape[1]), np.ones(X.shape[1])
    for rows, columns in _patterns(X):
        part, labels = X[np.ix_(rows, columns)], y[rows]
        if len(np.unique(labels)) < 2:
            continue
        varies = (part != part[:1]).any(axis=0)
        if varies.any():
            columns = columns[varies]
            scores[columns], p_values[columns] = function(part[:, varies], labels)
    return scores, None if score_func == "mutual_info" else p_values


def _patterns(X):
    """Yield (clips with values, columns) of columns that have the same NaN."""
    known = ~np.isnan(X)
    packed = np.packbits(known, axis=0).T
    _, first, pattern = np.unique(
        packed, axis=0, return_index=True, return_inverse=True
    )
    for i, column in enumerate(first):
        yield np.flatnonzero(known[:, column]), np.flatnonzero(pattern == i)


def _minmax(X, y):
    # In float64 and clipped: rounding must not make a number negative.
    return chi2(MinMaxScaler(clip=True).fit_transform(X.astype(np.float64)), y)


def _f_classif(X, y):
    # A column that tells the classes apart without error has an infinite score; with
    # one clip a class there is none.
    with np.errstate(divide="ignore", invalid="ignore"):
        scores, p_values = f_classif(X.astype(np.float64), y)
    none = np.isnan(scores)
    return np.where(none, 0.0, scores), np.where(none, 1.0, p_values)
