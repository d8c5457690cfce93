"""Files as the caller and the machine of a worker see them."""

import os
import socket

from skmer.clips._cells import is_path_column


def with_sizes(encoder, cells):
    """Pair each cell with the file it is read from and the size of that.

    Parameters
    ----------
    encoder : ClipEncoder
        Knows the files.
    cells : list of str
        Paths or texts.

    Returns
    -------
    clips : list of (str, str or None, int or None)
        Cell, file, bytes; None where there is no file to compare.
    """
    if not is_path_column(encoder._column):
        return [(cell, None, None) for cell in cells]
    sources = encoder._sources(cells)
    return [
        (cell, *_sized(source)) for cell, source in zip(cells, sources, strict=True)
    ]


def _sized(source):
    if not os.path.isfile(source):
        return None, None
    return source, os.path.getsize(source)


def encode_where_same(encode, clips):
    """Encode the clips whose files are here what they are for the caller.

    Parameters
    ----------
    encode : callable
        Takes a list of cells and returns a list, one result a cell.
    clips : list of (str, str or None, int or None)
        From :func:`with_sizes`.

    Returns
    -------
    results : list
        What encode returns; for other files an OSError, which is not remembered: the
        clip is all right elsewhere.
    """
    results = [_difference(source, size) for _, source, size in clips]
    same = [i for i, error in enumerate(results) if error is None]
    if same:
        encoded = encode([clips[i][0] for i in same])
        for i, result in zip(same, encoded, strict=True):
            results[i] = result
    return results


def _difference(source, size):
    if source is None:
        return None
    try:
        found = os.path.getsize(source)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
    else:
        if found == size:
            return None
        found = f"it has {found:,} bytes there, and {size:,} for the calling process"
    return OSError(
        f"the worker on {socket.gethostname()} does not have this file: {found}. Paths "
        "must mean the same files on all machines"
    )
