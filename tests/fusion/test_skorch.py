"""skorch's own surface: callbacks, prefixed parameters, saving."""

import builtins
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from torch import nn

from skmer.fusion import AttentionFusionClassifier


def small(**params):
    settings = {"hidden_size": 8, "max_epochs": 3, "random_state": 0, **params}
    return AttentionFusionClassifier(**settings)


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls.append(("begin", training, net.module_.training, len(batch[0])))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        norms = [p.grad.norm().item() for _, p in named_parameters]
        self.calls.append(("grad", max(norms)))

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.calls.append(("end", training, float(kwargs["loss"].detach())))


def test_batch_callbacks_are_called_and_change_nothing(clips):
    X, y = clips
    recorder = Recorder()
    watched = small(callbacks=[recorder], train_split=1 / 3).fit(X, y)
    plain = small(train_split=1 / 3).fit(X, y)
    assert np.array_equal(watched.predict_proba(X), plain.predict_proba(X))
    kinds = [call[0] for call in recorder.calls]
    # Sixty rows are two batches to learn from, thirty are one to watch.
    assert kinds == ["begin", "grad", "end"] * 2 + ["begin", "end"] + kinds[8:]
    assert len(kinds) == 3 * 8
    assert recorder.calls[0] == ("begin", True, True, 32)
    assert recorder.calls[6] == ("begin", False, False, 30)
    np.testing.assert_allclose(
        watched.history[:, "train_loss"], plain.history[:, "train_loss"]
    )
    losses = watched.history[0, "batches", :, ["train_loss", "train_batch_size"]]
    mean = np.average([a for a, _ in losses], weights=[b for _, b in losses])
    assert mean == pytest.approx(watched.history[0, "train_loss"], rel=1e-6)


@pytest.mark.parametrize("use_caching", [True, False])
def test_epoch_scoring_agrees_with_what_is_recorded(clips, use_caching):
    X, y = clips
    scoring = EpochScoring(
        "f1_weighted", name="f1", lower_is_better=False, use_caching=use_caching
    )
    net = small(train_split=1 / 3, callbacks=[scoring]).fit(X, y)
    np.testing.assert_allclose(
        net.history[:, "f1"], net.history[:, "valid_f1_weighted"]
    )
    assert set(net.predict(X)) <= set(y)


def test_batch_scoring_and_schedulers_work(clips):
    X, y = clips
    net = small(
        callbacks=[
            ("accuracy", BatchScoring("accuracy", on_train=True)),
            LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
        ],
        callbacks__accuracy__name="acc",
        lr=1e-2,
    ).fit(X, y)
    assert all(0 <= value <= 1 for value in net.history[:, "acc"])
    rate = net.optimizer_.param_groups[0]["lr"]
    assert rate == pytest.approx(1e-2 * 0.5**3)
    assert net.lr == 1e-2


def test_early_stopping_keeps_the_best_epoch(clips):
    X, y = clips
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=10.0, sink=len)
    net = small(callbacks=[stop], train_split=1 / 3, max_epochs=9, keep_epochs=True)
    net.fit(X, y)
    assert len(net.history) == 2
    staged = list(net.staged_predict_proba(X))
    assert np.array_equal(staged[net.best_epoch_ - 1], net.predict_proba(X))


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_gradients_are_clipped(clips, kind):
    X, y = clips
    sizes = []

    class Look(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            parts = [p.grad.flatten() for _, p in named_parameters]
            whole = torch.cat(parts)
            sizes.append((whole.norm() if kind == "norm" else whole.abs().max()).item())

    small(callbacks=[Look()], **{f"gradient_clip_{kind}": 1e-3}).fit(X, y)
    assert max(sizes) <= 1e-3 * (1 + 1e-4)
    if kind == "norm":
        by_callback = small(callbacks=[GradientNormClipping(1e-3)]).fit(X, y)
        ours = small(gradient_clip_norm=1e-3).fit(X, y)
        assert np.array_equal(by_callback.predict_proba(X), ours.predict_proba(X))


@pytest.mark.parametrize(
    "optimizer",
    [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Rprop],
)
def test_optimisers_are_fused_where_torch_has_it(clips, optimizer):
    net = small(optimizer=optimizer, max_epochs=1).fit(*clips)
    group = net.optimizer_.param_groups[0]
    assert group.get("fused", "absent") in (True, "absent")
    assert group.get("weight_decay", net.weight_decay) == net.weight_decay


def test_lbfgs_gets_its_closure(clips):
    X, y = clips
    net = small(
        optimizer=torch.optim.LBFGS,
        optimizer__line_search_fn="strong_wolfe",
        batch_size=90,
        dropout=0.0,
        modality_dropout=0.0,
        max_epochs=3,
    ).fit(X, y)
    losses = net.history[:, "train_loss"]
    assert losses[-1] < losses[0]


def test_prefixed_parameters_reach_their_component(clips):
    net = small(
        module__hidden_size=5,
        optimizer__betas=(0.5, 0.9),
        optimizer__weight_decay=0.25,
        criterion__label_smoothing=0.1,
        callbacks__print_log=None,
    ).fit(*clips)
    assert net.module_.head.in_features == 5
    assert net.optimizer_.param_groups[0]["betas"] == (0.5, 0.9)
    assert net.optimizer_.param_groups[0]["weight_decay"] == 0.25
    assert net.criterion_.label_smoothing == 0.1
    assert [name for name, _ in net.callbacks_] == ["epoch_timer"]
    assert net.get_params()["module__hidden_size"] == 5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hiden_size": 3}, "unexpected argument 'hiden_size'. Did you mean hidden"),
        ({"module_width": 3}, "Did you mean module__width"),
        ({"modul__width": 3}, "unexpected argument 'modul__width'"),
        ({"callbacks__loger": None}, "callback 'loger', which does not exist"),
        ({"lr": -1.0}, "The 'lr' parameter of AttentionFusionClassifier must be"),
        ({"attention": "x"}, "The 'attention' parameter"),
    ],
)
def test_mistyped_parameters_are_named(clips, params, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(*clips)


def test_set_params_counts_from_the_next_fit(clips):
    X, y = clips
    net = small().fit(X, y)
    before = net.predict_proba(X)
    net.set_params(module__hidden_size=4, optimizer__weight_decay=0.5)
    assert np.array_equal(net.predict_proba(X), before)
    net.fit(X, y)
    assert net.module_.head.in_features == 4
    net.set_params(lr=0.25)
    assert net.optimizer_.param_groups[0]["lr"] == 0.25
    with pytest.raises(ValueError, match="Invalid parameter 'hiden'"):
        net.set_params(hiden=1)


def test_saved_parameters_load_again(clips, tmp_path):
    X, y = clips
    net = small().fit(X, y)
    net.save_params(f_params=tmp_path / "weights.pt")
    other = small(random_state=1).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), net.predict_proba(X))
    other.load_params(f_params=tmp_path / "weights.pt")
    assert np.array_equal(other.predict_proba(X), net.predict_proba(X))
    assert other.device == "auto"


def test_a_trimmed_net_predicts_and_is_smaller(clips):
    X, y = clips
    net = small().fit(X, y)
    expected, size = net.predict_proba(X), len(pickle.dumps(net))
    net.trim_for_prediction()
    assert len(pickle.dumps(net)) < 0.7 * size
    assert np.array_equal(net.predict_proba(X), expected)
    with pytest.raises(Exception, match="trimmed for prediction"):
        net.partial_fit(X, y)
    assert np.array_equal(net.fit(X, y).predict_proba(X), expected)


def test_the_log_is_printed_only_when_asked(clips, capsys):
    small().fit(*clips)
    assert capsys.readouterr().out == ""
    small(verbose=1).fit(*clips)
    assert "train_loss" in capsys.readouterr().out
    lines = []
    small(callbacks__print_log__sink=lines.append).fit(*clips)
    assert "train_loss" in lines[0] and capsys.readouterr().out == ""


def test_another_print_changes_nothing(clips, capsys, monkeypatch):
    """Ray puts its own in the place of Python's."""
    own = builtins.print
    monkeypatch.setattr(builtins, "print", lambda *args, **kwargs: own(*args, **kwargs))
    net = small().fit(*clips)
    assert capsys.readouterr().out == ""
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(again.predict_proba(clips[0]), net.predict_proba(clips[0]))
    again.set_params(verbose=1).fit(*clips)
    assert "train_loss" in capsys.readouterr().out


def test_another_loss_may_be_given(clips):
    X, y = clips
    hinge = small(criterion=nn.MultiMarginLoss, criterion__margin=0.5).fit(X, y)
    np.testing.assert_allclose(hinge.predict_proba(X).sum(axis=1), 1)
    assert not np.array_equal(hinge.predict_proba(X), small().fit(X, y).predict(X))


def test_checkpoints_of_skorch(clips, tmp_path):
    X, y = clips
    checkpoint = Checkpoint(monitor="train_loss_best", dirname=str(tmp_path))
    net = AttentionFusionClassifier(
        hidden_size=8, max_epochs=3, callbacks=[checkpoint], random_state=0
    ).fit(X, y)
    expected = net.predict_proba(X)
    best = int(np.argmin([row["train_loss"] for row in net.history]))
    net.load_params(checkpoint=checkpoint)
    if best == 2:
        np.testing.assert_array_equal(net.predict_proba(X), expected)
    assert (tmp_path / "params.pt").exists()
    assert checkpoint.get_formatted_files(net)["f_params"].endswith("params.pt")


def test_gradients_are_limited_both_ways(clips):
    X, y = clips

    def weights(**limits):
        net = AttentionFusionClassifier(
            hidden_size=8,
            max_epochs=1,
            optimizer=torch.optim.SGD,
            weight_decay=0.0,
            random_state=0,
            **limits,
        )
        return net.fit(X, y).module_.head.weight.detach().numpy()

    small = weights(gradient_clip_value=1e-9)
    both = weights(gradient_clip_norm=1e6, gradient_clip_value=1e-9)
    np.testing.assert_array_equal(small, both)
    assert np.abs(weights() - small).max() > 1e-5
