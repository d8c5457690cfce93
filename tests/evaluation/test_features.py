"""Where clips become features, and features without parts."""

import numpy as np
import pandas as pd
import pytest
from byte_encoder import ByteHistogramEncoder
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmer.clips import ClipTable
from skmer.encoders import AdaptedSpeechEncoder
from skmer.enrichment import ContextEnricher
from skmer.evaluation._features import (
    are_features,
    is_stateless,
    modalities_of,
    name_of,
    pooled,
    sequence_widths,
    split_off_extraction,
    without,
)
from skmer.preprocessing import SplitStandardScaler


def cells(*values):
    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        column[i] = value
    return column


@pytest.fixture
def mixed():
    table = {
        "audio__0": np.array([1, 2], dtype=np.float32),
        "video__frames": cells(np.ones((2, 3)), None),
        "text__n": np.array([3, 4]),
    }
    return pd.DataFrame(table, index=["a", "b"])


def test_what_learns_or_looks_at_other_clips_is_told_apart():
    encoder = ByteHistogramEncoder()
    for step in (
        ClipTable(),
        encoder,
        ContextEnricher(),
        "passthrough",
        None,
        ColumnTransformer([("video", encoder, "video"), ("rest", "drop", "text")]),
        FeatureUnion([("video", encoder), ("again", make_pipeline(encoder))]),
    ):
        assert is_stateless(step), step
    for step in (
        AdaptedSpeechEncoder("model"),
        StandardScaler(),
        SplitStandardScaler(),
        FunctionTransformer(lambda X: X - X.mean()),
        ColumnTransformer([("v", encoder, "video"), ("t", StandardScaler(), "text")]),
        ColumnTransformer([("v", encoder, "video")], remainder=StandardScaler()),
        make_pipeline(encoder, StandardScaler()),
    ):
        assert not is_stateless(step), step


def test_features_are_told_from_clips(mixed):
    assert are_features(mixed)
    assert are_features(np.zeros((2, 3)))
    assert are_features(mixed[["audio__0"]])
    assert not are_features(["a.mp4"])
    assert not are_features(np.array(["a.mp4"]))
    assert not are_features(pd.Series(["a.mp4"]))
    assert not are_features(pd.DataFrame({"video": ["a.mp4"]}))
    assert not are_features(ClipTable().fit_transform(["a.mp4"]))
    # A table in which no clip has a text, or anything
    assert not are_features(pd.DataFrame({"text": cells(None, None)}))


def test_modalities_come_from_names(mixed):
    assert {k: v.tolist() for k, v in modalities_of(mixed).items()} == {
        "audio": [0],
        "video": [1],
        "text": [2],
    }
    assert modalities_of(mixed.to_numpy()) == {}
    assert modalities_of(pd.DataFrame({"x": [1.0], "y": [2.0]})) == {}


def test_parts_are_taken_out_of_a_copy(mixed):
    before = mixed.copy()
    masked = without(mixed, np.array([0, 1]))
    pd.testing.assert_frame_equal(mixed, before)
    assert masked.columns.equals(mixed.columns) and masked.index.equals(mixed.index)
    assert masked["audio__0"].isna().all() and masked["audio__0"].dtype == np.float32
    assert [cell is None for cell in masked["video__frames"]] == [True, True]
    assert masked["text__n"].tolist() == [3, 4]
    numbers = without(mixed, np.array([2]))["text__n"]
    assert numbers.dtype == np.float64 and numbers.isna().all()
    floats = pd.DataFrame(np.ones((2, 2), np.float32), columns=["a__0", "a__0"])
    masked = without(floats, np.array([1]))
    assert masked.dtypes.tolist() == [np.float32, np.float32]
    np.testing.assert_array_equal(masked.to_numpy(), [[1, np.nan], [1, np.nan]])
    assert (floats == 1).all(axis=None)


def test_sequences_become_means():
    steps = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    X = pd.DataFrame(
        {
            "audio__frames": cells(steps, None, np.zeros((0, 2))),
            "audio__waveform": cells(np.zeros(5), np.zeros(7), None),
            "text__0": [1.0, 2.0, 3.0],
        },
        index=list("abc"),
    )
    table, left_out = pooled(X)
    assert table.columns.tolist() == ["audio__frames__0", "audio__frames__1", "text__0"]
    assert table.loc["a"].tolist() == [3.0, 4.0, 1.0]
    assert table.loc[["b", "c"], "audio__frames__0"].isna().all()
    assert left_out == ["audio__waveform"]
    nothing, left_out = pooled(X[["audio__waveform"]])
    assert nothing.shape == (3, 0)
    # Held-out rows of which none has the sound get the columns of the training rows
    held_out = X.loc[["b"]]
    same, _ = pooled(held_out, sequence_widths(X))
    assert same.columns.tolist() == table.columns.tolist()
    assert pooled(held_out)[0].columns.tolist() == ["text__0"]


def test_only_what_comes_before_features_is_split_off(tmp_path):
    paths = []
    for number in range(3):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes([0, number, 200]))
        paths.append(str(path))
    encode = ColumnTransformer([("video", ByteHistogramEncoder(), "video")])
    model = make_pipeline(ClipTable(), encode, StandardScaler(), LogisticRegression())
    model.set_output(transform="pandas")
    rest, features = split_off_extraction(model, paths)
    assert [name for name, _ in rest.steps] == ["standardscaler", "logisticregression"]
    assert features.index.tolist() == paths and are_features(features)
    for other, X in (
        (model, features),
        (LogisticRegression(), paths),
        (make_pipeline(StandardScaler(), LogisticRegression()), paths),
        (GridSearchCV(model, {}), paths),
    ):
        same, given = split_off_extraction(other, X)
        assert same is other and given is X


def test_names_of_models():
    model = make_pipeline(StandardScaler(), LogisticRegression())
    assert name_of(model) == "LogisticRegression"
    assert name_of(GridSearchCV(model, {})) == "GridSearchCV(LogisticRegression)"
    assert name_of(VotingClassifier([])) == "VotingClassifier"
