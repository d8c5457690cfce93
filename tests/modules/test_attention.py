import numpy as np
import pytest
import torch

from skmer.modules import AttentionFusion, RandomSource

SIZES = {"audio": 5, "text": 3, "video": 4}


def make(attention, **params):
    net = AttentionFusion(
        SIZES,
        3,
        attention=attention,
        hidden_size=6,
        random_source=RandomSource(0),
        **params,
    )
    return net.double().eval()


def batch(n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.rand(n, 3, generator=generator) > 0.3
    mask[0] = True
    mask[1] = False
    return streams, mask


def layer(module, x):
    return x @ module.weight.detach().numpy().T + module.bias.detach().numpy()


def relu_layers(modules, x):
    for module in modules:
        if isinstance(module, torch.nn.Linear):
            x = np.maximum(layer(module, x), 0)
    return x


def reference(net, streams, mask):
    """The formulas of the two papers, a clip at a time, in NumPy."""
    codes, weights, logits = [], [], []
    for row in range(len(streams[0])):
        there = mask[row].numpy()
        h = [
            relu_layers(encoder, x[row].numpy()) * there[m]
            for m, (encoder, x) in enumerate(zip(net.encoders, streams, strict=True))
        ]
        if net.attention == "joint":
            *hidden, last = net.scorer
            alpha = layer(last, relu_layers(hidden, np.concatenate(h)))
        else:
            scores = np.array([layer(net.scorer, code)[0] for code in h])
            alpha = np.where(there, np.exp(scores), 0)
            alpha = alpha / alpha.sum() if there.any() else alpha
        alpha = np.where(there, alpha, 0)
        z = sum(a * code for a, code in zip(alpha, h, strict=True))
        codes.append(z)
        weights.append(alpha)
        logits.append(layer(net.head, z))
    return np.array(codes), np.array(weights), np.array(logits)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("attention", ["joint", "per_stream"])
def test_forward_equals_the_formulas(attention, masked):
    net = make(attention)
    streams, mask = batch()
    if not masked:
        mask = torch.ones_like(mask)
    codes, weights, logits = reference(net, streams, mask)
    given = mask if masked else None
    with torch.no_grad():
        np.testing.assert_allclose(net.encode(streams, given), codes, atol=1e-12)
        np.testing.assert_allclose(net.weights(streams, given), weights, atol=1e-12)
        np.testing.assert_allclose(net(streams, given), logits, atol=1e-12)


@pytest.mark.parametrize("attention", ["joint", "per_stream"])
def test_masked_values_count_for_nothing(attention):
    net = make(attention)
    streams, mask = batch()
    expected = net(streams, mask)
    hidden = [
        torch.where(mask[:, m : m + 1], x, torch.full_like(x, 1e3))
        for m, x in enumerate(streams)
    ]
    assert torch.equal(net(hidden, mask), expected)


@pytest.mark.parametrize("attention", ["joint", "per_stream"])
def test_a_clip_without_streams_gets_the_bias_of_the_head(attention):
    net = make(attention)
    streams, mask = batch()
    assert torch.equal(net.encode(streams, mask)[1], torch.zeros(6).double())
    assert torch.equal(net(streams, mask)[1], net.head.bias)


@pytest.mark.parametrize("attention", ["joint", "per_stream"])
def test_a_clip_does_not_see_the_others_in_its_batch(attention):
    net = make(attention)
    streams, mask = batch(50)
    together = net(streams, mask)
    alone = torch.cat(
        [net([x[i : i + 1] for x in streams], mask[i : i + 1]) for i in range(50)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("attention", ["joint", "per_stream"])
def test_gradients_reach_every_parameter_and_no_masked_stream(attention):
    net = make(attention)
    streams, _ = batch(40)
    net(streams).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    net.zero_grad(set_to_none=True)
    mask = torch.ones(40, 3, dtype=torch.bool)
    mask[:, 1] = False
    net(streams, mask).square().sum().backward()
    gradients = [
        sum(p.grad.abs().sum() for p in encoder.parameters())
        for encoder in net.encoders
    ]
    assert gradients[1] == 0 and gradients[0] > 0 and gradients[2] > 0


def test_dropout_is_on_only_in_training():
    net = make("joint", dropout=0.5)
    streams, _ = batch()
    assert torch.equal(net(streams), net(streams))
    net.train()
    assert not torch.equal(net(streams), net(streams))


def test_an_unknown_attention_is_refused():
    with pytest.raises(ValueError, match="attention must be one of"):
        make("global")
