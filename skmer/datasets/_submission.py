"""Write predictions as the MER challenges want them."""

import csv
import os
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd

from skmer.datasets._mer_files import read_names
from skmer.datasets._mertools_sets import MER_CLASSES
from skmer.exceptions import DataFileError
from skmer.utils._clip_ids import clip_ids
from skmer.utils._files import written_whole
from skmer.utils._sklearn import Interval, validate_params
from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

# How many clips a message names
_NAMED = 3


@validate_params(
    {
        "predictions": ["array-like"],
        "path": [str, os.PathLike],
        "candidates": [str, os.PathLike, "array-like", None],
        "n_rows": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def to_submission(clips, predictions, path, *, candidates=None, n_rows=20000):
    """Write predictions as the MER challenges score them.

    The file is CSV with the columns ``name`` and ``discrete``, one row a clip.

    Parameters
    ----------
    clips : Bunch, DataFrame, Series, Index or list of str, of length n_clips
        What was predicted on: the result of a loader or its ``data``, clip ids, or
        paths, of which the name without folder and suffix is written.
    predictions : array-like of shape (n_clips,)
        Classes by name (neutral, angry, happy, sad, worried, surprise) or by their
        number in this order, which is that of the challenges. The n-th is of the n-th
        clip; a Series indexed by clips in another order is an error.
    path : str or PathLike
        File to write, replaced if it is there.
    candidates : str, PathLike or sequence of str, default=None
        The clips that must be in the file, no more and no fewer, in their order:
        names, or the organisers' CSV file (``track_all_candidates.csv``,
        ``candidate_20000.csv``). None: the clips given, in their order.
    n_rows : int, default=20000
        Number of rows that the file must have: MER2024 and MER2025 accept exactly
        20,000. None: any number.

    Returns
    -------
    n_written : int
        Number of rows.

    Raises
    ------
    DataFileError
        If ``candidates`` are not the clips, a clip comes twice, or the file would not
        have ``n_rows`` rows; nothing is written then.
    ValueError
        If predictions are of another length or in another order, or not one of the
        classes.

    See Also
    --------
    load_mer2025 : Loads the candidates with ``unlabelled="candidates"``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skmer.datasets import to_submission
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "submission.csv")
    ...     n = to_submission(["video/b.mp4", "a"], ["sad", "happy"], file, n_rows=2)
    ...     print(file.read_text())
    name,discrete
    b,sad
    a,happy
    <BLANKLINE>
    """
    names = _names(clips)
    emotions = _emotions(predictions, len(names), names)
    doubles = pd.Index(names)[pd.Index(names).duplicated()].unique().tolist()
    if doubles:
        raise DataFileError(
            f"{len(doubles)} clips are there twice, such as {_some(doubles)}. Predict "
            "each once."
        )
    rows = dict(zip(names, emotions, strict=True))
    if candidates is not None:
        rows = _in_order(rows, candidates)
    if n_rows is not None and len(rows) != n_rows:
        raise DataFileError(
            f"There are {len(rows):,} predictions, but the challenge takes exactly "
            f"{n_rows:,}. Predict all candidates and nothing else (candidates= tells "
            "which are missing), or pass n_rows=None for a file of your own."
        )
    _write(Path(path), rows)
    return len(rows)


def _names(clips):
    clips = getattr(clips, "data", clips) if isinstance(clips, dict) else clips
    ids = clips if isinstance(clips, pd.Index) else clip_ids(clips)
    if ids is None or not all(isinstance(name, (str, os.PathLike)) for name in ids):
        raise ValueError(
            "clips must be what a loader returns, or a frame, list or Index of clip "
            f"ids or paths. Got {type(clips).__name__} without such ids."
        )
    return [_name(os.fspath(name)) for name in ids]


def _name(clip):
    stem, suffix = os.path.splitext(os.path.basename(clip))
    known = suffix.lower() in VIDEO_SUFFIXES | AUDIO_SUFFIXES
    return stem if known else stem + suffix


def _emotions(predictions, n_clips, names):
    values = np.asarray(predictions, dtype=object)
    if values.shape != (n_clips,):
        raise ValueError(
            f"predictions must be one class a clip, {n_clips} in all. Got an array of "
            f"shape {values.shape}. Of probabilities take the class of the highest."
        )
    if isinstance(predictions, pd.Series):
        _check_order(predictions.index, names)
    emotions = []
    for name, value in zip(names, values, strict=True):
        if isinstance(value, Integral) and not isinstance(value, bool):
            value = MER_CLASSES[value] if 0 <= value < len(MER_CLASSES) else value
        if not isinstance(value, str) or value not in MER_CLASSES:
            raise ValueError(
                f"The prediction of {name!r} is {value!r}, none of "
                f"{', '.join(MER_CLASSES)}."
            )
        emotions.append(str(value))
    return emotions


def _check_order(index, names):
    """Refuse a Series that names the clips, but not in their order."""
    own = [
        _name(os.fspath(clip)) if isinstance(clip, (str, os.PathLike)) else clip
        for clip in index
    ]
    if own != names and not set(own).isdisjoint(names):
        place = next(i for i, name in enumerate(names) if own[i] != name)
        raise ValueError(
            "predictions is a Series of the clips in another order: number "
            f"{place + 1} is of {own[place]!r}, in clips it is {names[place]!r}. Sort "
            "one like the other, such as by predictions.loc[clips.index]."
        )


def _in_order(rows, candidates):
    if isinstance(candidates, (str, os.PathLike)):
        wanted = read_names(os.fspath(candidates))
    else:
        wanted = [_name(os.fspath(name)) for name in candidates]
    absent = [name for name in wanted if name not in rows]
    if absent:
        raise DataFileError(
            f"{len(absent):,} of {len(wanted):,} candidates have no prediction, such "
            f"as {_some(absent)}. Predict them too."
        )
    others = set(rows).difference(wanted)
    if others:
        raise DataFileError(
            f"{len(others):,} of {len(rows):,} predictions are of clips that are no "
            f"candidates, such as {_some(sorted(others))}. Leave them out."
        )
    return {name: rows[name] for name in wanted}


def _some(names):
    return ", ".join(map(repr, names[:_NAMED]))


def _write(path, rows):
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent} does not exist, so {path.name} cannot be "
            "written there. Make it first."
        )
    with written_whole(path, encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "discrete"])
        writer.writerows(rows.items())
