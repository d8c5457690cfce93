"""Fits side by side give what fits one after another give."""

import numpy as np
import pandas as pd
import pytest
import torch
from instances import NUMERIC
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from torch import nn

from skmer.fusion import (
    AttentionFusionClassifier,
    ConcatFusionClassifier,
    CrossAttentionFusionClassifier,
    DynamicWeightingFusionClassifier,
    FusionClassifier,
    ModalTokenFusionClassifier,
    SaliencyLog,
    _side_by_side,
)
from skmer.fusion._side_by_side import fit_together
from skmer.modules import AttentionFusion

SMALL = {"hidden_size": 16, "max_epochs": 4}


@pytest.fixture
def holes(clips):
    """87 clips, some without a stream, so that the last batch is not full."""
    X, y = clips
    X = X.iloc[:87].copy()
    X.iloc[:7, :6] = np.nan
    X.iloc[5:9, 11:] = np.nan
    return X, y[:87]


@pytest.fixture
def stacks(monkeypatch):
    """How many nets each stack that was trained had."""
    sizes = []
    original = _side_by_side._run_side_by_side

    def counted(nets, begun):
        sizes.append(len(nets))
        original(nets, begun)

    monkeypatch.setattr(_side_by_side, "_run_side_by_side", counted)
    return sizes


def seeded(net, n=3):
    return [clone(net).set_params(random_state=seed) for seed in range(n)]


def assert_same(nets, others, X):
    for net, other in zip(nets, others, strict=True):
        np.testing.assert_allclose(
            net.predict_proba(X), other.predict_proba(X), atol=1e-5
        )
        np.testing.assert_allclose(net.transform(X), other.transform(X), atol=1e-4)
        assert net.best_epoch_ == other.best_epoch_
        assert len(net.history_) == len(other.history_)
        for name in ("epoch", "train_batch_count", "train_loss_best"):
            assert net.history_[:, name] == other.history_[:, name]
        np.testing.assert_allclose(
            net.history_[:, "train_loss"], other.history_[:, "train_loss"], atol=1e-5
        )
        np.testing.assert_array_equal(net.classes_, other.classes_)
        np.testing.assert_allclose(net.class_prior_, other.class_prior_)
        # Drawn as many numbers, so that what follows is the same as well.
        assert torch.equal(
            net.random_source_.generator().get_state(),
            other.random_source_.generator().get_state(),
        )


ATTENTION = AttentionFusionClassifier(**SMALL)
EVERY = {
    "joint": {},
    "per_stream": {"attention": "per_stream"},
    "net alone": {"stream_heads": None, "modality_dropout": 0.0},
    "no dropout": {"dropout": 0.0, "stream_heads": None},
    "class weights": {"class_weight": "balanced", "sampler": "balanced"},
    "norm": {"gradient_clip_norm": 0.3, "weight_decay": 0.1},
    "value": {"gradient_clip_value": 0.01, "n_threads": None},
    "momentum": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.05},
    "AdamW": {"optimizer": torch.optim.AdamW, "criterion__label_smoothing": 0.1},
    "bfloat16": {"dtype": "bfloat16", "max_epochs": 1},
}


@pytest.mark.parametrize("params", EVERY.values(), ids=EVERY)
def test_seeds(holes, stacks, params):
    X, y = holes
    nets = seeded(clone(ATTENTION).set_params(**params))
    fit_together(nets, [(X, y, None)] * 3)
    assert stacks == [3]
    if params.get("dtype") == "bfloat16":
        alone = seeded(nets[0])[1].fit(X, y)
        assert np.abs(nets[1].predict_proba(X) - alone.predict_proba(X)).max() < 0.02
        return
    assert_same(nets, [net.fit(X, y) for net in seeded(nets[0])], X)


@pytest.mark.parametrize(
    "net",
    [
        ConcatFusionClassifier(max_epochs=4, hidden_sizes=(16, 8)),
        DynamicWeightingFusionClassifier(**SMALL, gate=True),
        DynamicWeightingFusionClassifier(**SMALL, variant="paper"),
        FusionClassifier(AttentionFusion, module__hidden_size=16, max_epochs=4),
    ],
    ids=repr,
)
def test_other_networks(holes, stacks, net):
    X, y = holes
    nets = seeded(net)
    fit_together(nets, [(X, y, None)] * 3)
    assert stacks == [3]
    assert_same(nets, [net.fit(X, y) for net in seeded(net)], X)


def test_every_listed_network_that_says_so_can_be_stacked(holes, stacks):
    X, y = holes
    nets = [
        net
        for net in NUMERIC
        if isinstance(net, FusionClassifier) and vars(net.module).get("stackable")
    ]
    assert len({type(net) for net in nets}) >= 5
    for net in nets:
        pair = seeded(clone(net).set_params(max_epochs=2), 2)
        alone = [clone(member).fit(X, y) for member in pair]
        fit_together(pair, [(X, y, None)] * 2)
        assert_same(pair, alone, X)
    assert stacks == [2] * len(nets)


@pytest.mark.parametrize("mixing", [False, True])
def test_folds_of_unequal_size_with_weights(holes, stacks, mixing):
    X, y = holes
    net = AttentionFusionClassifier(**SMALL)
    if mixing:
        net.set_params(groups=pd.Series(np.arange(87) % 3, index=X.index))
    weights = np.linspace(0.1, 2.0, 87)
    rows = [np.arange(0, 87), np.arange(15, 87), np.arange(22, 87)]
    tasks = [(X.iloc[r], y[r], weights[r]) for r in rows]
    # Only the second and the third hold no clip without text.
    tasks[2] = (*tasks[2][:2], None)
    nets = seeded(net)
    fit_together(nets, tasks)
    assert stacks == [3]
    assert_same(nets, [n.fit(*t) for n, t in zip(seeded(net), tasks, strict=True)], X)


def test_folds_with_other_numbers_of_steps_go_apart(holes, stacks):
    X, y = holes
    rows = [np.arange(87), np.arange(30), np.arange(1, 87), np.arange(40)]
    tasks = [(X.iloc[r], y[r], None) for r in rows]
    nets = seeded(ATTENTION, 4)
    fit_together(nets, tasks)
    assert stacks == [2]
    others = [n.fit(*t) for n, t in zip(seeded(ATTENTION, 4), tasks, strict=True)]
    assert_same(nets, others, X)


def test_folds_with_other_classes_go_apart(holes, stacks):
    X, y = holes
    some = y != "sad"
    tasks = [(X, y, None), (X[some], y[some], None)] * 2
    net = clone(ATTENTION).set_params(batch_size=100)  # one step, whatever the fold
    nets = seeded(net, 4)
    fit_together(nets, tasks)
    assert stacks == [2, 2]
    others = [n.fit(*t) for n, t in zip(seeded(net, 4), tasks, strict=True)]
    assert_same(nets, others, X)


def test_early_stopping_and_kept_epochs_are_each_nets_own(holes, stacks):
    X, y = holes
    net = clone(ATTENTION).set_params(
        max_epochs=25, lr=1e-2, train_split=4, patience=2, keep_epochs=True
    )
    nets = seeded(net, 4)
    fit_together(nets, [(X, y, None)] * 4)
    others = [n.fit(X, y) for n in seeded(net, 4)]
    assert stacks == [4]
    assert len({len(n.history_) for n in nets}) > 1  # they do stop apart
    assert_same(nets, others, X)
    for mine, theirs in zip(nets, others, strict=True):
        for a, b in zip(
            mine.staged_predict_proba(X), theirs.staged_predict_proba(X), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-5)
        np.testing.assert_allclose(
            mine.history_[:, "valid_loss"], theirs.history_[:, "valid_loss"], atol=1e-5
        )


def test_a_net_can_go_on_alone(holes):
    X, y = holes
    for params in ({}, {"train_split": 4, "patience": 1, "lr": 1e-2}):
        net = clone(ATTENTION).set_params(**params)
        nets = seeded(net)
        fit_together(nets, [(X, y, None)] * 3)
        others = [n.fit(X, y) for n in seeded(net)]
        for mine, theirs in zip(nets, others, strict=True):
            assert all(p.is_contiguous() for p in mine.module_.parameters())
            mine.partial_fit(X, y)
            theirs.partial_fit(X, y)
        assert_same(nets, others, X)


def test_repeats_bit_by_bit(holes):
    X, y = holes
    first, second = seeded(ATTENTION), seeded(ATTENTION)
    for nets in (first, second):
        fit_together(nets, [(X, y, None)] * 3)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_an_interrupt_keeps_what_was_learnt(holes, monkeypatch):
    X, y = holes
    nets = seeded(ATTENTION)
    step = _side_by_side._Stack._step
    calls = []

    def interrupted(self, rows, counts):
        calls.append(counts)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, rows, counts)

    monkeypatch.setattr(_side_by_side._Stack, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        fit_together(nets, [(X, y, None)] * 3)
    assert "learnt in 2 epochs" in stop.value.__notes__[0]
    for net in nets:
        assert len(net.history_) == 2
        assert np.isfinite(net.predict_proba(X)).all()
        net.partial_fit(X, y)


def test_divergence_is_an_error(holes):
    X, y = holes
    nets = seeded(clone(ATTENTION).set_params(lr=1e30))
    with pytest.raises(ValueError, match="Training diverged"):
        fit_together(nets, [(X * 1e6, y, None)] * 3)


class OtherLoss(AttentionFusionClassifier):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return 2 * super().get_loss(y_pred, y_true, X=X, training=training)


class WithHook(AttentionFusionClassifier):
    def on_batch_end(self, net, **kwargs):
        pass


@pytest.mark.parametrize(
    "net",
    [
        ModalTokenFusionClassifier(max_epochs=1, hidden_size=8),
        CrossAttentionFusionClassifier(max_epochs=1, hidden_size=8),
        AttentionFusionClassifier(max_epochs=1, callbacks=[SaliencyLog()]),
        AttentionFusionClassifier(max_epochs=1, criterion=nn.MultiMarginLoss),
        AttentionFusionClassifier(max_epochs=1, optimizer=torch.optim.LBFGS),
        AttentionFusionClassifier(
            max_epochs=1, optimizer__param_groups=[("head*", {"lr": 0.1})]
        ),
        AttentionFusionClassifier(max_epochs=1, dtype="float16"),
        OtherLoss(max_epochs=1),
        WithHook(max_epochs=1),
    ],
    ids=lambda net: repr(net)[:60],
)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_what_cannot_be_stacked_is_fitted_in_turn(clips, stacks, net):
    X, y = clips
    if net.optimizer is torch.optim.LBFGS:
        net.weight_decay = 0.0
    nets = seeded(net, 2)
    fit_together(nets, [(X, y, None)] * 2)
    assert stacks == []
    for fitted, alone in zip(nets, seeded(net, 2), strict=True):
        alone.fit(X, y)
        assert np.array_equal(fitted.predict_proba(X), alone.predict_proba(X))


def test_cross_validation_folds(holes, stacks):
    X, y = holes
    folds = [learn for learn, _ in StratifiedKFold(5).split(X, y)]
    tasks = [(X.iloc[r], y[r], None) for r in folds]
    nets = seeded(ATTENTION, 5)
    fit_together(nets, tasks)
    assert stacks == [5]
    others = [n.fit(*t) for n, t in zip(seeded(ATTENTION, 5), tasks, strict=True)]
    assert_same(nets, others, X)
