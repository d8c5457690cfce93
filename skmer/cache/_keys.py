"""Names of things in the store: contents, settings, keys."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import numpy as np

DIGEST_BYTES = 16
_READ_BYTES = 1 << 20
# Kernels stamp files at ticks of up to 10 ms: a file changed twice within one keeps
# its time. A file younger than this is read when it is older.
_TICK_NS = 20_000_000
# Some file systems (FAT, ext3) keep whole or even seconds, and the clock of a file
# server may be ahead: what was found in a file of that age is not remembered.
_SECOND_NS = 1_000_000_000
_COARSE_NS = 3 * _SECOND_NS
_AHEAD_NS = 60 * _SECOND_NS


def _digest(data, person):
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=person).digest()


def text_id(text):
    """Return the identity of a text.

    Parameters
    ----------
    text : str
        What was said.

    Returns
    -------
    identity : bytes of length 16
        Digest of the text; no file has the same one.

    Examples
    --------
    >>> from skmer.cache import text_id
    >>> text_id("good morning") == text_id("good morning")
    True
    """
    return _digest(text.encode("utf-8", "surrogatepass"), b"text")


def path_id(path):
    """Return the identity of a file's place (not of its content)."""
    return _digest(os.fsencode(os.path.abspath(path)), b"path")


def file_signature(path):
    """Return what tells cheaply that a file has changed.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    signature : tuple of (int, int, int)
        Size in bytes, and in nanoseconds the times of the last change of the content
        and of the file itself. The second of these cannot be set at will: it tells
        of a file that was replaced by another of the same size and time, as tools
        that copy and unpack leave it.
    """
    return signature_of(os.stat(path))


def signature_of(status):
    """Return the signature of a file of which :func:`os.stat` told."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_content(path):
    """Digest a file's bytes.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    identity : bytes of length 16
        BLAKE2b digest of the bytes.
    signature : tuple of (int, int, int) or None
        Of the file that was read; None where it changed meanwhile, or could change
        again without another signature.

    Raises
    ------
    OSError
        If it cannot be read or is no ordinary file.
    """
    # A named pipe would block the open.
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(21, "Is a directory", path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(22, "Not an ordinary file", path)
    waits = [_TICK_NS - age for age in _ages(status) if 0 <= age < _TICK_NS]
    if waits:
        time.sleep(max(waits) / 1e9)
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES, person=b"file")
    with open(path, "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        settled = _is_settled(before)
        while block := file.read(_READ_BYTES):
            digest.update(block)
        after = os.fstat(file.fileno())
    signature = signature_of(after)
    same = signature_of(before) == signature
    return digest.digest(), signature if same and settled else None


def _ages(status):
    """Return the nanoseconds since the last change, of the content and of the file."""
    now = time.time_ns()
    return now - status.st_mtime_ns, now - status.st_ctime_ns


def _is_settled(status):
    """Tell whether a change from now on gives a file another signature."""
    fraction = status.st_mtime_ns % _SECOND_NS or status.st_ctime_ns % _SECOND_NS
    young = _TICK_NS // 2 if fraction else _COARSE_NS
    return not any(-_AHEAD_NS < age < young for age in _ages(status))


def content_id(path):
    """Return the identity of a file's content.

    Parameters
    ----------
    path : str or os.PathLike
        The file. It is read whole; :meth:`FeatureStore.content_ids` remembers.

    Returns
    -------
    identity : bytes of length 16
        BLAKE2b digest of the bytes, whatever the file's name.

    Raises
    ------
    OSError
        If it cannot be read or is no ordinary file.
    """
    return read_content(os.fspath(path))[0]


def config_digest(config):
    """Return the identity of a set of settings.

    Parameters
    ----------
    config : mapping of str to plain value
        Numbers, strings, booleans, None, and sequences (lists, tuples, ranges,
        numeric arrays) and mappings of these. The order of a mapping's names does
        not matter; a list, tuple, range or array of the same numbers are one value.

    Returns
    -------
    digest : bytes of length 16

    Raises
    ------
    TypeError
        If a value is anything else, with the place where it stands.

    Examples
    --------
    >>> from skmer.cache import config_digest
    >>> a = config_digest({"layers": range(3), "pooling": "mean"})
    >>> a == config_digest({"pooling": "mean", "layers": [0, 1, 2]})
    True
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a mapping. Got {config!r}.")
    text = json.dumps(_plain(config, "config"), sort_keys=True, separators=(",", ":"))
    return _digest(text.encode("utf-8", "surrogatepass"), b"config")


def _plain(value, place):
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.tolist()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(
                    f"{place} has the name {key!r}; a mapping that takes part in a "
                    "cache key may only have str names."
                )
        return {str(k): _plain(v, f"{place}[{k!r}]") for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(v, f"{place}[{i}]") for i, v in enumerate(value)]
    kind = "fraction" if isinstance(value, Real) else type(value).__name__
    raise TypeError(
        f"{place} is {value!r} ({kind}), which cannot take part in a cache key. Use "
        "numbers, strings, booleans, None, and sequences or mappings of these."
    )


def make_key(content, namespace):
    """Return the key of one clip's values under one set of settings.

    Parameters
    ----------
    content : bytes
        Identity of the clip: :meth:`FeatureStore.content_ids`, :func:`text_id`, or
        several joined and digested.
    namespace : bytes
        Identity of what makes the values: :func:`config_digest` of the encoder's
        class, cache version and every parameter that changes its output.

    Returns
    -------
    key : bytes
        The namespace comes first, so that the values of one encoder lie together.
    """
    return namespace + content


def make_keys(contents, namespace):
    """Return the keys of many clips' values under one set of settings.

    Parameters
    ----------
    contents : sequence of bytes
        Identities of the clips, as for :func:`make_key`.
    namespace : bytes
        As for :func:`make_key`.

    Returns
    -------
    keys : list of bytes
        One for each identity.
    """
    return [namespace + content for content in contents]
