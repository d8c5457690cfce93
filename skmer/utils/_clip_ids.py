"""Clip ids of X, and what a Series indexed by them knows of its rows."""

import os
import warnings

import numpy as np
import pandas as pd

# How many clips of either side a message names
_NAMED = 3


def clip_ids(X):
    """Return the clip id of each row of X, or None where X has none.

    Parameters
    ----------
    X : DataFrame, Series, or array-like of shape (n_clips, ...)
        A frame or Series has its index; a list or array of paths, the paths. Path
        objects become strings.

    Returns
    -------
    ids : Index of length n_clips, or None
        None for arrays and lists that are not of paths.
    """
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return plain_ids(X.index)
    if getattr(X, "ndim", 1) != 1 or not len(X):
        return None
    if not all(isinstance(cell, (str, os.PathLike)) for cell in X):
        return None
    return pd.Index([os.fspath(cell) for cell in X])


def plain_ids(index):
    """Return clip ids with strings in place of Path objects.

    Parameters
    ----------
    index : Index
        Clip ids.

    Returns
    -------
    ids : Index
        The index itself where it holds no Path.
    """
    # Strings have a dtype of their own; tuples of a MultiIndex are no paths
    if index.dtype != object or not any(isinstance(c, os.PathLike) for c in index):
        return index
    return pd.Index([os.fspath(c) if isinstance(c, os.PathLike) else c for c in index])


def known_clips(index):
    """Return a sentence that names clips of an index, for messages."""
    if not len(index):
        return "It knows no clip."
    return f"It knows clips such as {', '.join(map(repr, index[:2]))}."


def warn_of_strangers(known, ids, name, stacklevel):
    """Warn where what is known of clips is of none of X.

    Parameters
    ----------
    known : Series or DataFrame indexed by clip id
        Values; rows without any are not counted.
    ids : Index of length n_rows, or None
        Clip ids of the rows; None warns of nothing.
    name : str
        What holds the values is called in messages.
    stacklevel : int
        Frame that the warning names, 1 for the caller of this function.

    Warns
    -----
    UserWarning
        If there are values, and none of a clip of X.
    """
    if ids is None or not len(ids):
        return
    clips, ids = plain_ids(known.dropna(how="all").index), plain_ids(ids)
    if len(clips) and not clips.isin(ids).any():
        warnings.warn(
            f"None of the {len(clips.unique())} clips in {name} is in X, so they say "
            f"nothing: {name} has {_some(clips)}, X has {_some(ids)}. Index it by the "
            "clip ids of X, unless all of its clips are held out.",
            stacklevel=stacklevel + 1,
        )


def _some(ids):
    ids = ids.unique()
    dots = ", ..." if len(ids) > _NAMED else ""
    return ", ".join(map(repr, ids[:_NAMED].tolist())) + dots


def look_up(series, ids, name, *, required=True):
    """Return what a Series indexed by clip id holds for each row.

    Parameters
    ----------
    series : Series indexed by clip id
        Values; a clip may occur several times with one and the same value.
    ids : Index of length n_rows, or None
        Clip ids of the rows, from :func:`clip_ids`.
    name : str
        What the Series is called in messages.
    required : bool, default=True
        Whether every row needs a value.

    Returns
    -------
    values : Series of length n_rows
        In the order of the rows; without ``required``, NaN where there is none.

    Raises
    ------
    TypeError
        If it is no Series.
    ValueError
        If X has no clip ids, a clip has two different values, or a value that is
        required is missing.
    """
    if not isinstance(series, pd.Series):
        raise TypeError(
            f"{name} must be a Series indexed by clip id. Got {type(series).__name__}."
        )
    if ids is None:
        raise ValueError(
            f"{name} is a Series indexed by clip id, but X has no clip ids. Pass a "
            "DataFrame, whose index they are (set_output(transform='pandas') on the "
            "steps before), or a list of paths."
        )
    known = series.dropna()
    known.index, ids = plain_ids(known.index), plain_ids(ids)
    lookup = known[~known.index.duplicated()]
    if len(lookup) < len(known):
        first = lookup.loc[known.index].to_numpy()
        differs = np.asarray(first != known.to_numpy(), dtype=bool)
        if differs.any():
            clip = known.index[int(np.argmax(differs))]
            raise ValueError(
                f"{name} holds different values for clip {clip!r}: "
                f"{', '.join(sorted({repr(v) for v in known.loc[[clip]]}))}. "
                "Leave one."
            )
    values = lookup.reindex(ids)
    absent = values.isna().to_numpy()
    if required and absent.any():
        clip = ids[int(np.argmax(absent))]
        raise ValueError(
            f"{name} has no value for clip {clip!r} ({int(absent.sum())} of "
            f"{len(ids)} rows lack one). {known_clips(lookup.index)} Index it by the "
            "clip ids of X."
        )
    return values


def aligned_groups(groups, ids, name="groups", *, required=True):
    """Return groups passed beside X in the order of its rows.

    A Series is read by clip id, as everywhere, where X has clip ids; all else, and a
    Series beside an X without ids, by position, as scikit-learn reads it.

    Parameters
    ----------
    groups : Series indexed by clip id, array-like of length n_rows, or None
        Group, such as the speaker, of each clip or row. A Series may know more clips
        than X holds.
    ids : Index of length n_rows, or None
        Clip ids of the rows, from :func:`clip_ids`.
    name : str, default="groups"
        What the groups are called in messages.
    required : bool, default=True
        Whether every row needs a group where a Series is looked up.

    Returns
    -------
    groups : Series or array-like of length n_rows, or None
        A Series has the clip ids as its index. Without ``required``, NaN where there
        is no group.

    Raises
    ------
    ValueError
        If a Series is not indexed by the clip ids: a value that is required is
        missing, or a clip has two different values.
    """
    if not isinstance(groups, pd.Series) or ids is None or groups.index.equals(ids):
        return groups
    return look_up(groups, ids, name, required=required)


def unit_codes(ids, groups, n_rows, name="groups"):
    """Return the number of what must stay together when rows are divided.

    Parameters
    ----------
    ids : Index of length n_rows, or None
        Clip ids; copies of a clip stay together. None: every row is its own clip.
    groups : Series indexed by clip id, or None
        Group, such as the speaker, of each clip; a group stays together.
    n_rows : int
        Number of rows.
    name : str, default="groups"
        What the Series is called in messages.

    Returns
    -------
    codes : ndarray of shape (n_rows,), dtype int64
        Numbers from 0 on.

    Raises
    ------
    ValueError
        If ``groups`` lacks a clip or gives one two groups.
    """
    if groups is not None:
        ids = look_up(groups, ids, name)
    if ids is None:
        return np.arange(n_rows, dtype=np.int64)
    return pd.factorize(np.asarray(ids))[0].astype(np.int64)
