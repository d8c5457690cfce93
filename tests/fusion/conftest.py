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
