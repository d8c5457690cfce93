"""Data shared by the tests of reports."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skmer.evaluation import evaluate
from skmer.preprocessing import ModalityImputer

N = 90


@pytest.fixture(scope="session")
def data():
    """Features of three modalities, three classes, some clips without a face."""
    rng = np.random.default_rng(0)
    y = np.array(["angry", "happy", "sad"], dtype=object)[np.arange(N) % 3]
    names = [f"{m}__{i}" for m in ("audio", "video", "text") for i in range(3)]
    index = [f"clip{i}.mp4" for i in range(N)]
    X = pd.DataFrame(rng.normal(size=(N, 9)), columns=names, index=index)
    X["audio__0"] += 2 * (y == "sad")
    X["text__1"] += 2 * (y == "angry")
    X.iloc[:6, 3:6] = np.nan
    return X, y


@pytest.fixture(scope="session")
def plain_model():
    """A classifier of numbers, quickly fitted."""
    return make_pipeline(ModalityImputer(), LogisticRegression()).set_output(
        transform="pandas"
    )


@pytest.fixture(scope="session")
def report(data, plain_model):
    """A report of the plain model."""
    return evaluate(plain_model, *data, cv=3, n_bootstraps=50)
