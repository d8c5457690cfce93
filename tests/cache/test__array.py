"""Arrays that stay in the store until they are used."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from skmer.cache import CachedArray, Record, load_arrays, open_store
from skmer.utils import as_object_column


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, 4)).astype(np.float32) for n in (3, 5, 3, 0)]


@pytest.fixture
def cells(tmp_path, frames):
    store = open_store(tmp_path / "store")
    store.put_many(
        [
            (b"key%d" % i, Record("ok", {"frames": a, "n": np.array(len(a))}))
            for i, a in enumerate(frames)
        ]
    )
    yield [CachedArray(store.path, b"key%d" % i, "frames") for i in range(4)]
    store.close()


def test_behaves_as_the_array(cells, frames):
    for cell, array in zip(cells, frames, strict=True):
        assert (cell.shape, cell.dtype, cell.ndim) == (array.shape, array.dtype, 2)
        assert len(cell) == len(array)
        np.testing.assert_array_equal(cell, array)
        np.testing.assert_array_equal(cell[:, 1], array[:, 1])
        np.testing.assert_array_equal(list(cell), list(array))
        assert np.asarray(cell, dtype=np.float64).dtype == np.float64
        cell.load()[:] = 7
        np.testing.assert_array_equal(cell, array)
    total = cells[1] + cells[1].mean(axis=0) * 2 - np.float32(1)
    np.testing.assert_allclose(total, frames[1] + 2 * frames[1].mean(axis=0) - 1)
    np.testing.assert_array_equal(cells[1].T, frames[1].T)
    np.testing.assert_array_equal(np.exp(cells[0]), np.exp(frames[0]))
    assert not hasattr(cells[0], "columns") and not hasattr(cells[0], "_values")
    with pytest.raises(ValueError, match="cannot be had without a copy"):
        np.asarray(cells[0], copy=False)


def test_an_array_without_axes_has_no_length(cells):
    cell = CachedArray(cells[0].store_path, b"key0", "n")
    assert (cell.shape, int(np.asarray(cell))) == ((), 3)
    with pytest.raises(TypeError, match="no length"):
        len(cell)


def test_pickles_as_its_place_alone(cells):
    cells[1].load()
    small = pickle.dumps(cells[1])
    assert len(small) < 300
    assert pickle.loads(small) == cells[1] != cells[2]
    assert len({*cells, pickle.loads(small)}) == 4
    start = f"<CachedArray 'frames' {b'key1'.hex()} in {cells[1].store_path}"
    assert repr(cells[1]).startswith(start)
    code = (
        "import pickle, sys; "
        "cell = pickle.loads(bytes.fromhex(sys.argv[1])); print(cell.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, small.hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(5, 4)\n"


def test_many_at_once(cells, frames):
    given = [cells[1], None, frames[0], cells[0], cells[2], cells[1]]
    loaded = load_arrays(as_object_column(given))
    assert loaded[1] is None
    assert loaded[2] is frames[0]
    for position, number in ((0, 1), (3, 0), (4, 2), (5, 1)):
        np.testing.assert_array_equal(loaded[position], frames[number])
    assert not np.shares_memory(loaded[3], loaded[4])


@pytest.mark.parametrize(("key", "name"), [(b"other", "frames"), (b"key0", "other")])
def test_an_array_that_is_gone(cells, key, name):
    cell = CachedArray(cells[0].store_path, key, name)
    with pytest.raises(KeyError, match="Run the encoder's transform again"):
        cell.load()
