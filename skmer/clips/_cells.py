"""What a user passes as clips, turned into a plain list of cells."""

import os

import numpy as np
import pandas as pd

from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

# What an encoder reads from a clip, and what a cell of that kind holds.
COLUMNS = ("video", "audio", "text")
FEATURES_GO = "If these are features, make the recipe with encoders=None"


def is_path_column(column):
    """Tell whether the cells of a column are paths."""
    return column != "text"


def is_missing(cell):
    """Tell whether a cell is None, NaN or NA."""
    if isinstance(cell, (float, np.floating)):
        return bool(np.isnan(cell))
    return cell is None or cell is pd.NA or cell is pd.NaT


def resolve_cells(X, column, owner):
    """Return the cells of X that one encoder reads.

    Parameters
    ----------
    X : list, tuple, 1-D ndarray, Series, or DataFrame
        Clips. A frame gives its column ``column``, or its only column.
    column : {"video", "audio", "text"}
        What is read. ``"text"`` cells are words, the others paths.
    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    cells : list of (str or None) of length n_clips
        Paths or texts; None where the clip has none.

    Raises
    ------
    TypeError
        If X is not a sequence of clips, or a cell is of the wrong type.
    ValueError
        If X is empty or is a frame without the column.
    """
    values = _sequence(X, column, owner)
    if len(values) == 0:
        raise ValueError(
            f"Found array with 0 sample(s): {owner} was given no clips at all. "
            "Pass at least one."
        )
    if is_path_column(column) and set(map(type, values)) == {str} and "" not in values:
        # The common case, spared a call for each of many clips.
        return list(values)
    convert = _path if is_path_column(column) else _text
    cells = [convert(value, i, owner) for i, value in enumerate(values)]
    if not is_path_column(column):
        _refuse_paths(cells, owner)
    return cells


def _sequence(X, column, owner):
    if isinstance(X, pd.DataFrame):
        return _from_frame(X, column, owner)
    if isinstance(X, (pd.Series, pd.Index)):
        return X.array if X.dtype != object else X.to_numpy()
    if isinstance(X, pd.api.extensions.ExtensionArray):
        return X
    if isinstance(X, np.ndarray):
        if X.ndim == 2 and X.shape[1] == 1:
            return X[:, 0]
        if X.ndim != 1:
            numbers = X.ndim == 2 and X.dtype.kind in "biuf"
            hint = f" {FEATURES_GO}." if numbers else ""
            raise ValueError(
                f"{owner} takes one clip a row: a 1-D sequence, or a frame with a "
                f"column {column!r}. Got an array of shape {X.shape}.{hint}"
            )
        return X
    if isinstance(X, (list, tuple)):
        return X
    hint = ""
    if isinstance(X, (str, os.PathLike)):
        hint = " Pass a list even for one clip; for a folder, the list of its files."
    raise TypeError(
        f"{owner} takes a list, array or Series of clips, or a frame with a column "
        f"{column!r}. Got {type(X).__name__}: {str(X)[:60]!r}.{hint}"
    )


def _from_frame(X, column, owner):
    names = [str(name) for name in X.columns]
    if names.count(column) == 1:
        return X.iloc[:, names.index(column)].array
    if column == "audio" and names.count("video") == 1:
        # The sound of a video file is in that file.
        return X.iloc[:, names.index("video")].array
    if len(names) == 1 and names[0] not in COLUMNS:
        return X.iloc[:, 0].array
    raise ValueError(
        f"{owner} reads the column {column!r}. X has the columns "
        f"{', '.join(names[:10]) or '(none)'}. Put ClipTable() before it, which makes "
        f"video, audio and text out of paths, or rename a column to {column!r}."
    )


def _path(value, position, owner):
    if isinstance(value, str):
        if value:
            return str(value)
        raise ValueError(
            f"Clip {position} of X is an empty string. {owner} takes paths; mark a "
            "missing one by None."
        )
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    elif is_missing(value):
        return None
    raise TypeError(
        f"Clip {position} of X is of type {type(value).__name__}: "
        f"{str(value)[:60]!r}. {owner} takes paths (str or PathLike), None where a "
        "clip has none."
    )


def _text(value, position, owner):
    if isinstance(value, str):
        return str(value) if value.strip() else None
    if is_missing(value):
        return None
    raise TypeError(
        f"Clip {position} of X is of type {type(value).__name__}: "
        f"{str(value)[:60]!r}. {owner} takes text (str), None where a clip has none."
    )


def _refuse_paths(cells, owner):
    # A list of videos given to a text encoder would train on file names.
    words = [cell for cell in cells if cell is not None]
    suffixes = AUDIO_SUFFIXES | VIDEO_SUFFIXES
    if words and all(os.path.splitext(w)[1].lower() in suffixes for w in words):
        raise ValueError(
            f"{owner} takes the words of clips, but X holds file names "
            f"({words[0]!r}). Put ClipTable(sidecar_text=True) before it to read the "
            "words from files beside the clips, or give a frame with a column 'text'."
        )
