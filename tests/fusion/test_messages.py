"""What fusion classifiers say of X and y that are not quite what they take."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from skmer.ensemble import SeedVotingClassifier
from skmer.fusion import AttentionFusionClassifier, FusionClassifier
from skmer.metrics import ModalityWeightsDisplay
from skmer.modules import AttentionFusion


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    names = ["audio__0", "audio__1", "text__0", "text__1"]
    X = pd.DataFrame(rng.normal(size=(40, 4)) + 3 * y[:, None], columns=names)
    X.iloc[:6, :2] = np.nan
    return X, y


def _net():
    return AttentionFusionClassifier(max_epochs=8, random_state=0)


def test_nameless_rows_with_holes_are_counted_in_a_warning(data):
    X, y = data
    with pytest.warns(UserWarning, match=r"6 of 40 rows .*set_output") as caught:
        _net().fit(X.to_numpy(), y)
    assert caught[0].filename == __file__
    streams = {"audio": slice(0, 2), "text": slice(2, 4)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _net().fit(X, y)
        _net().set_params(streams=streams).fit(X.to_numpy(), y)
        _net().fit(X.fillna(0).to_numpy(), y)


@pytest.mark.parametrize("unlabelled", [-1, None])
def test_score_leaves_out_unlabelled_rows(data, unlabelled):
    X, y = data
    if unlabelled is None:
        y = np.array(["a", "b"], dtype=object)[y]
    net = _net().fit(X, y)
    partly = y.copy()
    partly[::4] = unlabelled
    labelled = np.arange(40) % 4 != 0
    expected = np.mean(net.predict(X)[labelled] == y[labelled])
    assert net.score(X, partly) == pytest.approx(expected)
    weight = np.arange(40.0)
    expected = np.average(
        net.predict(X)[labelled] == y[labelled], weights=weight[labelled]
    )
    assert net.score(X, partly, weight) == pytest.approx(expected)
    partly[:] = unlabelled
    with pytest.raises(ValueError, match="None of the 40 rows"):
        net.score(X, partly)


def test_columns_without_a_stream_beside_others_are_named(data):
    X, y = data
    with pytest.warns(UserWarning, match=r"1 columns .*: age") as caught:
        _net().fit(X.assign(age=1.0), y)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _net().set_params(streams=["audio", "text"]).fit(X.assign(age=1.0), y)


def test_modules_and_losses_that_cannot_be_used(data):
    class Headless(torch.nn.Module):
        def forward(self, streams, mask=None):
            return streams[0]

    with pytest.raises(ValueError, match="no method 'encode'"):
        FusionClassifier(Headless).fit(*data)
    with pytest.raises(ValueError, match="must be a class"):
        FusionClassifier(AttentionFusion({"a": 2}, 2)).fit(*data)
    with pytest.raises(ValueError, match="return logits"):
        _net().set_params(criterion=torch.nn.NLLLoss).fit(*data)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            _net().set_params(device="cuda").fit(*data)


def test_weights_of_votes_are_drawn(data):
    X, y = data
    streams = {"audio": [0, 1], "text": [2, 3]}
    for given in (X, X.to_numpy()):
        net = _net().set_params(streams=streams)
        vote = SeedVotingClassifier(net, n_seeds=2).fit(given, y)
        shown = ModalityWeightsDisplay.from_estimator(vote, given, plot=False)
        assert list(shown.streams) == ["audio", "text"]
