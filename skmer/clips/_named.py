"""What to do about frames whose columns have other names than those of clips."""

import os

import pandas as pd

from skmer._streams import modality_of
from skmer.clips._cells import COLUMNS, FEATURES_GO
from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

# Under which a table's ``attrs`` have the advice for encoders that find nothing
ADVICE = "skmer_columns"
# How many columns a message names.
_NAMED = 10


def advice_on_names(X):
    """Return what to do about the columns that a frame lacks, where that is known.

    Parameters
    ----------
    X : DataFrame
        What a user passed as clips.

    Returns
    -------
    advice : dict of str to str
        By the column, parts of a message without a full stop: ``"video"`` and
        ``"audio"`` where both are lacking, others where a column differs in case
        alone. Empty where there is nothing to say.
    """
    names = [str(name) for name in X.columns]
    near = {name.strip().casefold(): name for name in names}
    renames = {
        name: f"{near[name]!r} to {name!r}"
        for name in COLUMNS
        if name in near and name not in names
    }
    advice = {name: f"Rename the column {rename}" for name, rename in renames.items()}
    if "video" in names or "audio" in names:
        return advice
    paths = [renames[name] for name in ("video", "audio") if name in renames]
    has = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    said = (
        f"X has no column 'video' or 'audio', but {has or 'no column at all'}. Rename "
        f"{' and '.join(paths) or _renamed_paths(X, names)}, or use "
        "skmer.datasets.load_clips"
    )
    return advice | {"video": said, "audio": said}


def refuse_features(X, owner):
    """Raise an error that says what to do with features in place of clips.

    Parameters
    ----------
    X : DataFrame
        What a user passed as clips.
    owner : str
        Name of the estimator, for messages.

    Raises
    ------
    ValueError
        If there are columns and all are of numbers, or one is named after a stream.
    """
    names = [str(name) for name in X.columns]
    streams = [n for n in names if "__" in n and modality_of(n) in COLUMNS]
    numbers = all(map(pd.api.types.is_numeric_dtype, X.dtypes))
    if streams or (names and numbers):
        raise ValueError(
            f"{owner} needs clips, paths to files. X looks like features: it has "
            f"{len(names)} columns such as {(streams or names)[0]!r}. {FEATURES_GO}."
        )


def _renamed_paths(X, names):
    """Return what to rename: the first column whose first cell is a media file."""
    for i, name in enumerate(names):
        known = X.iloc[:, i].dropna()
        cell = known.iloc[0] if len(known) else None
        if isinstance(cell, (str, os.PathLike)):
            suffix = os.path.splitext(str(cell))[1].lower()
            if suffix in VIDEO_SUFFIXES:
                return f"{name!r} to 'video'"
            if suffix in AUDIO_SUFFIXES:
                return f"{name!r} to 'audio'"
    return "the column that holds the paths to 'video'"
