"""Telling clips from features."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmer.feature_selection import ChiSquareSelector
from skmer.over_sampling import NoiseEmbeddingSampler
from skmer.preprocessing import (
    GroupStandardScaler,
    ModalityImputer,
    SplitStandardScaler,
)
from skmer.utils._features import refuse_clips, refuse_sequences

PATHS = ["clips/a.mp4", "clips/b.mp4", "clips/c.mp4", "clips/d.mp4"]
CLIPS = {
    "list": PATHS,
    "Path": [Path(path) for path in PATHS],
    "array": np.array(PATHS),
    "Series": pd.Series(PATHS, index=list("abcd")),
    "table": pd.DataFrame({"audio": [None, *PATHS[1:]], "n": 1.0}, index=PATHS),
}


@pytest.mark.parametrize("kind", CLIPS)
@pytest.mark.parametrize(
    "estimator",
    [
        GroupStandardScaler(pd.Series("ann", index=PATHS)),
        GroupStandardScaler(),
        SplitStandardScaler(),
        ModalityImputer(),
        ChiSquareSelector(),
        NoiseEmbeddingSampler(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_clips_are_told_from_features(estimator, kind):
    said = f"{type(estimator).__name__} needs features, .*clips.[ab]\\.mp4.*encoders"
    with pytest.raises(ValueError, match=said):
        estimator.fit(CLIPS[kind], ["x", "z", "x", "z"])


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((2, 2)),
        [[1.0, 2.0]],
        [],
        [1.0, 2.0],
        None,
        {"audio": PATHS},
        np.array(0.0),
        np.array("clips/a.mp4"),
        pd.DataFrame({"a": [1, 2], "b": [np.nan, np.nan], "c": [None, True]}),
        pd.DataFrame({"a": ["1.5", "2"]}),
        pd.DataFrame({"a": [np.zeros(3), None]}),
        pd.DataFrame({"a": []}),
    ],
)
def test_all_else_is_left_to_others(X):
    refuse_clips(ModalityImputer(), X)


@pytest.mark.parametrize("cell", [[1.0, 2.0], (1.0,), np.zeros((3, 2)), []])
def test_sequences_are_told_from_numbers(cell):
    X = pd.DataFrame({"n": 1.0, "face__0": [None, np.nan, cell]})
    said = r"ModalityImputer needs one number .* 'face__0' .*pooling='mean'"
    with pytest.raises(ValueError, match=said):
        refuse_sequences(ModalityImputer(), X)
    with pytest.raises(ValueError, match="Column 1 has sequences"):
        refuse_sequences(ModalityImputer(), X.to_numpy())


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((2, 2)),
        np.array([[1, None]], dtype=object),
        [[1.0, 2.0]],
        None,
        pd.DataFrame({"a": [1, 2], "b": [None, np.float32(2)], "c": ["x", "yz"]}),
        pd.DataFrame({"a": [np.array(1.0), None]}),
    ],
)
def test_other_things_are_no_sequences(X):
    refuse_sequences(ModalityImputer(), X)
