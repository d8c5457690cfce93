"""Series by clip id whose ids may be written otherwise than those of X."""

import os

from skmer.utils._clip_ids import warn_of_strangers


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
    warn_of_strangers(series, ids, name, stacklevel=6)
    return series
