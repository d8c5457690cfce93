"""Label files are read without running what is pickled in them."""

import contextlib
import io
import os
import pickle
import struct
import sys
import warnings
import zipfile

import numpy as np
import pytest

from skmer.datasets import _npz
from skmer.datasets._npz import read_dicts
from skmer.exceptions import DataFileError

LABELS = {
    "a": {"emo": "happy", "val": 1.5},
    "b": {"emo": np.str_("悲"), "val": np.float64(-2.25)},
    "c": {"emo": np.int64(3), "val": np.float32(0.5)},
    "d": {"emo": 4, "val": -10},
    "e": {"emo": np.bool_(True), "val": None, "more": ["x", 1]},
}
PLAIN = {
    "a": {"emo": "happy", "val": 1.5},
    "b": {"emo": "悲", "val": -2.25},
    "c": {"emo": 3, "val": 0.5},
    "d": {"emo": 4, "val": -10},
    "e": {"emo": True, "val": None, "more": ["x", 1]},
}


def _write(path, data, shape=()):
    """Write an npz file with a pickle of one's own in place of an object array."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"shape": shape, "fortran_order": False, "descr": "|O"}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_corpus.npy", head.getvalue() + data)
    return path


def _array(item):
    """Return the pickle of a 0-d array that holds what another pickle makes."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(tcnumpy\ndtype\n(S'O'\ntRI00\n(" + item + b"ltb."
    )


def test_attributes_of_stand_ins_do_not_last(tmp_path):
    """A pickle may set attributes of what it is given, for itself alone."""
    state = b"N(S'__defaults__'\n(S'a'\nS'b'\ntd\x86"
    path = _write(tmp_path / "a.npz", b"c_codecs\nencode\n" + state + b"b.")
    with pytest.raises(DataFileError, match="more than plain values"):
        read_dicts(path)
    assert _npz._encode.__defaults__ is None


def test_what_numpy_writes(tmp_path):
    np.savez(tmp_path / "a.npz", train_corpus=LABELS, other=np.arange(3), list=["x"])
    np.savez_compressed(tmp_path / "b.npz", train_corpus=LABELS)
    dicts = read_dicts(tmp_path / "a.npz")
    assert dicts == {"train_corpus": PLAIN, "other": None, "list": None}
    assert type(dicts["train_corpus"]["c"]["emo"]) is int
    assert read_dicts(tmp_path / "b.npz") == {"train_corpus": PLAIN}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_protocols_and_both_names_of_numpys_core(tmp_path, protocol):
    data = pickle.dumps(np.array(LABELS, dtype=object), protocol=protocol)
    assert read_dicts(_write(tmp_path / "x.npz", data)) == {"train_corpus": PLAIN}
    if protocol < 4:
        old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        assert old != data
        assert read_dicts(_write(tmp_path / "y.npz", old)) == {"train_corpus": PLAIN}


def test_big_endian_numbers(tmp_path):
    label = np.array([7], dtype=">i4")[0]
    data = pickle.dumps(np.array({"a": {"emo": label}}, dtype=object))
    data = data.replace(b"\x8c\x01<", b"\x8c\x01>")
    data = data.replace(struct.pack("<i", 7), struct.pack(">i", 7))
    assert read_dicts(_write(tmp_path / "x.npz", data)) == {
        "train_corpus": {"a": {"emo": 7}}
    }


class _Touch:
    """Runs a function when it is unpickled the usual way."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _hostile(marker):
    """Return pickles that touch a file, or reach for what could, by name."""
    command = f"touch {marker}"
    source = f"open({str(marker)!r}, 'w').close()"
    words = b"S'" + command.encode() + b"'\n"
    system = f"{os.system.__module__}\nsystem\n".encode()
    return {
        "reduce": pickle.dumps(_Touch(os.system, command)),
        "in an array": pickle.dumps(np.array(_Touch(eval, source), dtype=object)),
        "in a label": pickle.dumps(
            np.array({"a": {"emo": _Touch(exec, source)}}, dtype=object)
        ),
        "as a key": pickle.dumps(
            np.array({("x", _Touch(eval, source)): 1}, dtype=object), protocol=2
        ),
        "by hand": _array(b"c" + system + b"(" + words + b"tR"),
        "INST": b"(" + words + b"i" + system + b".",
        "OBJ": b"(c" + system + words + b"o.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__new__\x93.",
        "import": _array(b"cbuiltins\n__import__\n(S'os'\ntR"),
        "any class": _array(b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ntR"),
        "numpy.load": _array(b"cnumpy\nload\n(S'x.npy'\ntR"),
        "persistent": _array(b"Pname\n"),
        "extension": b"\x80\x04\x82\x01.",
        "keywords": b"\x80\x04cnumpy\ndtype\n)}\x92.",
        # What could go wrong inside of NumPy
        "forged dtype": _array(
            b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\ntR"
            b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbS'01234567'\ntR"
        ),
        "huge scalar": _array(
            b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'U999999999'\ntRS''\ntR"
        ),
        "array of values": pickle.dumps(np.zeros(3)),
        "arrays in an array": _array(_array(b"N").removesuffix(b".")),
        "huge memo": _array(b"Np4000000000\n"),
        "a set": pickle.dumps(np.array({"a": {1, 2}}, dtype=object)),
        "a tuple": pickle.dumps(np.array({"a": (1, 2)}, dtype=object)),
        "no array": pickle.dumps({"a": {"emo": 1}}),
        "cut short": pickle.dumps(np.array({"a": {"emo": 1}}, dtype=object))[:-9],
        "nothing": b"",
    }


@pytest.mark.parametrize("kind", _hostile("x"))
def test_nothing_runs(tmp_path, kind):
    marker = tmp_path / "was_run"
    before = set(sys.modules)
    with pytest.raises(DataFileError, match="train_corpus.npy .* was not read"):
        read_dicts(_write(tmp_path / "x.npz", _hostile(marker)[kind]))
    assert not marker.exists()
    assert set(sys.modules) == before


@pytest.mark.parametrize("kind", ["reduce", "in an array", "in a label", "by hand"])
def test_what_runs_would_be_seen(tmp_path, kind):
    marker = tmp_path / "was_run"
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.load(_write(tmp_path / "x.npz", _hostile(marker)[kind]), allow_pickle=True)[
            "train_corpus"
        ]
    assert marker.exists()


def test_one_file_cannot_change_how_the_next_is_read(tmp_path):
    # Sets attributes of what stands in for numpy.dtype and numpy.ndarray
    state = b"(N(S'code'\nS'i8'\nS'order'\nS'>'\nS'item'\nNdt"
    for name in (b"dtype", b"ndarray"):
        data = _array(b"cnumpy\n" + name + b"\n" + state + b"b")
        with pytest.raises(DataFileError):
            read_dicts(_write(tmp_path / "x.npz", data))
    np.savez(tmp_path / "good.npz", train_corpus=LABELS)
    assert read_dicts(tmp_path / "good.npz") == {"train_corpus": PLAIN}


def test_deep_and_circular_labels(tmp_path):
    loop = {"a": []}
    loop["a"].append(loop["a"])
    circular = pickle.dumps(np.array(loop, dtype=object))
    deep = _array(b"(dS'a'\n" + b"(" * 100_000 + b"l" * 100_000 + b"s")
    for data in (circular, deep):
        with pytest.raises(DataFileError, match="values are nested more than 4 deep"):
            read_dicts(_write(tmp_path / "x.npz", data))


def test_damaged_files(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    with pytest.raises(DataFileError, match="There is no file"):
        read_dicts(path)
    path.write_bytes(b"not a zip file")
    with pytest.raises(DataFileError, match="is no whole npz file"):
        read_dicts(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_corpus.npy", b"not an array")
    with pytest.raises(DataFileError, match="train_corpus.npy is no NumPy array"):
        read_dicts(path)
    good = pickle.dumps(np.array(LABELS, dtype=object))
    assert read_dicts(_write(path, good, shape=(1,))) == {"train_corpus": None}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_corpus.npy", bytes(100_001))
    packed = bytearray(path.read_bytes())
    # The first byte of what is packed: a block of a kind there is not
    packed[30 + len("train_corpus.npy")] = 7
    path.write_bytes(packed)
    with pytest.raises(DataFileError, match="is no whole npz file"):
        read_dicts(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_corpus.npy", bytes(100_001))
    monkeypatch.setattr(_npz, "_MAX_BYTES", 100_000)
    with pytest.raises(DataFileError, match="100,001 bytes, more than labels do"):
        read_dicts(path)
