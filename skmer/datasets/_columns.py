"""Which column of a table holds what."""

import difflib
import os

from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

# What people call these columns
_ALSO = {
    "path": "file filename file_name filepath file_path clip clip_path video_path "
    "name uri".split(),
    "label": "emotion class target discrete category emo y labels sentiment".split(),
    "speaker": "group actor subject speaker_id person participant".split(),
    "text": "transcript words sentence utterance transcription subtitle".split(),
    "fold": "split part partition set".split(),
    "id": "clip_id name clip".split(),
}
# How many cells are looked at to guess what a column holds
_LOOKED_AT = 50


def find_column(table, name):
    """Return the name of a column as the table writes it, None where it has none.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    name : str
        Name; upper and lower case are told apart only where both are there.

    Returns
    -------
    found : str or None
    """
    name = name.strip()
    if name in table.columns:
        return name
    same = [other for other in table.columns if other.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def need_column(table, problems, name, parameter, usual, what):
    """Return the name of a column, or take down which it might be.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    problems : Problems
        Told of a column that the table does not have.
    name : str
        Name.
    parameter : str
        Parameter that names it, for the message.
    usual : str
        What such a column is called by default.
    what : str
        What it holds, for the message.

    Returns
    -------
    found : str or None
    """
    found = find_column(table, name)
    if found is None:
        guess = _guess(table, name, usual)
        cure = f"Rename a column to {name!r}, or pass {parameter}="
        if guess is not None:
            cure = f"If {guess!r} holds it, pass {parameter}={guess!r}"
        has = ", ".join(map(repr, table.columns))
        problems.add(
            f"row {table.head}",
            f"there is no column {name!r} with {what}, only {has}. {cure}.",
        )
    return found


def _guess(table, name, usual):
    if usual == "path":
        for column, cells in table.columns.items():
            if all(map(_is_media, filter(None, cells[:_LOOKED_AT]))) and any(cells):
                return column
    folded = {column.casefold(): column for column in table.columns}
    for other in (usual, *_ALSO[usual]):
        if other in folded:
            return folded[other]
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[near[0]] if near else None


def _is_media(cell):
    suffix = os.path.splitext(cell)[1].lower()
    return suffix in VIDEO_SUFFIXES or suffix in AUDIO_SUFFIXES
