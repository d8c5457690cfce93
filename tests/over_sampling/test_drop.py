"""Dropping unlabelled rows."""

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from skmer.model_selection import UnlabeledInTrain
from skmer.over_sampling import DropUnlabeled

PATHS = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


@pytest.mark.parametrize(
    "y",
    [
        ["x", None, "z", None],
        [1, -1, 0, -1],
        np.array(["x", None, "z", None], dtype=object),
        np.array([1.0, np.nan, 0.0, np.nan]),
        pd.Series(["x", None, "z", None], index=PATHS, name="emotion"),
        pd.Series([1, None, 0, None], dtype="Int64"),
        pd.Series(pd.Categorical(["x", None, "z", None])),
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}",
)
def test_labels_keep_their_type(y):
    X, kept = DropUnlabeled().fit_resample(PATHS, y)
    assert X == ["a.mp4", "c.mp4"]
    assert type(kept) is type(y) and list(kept) == list(np.array(y)[[0, 2]])
    assert getattr(kept, "dtype", None) == getattr(y, "dtype", None)
    if isinstance(y, pd.Series):
        assert kept.name == y.name and kept.index.equals(y.index[[0, 2]])


def test_integers_beside_none_become_integers():
    for y in ([1, None, 0, 1], [True, None, False, True]):
        for kind in (np.array(y, dtype=object), pd.Series(y, dtype=object)):
            kept = DropUnlabeled().fit_resample(PATHS, kind)[1]
            assert kept.dtype == (bool if y[0] is True else np.int64)
            assert kept.tolist() == [y[0], y[2], y[3]]


@pytest.mark.parametrize(
    "X",
    [
        PATHS,
        np.array(PATHS, dtype=object),
        pd.Series(PATHS, index=[9, 8, 7, 6]),
        pd.DataFrame({"audio": PATHS, "text": [None, "hi", "ho", None]}, index=PATHS),
        np.arange(8.0, dtype=np.float32).reshape(4, 2),
    ],
    ids=lambda X: type(X).__name__,
)
def test_any_x(X):
    sampler = DropUnlabeled()
    kept, y = sampler.fit_resample(X, [-1, 0, -1, 2])
    assert sampler.sample_indices_.tolist() == [1, 3] and y == [0, 2]
    if isinstance(X, pd.DataFrame | pd.Series):
        assert kept.equals(X.iloc[[1, 3]])
    else:
        assert np.array_equal(kept, np.asarray(X)[[1, 3]])
        assert type(kept) is type(X)


def test_plain_classifiers_take_part():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.array(["happy", "sad"], dtype=object)[np.arange(60) % 2]
    X[:, 0] += 3 * (np.arange(60) % 2)
    y[rng.permutation(60)[:30]] = None
    model = make_pipeline(StandardScaler(), DropUnlabeled(), LogisticRegression())
    scores = cross_val_score(model, X, y, cv=UnlabeledInTrain(3), error_score="raise")
    assert scores.mean() > 0.8
    assert model.fit(X, y).classes_.tolist() == ["happy", "sad"]


def test_nothing_to_keep():
    with pytest.raises(ValueError, match="None of the 2 rows is labelled"):
        DropUnlabeled().fit_resample(["a", "b"], [None, None])
    with pytest.raises(ValueError, match="requires y"):
        DropUnlabeled().fit_resample(["a", "b"], None)
