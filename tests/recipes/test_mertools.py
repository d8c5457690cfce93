"""make_mertools_attention."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ParameterGrid, cross_val_score

from skmer.encoders import TextEncoder
from skmer.exceptions import MissingStreamError
from skmer.recipes import MERTOOLS_ATTENTION_PARAM_GRID, make_mertools_attention


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    y = np.array(["sad", "glad"])[rng.integers(0, 2, 60)]
    names = [f"{s}__{i}" for s in ("audio", "video__face", "text") for i in range(4)]
    X = rng.normal(size=(60, 12)) + (y == "sad")[:, None] * 1.5
    X[3, :4] = np.nan
    return pd.DataFrame(X, columns=names).astype(np.float32), y


def _quick(**settings):
    model = make_mertools_attention(random_state=0, **settings)
    return model.set_params(fuse__max_epochs=5)


def test_steps_and_their_parts():
    model = make_mertools_attention(cache=None, n_jobs=2, on_error="nan")
    assert [name for name, _ in model.steps] == ["clips", "encode", "scale", "fuse"]
    for _, encoder, _ in model.named_steps["encode"].transformers:
        assert encoder.cache is None and encoder.n_jobs == 2
        assert encoder.on_error == "nan"
    assert model.named_steps["fuse"].streams == ("audio", "video", "text")
    assert clone(model).get_params().keys() == model.get_params().keys()


def test_every_key_of_the_grid_is_a_parameter():
    model = make_mertools_attention()
    assert len(ParameterGrid(MERTOOLS_ATTENTION_PARAM_GRID)) == 24
    for point in ParameterGrid(MERTOOLS_ATTENTION_PARAM_GRID):
        clone(model).set_params(**point)


def test_on_a_feature_frame(features):
    X, y = features
    model = _quick(encoders=None)
    assert cross_val_score(model, X, y, cv=3).mean() > 0.8
    grid = GridSearchCV(model, {"fuse__hidden_size": [8, 16]}, cv=2).fit(X, y)
    assert grid.best_estimator_.named_steps["fuse"].streams_.keys() == {
        "audio",
        "video",
        "text",
    }
    with pytest.raises(MissingStreamError, match="text"):
        model.fit(X.drop(columns=[c for c in X if c.startswith("text")]), y)


def test_calibration_makes_sound_probabilities_of_the_same_predictions():
    rng = np.random.default_rng(0)
    y = np.tile(["sad", "glad"], 50)
    X = pd.DataFrame(rng.normal(size=(100, 300)) + (y == "sad")[:, None] * 0.05)
    X.columns = [f"{stream}__{i}" for i in range(150) for stream in ("audio", "text")]
    learn, test = slice(0, 40), slice(40, 100)
    model = make_mertools_attention(
        encoders=None, streams=("audio", "text"), random_state=0
    )
    plain = clone(model).fit(X[learn], y[learn])
    calibrated = CalibratedClassifierCV(model, method="temperature", ensemble=False)
    calibrated.fit(X[learn], y[learn])
    np.testing.assert_array_equal(calibrated.predict(X[test]), plain.predict(X[test]))
    losses = [log_loss(y[test], m.predict_proba(X[test])) for m in (plain, calibrated)]
    assert losses[0] > 3 and losses[1] < 0.75


def test_on_paths_and_on_a_frame_of_clips(small_clips, tmp_path):
    model = _quick(sidecar_text=True, cache=tmp_path)
    y = ["sad", "glad"] * (len(small_clips.paths) // 2)
    from_paths = model.fit(small_clips.paths, y).predict_proba(small_clips.paths)
    from_frame = model.fit(small_clips.data, y).predict_proba(small_clips.data)
    np.testing.assert_array_equal(from_paths, from_frame)
    assert from_paths.shape == (len(y), 2)


def test_with_encoders_of_ones_own(small_clips):
    text = TextEncoder(n_features=32, cache=None)
    model = _quick(encoders={"text": text}, streams=["text"])
    y = ["sad", "glad"] * (len(small_clips.paths) // 2)
    model.fit(small_clips.data, y)
    assert list(model.named_steps["fuse"].streams_) == ["text"]
    assert model[:-1].transform(small_clips.data).shape == (len(y), 32)


def test_words_that_nobody_has_are_an_error_with_the_remedy(small_clips, tmp_path):
    model = _quick(cache=tmp_path)
    y = ["sad", "glad"] * (len(small_clips.paths) // 2)
    with pytest.raises(ValueError, match="sidecar_text=True"):
        model.fit(small_clips.paths, y)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoders": "online"}, "online"),
        ({"encoders": {"text": TextEncoder()}}, "modality 'audio'"),
        ({"streams": ["smell"]}, "smell"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        make_mertools_attention(**settings)
