import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from skmer.modules import MultFusion, RandomSource

SIZES = {"a": 3, "b": 2, "c": 4}
STEPS = (5, 3, 6)


def make(sizes=SIZES, **params):
    params = {"hidden_size": 8, "n_heads": 2, "n_layers": 2, "dropout": 0.0, **params}
    net = MultFusion(sizes, 4, random_source=RandomSource(0), **params)
    generator = torch.Generator().manual_seed(1)
    net = net.double().eval()
    # Norms away from where they start, which would hide what is left out.
    with torch.no_grad():
        for p in net.parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.add_(0.2 * noise)
    return net


def batch(n=7):
    generator = torch.Generator().manual_seed(0)
    streams, masks = [], []
    for size, steps in zip(SIZES.values(), STEPS, strict=True):
        x = torch.randn(n, steps, size, generator=generator, dtype=torch.float64)
        streams.append(x)
        length = torch.randint(1, steps + 1, (n, 1), generator=generator)
        masks.append(torch.arange(steps) < length)
    masks[1][2] = False  # a clip without b
    masks[0][3] = masks[2][3] = False  # with b alone
    for mask in masks:
        mask[4] = False  # without any
    masks[2][5] = torch.tensor([1, 0, 1, 1, 0, 0], dtype=torch.bool)  # with a hole
    return streams, masks


def norm(layer, x):
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt(x.var(axis=-1, keepdims=True) + layer.eps)
    return x * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def linear(layer, x):
    y = x @ layer.weight.detach().numpy().T
    return y if layer.bias is None else y + layer.bias.detach().numpy()


def waves(places, width):
    half = width // 2
    rates = 10000.0 ** (-np.arange(half) / (half - 1))
    angles = np.array(places)[:, None] * rates
    return np.hstack([np.sin(angles), np.cos(angles)])


def transformer(net, x, x_places, other=None, other_places=None):
    """Steps of one clip that are real, and where they stand."""
    width = x.shape[1]
    x = math.sqrt(width) * x + waves(x_places, width)
    if other is not None:
        other = math.sqrt(width) * other + waves(other_places, width)
    for layer in net.layers:
        normal = norm(layer.norm, x)
        seen = normal if other is None else norm(layer.norm, other)
        if len(seen):
            query = linear(layer.query, normal)
            key, value = np.split(linear(layer.key_value, seen), 2, axis=1)
            found = []
            for own in np.split(np.arange(width), layer.n_heads):
                scores = query[:, own] @ key[:, own].T / math.sqrt(len(own))
                share = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
                found.append(share @ value[:, own])
            x = x + linear(layer.out, np.hstack(found))
        first, up, _, _, down, _ = layer.feed
        x = x + linear(down, np.maximum(linear(up, norm(first, x)), 0))
    return norm(net.norm, x)


def reference(net, streams, masks, row):
    embedded, places = [], []
    for embed, x, mask in zip(net.embed, streams, masks, strict=True):
        x, mask = x[row].numpy(), mask[row].numpy()
        x = (x - embed.mean.numpy()) / embed.scale.numpy() * mask[:, None]
        reach = net.kernel_size // 2
        padded = np.pad(x, ((reach, reach), (0, 0)))
        seen = np.stack([padded[t : t + len(x)] for t in range(2 * reach + 1)], axis=2)
        steps = linear(embed.convolve, seen.reshape(len(x), -1))
        embedded.append(steps[mask])
        places.append(np.flatnonzero(mask))
    codes = []
    for i in range(3):
        others = [j for j in range(3) if j != i]
        if not len(places[i]):
            codes.append(np.zeros(16))
            continue
        found = [
            transformer(pair, embedded[i], places[i], embedded[j], places[j])
            for pair, j in zip(net.pairs[i], others, strict=True)
        ]
        codes.append(transformer(net.joined[i], np.hstack(found), places[i])[-1])
    code = np.concatenate(codes)
    first, _, _, second = net.residual
    return code + linear(second, np.maximum(linear(first, code), 0))


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_codes_equal_the_formulas(kernel_size):
    net = make(kernel_size=kernel_size)
    means = [torch.full((size,), 0.5) for size in SIZES.values()]
    net.set_statistics(means, [2 * mean + 1 for mean in means])
    streams, masks = batch()
    with torch.no_grad():
        codes = net.encode(streams, masks)
        logits = net(streams, masks)
    for row in range(7):
        expected = reference(net, streams, masks, row)
        np.testing.assert_allclose(codes[row], expected, atol=1e-10)
    assert torch.equal(logits, net.head(codes))


def test_a_clip_does_not_see_its_padding_nor_the_others():
    net = make(kernel_size=3)
    streams, masks = batch()
    whole = net(streams, masks)
    longer = [
        torch.cat([x.masked_fill(~m[..., None], 1e3), torch.full_like(x, 9.0)], dim=1)
        for x, m in zip(streams, masks, strict=True)
    ]
    padded = [functional.pad(m, (0, m.shape[1])) for m in masks]
    torch.testing.assert_close(net(longer, padded), whole, rtol=0, atol=1e-12)
    for row in range(7):
        one = [x[[row]] for x in streams], [m[[row]] for m in masks]
        torch.testing.assert_close(net(*one)[0], whole[row], rtol=0, atol=1e-12)


def test_a_missing_stream_changes_its_clip_alone():
    net = make()
    streams, _ = batch()
    masks = [torch.ones_like(x[..., 0], dtype=torch.bool) for x in streams]
    whole = net(streams)
    assert torch.equal(net(streams, masks), whole)
    masks[1][3] = False
    changed = (net(streams, masks) != whole).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [3]


def test_where_a_step_is_counts():
    net = make()
    streams, _ = batch()
    turned = [streams[0].flip(1), *streams[1:]]
    assert (net(turned) - net(streams)).abs().min(dim=1).values.max() > 1e-3


def test_gradients_reach_every_parameter_and_real_steps_alone():
    net = make(kernel_size=3)
    streams, masks = batch()
    streams = [x.requires_grad_() for x in streams]
    net(streams, masks).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    for x, mask in zip(streams, masks, strict=True):
        assert torch.equal(x.grad.abs().sum(dim=2) > 0, mask)


@pytest.mark.parametrize("sizes", [{"a": 3}, {"a": 3, "b": 2}])
def test_any_number_of_streams(sizes):
    net = make(sizes)
    streams, masks = batch()
    n = len(sizes)
    logits = net(streams[:n], masks[:n])
    assert logits.shape == (7, 4) and torch.isfinite(logits).all()
    assert net.head.in_features == n * 8


@pytest.mark.parametrize(
    ("params", "message"),
    [({"kernel_size": 2}, "must be odd"), ({"n_heads": 3}, "multiple of n_heads")],
)
def test_what_does_not_fit_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        make(**params)


def test_dropout_is_of_training_alone_and_a_seed_is_a_net():
    nets = [make(dropout=0.3) for _ in range(2)]
    streams, masks = batch()
    assert torch.equal(nets[0](streams, masks), nets[1](streams, masks))
    before = torch.random.get_rng_state()
    first, second = (net.train()(streams, masks) for net in nets)
    assert torch.equal(first, second)
    assert not torch.equal(first, nets[0](streams, masks))
    assert torch.equal(before, torch.random.get_rng_state())
