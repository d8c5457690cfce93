"""Files that commands write: whole or not at all, and never over others unasked."""

import os
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
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"{path!r} is no ordinary file. Name another.")
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
def replacing(path, mode="w", **options):
    """Open a file that takes its place under ``path`` when it is whole.

    Parameters
    ----------
    path : str
        Where it belongs; its folder is made if need be.
    mode : {"w", "wb"}, default="w"
        Text or bytes. Text is UTF-8, with names of files as they are.
    **options : dict
        For :func:`open`.

    Yields
    ------
    file : file object
    """
    # Not for --help, as it brings pandas
    from skmer.utils._files import written_whole

    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "w":
        text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
        options = {**text, **options}
    with written_whole(path, mode, **options) as file:
        yield file


def write_table(frame, path, *, index=True):
    """Write a frame as CSV."""
    with replacing(path) as file:
        frame.to_csv(file, index=index, lineterminator="\n")


def check_apart(outputs, inputs=()):
    """Refuse files of which one would be written over another.

    Parameters
    ----------
    outputs, inputs : sequence of str
        Paths to write, and to read; None among them is left out.

    Raises
    ------
    UsageError
        If two outputs, or an output and an input, are one file.
    """
    known = {os.path.realpath(path): "read" for path in inputs if path is not None}
    for path in filter(None, outputs):
        place = os.path.realpath(path)
        if place in known:
            raise UsageError(
                f"{path!r} is {known[place]} by this command, too. Name another file."
            )
        known[place] = "written"
