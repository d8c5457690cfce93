from itertools import permutations

import numpy as np
import pytest
import torch

from skmer.modules import MmimFusion, RandomSource
from skmer.modules._mmim import information_bound

SIZES = {"a": 3, "b": 2, "c": 4}


def make(sizes=SIZES, **params):
    params = {"hidden_size": 6, "dropout": 0.0, **params}
    net = MmimFusion(sizes, 5, random_source=RandomSource(0), **params)
    return net.double().train()


def batch(n=12, missing=0.3):
    generator = torch.Generator().manual_seed(0)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.rand(n, 3, generator=generator) > missing
    mask[0] = True
    return streams, mask


def numbers(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def normal(x):
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)


def test_the_bound_by_hand():
    values = torch.tensor([[1.0], [-1.0], [5.0]], dtype=torch.float64)
    mean = torch.tensor([[0.5], [-0.5], [9.0]], dtype=torch.float64)
    variance = torch.full((3, 1), 0.26, dtype=torch.float64)
    mask = torch.tensor([True, True, False])
    found = information_bound(values, mean, variance, mask).item()
    # variance 1.01 without the prediction; squares of 0.25 + 0.01 with it
    np.testing.assert_allclose(found, 0.5 * np.log(1.01 / 0.26))
    assert information_bound(values, mean, variance, mask & False) == 0


def test_the_bound_is_the_information_of_gaussians():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 20000, 1, generator=generator, dtype=torch.float64)
    y = 0.8 * x + 0.6 * noise
    true = 0.5 * np.log(1.01 / 0.37)
    variance = torch.full_like(y, 0.37)
    mask = torch.ones(20000, dtype=torch.bool)
    bound = information_bound(y, 0.8 * x, variance, mask).item()
    np.testing.assert_allclose(bound, true, atol=0.02)
    for mean, wrong in [(0.5 * x, 1.0), (0.8 * x, 2.0), (0.8 * x, 0.5), (-x, 3.0)]:
        assert information_bound(y, mean, wrong * variance, mask) < bound - 0.01


def test_codes_that_are_all_alike_have_no_information():
    values = torch.full((9, 4), 0.3, dtype=torch.float64)
    mask = torch.ones(9, dtype=torch.bool)
    noise = torch.full_like(values, 0.01)
    bound = information_bound(values, values, noise, mask)
    np.testing.assert_allclose(bound.item(), 0, atol=1e-12)


def test_the_information_equals_the_formula():
    net = make()
    streams, mask = batch()
    found = net(streams, mask)[1]["information"].item()
    with torch.no_grad():
        codes = [normal(c.numpy()) for c in net.encoders(streams).unbind(dim=1)]
    expected = []
    for network, (a, b) in zip(net.gaussians, permutations(range(3), 2), strict=True):
        both = (mask[:, a] & mask[:, b]).numpy()
        out = numbers(network[2], np.maximum(numbers(network[0], codes[a][both]), 0))
        mean, variance = out[:, :6], np.log1p(np.exp(out[:, 6:])) + 0.01
        told = codes[b][both]
        entropy = 0.5 + 0.5 * np.log(told.var(axis=0) + 0.01)
        squares = (told - mean) ** 2 + 0.01
        likelihood = -0.5 * (squares / variance + np.log(variance))
        expected.append(-(entropy + likelihood.mean(axis=0)).mean())
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_the_contrast_equals_the_formula(temperature):
    net = make(temperature=temperature, predictor_layers=2)
    streams, mask = batch()
    found = net(streams, mask)[1]["contrast"].item()
    with torch.no_grad():
        codes = net.encoders(streams, mask).unbind(dim=1)
        fused = net.encode(streams, mask).numpy()
    expected = []
    for index, layers in enumerate(net.predictors):
        has = mask[:, index].numpy()
        told = numbers(layers[2], np.tanh(numbers(layers[0], fused[has])))
        code = codes[index].numpy()[has]
        told /= np.linalg.norm(told, axis=1, keepdims=True)
        code = code / np.linalg.norm(code, axis=1, keepdims=True)
        similarity = np.exp(told @ code.T / temperature)
        shares = np.diag(similarity) / similarity.sum(axis=1)
        expected.append(-np.log(shares).mean())
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-9)


def test_the_contrast_orders_aligned_random_and_opposed_codes():
    net = make({"a": 3}, temperature=0.1)
    generator = torch.Generator().manual_seed(1)
    fused, random = torch.randn(2, 30, 6, generator=generator, dtype=torch.float64)
    has = torch.ones(30, dtype=torch.bool)
    with torch.no_grad():
        told = net.predictors[0](fused)
        aligned, by_chance, opposed = (
            net._contrast([codes], [has], fused) for codes in (told, random, -told)
        )
    assert aligned < by_chance < opposed


@pytest.mark.parametrize("shared", [True, False])
def test_training_finds_what_streams_share(shared):
    net = make({"a": 4, "b": 4}, contrast_weight=0.0, information_weight=1.0)
    generator = torch.Generator().manual_seed(0)
    x, noise, other = torch.randn(3, 128, 4, generator=generator, dtype=torch.float64)
    streams = [x, x + 0.1 * noise if shared else other]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    first = net(streams)[1]["information"].item()
    for _ in range(80):
        losses = net(streams)[1]
        optimizer.zero_grad()
        losses["auxiliary"].backward()
        optimizer.step()
    assert losses["information"] < first - 0.1
    assert (losses["information"] < -0.5) == shared
    codes = net.encoders(streams)
    assert (codes.std(dim=0).mean(dim=1) > 0.01).all()


def test_weights_add_up():
    streams, mask = batch()
    losses = make(contrast_weight=0.3, information_weight=0.7)(streams, mask)[1]
    total = 0.3 * losses["contrast"] + 0.7 * losses["information"]
    torch.testing.assert_close(losses["auxiliary"], total)


def test_one_stream_is_told_by_the_fusion_alone():
    logits, losses = make({"a": 3})([batch()[0][0]])
    assert logits.shape == (12, 5)
    assert losses["information"] == 0 and losses["contrast"] > 0


def test_losses_are_of_training_alone():
    assert torch.is_tensor(make().eval()(*batch()))
