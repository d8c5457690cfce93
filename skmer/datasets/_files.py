"""The files of a table's clips."""

import os

import pandas as pd

from skmer.datasets._paths import is_sound
from skmer.utils import as_object_column


def find_files(table, media, root, check_files, problems):
    """Return the files of each row, and the path by which the clip is known.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    media : dict of str to str
        Columns of files by kind: ``"path"``, or ``"video"`` and ``"audio"``.
    root : Root
        What the paths are relative to.
    check_files : bool
        Whether every file must exist.
    problems : Problems
        Told of rows whose files cannot be used.

    Returns
    -------
    files : list of dict of str to str
        Absolute paths by kind, ``"video"`` and ``"audio"``; empty for such rows.
    names : list of (str or None)
        None for such rows.
    """
    files, names = [], []
    for i, row in enumerate(table.rows):
        written = {kind: table.columns[column][i] for kind, column in media.items()}
        written = {kind: cell for kind, cell in written.items() if cell}
        try:
            if not written:
                columns = " and ".join(map(repr, media.values()))
                raise ValueError(
                    f"no file is given (column {columns}). Write the path of the clip, "
                    "or delete the row."
                )
            found = {k: root.resolve(cell) for k, cell in written.items()}
            if check_files:
                for kind, (path, _) in found.items():
                    _check(path, written[kind], root, problems)
        except ValueError as error:
            problems.add(f"row {row}", str(error))
            found = {}
        if "path" in found:
            path, name = found.pop("path")
            found["audio" if is_sound(path) else "video"] = path, name
        files.append({kind: path for kind, (path, _) in found.items()})
        name = found.get("video", found.get("audio"))
        names.append(None if name is None else name[1])
    return files, names


def clip_frame(files, words, index):
    """Return the table of clips that recipes take.

    Parameters
    ----------
    files : list of dict of str to str
        Paths by kind, ``"video"`` and ``"audio"``.
    words : list of (str or None)
        Words of each clip.
    index : Index
        The clips' ids.

    Returns
    -------
    frame : DataFrame of shape (n_clips, 3)
        Columns ``video``, ``audio`` and ``text``, each of str or None; ``audio`` is
        the video where there is no other.
    """
    cells = {
        "video": [file.get("video") for file in files],
        "audio": [file.get("audio", file.get("video")) for file in files],
        "text": words,
    }
    # Object columns made one by one: pandas would make NaN of None
    return pd.DataFrame(
        {name: as_object_column(column) for name, column in cells.items()},
        index=index,
        dtype=object,
    )


def _check(path, written, root, problems):
    if not os.path.isfile(path):
        # Looking for what was meant takes long; only what is told is looked for
        raise ValueError("" if problems.is_full else root.why_missing(path, written))
    if not os.path.getsize(path):
        raise ValueError(
            f"the file {written!r} is empty. Copy it anew, or delete the row."
        )
