"""Files that are written whole or not at all."""

import contextlib
import os
import uuid
from contextlib import contextmanager


@contextmanager
def written_whole(path, mode="w", **options):
    """Open a file beside another, which it replaces when all of it is written.

    Parameters
    ----------
    path : Path
        File to write; one that exists is replaced.
    mode : {"w", "wb"}, default="w"
        Text or bytes.
    **options : dict
        For :func:`open`.

    Yields
    ------
    file : file object
        What is written to it is lost where an error is raised; ``path`` then stays
        as it was.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        raise
