"""The inner split that early stopping watches."""

import warnings
from numbers import Integral

import numpy as np

from skmer.utils._clip_ids import unit_codes
from skmer.utils._folds import learnt_and_watched


def inner_split(train_split, codes, clips, groups, seed):
    """Divide training rows into a part to learn from and a part to watch.

    Parameters
    ----------
    train_split : float, int or splitter
        Share of the rows to watch; number of folds, one of which is watched; or an
        object with ``split(X, y, groups)``, whose first split is taken.
    codes : ndarray of shape (n_rows,), dtype int64
        Classes of the rows.
    clips : Index of length n_rows, or None
        Clip ids; rows that share one stay together. None: every row is its own clip.
    groups : Series indexed by clip id, or None
        Group, such as the speaker, of each clip; a group stays together.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    learn, watch : ndarray of int64
        Rows of the two parts.

    Raises
    ------
    ValueError
        If there are too few groups, or ``groups`` lacks a clip.
    """
    units = unit_codes(clips, groups, len(codes))
    if hasattr(train_split, "split"):
        return _checked(*_first(train_split, codes, units), units)
    n_splits = (
        int(train_split)
        if isinstance(train_split, Integral)
        else max(2, round(1 / train_split))
    )
    n_units = int(units.max()) + 1
    if n_units < n_splits:
        what = "groups" if groups is not None else "clips"
        raise ValueError(
            f"train_split={train_split!r} needs {n_splits} {what} to set one part in "
            f"{n_splits} aside, but the labelled rows hold {n_units}. Fit on more "
            "clips, set a larger part aside, or pass train_split=None."
        )
    if np.bincount(codes).max() < n_splits:
        raise ValueError(
            f"train_split={train_split!r} cannot be stratified: no class has "
            f"{n_splits} labelled rows. Fit on more clips or pass train_split=None."
        )
    return learnt_and_watched(codes, units, n_splits, seed)


def _first(splitter, codes, units):
    with warnings.catch_warnings():
        # A small class is learnt from and may be absent from the part that is
        # watched. Groups are checked afterwards.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "The groups parameter is ignored")
        return next(iter(splitter.split(np.zeros(len(codes)), codes, units)))


def _checked(learn, watch, units):
    if np.intersect1d(units[learn], units[watch]).size:
        raise ValueError(
            "The splitter given as train_split puts copies of one clip, or clips of "
            "one group, on both sides. Pass a grouping splitter, or a float or int."
        )
    return np.asarray(learn), np.asarray(watch)
