"""Files of the MER challenges: clips by name, labels and words."""

import os
import warnings

from skmer.datasets._columns import find_column
from skmer.datasets._csv import read_table
from skmer.datasets._folders import find_below, walk
from skmer.datasets._mertools_sets import MER_CLASSES
from skmer.datasets._problems import Problems, name_rows
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.utils._suffixes import VIDEO_SUFFIXES

# How many clips a message names
_NAMED = 3


def list_videos(folders):
    """Return the video files in folders, by name.

    Parameters
    ----------
    folders : sequence of str
        Folders; those below them are gone through too.

    Returns
    -------
    found : dict of str to str
        Absolute path by name without suffix, sorted by name; of several the one that
        the first folder holds, nearest to it.
    """
    found = {}
    for top in folders:
        for path, _ in walk(os.path.abspath(top)):
            name, suffix = os.path.splitext(os.path.basename(path))
            if suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(name, path)
    return dict(sorted(found.items()))


def find_videos(root, folders, names, on_error, stacklevel):
    """Return the video file of each clip.

    Parameters
    ----------
    root : str
        Folder of the data set.
    folders : sequence of str
        Names of the folders below it that should hold them; if there is none, all
        of it is gone through.
    names : sequence of str
        Names of clips.
    on_error : {"raise", "nan"}
        What becomes of clips without a file: an error, or one warning.
    stacklevel : int
        Frame that the warning names, 1 for the caller of this function.

    Returns
    -------
    files : list of dict of str to str
        Absolute path by kind, ``"video"``, of each clip; empty where it has none.

    Raises
    ------
    DataFileError
        If no clip has one, or some have none and ``on_error="raise"``.
    """
    if not os.path.isdir(root):
        raise DataFileError(f"There is no folder {root!r} with the clips.")
    there = list_videos(find_below(root, folders).values() or [root])
    absent = [name for name in names if name not in there]
    place = f"{' and '.join(folders)} below {root}" if folders else root
    if len(absent) == len(names):
        has = ", ".join(list(there)[:_NAMED]) or "no video at all"
        raise DataFileError(
            f"None of the {len(names)} clips has a video file: looked for "
            f"{names[0]}.mp4 (or .avi ...) in {place} and found {has}. Give the "
            "folder that the data set was unpacked to."
        )
    if absent:
        text = (
            f"{len(absent)} of {len(names)} clips have no video file, such as "
            f"{', '.join(absent[:_NAMED])} (looked for <name>.mp4, .avi ... in "
            f"{place})."
        )
        if on_error == "raise":
            raise DataFileError(
                f"{text} Copy them there, or pass on_error='nan' to take these clips "
                "without video and sound."
            )
        text += " They have neither video nor sound."
        warnings.warn(text, ExtractionWarning, stacklevel=stacklevel + 1)
    return [{"video": there[name]} if name in there else {} for name in names]


def read_names(path):
    """Return the names of clips that a CSV file lists.

    Parameters
    ----------
    path : str
        File with a column ``name``.

    Returns
    -------
    names : list of str
    """
    return _by_name(path, ())["name"]


def read_labels(path):
    """Return what a label file of the challenges holds.

    Parameters
    ----------
    path : str
        File with the columns ``name`` and ``discrete``, maybe ``valence``.

    Returns
    -------
    labels : dict of str to (str, float or None)
        Class and valence of each clip, by name.
    """
    columns = _by_name(path, ("discrete",), ("valence",))
    problems = Problems(path)
    labels = {}
    for name, emotion, valence, row in zip(
        *(columns[key] for key in ("name", "discrete", "valence", "rows")), strict=True
    ):
        if emotion not in MER_CLASSES:
            problems.add(
                f"row {row}",
                f"the class of {name!r} is {emotion!r}, none of "
                f"{', '.join(MER_CLASSES)}.",
            )
        try:
            number = float(valence) if valence else None
        except ValueError:
            problems.add(f"row {row}", f"the valence {valence!r} is no number.")
            number = None
        labels[name] = emotion, number
    problems.raise_any()
    return labels


def read_words(path, language, clips):
    """Return the words of clips.

    Parameters
    ----------
    path : str or PathLike
        File with the columns ``name`` and ``chinese`` or ``english``.
    language : {"chinese", "english"}
        Which column to take. ``sentence`` counts as Chinese where that is all there
        is.
    clips : sequence of str
        Names of the clips whose words are wanted.

    Returns
    -------
    words : list of (str or None)
        Of each clip, None where it has none.

    Raises
    ------
    DataFileError
        If there are no such columns, a clip has two texts, or the file is of other
        clips.
    """
    table = read_table(path)
    also = ["sentence"] if language == "chinese" else []
    texts = _cells(table, [language, *also], "Choose another language.")
    problems, words = Problems(table.path), {}
    for name, text, row in zip(_cells(table, ["name"]), texts, table.rows, strict=True):
        if words.setdefault(name, text) != text:
            problems.add(f"row {row}", f"{name!r} has other words further up.")
    problems.raise_any()
    if words.keys().isdisjoint(clips):
        raise DataFileError(
            f"{table.path} has words of none of the {len(clips)} clips, such as "
            f"{clips[0]!r}, but of {next(iter(words))!r} and others. Give the "
            "transcripts of these clips as transcripts=."
        )
    return [words.get(name) or None for name in clips]


def _by_name(path, needed, others=()):
    """Return columns of a table whose rows have names, each once."""
    table = read_table(path)
    columns = {"rows": table.rows}
    for key in ("name", *needed):
        columns[key] = _cells(table, [key])
    for key in others:
        column = find_column(table, key)
        columns[key] = table.columns.get(column, [""] * len(table))
    problems = Problems(path)
    rows = {}
    for name, row in zip(columns["name"], table.rows, strict=True):
        if not name:
            problems.add(f"row {row}", "the name is empty.")
        else:
            rows.setdefault(name, []).append(row)
    for name, where in rows.items():
        if len(where) > 1:
            problems.add(name_rows(where), f"the clip {name!r} is listed twice.")
    problems.raise_any()
    return columns


def _cells(table, names, cure="Is this the file that the organisers gave out?"):
    """Return the column of the first of some names that the table has."""
    for name in names:
        column = find_column(table, name)
        if column is not None:
            return table.columns[column]
    raise DataFileError(
        f"{table.path}, row {table.head}: there is no column {names[0]!r}, only "
        f"{', '.join(map(repr, table.columns))}. {cure}"
    )
