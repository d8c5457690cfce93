"""Dictionaries in npz files, read without running what a pickle says."""

import io
import os
import pickle
import pickletools
import zipfile

import numpy as np

from skmer.datasets._archives import DAMAGE
from skmer.exceptions import DataFileError

# 120,000 labels take 8 MB
_MAX_BYTES = 1 << 28
# Opcodes of plain values, of containers, and of NumPy's way to write arrays. None of
# them reaches a name without find_class.
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET "
    "LONG_BINGET NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 "
    "FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST APPEND APPENDS LIST "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS GLOBAL "
    "STACK_GLOBAL REDUCE BUILD".split()
)
_PUTS = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])
# Scalars that labels are written in: booleans, whole and real numbers, strings
_SCALARS = "biufUS"
_MAX_ITEM = 4096
# A dict of dicts of lists of values
_MAX_DEPTH = 4


def read_dicts(path):
    """Return the dictionaries that an npz file holds in 0-d object arrays.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    dicts : dict of str to (dict or None)
        By name; None where the file has something else under that name. Their values
        are dicts, lists, strings, numbers, booleans and None only.

    Raises
    ------
    DataFileError
        If it is no such file, or what is pickled in it is anything but plain values:
        nothing of it is run.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise DataFileError(f"There is no file {path!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _read_dict(path, archive, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except DAMAGE as error:
        raise DataFileError(
            f"{path} is no whole npz file ({error}). Copy or download it anew."
        ) from error


def _read_dict(path, archive, info):
    where = f"{path}, {info.filename}"
    if info.file_size > _MAX_BYTES:
        raise DataFileError(
            f"{where} takes {info.file_size:,} bytes, more than labels do "
            f"({_MAX_BYTES:,}), and was not read."
        )
    file = io.BytesIO(archive.read(info))
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise DataFileError(f"{where} is no NumPy array: {error}.") from error
    if dtype.kind != "O" or shape != ():
        return None
    value = _unpickle(where, file.read())
    return value if isinstance(value, dict) else None


def _unpickle(where, data):
    """Return what a pickled 0-d array holds."""
    try:
        _check_opcodes(data)
        unpickler = _Unpickler(io.BytesIO(data), encoding="latin1")
        value = unpickler.load()
        if not isinstance(value, unpickler.array):
            raise pickle.UnpicklingError("the pickle is of no array")
        value = value.item
        _check_plain(value)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        # Damaged pickles raise errors of nearly every kind
        raise DataFileError(
            f"{where} holds more than plain values and was not read: {error}. If you "
            "made the file, write dicts of strings and numbers into it; if not, do "
            "not open it with allow_pickle=True, which would run what is in it."
        ) from error
    return value


def _check_opcodes(data):
    for n_seen, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"the pickle has the opcode {opcode.name}")
        # The unpickler makes room for as many as the highest number says
        if opcode.name in _PUTS and argument > n_seen:
            raise pickle.UnpicklingError("the pickle is damaged")


class _Unpickler(pickle.Unpickler):
    """Puts stand-ins in the place of the few names that arrays are pickled by."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Made anew each time, as a pickle may set attributes of what it is given
        self.array, dtype = _stand_ins()
        self._names = {
            ("multiarray", "_reconstruct"): lambda kind, shape, code: self.array(),
            ("multiarray", "scalar"): lambda kind, data=None: _scalar(kind, data),
            ("numpy", "ndarray"): None,
            ("numpy", "dtype"): lambda code, align=False, copy=True: dtype(code),
            ("_codecs", "encode"): lambda text, encoding: _encode(text, encoding),
        }

    def find_class(self, module, name):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            module = "multiarray"
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}")
        return self._names[module, name]

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("the pickle refers to something outside of it")


def _stand_ins():
    class Array:
        item = None

        def __setstate__(self, state):
            _, shape, kind, _, items = state
            if shape != () or kind.code[:1] != "O" or type(items) is not list:
                raise pickle.UnpicklingError("the pickle holds an array of values")
            (self.item,) = items

    class Dtype:
        def __init__(self, code):
            if type(code) is not str:
                raise pickle.UnpicklingError("the pickle is damaged")
            self.code, self.order = code, "<"

        def __setstate__(self, state):
            self.order = state[1]

    return Array, Dtype


def _scalar(kind, data):
    code = kind.code
    if (
        code[:1] not in _SCALARS
        or not code[1:].isdecimal()
        or int(code[1:]) > _MAX_ITEM
        or type(data) is not bytes
    ):
        raise pickle.UnpicklingError("the pickle holds a scalar of another kind")
    dtype = np.dtype((">" if kind.order == ">" else "<") + code)
    (value,) = np.frombuffer(data, dtype=dtype).tolist()
    return value.decode("latin1") if isinstance(value, bytes) else value


def _encode(text, encoding):
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("the pickle is damaged")
    return text.encode("latin1")


def _check_plain(value):
    level = [value]
    for _ in range(_MAX_DEPTH):
        below = {}
        for value in level:
            kind = type(value)
            if kind in (dict, list):
                items = value.values() if kind is dict else value
                # Each once: few objects can be told of very often
                below.update((id(item), item) for item in items)
            elif kind not in (str, int, float, bool, bytes, type(None)):
                raise pickle.UnpicklingError(f"the pickle holds a {kind.__name__}")
        level = list(below.values())
    if level:
        raise pickle.UnpicklingError(
            f"its values are nested more than {_MAX_DEPTH} deep"
        )
