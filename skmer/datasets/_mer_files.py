"""Files of the MER challenges: clips by name, labels and words."""

import os

from skmer.datasets._columns import find_column
from skmer.datasets._csv import read_table
from skmer.datasets._folders import find_below, is_junk
from skmer.datasets._mertools_sets import MER_CLASSES
from skmer.datasets._problems import Problems, name_rows
from skmer.exceptions import DataFileError
from skmer.utils._suffixes import VIDEO_SUFFIXES


def list_videos(folders):
    """Return the video files in folders, by name.

    Parameters
    ----------
    folders : sequence of str
        Folders; those below them are gone through too.

    Returns
    -------
    found : dict of str to str
        Absolute path by name without suffix, sorted by name.
    """
    found = {}
    for top in folders:
        for folder, _, files in os.walk(os.path.abspath(top)):
            for file in files:
                name, suffix = os.path.splitext(file)
                if suffix.lower() in VIDEO_SUFFIXES and not is_junk(file):
                    found.setdefault(name, os.path.join(folder, file))
    return dict(sorted(found.items()))


def find_videos(root, folders, names):
    """Return the video files of clips.

    Parameters
    ----------
    root : str
        Folder of the data set.
    folders : sequence of str
        Names of the folders below it that should hold them; if there is none, all
        of it is gone through.
    names : sequence of str
        Names of clips.

    Returns
    -------
    found : dict of str to str
        Absolute path by name, of clips that have one.

    Raises
    ------
    DataFileError
        If no clip has one.
    """
    if not os.path.isdir(root):
        raise DataFileError(f"There is no folder {root!r} with the clips.")
    there = list_videos(find_below(root, folders).values() or [root])
    found = {name: there[name] for name in names if name in there}
    if not found:
        places = f"{' and '.join(folders)} below " if folders else ""
        has = ", ".join(list(there)[:3]) or "no video at all"
        raise DataFileError(
            f"None of the {len(names)} clips has a video file: looked for "
            f"{names[0]}.mp4 (or .avi ...) in {places}{root} and found {has}. Give the "
            "folder that the data set was unpacked to."
        )
    return found


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


def read_words(path, language):
    """Return the words of clips.

    Parameters
    ----------
    path : str or PathLike
        File with the columns ``name`` and ``chinese`` or ``english``.
    language : {"chinese", "english"}
        Which column to take. ``sentence`` counts as Chinese where that is all there
        is.

    Returns
    -------
    words : dict of str to str
        Of clips that have any.
    """
    path = os.fspath(path)
    table = read_table(path)
    column = find_column(table, language)
    if column is None and language == "chinese":
        column = find_column(table, "sentence")
    if column is None:
        raise DataFileError(
            f"{path} has no column {language!r}, only "
            f"{', '.join(map(repr, table.columns))}. Choose another language."
        )
    names = find_column(table, "name")
    if names is None:
        raise DataFileError(
            f"{path} has no column 'name' with the names of clips, only "
            f"{', '.join(map(repr, table.columns))}."
        )
    pairs = zip(table.columns[names], table.columns[column], strict=True)
    return {name: text for name, text in pairs if text}


def _by_name(path, needed, others=()):
    """Return columns of a table whose rows have names, each once."""
    table = read_table(path)
    columns = {"rows": table.rows}
    for key in ("name", *needed, *others):
        column = find_column(table, key)
        if column is not None:
            columns[key] = table.columns[column]
        elif key in others:
            columns[key] = [""] * len(table)
        else:
            raise DataFileError(
                f"{path}, row {table.head}: there is no column {key!r}, only "
                f"{', '.join(map(repr, table.columns))}. Is this the file that the "
                "organisers gave out?"
            )
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
