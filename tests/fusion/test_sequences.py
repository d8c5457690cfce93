import numpy as np
import pandas as pd
import pytest
import torch

from skmer.cache import CachedArray, Record, open_store
from skmer.fusion import _sequences
from skmer.fusion._sequences import (
    CellTable,
    sequence_columns,
    step_statistics,
    to_sequence_data,
)
from skmer.utils import as_object_column

CPU = torch.device("cpu")
STREAMS = {"audio": np.array([0]), "text": np.array([1, 2]), "video": np.array([3])}
LENGTHS = [(3, 1), (1, 4), (2, 2), (5, 3)]


def frame(seed=0):
    rng = np.random.default_rng(seed)
    audio = [rng.normal(size=(n, 4)).astype(np.float32) for n, _ in LENGTHS]
    video = [rng.normal(size=(n, 2)) for _, n in LENGTHS]
    return pd.DataFrame(
        {
            "audio__frames": as_object_column(audio),
            "text__0": [0.0, 1.0, np.nan, 3.0],
            "text__1": [5.0, 6.0, 7.0, 8.0],
            "video__frames": as_object_column(video),
        }
    )


def to_data(X, **options):
    names = list(X.columns)
    return to_sequence_data(CellTable.of(X), STREAMS, CPU, names=names, **options)


def store_of(arrays, folder):
    store = open_store(str(folder))
    keys = [f"key{i}".encode() for i in range(len(arrays))]
    store.put_many(
        [
            (key, Record("ok", {"frames": array}))
            for key, array in zip(keys, arrays, strict=True)
        ]
    )
    return store, [CachedArray(store.path, key, "frames") for key in keys]


def test_columns_with_arrays_are_found():
    X = frame()
    assert sequence_columns(X) == [0, 3]
    assert sequence_columns(X.to_numpy()) == [0, 3]
    assert sequence_columns(X[["text__0"]]) == []
    assert sequence_columns(np.array([["a", "b"]], dtype=object)) == []
    assert sequence_columns([[1.0, 2.0]]) == []


def test_cells_are_padded_and_masked():
    X = frame()
    data, kinds = to_data(X)
    assert kinds == {"audio": (True, 4), "text": (False, 2), "video": (True, 2)}
    assert data.sizes == [4, 2, 2]
    audio, text, video = data.streams()
    assert audio.shape == (4, 5, 4) and text.shape == (4, 1, 2)
    assert video.shape == (4, 4, 2) and video.dtype == torch.float32
    for row, (n, _) in enumerate(LENGTHS):
        np.testing.assert_array_equal(audio[row, :n], X["audio__frames"][row])
        assert audio[row, n:].abs().sum() == 0
        assert data.mask[0][row].tolist() == [i < n for i in range(5)]
    assert data.mask[1].squeeze(1).tolist() == [True, True, False, True]
    assert text[2].tolist() == [[0.0, 0.0]]
    assert data.present()[:, 1].tolist() == [True, True, False, True]


def test_rows_are_padded_to_the_longest_among_them():
    data, _ = to_data(frame())
    data.weight = torch.arange(4.0)
    part = data.take(torch.tensor([2, 1]))
    assert part.streams()[0].shape == (2, 2, 4) and part.weight.tolist() == [2.0, 1.0]
    torch.testing.assert_close(part.streams()[0], data.streams()[0][[2, 1], :2])
    assert data.take(slice(0, 2)).streams()[2].shape == (2, 4, 2)


def test_hidden_streams_are_not_looked_at():
    data, _ = to_data(frame())
    there = data.present().clone()
    there[:, 0] = torch.tensor([True, False, True, False])
    hidden = data.masked(there)
    assert hidden.mask[0].any(dim=1).tolist() == [True, False, True, False]
    assert hidden.streams()[0].shape == (4, 3, 4)


@pytest.mark.parametrize("nothing", [None, np.nan, np.zeros((0, 4)), [np.nan]])
def test_what_counts_as_missing(nothing):
    X = frame()
    cell = np.full((2, 4), np.nan) if isinstance(nothing, list) else nothing
    X["audio__frames"] = as_object_column([cell, *X["audio__frames"].iloc[1:]])
    data, _ = to_data(X)
    assert data.present()[:, 0].tolist() == [False, True, True, True]
    assert not data.mask[0][0].any() and data.streams()[0][0].abs().sum() == 0


def test_a_step_with_a_nan_is_skipped():
    X = frame()
    X["audio__frames"][3][1, 2] = np.nan
    data, _ = to_data(X)
    assert data.mask[0][3].tolist() == [True, False, True, True, True]
    assert data.streams()[0][3, 1].tolist() == [0.0] * 4
    assert np.isnan(X["audio__frames"][3][1, 2])


def test_only_the_first_steps_are_used():
    X = frame()
    data, _ = to_data(X, limits={"audio": 2})
    assert data.streams()[0].shape == (4, 2, 4) and data.streams()[2].shape[1] == 4
    np.testing.assert_array_equal(data.streams()[0][3], X["audio__frames"][3][:2])
    # What is not used may hold anything.
    X["audio__frames"][3][2:] = np.inf
    to_data(X, limits={"audio": 2})


def test_sound_has_one_number_a_step():
    X = pd.DataFrame({"audio": as_object_column([np.arange(3.0), np.arange(5.0)])})
    data, kinds = to_sequence_data(CellTable.of(X), {"audio": np.array([0])}, CPU)
    assert kinds == {"audio": (True, 1)}
    assert data.streams()[0][..., 0].tolist() == [[0, 1, 2, 0, 0], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize("bound", [2**30, 100, 0])
def test_cached_arrays_are_kept_up_to_a_bound(tmp_path, monkeypatch, bound):
    monkeypatch.setattr(_sequences, "RESIDENT_BYTES", bound)
    X = frame()
    expected, _ = to_data(X)
    store, cells = store_of(list(X["audio__frames"]), tmp_path)
    X["audio__frames"] = as_object_column(cells)
    data, _ = to_data(X)
    kept = [isinstance(cell, np.ndarray) for cell in data.cells[0]]
    # 48, 16, 32 and 80 bytes
    assert kept == {2**30: [True] * 4, 100: [True] * 3 + [False], 0: [False] * 4}[bound]
    assert all(isinstance(cell, CachedArray) for cell in X["audio__frames"])
    assert torch.equal(data.streams()[0], expected.streams()[0])
    part = data.take(torch.tensor([3, 0]))
    assert torch.equal(part.streams()[0], expected.streams()[0][[3, 0]])
    store.close()


def test_truncated_cached_arrays_keep_only_the_steps_in_use(tmp_path):
    store, cells = store_of([np.zeros((500, 4), np.float32)] * 2, tmp_path)
    X = pd.DataFrame({"audio": as_object_column(cells)})
    data, _ = to_sequence_data(
        CellTable.of(X), {"audio": np.array([0])}, CPU, limits={"audio": 3}
    )
    assert all(cell.base is None and len(cell) == 3 for cell in data.cells[0])
    store.close()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.zeros((2, 5)), "'audio__frames' holds 5 numbers a step in row 2, where 4"),
        (np.zeros((2, 4, 1)), r"shape \(2, 4, 1\) in row 2.*\(n_steps, n_dims\)"),
        ([[1.0, 2.0]], "holds a list in row 2.*CachedArray"),
        ("clip.wav", "holds a str in row 2"),
        (np.array([["a"]]), "holds an array of <U1 in row 2"),
        (np.array([[np.inf, 0, 0, 0]]), "contains infinity .* in row 2"),
        (np.array([[1e300, 0, 0, 0]]), "too large for float32 in row 2"),
    ],
)
def test_cells_that_are_no_sequences(cell, message):
    X = frame()
    cells = list(X["audio__frames"])
    X["audio__frames"] = as_object_column([*cells[:2], cell, cells[3]])
    with pytest.raises(ValueError, match=message):
        to_data(X)


def test_a_stream_of_sequences_is_one_column():
    X = frame()
    both = {"all": np.array([0, 3])}
    with pytest.raises(ValueError, match="Stream 'all' has 2 columns.*streams"):
        to_sequence_data(CellTable.of(X), both, CPU, names=list(X.columns))


def test_other_widths_than_in_training_are_refused():
    X = frame()
    _, kinds = to_data(X)
    X["audio__frames"] = as_object_column([np.zeros((2, 3))] * 4)
    with pytest.raises(ValueError, match="3 numbers a step in row 0, where 4"):
        to_data(X, kinds=kinds)
    X["audio__frames"] = as_object_column([None] * 4)
    data, _ = to_data(X, kinds=kinds)
    assert data.streams()[0].shape == (4, 1, 4) and not data.present()[:, 0].any()


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_statistics_are_those_of_all_real_steps(batch_size):
    X = frame()
    X["audio__frames"][0][:, 1] = 1e4 + X["audio__frames"][0][:, 1]
    for cell in X["audio__frames"]:
        cell[:, 3] = 7.0
    X["video__frames"] = as_object_column([None, *X["video__frames"].iloc[1:]])
    data, _ = to_data(X)
    means, scales = step_statistics(data, batch_size)
    audio = np.concatenate(list(X["audio__frames"])).astype(np.float64)
    spread = audio.std(axis=0)
    spread[3] = 1.0
    np.testing.assert_allclose(means[0], audio.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scales[0], spread, rtol=1e-6)
    video = np.concatenate(list(X["video__frames"].iloc[1:]))
    np.testing.assert_allclose(means[2], video.mean(axis=0), rtol=1e-5)
    text = X[["text__0", "text__1"]].dropna().to_numpy()
    np.testing.assert_allclose(scales[1], text.std(axis=0), rtol=1e-6)
