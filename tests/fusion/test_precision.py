"""Mixed precision, on the CPU, where every format runs."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

import skmer
from skmer.fusion import AttentionFusionClassifier
from skmer.fusion._precision import as_float32, resolve_dtype

HALVES = ["bfloat16", "float16"]


def small(**params):
    settings = {"hidden_size": 16, "max_epochs": 15, "random_state": 0, "lr": 5e-3}
    return AttentionFusionClassifier(**{**settings, **params})


@pytest.mark.parametrize("dtype", HALVES)
def test_products_are_in_16_bits_and_the_rest_is_not(clips, dtype):
    X, y = clips
    seen = []
    net = small(dtype=dtype, max_epochs=1).fit(X, y)
    net.module_.head.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    proba = net.predict_proba(X)
    assert set(seen) == {getattr(torch, dtype)} == {net.dtype_}
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert net.transform(X).dtype == np.float32
    assert all(p.dtype == torch.float32 for p in net.module_.parameters())
    for table in (net.modality_weights(X), net.saliency(X)):
        assert (table.dtypes == np.float32).all() and np.isfinite(table).all(axis=None)


@pytest.mark.parametrize("dtype", HALVES)
def test_nets_in_16_bits_learn_what_nets_in_32_bits_learn(clips, dtype):
    X, y = clips
    whole, half = small().fit(X, y), small(dtype=dtype).fit(X, y)
    a, b = whole.predict_proba(X), half.predict_proba(X)
    assert not np.array_equal(a, b)
    assert np.abs(a - b).mean() < 0.05
    assert np.mean(whole.predict(X) == half.predict(X)) > 0.95
    assert np.array_equal(b, clone(half).fit(X, y).predict_proba(X))


@pytest.mark.parametrize("dtype", HALVES)
def test_training_goes_on_where_it_ended(clips, dtype):
    X, y = clips
    whole = small(dtype=dtype, max_epochs=6).fit(X, y)
    part = small(dtype=dtype, max_epochs=3).fit(X, y)
    part = pickle.loads(pickle.dumps(part)).partial_fit(X, y)
    assert np.array_equal(whole.predict_proba(X), part.predict_proba(X))


def test_gradients_are_scaled_back_before_they_are_clipped(clips):
    X, y = clips
    norms = {}

    class Look(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            squares = [p.grad.square().sum().item() for _, p in named_parameters]
            norms.setdefault(net.dtype, []).append(np.sqrt(sum(squares)))

    common = {"callbacks": [Look()], "dropout": 0.0, "modality_dropout": 0.0}
    for dtype in ("float32", "float16"):
        small(dtype=dtype, max_epochs=4, lr=1e-6, **common).fit(X, y)
    np.testing.assert_allclose(norms["float16"], norms["float32"], rtol=0.02)
    small(dtype="float16", gradient_clip_norm=1e-3, max_epochs=2, **common).fit(X, y)
    assert max(norms["float16"][12:]) <= 1e-3 * (1 + 1e-4)


def test_a_step_with_an_overflow_is_left_out(clips):
    X, y = clips
    net = small(dtype="float16", max_epochs=1, batch_size=90, weight_decay=0.0)
    net.fit(X, y)
    # So large a scale overflows in the first step, which halves it.
    net._scaler_state = {**net._scaler_state, "scale": 2.0**40, "_growth_tracker": 0}
    before = {k: v.clone() for k, v in net.module_.state_dict().items()}
    net.partial_fit(X, y)
    after = net.module_.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert net._scaler_state["scale"] == 2.0**39


def test_auto_asks_the_settings_and_the_device():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert resolve_dtype("auto", cpu) == torch.float32
    assert resolve_dtype("auto", gpu) == torch.bfloat16
    with skmer.config_context(dtype="float16"):
        assert resolve_dtype("auto", cpu) == torch.float16
        assert resolve_dtype("float32", gpu) == torch.float32


def test_what_a_module_returns_is_widened_wherever_it_is():
    half = torch.ones(2, dtype=torch.bfloat16)
    codes = torch.arange(2)
    logits, (first, extra) = as_float32((half, [half, {"code": half, "rows": codes}]))
    assert logits.dtype == first.dtype == extra["code"].dtype == torch.float32
    assert extra["rows"] is codes


def test_an_unknown_format_is_refused(clips):
    with pytest.raises(ValueError, match="The 'dtype' parameter"):
        small(dtype="int8").fit(*clips)
