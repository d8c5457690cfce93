import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from skmer.fusion import AttentionFusionClassifier, FusionClassifier
from skmer.modules import CrossAttentionFusion, StreamHeads
from skmer.utils import as_object_column


def small(**params):
    settings = {"hidden_size": 16, "max_epochs": 4, "random_state": 0, **params}
    return AttentionFusionClassifier(**settings)


class PlainNet(nn.Module):
    """A module as users write them."""

    def __init__(self, stream_sizes, n_classes):
        super().__init__()
        self.head = nn.Linear(sum(stream_sizes.values()), n_classes)

    def encode(self, streams, mask=None):
        return torch.cat(list(streams), dim=1)

    def forward(self, streams, mask=None):
        code = self.encode(streams)
        return self.head(code), {"code": code}


@pytest.mark.parametrize("module", ["own", "user's"])
def test_predictions_join_the_net_and_the_heads(clips, module):
    X, y = clips
    X = X.copy()
    X.iloc[::6, :6] = np.nan
    net = small() if module == "own" else FusionClassifier(PlainNet, stream_heads=8)
    net.fit(X, y)
    data = net.get_dataset(X).X
    heads = net.module_.stream_heads
    assert isinstance(heads, StreamHeads)
    with torch.no_grad():
        fused = net.module_(data.streams(), data.mask)
        fused = fused[0] if isinstance(fused, tuple) else fused
        alone = heads(data.streams(), data.mask)
        joined = heads.join(fused, alone, data.mask).softmax(dim=1)
    np.testing.assert_allclose(net.predict_proba(X), joined, atol=1e-6)
    assert np.abs(joined.numpy() - fused.softmax(dim=1).numpy()).max() > 0.01
    codes = net.module_.encode(data.streams(), data.mask).detach()
    np.testing.assert_allclose(net.transform(X), codes, atol=1e-6)


def test_without_heads_the_net_is_alone(clips):
    X, y = clips
    net = small(stream_heads=None).fit(X, y)
    assert not hasattr(net.module_, "stream_heads")
    data = net.get_dataset(X).X
    with torch.no_grad():
        expected = net.module_(data.streams(), data.mask).softmax(dim=1)
    np.testing.assert_allclose(net.predict_proba(X), expected, atol=1e-6)


def test_the_loss_is_the_nets_plus_one_of_each_stream_that_is_there(clips):
    X, y = clips
    X = X.copy()
    X.iloc[::6, :6] = np.nan
    net = small(max_epochs=1).fit(X, y)
    dataset = net.get_dataset(X)
    weight = np.linspace(0.5, 2, 90)
    dataset.X.weight = torch.from_numpy(weight)
    codes = np.searchsorted(net.classes_, y)
    step = net.validation_step((dataset.X, torch.from_numpy(codes)))
    parts = step["y_pred"][1]
    rows = np.arange(90)
    expected = -parts["net"].log_softmax(dim=1).numpy()[rows, codes]
    for m in range(3):
        loss = -parts["alone"][:, m].log_softmax(dim=1).numpy()[rows, codes]
        expected = expected + loss * dataset.X.mask[:, m].numpy()
    assert step["loss"].item() == pytest.approx(np.mean(weight * expected), rel=1e-5)


def test_the_heads_know_the_classes_shares(clips):
    X, y = clips
    y = np.where(np.arange(90) < 60, "happy", y)
    net = small(max_epochs=1).fit(X, y)
    counts = np.array([np.sum(y == label) for label in net.classes_])
    prior = (counts + 1) / (90 + 3)
    np.testing.assert_allclose(
        net.module_.stream_heads.log_prior, np.log(prior), rtol=1e-5
    )


@pytest.mark.parametrize("epochs", [1, 5])
def test_a_class_that_has_not_come_is_not_predicted(clips, epochs):
    X, y = clips
    known = y != np.unique(y)[2]
    net = small(max_epochs=epochs)
    net.partial_fit(X[known], y[known], classes=np.unique(y))
    assert net.module_.stream_heads.log_prior[2] == -np.inf
    assert np.isfinite(net.predict_proba(X)).all()
    assert set(net.predict(X)) <= set(y[known])


def test_shares_are_those_of_all_that_was_learnt(clips):
    X, y = clips
    net = small(max_epochs=20).fit(X, y)
    before = net.predict_proba(X)
    one = y == y[0]
    net.set_params(lr=1e-9, max_epochs=1).partial_fit(X[one], y[one])
    labels = [*y, *y[one]]
    counts = np.array([labels.count(label) for label in net.classes_])
    np.testing.assert_allclose(net.class_prior_, counts / len(labels))
    assert (net.predict_proba(X).argmax(1) == before.argmax(1)).mean() > 0.95


def test_shares_where_classes_come_equally_often(clips):
    X, y = clips
    weight = np.where(y == np.unique(y)[0], 9.0, 1.0)
    net = small(sampler="balanced").fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(net.class_prior_, [9 / 11, 1 / 11, 1 / 11])
    net = small(sampler="balanced").fit(X, np.where(np.arange(90) < 80, "a", "b"))
    np.testing.assert_allclose(net.class_prior_, [0.5, 0.5])


def test_heads_are_kept_with_the_net(clips):
    X, y = clips
    net = small(keep_epochs=True).fit(X, y)
    expected = net.predict_proba(X)
    *_, last = net.staged_predict_proba(X)
    assert np.array_equal(last, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict_proba(X), expected)
    head = net.module_.stream_heads.heads[0][0].weight.detach().clone()
    net.partial_fit(X, y)
    assert not torch.equal(net.module_.stream_heads.heads[0][0].weight, head)


@pytest.mark.parametrize("first, then", [(None, 16), (16, None)])
def test_a_net_goes_on_as_it_began(clips, first, then):
    X, y = clips
    whole = small(stream_heads=first, max_epochs=4).fit(X, y)
    parts = small(stream_heads=first, max_epochs=2).fit(X, y)
    parts.set_params(stream_heads=then).partial_fit(X, y)
    assert np.array_equal(whole.predict_proba(X), parts.predict_proba(X))


def test_heads_work_in_half_precision(clips):
    X, y = clips
    net = small(dtype="bfloat16").fit(X, y)
    assert net.predict_proba(X).shape == (90, 3)


def test_heads_help_where_streams_are_independent_given_the_class():
    """Weak evidence in each of four streams: what to learn is to multiply."""
    scores = {None: [], 32: []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        y = np.arange(600) % 4
        x = rng.normal(size=(600, 80)) + 1.2 * np.eye(4, 80)[y]
        for m in range(1, 4):
            x[:, 20 * m : 20 * m + 4] += 1.2 * np.eye(4)[y]
        streams = {f"s{m}": slice(20 * m, 20 * m + 20) for m in range(4)}
        for width, found in scores.items():
            net = small(
                streams=streams, stream_heads=width, max_epochs=30, hidden_size=32
            )
            found.append(net.fit(x[:200], y[:200]).score(x[200:], y[200:]))
    assert np.mean(scores[32]) > np.mean(scores[None]) + 0.01


def test_sequences_have_no_stream_heads():
    cells = as_object_column([np.ones((3, 2), dtype=np.float32)] * 6)
    X = pd.DataFrame({"audio__frames": cells, "video__frames": cells})
    net = FusionClassifier(CrossAttentionFusion, stream_heads=8, max_epochs=1)
    with pytest.raises(ValueError, match="stream_heads=8 needs one row of features"):
        net.fit(X, ["a", "b"] * 3)


def test_sequences_are_not_mixed():
    cells = as_object_column([np.ones((3, 2), dtype=np.float32)] * 6)
    X = pd.DataFrame({"audio__frames": cells, "video__frames": cells})
    groups = pd.Series([0, 0, 0, 1, 1, 1])
    net = FusionClassifier(CrossAttentionFusion, groups=groups, group_mixing=0.5)
    with pytest.raises(ValueError, match="mixes groups of whole clips"):
        net.fit(X, ["a", "b"] * 3)
