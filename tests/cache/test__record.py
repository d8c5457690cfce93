"""Records survive storage exactly, or are found to be damaged."""

import json

import numpy as np
import pytest

from skmer.cache import Record, RecordBatch
from skmer.cache._checksum import BLOCK, row_checksums
from skmer.cache._record import DTYPES, HEAD, encode, layout_id

KEY = b"k" * 32


def read(*values, keys=None, names=None):
    """Read encoded values as a store does."""
    keys = [KEY] * len(values) if keys is None else keys
    batch = RecordBatch(len(values), names)
    batch.add(0, keys, [None if v is None else memoryview(v) for v in values])
    return batch.finish()


def with_checksum(value, key=KEY):
    """Make the checksum of a forged value right."""
    value = bytearray(value)
    word = HEAD.fields["checksum"][1] // 8
    row = np.frombuffer(bytes(value), dtype="<u8")[None]
    at = slice(8 * word, 8 * word + 8)
    value[at] = row_checksums(row, [key], word).tobytes()
    return bytes(value)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 0, 2), (2, 3, 4)])
def test_round_trip_keeps_dtype_shape_and_values(dtype, shape):
    array = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
    batch = read(encode(KEY, Record("ok", {"x": array, "y": array[..., None]})))
    out = batch.record(0)
    assert out.status == "ok"
    assert batch.n_damaged == 0
    assert list(out.arrays) == ["x", "y"]
    assert out.arrays["x"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(out.arrays["x"], array, strict=True)
    np.testing.assert_array_equal(out.arrays["y"], array[..., None], strict=True)


def test_round_trip_of_unusual_memory():
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {
        "big_endian": base.astype(">f4"),
        "columns_first": np.asfortranarray(base),
        "strided": base[::2, ::-3],
        "special": np.array([np.nan, np.inf, -np.inf, -0.0]),
    }
    out = read(encode(KEY, Record("ok", arrays))).record(0).arrays
    for name, array in arrays.items():
        np.testing.assert_array_equal(out[name], array)
    assert np.signbit(out["special"][3])


@pytest.mark.parametrize("n_words", [BLOCK - 20, BLOCK + 1, 3 * BLOCK + 7])
def test_long_records_are_checked_to_the_end(n_words):
    array = np.random.default_rng(1).integers(0, 2**63, n_words, dtype=np.uint64)
    value = encode(KEY, Record("ok", {"x": array}))
    np.testing.assert_array_equal(read(value).record(0).arrays["x"], array)
    for at in (200, len(value) // 2, len(value) - 1):
        damaged = bytearray(value)
        damaged[at] ^= 1
        assert read(damaged).status[0] == 0
    # Two blocks in each other's place.
    if n_words > 2 * BLOCK:
        words = np.frombuffer(value, dtype="<u8").copy()
        words[BLOCK : 2 * BLOCK] = words[2 * BLOCK : 3 * BLOCK]
        assert read(words.tobytes()).n_damaged == 1


def test_statuses_and_notes():
    note = {"stage": "audio", "reason": "no sound \u2013 at all", "n": 3}
    batch = read(
        encode(KEY, Record("missing")),
        None,
        encode(KEY, Record("error", note=note)),
        encode(KEY, Record("ok", {"x": np.ones(2)}, {"seconds": 1.5})),
    )
    assert batch.status.tolist() == [2, 0, 3, 1]
    assert batch.note(2) == note
    assert batch.note(-1) == {"seconds": 1.5}
    assert batch.note(0) == batch.note(1) == {}
    assert batch.record(2) == Record("error", {}, note)
    with pytest.raises(KeyError, match="no record for key number 1"):
        batch.record(1)
    with pytest.raises(IndexError):
        batch.note(4)


def test_groups_stack_records_of_one_layout():
    rng = np.random.default_rng(2)
    records = []
    for i in range(300):
        n_steps = (5, 5, 7)[i % 3]
        name = "a" if i % 4 else "b"
        x = rng.standard_normal((n_steps, 2)).astype(np.float32)
        records.append(Record("ok", {name: x, "n": np.array(i)}, {"i": 10**i % 997}))
    records[17] = Record("missing")
    batch = read(*[encode(KEY, r) for r in records])
    assert len(batch.groups) == 4
    seen = []
    for positions, arrays in batch.groups:
        assert (np.diff(positions) > 0).all()
        np.testing.assert_array_equal(arrays["n"], positions)
        seen += positions.tolist()
        for row, position in enumerate(positions):
            for name, array in records[position].arrays.items():
                np.testing.assert_array_equal(arrays[name][row], array, strict=True)
    assert sorted(seen) == [i for i in range(300) if i != 17]
    assert [batch.note(i) for i in (3, 250)] == [records[i].note for i in (3, 250)]


def test_names_select_arrays():
    record = Record("ok", {"a": np.ones(3), "b": np.zeros(2)})
    ((_, arrays),) = read(encode(KEY, record), names=["b", "c"]).groups
    assert list(arrays) == ["b"]


def test_arrays_own_their_memory():
    value = bytearray(encode(KEY, Record("ok", {"x": np.arange(4.0)})))
    batch = read(value)
    value[:] = bytes(len(value))
    array = batch.groups[0][1]["x"]
    np.testing.assert_array_equal(array, [np.arange(4.0)])
    array[0] = 5


def test_every_flipped_bit_is_found():
    record = Record("ok", {"x": np.arange(5, dtype=np.float32)}, {"a": 1})
    value = encode(KEY, record)
    damaged = []
    for bit in range(8 * len(value)):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    batch = read(*damaged)
    assert not batch.status.any()
    assert not batch.groups
    # Flips in magic and version make a record of another kind, not a damaged one.
    assert batch.n_damaged == len(damaged) - 8 * 6


def test_two_flipped_top_bits_do_not_cancel():
    value = encode(KEY, Record("ok", {"x": np.arange(8.0)}))
    damaged = bytearray(value)
    damaged[-1] ^= 0x80
    damaged[-9] ^= 0x80
    assert read(damaged).n_damaged == 1


def test_every_truncation_is_found():
    value = encode(KEY, Record("ok", {"x": np.arange(5.0)}, {"a": 1}))
    batch = read(*[value[:n] for n in range(len(value))])
    assert not batch.status.any()
    assert read(value + bytes(8)).status[0] == 0


def test_a_record_under_another_key_is_damaged():
    value = encode(KEY, Record("ok", {"x": np.arange(5.0)}))
    assert read(value, keys=[b"other" * 4]).n_damaged == 1
    assert read(value, keys=[KEY + b"\1"]).n_damaged == 1


def test_damage_does_not_touch_the_neighbours():
    values = [encode(KEY, Record("ok", {"x": np.full(9, i)})) for i in range(200)]
    for i in range(0, 200, 7):
        values[i] = values[i][:-1] + b"\xff"
    batch = read(*values)
    ((positions, arrays),) = batch.groups
    assert batch.n_damaged == len(range(0, 200, 7))
    assert positions.tolist() == [i for i in range(200) if i % 7]
    np.testing.assert_array_equal(arrays["x"][:, 0], positions)


def test_another_version_is_absent_and_not_damaged():
    value = bytearray(encode(KEY, Record("ok", {"x": np.arange(5.0)})))
    value[4] += 1
    batch = read(with_checksum(value))
    assert (batch.status[0], batch.n_damaged) == (0, 0)


def forge(layout, payload=bytes(16), note=b"", **fields):
    """Build a value with a right checksum whose parts say what they like."""
    layout = layout if isinstance(layout, bytes) else json.dumps(layout).encode()
    layout += b" " * (-len(layout) % 8)
    head = np.zeros(1, dtype=HEAD)
    head["magic"], head["version"], head["status"] = b"skmr", 1, 1
    head["layout_bytes"], head["payload_bytes"] = len(layout), len(payload)
    head["note_bytes"] = len(note)
    head["layout_id"] = layout_id(layout)
    for name, value in fields.items():
        head[name] = value
    return with_checksum(head.tobytes() + layout + payload + note)


def test_forge_makes_readable_records():
    assert read(forge([["x", "<f8", [2]]])).record(0).arrays["x"].shape == (2,)


FORGED = [
    forge([["x", "<f8", [3]]]),
    forge([["x", "<f8", [-1, -2]]]),
    forge([["x", "<f8", [2**62, 0]]], b""),
    forge([["x", "<f8", [True, 2]]]),
    forge([["x", "<f8", [1] * 40 + [2]]]),
    forge([["x", "|O", [2]]]),
    forge([["x", "<M8[s]", [2]]]),
    forge([["x", "<c16", [1]]]),
    forge([["x", "<f8", [1]], ["x", "<f8", [1]]]),
    forge([[1, "<f8", [2]]]),
    forge({"x": 1}),
    forge(b"[" * 100_000),
    forge(b"\xff" * 8),
    forge(b"[[" + b"9" * 5000),
    forge([["x", "<f8", [2]]], layout_id=7),
    forge([["x", "<f8", [2]]], status=4),
    forge([["x", "<f8", [2]]], status=0),
    forge([["x", "<f8", [2]]], payload_bytes=2**64 - 8),
    forge([["x", "<f8", [2]]], layout_bytes=2**32 - 8),
    forge([["x", "<f8", [2]]], note_bytes=2**32 - 8),
]


@pytest.mark.parametrize("value", FORGED, ids=range(len(FORGED)))
def test_forged_records_are_refused(value):
    batch = read(value)
    assert (batch.status[0], batch.n_damaged, batch.groups) == (0, 1, [])


@pytest.mark.parametrize(
    "note",
    [b"[" * 80_000, b"{x}     ", b"[1]     ", b"\xff" * 8],
    ids=["deep", "no JSON", "no dict", "no text"],
)
def test_forged_notes_are_empty(note):
    batch = read(forge([["x", "<f8", [2]]], note=note))
    assert batch.status[0] == 1
    assert batch.note(0) == {}


def test_forged_booleans_are_booleans():
    values = read(forge([["x", "|b1", [16]]], bytes(range(16)))).record(0)
    assert values.arrays["x"].tolist() == [False] + [True] * 15


def test_random_bytes_never_raise_and_never_give_wrong_values():
    rng = np.random.default_rng(3)
    value = encode(KEY, Record("ok", {"x": np.arange(12.0)}, {"seconds": 2}))
    mutated = []
    for _ in range(4000):
        new = bytearray(value)
        for at in rng.integers(0, len(new), rng.integers(1, 6)):
            new[at] = rng.integers(0, 256)
        if rng.random() < 0.2:
            del new[rng.integers(0, len(new)) :]
        if rng.random() < 0.1:
            new += rng.bytes(8 * int(rng.integers(1, 20)))
        mutated.append(bytes(new))
    for start in range(0, 4000, 100):
        piece = mutated[start : start + 100]
        batch = read(*piece)
        for i in np.flatnonzero(batch.status):
            assert piece[i] == value


def test_random_parts_with_a_right_checksum_never_raise():
    rng = np.random.default_rng(4)
    value = encode(KEY, Record("ok", {"x": np.arange(12.0)}, {"seconds": 2}))
    for _ in range(2000):
        new = bytearray(value)
        for at in rng.integers(6, 100, rng.integers(1, 4)):
            new[at] = rng.integers(0, 256)
        batch = read(with_checksum(new))
        batch.note(0)
        for _, arrays in batch.groups:
            assert sum(a.nbytes for a in arrays.values()) <= len(value)


@pytest.mark.parametrize(
    ("record", "error", "match"),
    [
        (Record("good"), ValueError, "'ok', 'missing' or 'error'. Got 'good'"),
        (Record("missing", {"x": np.ones(1)}), ValueError, "holds no arrays"),
        (Record("ok", {"x": np.array(["a"])}), TypeError, "dtype <U1"),
        (Record("ok", {"x": np.array([None])}), TypeError, "dtype object"),
        (Record("ok", {1: np.ones(1)}), TypeError, "under str names"),
        (Record("ok", {"x": np.ones((1,) * 20)}), ValueError, "at most 16 axes"),
        (Record("error", note=["x"]), TypeError, "note is a dict"),
        (Record("error", note={"x": object()}), TypeError, "not JSON serializable"),
    ],
)
def test_records_that_cannot_be_stored(record, error, match):
    with pytest.raises(error, match=match):
        encode(KEY, record)
