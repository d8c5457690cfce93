"""TrainingHistoryDisplay."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.fusion import ConcatFusionClassifier, SaliencyLog
from skmer.metrics import TrainingHistoryDisplay

HISTORY = [
    {"epoch": 1, "train_loss": 2.0, "train_loss_best": True, "dur": 0.5, "f1": 0.25},
    {"epoch": 2, "train_loss": 1.0, "train_loss_best": True, "dur": 0.5},
]


@pytest.fixture(autouse=True)
def closed(pyplot):
    yield
    pyplot.close("all")


def test_curves_are_the_numbers_of_the_history():
    display = TrainingHistoryDisplay.from_history(HISTORY, plot=False)
    assert list(display.curves) == ["train_loss", "f1"]
    np.testing.assert_array_equal(display.curves["train_loss"], [2, 1])
    np.testing.assert_array_equal(display.curves["f1"], [0.25, np.nan])


def test_each_kind_has_its_panel():
    display = TrainingHistoryDisplay.from_history(HISTORY, best_epoch=2)
    labels = [axes.get_ylabel() for axes in display.axes_]
    assert labels == ["loss", "score"]
    np.testing.assert_array_equal(display.lines_["train_loss"].get_xdata(), [1, 2])
    np.testing.assert_array_equal(display.lines_["train_loss"].get_ydata(), [2, 1])
    for axes in display.axes_:
        np.testing.assert_array_equal(axes.lines[-1].get_xdata(), [2, 2])


def test_a_fitted_pipeline_shows_losses_scores_and_saliency():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    names = ["audio__0", "audio__1", "text__0", "text__1"]
    X = pd.DataFrame(rng.normal(size=(60, 4)) + y[:, None], columns=names)
    net = ConcatFusionClassifier(
        max_epochs=4,
        train_split=0.2,
        callbacks=[SaliencyLog()],
        random_state=0,
    )
    model = make_pipeline(StandardScaler(), net).set_output(transform="pandas")
    model.fit(X, y)
    display = TrainingHistoryDisplay.from_estimator(model)
    assert list(display.lines_) == [
        "train_loss",
        "valid_loss",
        "valid_f1_weighted",
        "saliency_audio",
        "saliency_text",
    ]
    assert len(display.axes_) == 3
    np.testing.assert_array_equal(
        display.lines_["valid_loss"].get_ydata(), net.history[:, "valid_loss"]
    )
    assert display.best_epoch == net.best_epoch_
    legend = display.axes_[2].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["audio", "text"]
    model[-1].trim_for_prediction()
    with pytest.raises(ValueError, match="draw before trimming"):
        TrainingHistoryDisplay.from_estimator(model)


def test_axes_of_ones_own(pyplot):
    _, axes = pyplot.subplots(2)
    display = TrainingHistoryDisplay.from_history(HISTORY, ax=axes)
    assert display.axes_ == list(axes) and display.figure_ is axes[0].figure
    with pytest.raises(ValueError, match=r"2 panels \(loss, score\). Got 1 Axes"):
        TrainingHistoryDisplay.from_history(HISTORY, ax=axes[0])


@pytest.mark.parametrize("model", [LogisticRegression(), ConcatFusionClassifier()])
def test_estimators_without_a_history_are_refused(model):
    with pytest.raises(TypeError, match="has no training history"):
        TrainingHistoryDisplay.from_estimator(model)
