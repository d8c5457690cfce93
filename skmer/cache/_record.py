"""What one stored clip is, and its form as bytes.

A value is a fixed head, a layout (JSON: name, dtype and shape of every array), the
arrays' bytes, and a note (JSON). Nothing in it is ever unpickled or evaluated.
Every part is padded so that its size is a multiple of eight bytes.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import ClassVar

import numpy as np

from skmer.cache._checksum import row_checksums

# Entries of another version count as absent.
VERSION = 1
MAGIC = b"skmr"

STATUSES = ("absent", "ok", "missing", "error")
ABSENT, OK, MISSING, ERROR = range(4)

DTYPES = frozenset(
    np.dtype(code).newbyteorder("<").str
    for code in "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split()
)

HEAD = np.dtype(
    [
        ("magic", "S4"),
        ("version", "<u2"),
        ("status", "u1"),
        ("reserved", "u1"),
        ("layout_bytes", "<u4"),
        ("note_bytes", "<u4"),
        ("payload_bytes", "<u8"),
        ("layout_id", "<u8"),
        ("checksum", "<u8"),
    ]
)
HEAD_WORDS = HEAD.itemsize // 8
CHECKSUM_WORD = HEAD.fields["checksum"][1] // 8

# Notes differ in length by a digit here and there; records of one size are read
# together.
_NOTE_STEP = 64

# Bounds on what a layout may say, far above any feature array.
_MAX_DIMS = 16
_MAX_CELLS = 1 << 40


@dataclass(slots=True)
class Record:
    """What a store holds about one clip.

    Parameters
    ----------
    status : {"ok", "missing", "error"}
        ``"ok"``: the arrays are the clip's values. ``"missing"``: the clip has no
        such modality. ``"error"``: it could not be read; the note says why.
    arrays : dict of str to ndarray, default={}
        Boolean, integer or float arrays of any shape; empty unless ``"ok"``.
    note : dict, default={}
        Plain values that JSON can hold, such as the stage and reason of an error.

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.cache import Record
    >>> Record("ok", {"mean": np.zeros(3, dtype=np.float32)}).status
    'ok'
    """

    #: Numbers that stand for the statuses in a :class:`RecordBatch`.
    STATUS: ClassVar[dict] = {name: number for number, name in enumerate(STATUSES)}

    status: str
    arrays: dict = field(default_factory=dict)
    note: dict = field(default_factory=dict)


def aligned(size):
    """Return the multiple of eight at or above a size in bytes."""
    return -(-size // 8) * 8


def _layout_of(arrays):
    entries = [[name, a.dtype.str, list(a.shape)] for name, a in arrays.items()]
    return json.dumps(entries, separators=(",", ":")).encode()


def layout_id(layout):
    """Return the 64-bit number by which equal layouts are found."""
    return int.from_bytes(blake2b(layout, digest_size=8).digest(), "little")


def parse_layout(layout, payload_bytes):
    """Read a layout that may be damaged or forged.

    Parameters
    ----------
    layout : bytes
        As stored, padded with spaces.
    payload_bytes : int
        Size of the payload that it must describe exactly.

    Returns
    -------
    entries : list of (name, dtype, shape, offset, n_bytes), or None
        None where it is no layout of such a payload.
    """
    try:
        items = json.loads(layout)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list):
        return None
    entries, names, offset = [], set(), 0
    for item in items:
        if not (isinstance(item, list) and len(item) == 3):
            return None
        name, dtype, shape = item
        if not (isinstance(name, str) and isinstance(dtype, str)):
            return None
        if name in names or dtype not in DTYPES or not _is_shape(shape):
            return None
        names.add(name)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        entries.append((name, np.dtype(dtype), tuple(shape), offset, size))
        offset += aligned(size)
    return entries if offset == payload_bytes else None


def _is_shape(shape):
    return (
        isinstance(shape, list)
        and len(shape) <= _MAX_DIMS
        and all(type(d) is int and 0 <= d <= _MAX_CELLS for d in shape)
        and math.prod(max(d, 1) for d in shape) <= _MAX_CELLS
    )


def _checked_arrays(record):
    if record.status not in STATUSES[1:]:
        raise ValueError(
            f"A record's status must be 'ok', 'missing' or 'error'. "
            f"Got {record.status!r}."
        )
    if record.status != "ok" and record.arrays:
        raise ValueError(
            f"A record with status {record.status!r} holds no arrays. "
            f"Got {', '.join(map(repr, record.arrays))}."
        )
    arrays = {}
    for name, value in record.arrays.items():
        array = np.asarray(value)
        plain = array.dtype.newbyteorder("<")
        if not isinstance(name, str) or plain.str not in DTYPES:
            raise TypeError(
                "A record holds boolean, integer or float arrays under str names. "
                f"Got {name!r} with dtype {array.dtype}."
            )
        if not _is_shape(list(array.shape)):
            raise ValueError(
                f"Array {name!r} of shape {array.shape} is too large for a record: "
                f"at most {_MAX_DIMS} axes and {_MAX_CELLS} cells."
            )
        arrays[name] = array.astype(plain, order="C", copy=False)
    return arrays


def encode(key, record):
    """Turn a record into the bytes stored under a key.

    Parameters
    ----------
    key : bytes
        The key; the checksum covers it.
    record : Record
        What to store.

    Returns
    -------
    value : bytes

    Raises
    ------
    TypeError
        If an array's dtype or the note is not plain.
    ValueError
        If the status is unknown, or a record without values has arrays.
    """
    arrays = _checked_arrays(record)
    layout = _layout_of(arrays)
    layout = layout.ljust(aligned(len(layout)))
    note = b""
    if record.note:
        if not isinstance(record.note, Mapping):
            raise TypeError(f"A record's note is a dict. Got {record.note!r}.")
        note = json.dumps(dict(record.note), separators=(",", ":")).encode()
        note = note.ljust(-(-len(note) // _NOTE_STEP) * _NOTE_STEP)
    parts = [b"", layout]
    for array in arrays.values():
        parts.append(array.tobytes())
        parts.append(bytes(aligned(array.nbytes) - array.nbytes))
    head = np.zeros(1, dtype=HEAD)
    head["magic"] = MAGIC
    head["version"] = VERSION
    head["status"] = STATUSES.index(record.status)
    head["layout_bytes"] = len(layout)
    head["note_bytes"] = len(note)
    head["payload_bytes"] = sum(map(len, parts)) - len(layout)
    head["layout_id"] = layout_id(layout)
    parts[0] = head.tobytes()
    parts.append(note)
    row = np.frombuffer(b"".join(parts), dtype="<u8")[None]
    head["checksum"] = row_checksums(row, [key], CHECKSUM_WORD)
    parts[0] = head.tobytes()
    return b"".join(parts)
