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
            entries = _entries(folder, root)
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


def walk(root):
    """Yield the files below a folder, the nearest first.

    Parameters
    ----------
    root : str or Path
        Folder to go through, and all below it; where links to folders lead, too.

    Yields
    ------
    path : str
        A file, neither hidden nor in a hidden folder. Those of one folder come
        sorted by name.
    depth : int
        How many folders below ``root`` it lies.
    """
    root = os.fspath(root)
    level, depth, seen = [root], 0, {None, _identity(root)}
    while level:
        below = []
        for folder in level:
            for entry in _entries(folder, root):
                if is_junk(entry.name):
                    continue
                if not entry.is_dir():
                    yield entry.path, depth
                    continue
                # A link may lead back to where it lies
                identity = _identity(entry.path)
                if identity not in seen:
                    seen.add(identity)
                    below.append(entry.path)
        level, depth = below, depth + 1


def _identity(folder):
    try:
        info = os.stat(folder)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _entries(folder, root):
    """Return what is in a folder, sorted; nothing where that may not be seen."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (PermissionError, FileNotFoundError):
        if folder == root:
            raise
        return []


def is_junk(name):
    """Return whether a file is what macOS leaves in archives, or hidden."""
    return name.startswith(".") or name == "__MACOSX"


def has_content(path):
    """Return whether a path is of a file that is not empty."""
    try:
        return os.path.isfile(path) and os.path.getsize(path) > 0
    except OSError:
        return False


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
