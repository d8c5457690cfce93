"""Files that are written whole or not at all."""

import contextlib
import os
import stat
import uuid
from contextlib import contextmanager


@contextmanager
def written_whole(path, mode="w", *, sync=True, **options):
    """Open a file beside another, which it replaces when all of it is written.

    Parameters
    ----------
    path : Path
        File to write; one that exists is replaced, and keeps who may read it.
    mode : {"w", "wb"}, default="w"
        Text or bytes.
    sync : bool, default=True
        Wait until the disk has it, so that it is whole after a loss of power too.
        It takes milliseconds, which are many for thousands of small files.
    **options : dict
        For :func:`open`.

    Yields
    ------
    file : file object
        What is written to it is lost where an error is raised; ``path`` then stays
        as it was.
    """
    # Without the file's own name, which may be as long as names can be
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(part, mode.replace("w", "x"), **options) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(part, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        raise
