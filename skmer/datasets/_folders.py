"""Find the parts of a data set in the folder that a user unpacked it to."""

import os
from collections import Counter

from skmer.exceptions import DataFileError

# Folders with more entries hold clips, not parts of a data set
_MANY = 1000


def check_root(root, what):
    """Return the folder of a data set as an absolute path.

    Parameters
    ----------
    root : str or PathLike
        The folder.
    what : str
        What it should hold, for the message.

    Returns
    -------
    root : str

    Raises
    ------
    DataFileError
        If there is no such folder.
    """
    folder = os.path.abspath(os.path.expanduser(os.fspath(root)))
    if not os.path.isdir(folder):
        kind = "is a file" if os.path.exists(folder) else "does not exist"
        raise DataFileError(f"{folder} {kind}. Give the folder that holds {what}.")
    return folder


def find_below(root, names, depth=3):
    """Return where files or folders of some names are, the nearest first.

    Parameters
    ----------
    root : str
        Folder to look in.
    names : sequence of str
        Names of files or folders.
    depth : int, default=3
        How many folders deep to look.

    Returns
    -------
    found : dict of str to str
        Path by name, of those that are there.
    """
    found, level = {}, [root]
    for _ in range(depth):
        below = []
        for folder in level:
            with os.scandir(folder) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
            # A folder of clips, or of a folder a clip, which is not gone through
            crowded = len(entries) > _MANY
            for entry in entries:
                if entry.name in names:
                    found.setdefault(entry.name, entry.path)
                elif not crowded and not is_junk(entry.name) and entry.is_dir():
                    below.append(entry.path)
        level = below
        if len(found) == len(set(names)):
            break
    return found


def is_junk(name):
    """Return whether a file is what macOS leaves in archives, or hidden."""
    return name.startswith(".") or name == "__MACOSX"


def count_lines(target):
    """Return lines for DESCR with the number of clips of each class.

    Parameters
    ----------
    target : sequence of (str or None)
        Labels.

    Returns
    -------
    text : str
    """
    counts = Counter("(unlabelled)" if label is None else label for label in target)
    width = max(map(len, counts))
    return "\n".join(
        f"    {label:<{width}} {counts[label]:>6,}" for label in sorted(counts)
    )
