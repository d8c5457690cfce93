"""Files that commands write: whole or not at all, and never over others unasked."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from skmer.cli._console import UsageError


def check_target(path, overwrite):
    """Refuse, before any work is done, a file that could not be written in the end.

    Parameters
    ----------
    path : str
        A file to be written.
    overwrite : bool
        Whether it may be there.

    Raises
    ------
    UsageError
        If it is there, is a folder, or its folder cannot be written.
    """
    if os.path.isdir(path):
        raise UsageError(f"{path!r} is a folder. Name a file in it.")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(
            f"{path!r} is there already. Name another file, or replace it by "
            "--overwrite."
        )
    check_folder(os.path.dirname(os.path.abspath(path)), path)


def check_folder(folder, path):
    """Refuse a folder that can neither be written nor made."""
    folder = Path(os.path.abspath(folder))
    there = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{path!r} cannot be written: {there} does not allow it.")


@contextmanager
def replacing(path):
    """Give a file to write, which takes its place under ``path`` when it is whole.

    Parameters
    ----------
    path : str
        Where it belongs; its folder is made if need be.

    Yields
    ------
    part : str
        Path of the file to write, with the same suffix.
    """
    path = os.path.abspath(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    name, suffix = os.path.splitext(os.path.basename(path))
    handle, part = tempfile.mkstemp(
        dir=os.path.dirname(path), prefix=f".{name}.", suffix=suffix
    )
    os.close(handle)
    try:
        yield part
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else _usual_mode()
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _usual_mode():
    # The system tells the mask only to who sets it
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def write_table(frame, path, *, index=True):
    """Write a frame as CSV, UTF-8 with names of files as they are."""
    with replacing(path) as part:
        with open(
            part, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            frame.to_csv(file, index=index, lineterminator="\n")
