"""Series by clip id whose ids may be written otherwise than those of X."""

import os
import warnings

import pandas as pd

# How many clips of either side a message names
_NAMED = 3


def written(clip):
    """Return a clip id as files hold it."""
    return os.fspath(clip) if isinstance(clip, os.PathLike) else str(clip)


def of_clips(series, ids, name):
    """Return a Series under the ids that clips have, where files hold text.

    Parameters
    ----------
    series : Series indexed by clip id
        Values; texts in the index stand for numbers or paths, where the clips of X
        have such ids.
    ids : Index of length n_rows, or None
        Clip ids of the rows.
    name : str
        What the Series is called in messages.

    Returns
    -------
    series : Series indexed by clip id

    Warns
    -----
    UserWarning
        If the Series has values, and none of a clip of X.
    """
    if ids is None:
        return series
    clips = {written(clip): clip for clip in ids.unique() if not isinstance(clip, str)}
    if clips:
        series = series.rename(
            index=lambda clip: clips.get(clip, clip) if isinstance(clip, str) else clip
        )
    known = series.dropna().index
    if len(known) and not known.isin(ids).any():
        warnings.warn(
            f"None of the {len(known.unique())} clips in {name} is in X, so they say "
            f"nothing: {name} has {_some(known)}, X has {_some(ids)}. Index it by the "
            "clip ids of X, unless all of its clips are held out.",
            stacklevel=6,
        )
    return series


def _some(ids):
    ids = pd.Index(ids).unique()
    dots = ", ..." if len(ids) > _NAMED else ""
    return ", ".join(map(repr, ids[:_NAMED].tolist())) + dots
