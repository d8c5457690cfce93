import numpy as np
import pandas as pd
import pytest

SIZES = {"audio": 6, "video__face": 5, "text": 4}


def make_clips(n=90, seed=0):
    """Clips of three classes, each stream with some evidence of its own."""
    rng = np.random.default_rng(seed)
    y = np.array(["angry", "happy", "sad"])[np.arange(n) % 3]
    columns = [f"{name}__{i}" for name, size in SIZES.items() for i in range(size)]
    values = rng.normal(size=(n, len(columns))).astype(np.float32)
    start = 0
    for size in SIZES.values():
        values[np.arange(n), start + np.arange(n) % 3] += 2.0
        start += size
    index = pd.Index([f"clip{i}" for i in range(n)])
    return pd.DataFrame(values, columns=columns, index=index), y


@pytest.fixture
def clips():
    return make_clips()


@pytest.fixture
def planted():
    return make_planted


def make_planted(n=900, seed=0):
    """Clips of which one stream tells the class and the others show any.

    The last column of a stream says whether it is the one that tells. Returns X, the
    classes and the number of the stream that tells.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    telling = rng.integers(3, size=n)
    blocks = []
    for stream in range(3):
        shown = np.where(telling == stream, y, rng.integers(3, size=n))
        block = rng.normal(size=(n, 6))
        block[np.arange(n), shown] += 2.5
        block[:, -1] += np.where(telling == stream, 2, -2)
        blocks.append(block)
    names = [f"{name}__{i}" for name in ("audio", "text", "video") for i in range(6)]
    return pd.DataFrame(np.hstack(blocks), columns=names), y, telling
