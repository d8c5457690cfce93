"""The inner split that early stopping watches."""

import warnings
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold


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
    units = group_codes(clips, groups, len(codes))
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
    order = np.lexsort((codes, units))
    first = np.unique(units[order], return_index=True)[1]
    lowest = codes[order][first]
    pure = np.array_equal(lowest[units], codes)
    largest = np.bincount(lowest).max() if pure else 0
    if pure and largest >= n_splits:
        learn, watch = _first(
            StratifiedKFold(n_splits, shuffle=True, random_state=seed), lowest, None
        )
        watched = np.isin(units, watch)
        return np.flatnonzero(~watched), np.flatnonzero(watched)
    if np.bincount(codes).max() < n_splits:
        raise ValueError(
            f"train_split={train_split!r} cannot be stratified: no class has "
            f"{n_splits} labelled rows. Fit on more clips or pass train_split=None."
        )
    return _first(
        StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed), codes, units
    )


def _first(splitter, codes, units):
    with warnings.catch_warnings():
        # The first says nothing that helps here: a small class is learnt from and
        # may be absent from the part that is watched. Groups are checked afterwards.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "The groups parameter is ignored")
        return next(iter(splitter.split(np.zeros(len(codes)), codes, units)))


def group_codes(clips, groups, n_rows):
    """Return the number of each row's group, or of its clip where there are none.

    Parameters
    ----------
    clips : Index of length n_rows, or None
        Clip ids.
    groups : Series indexed by clip id, or None
        Group of each clip.
    n_rows : int
        Number of rows.

    Returns
    -------
    codes : ndarray of shape (n_rows,), dtype int64
        Numbers from 0 on.

    Raises
    ------
    ValueError
        If ``groups`` lacks a clip.
    """
    if groups is None:
        if clips is None:
            return np.arange(n_rows)
        return pd.factorize(clips)[0].astype(np.int64)
    if clips is None:
        raise ValueError(
            "groups is a Series indexed by clip id, but X has no index. Call "
            "set_output(transform='pandas') on the steps before."
        )
    lookup = groups[~groups.index.duplicated()]
    where = lookup.index.get_indexer(clips)
    if (where < 0).any():
        clip = clips[int(np.argmax(where < 0))]
        raise ValueError(
            f"groups has no entry for clip {clip!r} ({int((where < 0).sum())} of "
            f"{n_rows} labelled rows lack one). Index it by the clip ids of X."
        )
    values = lookup.iloc[where]
    if values.isna().any():
        raise ValueError(
            f"groups holds no value for clip {values.index[values.isna()][0]!r}."
        )
    return pd.factorize(values.to_numpy())[0].astype(np.int64)


def _checked(learn, watch, units):
    if np.intersect1d(units[learn], units[watch]).size:
        raise ValueError(
            "The splitter given as train_split puts copies of one clip, or clips of "
            "one group, on both sides. Pass a grouping splitter, or a float or int."
        )
    return np.asarray(learn), np.asarray(watch)
