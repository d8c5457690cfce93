import numpy as np
import pandas as pd
import pytest

STREAMS = ("audio", "text")


@pytest.fixture(scope="session")
def features():
    """Sixty clips of three classes with two streams, and their labels."""
    rng = np.random.default_rng(0)
    y = np.array(["angry", "happy", "sad"])[np.arange(60) % 3]
    values = rng.normal(size=(60, 6))
    values[np.arange(60), np.arange(60) % 3] += 2
    columns = [f"{name}__{i}" for name in STREAMS for i in range(3)]
    index = [f"clip{i}" for i in range(60)]
    return pd.DataFrame(values.astype(np.float32), columns=columns, index=index), y
