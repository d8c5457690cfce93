import numpy as np
import pytest
import torch

from skmer.fusion._data import Batches, StreamDataset, to_stream_data

STREAMS = {"audio": np.array([2, 3]), "text": np.array([0, 1, 4])}
CPU = torch.device("cpu")


def table(n=6):
    return np.arange(n * 5, dtype=np.float32).reshape(n, 5)


def test_columns_come_stream_by_stream():
    X = table()
    data = to_stream_data(X, STREAMS, CPU)
    audio, text = data.streams()
    np.testing.assert_array_equal(audio, X[:, [2, 3]])
    np.testing.assert_array_equal(text, X[:, [0, 1, 4]])
    assert data.mask is None and bool(data.present().all())


@pytest.mark.parametrize("order", [STREAMS, {"text": np.arange(5)}])
def test_a_nan_masks_its_stream_and_leaves_x_alone(order):
    X = table()
    X[1, 4] = X[2, 0] = np.nan
    before = X.copy()
    data = to_stream_data(X, order, CPU)
    np.testing.assert_array_equal(X, before)
    text = list(order).index("text")
    np.testing.assert_array_equal(data.mask[:, text], [1, 0, 0, 1, 1, 1])
    assert torch.isfinite(data.values).all()
    assert data.streams()[text][1].tolist() == [0.0] * len(order["text"])
    assert data.mask.sum() == data.mask.numel() - 2


def test_read_only_arrays_are_taken_without_a_warning():
    X = table()
    X.flags.writeable = False
    assert len(to_stream_data(X, {"all": np.arange(5)}, CPU)) == 6


@pytest.mark.parametrize("ordered", [False, True])
def test_batches_cover_all_rows_once(ordered):
    data = to_stream_data(table(7), STREAMS, CPU)
    data.weight = torch.arange(7.0)
    rows = torch.tensor([6, 5, 4, 3, 2, 1, 0])
    batches = Batches(
        StreamDataset(data, torch.arange(7)), 3, (lambda: rows) if ordered else None
    )
    seen = list(batches)
    assert len(batches) == len(seen) == 3
    assert [len(X) for X, _ in seen] == [3, 3, 1]
    labels = torch.cat([y for _, y in seen])
    assert labels.tolist() == (rows.tolist() if ordered else list(range(7)))
    values = torch.cat([X.values for X, _ in seen])
    assert torch.equal(values, data.values[labels])
    assert torch.equal(torch.cat([X.weight for X, _ in seen]), labels.float())
