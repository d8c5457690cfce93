"""ModalityWeightsDisplay."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.fusion import AttentionFusionClassifier
from skmer.metrics import ModalityWeightsDisplay

WEIGHTS = np.array([[0.7, 0.3], [0.5, np.nan], [0.1, 0.9]])


def test_means_by_class_leave_out_what_is_missing():
    display = ModalityWeightsDisplay.from_weights(
        WEIGHTS, ["audio", "text"], y=["sad", "sad", "glad"], plot=False
    )
    assert display.groups == ["glad", "sad"]
    np.testing.assert_allclose(display.weights, [[0.1, 0.9], [0.6, 0.3]])
    np.testing.assert_allclose(display.spread, [[0, 0], [0.1, 0]], atol=1e-12)


def test_bars_are_the_means(pyplot):
    display = ModalityWeightsDisplay.from_weights(WEIGHTS, ["audio", "text"])
    try:
        assert display.groups == ["all clips"]
        heights = [[bar.get_height() for bar in bars] for bars in display.bars_]
        np.testing.assert_allclose(np.ravel(heights), [1.3 / 3, 0.6])
        labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert labels == ["audio", "text"]
        _, axes = pyplot.subplots()
        assert display.plot(ax=axes).ax_ is axes
    finally:
        pyplot.close("all")


def test_unlabelled_clips_are_left_out():
    display = ModalityWeightsDisplay.from_weights(
        WEIGHTS, ["audio", "text"], y=[0, -1, 0], plot=False
    )
    assert display.groups == ["0"]
    np.testing.assert_allclose(display.weights, [[0.4, 0.6]])


def test_shapes_must_match():
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        ModalityWeightsDisplay.from_weights(WEIGHTS, ["audio"])
    with pytest.raises(ValueError, match="2 labels for 3"):
        ModalityWeightsDisplay.from_weights(WEIGHTS, ["a", "t"], y=[0, 1])


def test_estimators_without_weights_are_refused():
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(TypeError, match="LogisticRegression"):
        ModalityWeightsDisplay.from_estimator(LogisticRegression(), WEIGHTS)


def _data():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    names = ["audio__0", "audio__1", "text__0", "text__1"]
    X = pd.DataFrame(rng.normal(size=(40, 4)) + y[:, None], columns=names)
    X.iloc[:5, :2] = np.nan
    return X, y


def test_shares_of_a_fitted_pipeline_leave_out_missing_streams():
    X, y = _data()
    model = make_pipeline(
        StandardScaler(), AttentionFusionClassifier(max_epochs=3, random_state=0)
    )
    model.set_output(transform="pandas").fit(X, y)
    display = ModalityWeightsDisplay.from_estimator(model, X, plot=False)
    weights = model[-1].modality_weights(model[:-1].transform(X), normalize=True)
    weights = np.asarray(weights)
    assert display.streams == ["audio", "text"]
    np.testing.assert_allclose(display.weights[0, 0], weights[5:, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(display.weights[0, 1], weights[:, 1].mean(), rtol=1e-6)
    raw = ModalityWeightsDisplay.from_estimator(
        model, X, y, normalize=False, plot=False
    )
    assert raw.weights.shape == (2, 2)
    assert not np.allclose(raw.weights, display.weights)
