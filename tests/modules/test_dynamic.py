import numpy as np
import pytest
import torch

from skmer.modules import DynamicWeightingFusion

SIZES = {"audio": 5, "text": 3, "video": 4}


def make(**params):
    net = DynamicWeightingFusion(SIZES, 3, hidden_size=6, **params).double().eval()
    # Of ones and zeros a norm's weights could not be told from none.
    with torch.no_grad():
        net.norm.weight.add_(torch.linspace(-0.3, 0.3, net.norm.weight.numel()))
        net.norm.bias.add_(torch.linspace(0.2, -0.1, net.norm.bias.numel()))
    return net


def batch():
    generator = torch.Generator().manual_seed(0)
    streams = [
        torch.randn(4, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    return streams, mask


def numbers(layer):
    bias = 0.0 if layer.bias is None else layer.bias.detach().numpy()
    return layer.weight.detach().numpy(), bias


def affine(layer, x):
    weight, bias = numbers(layer)
    return x @ weight.T + bias


def normed(norm, x):
    weight, bias = numbers(norm)
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(x.var(axis=-1, keepdims=True) + norm.eps) * weight + bias


def projected(net, streams, there):
    tokens = [
        affine(layers[3], np.maximum(affine(layers[1], x), 0))
        for layers, x in zip(net.projections, streams, strict=True)
    ]
    return np.array(tokens) * there[:, None]


def softmax_of(scores, there):
    odds = np.exp(scores) * there
    return odds / odds.sum() if there.any() else odds


def reference(net, streams, there):
    """One clip by the paper's equations (1) and (2), a modality a token."""
    tokens = projected(net, streams, there)
    query, key, value = np.split(affine(net.attention.project, tokens), 3, axis=1)
    read = np.zeros_like(tokens)
    looks = []
    for own in (slice(0, 3), slice(3, 6)):
        for i in np.flatnonzero(there):
            share = softmax_of(key[:, own] @ query[i, own] / np.sqrt(3), there)
            read[i, own] = share @ value[:, own]
            looks.append(share)
    fused = normed(net.norm, tokens + affine(net.attention.out, read)) * there[:, None]
    salience = np.mean(looks, axis=0) if looks else np.zeros(3)
    if net.gate is not None:
        mean = fused[there].mean(axis=0) if there.any() else np.zeros(6)
        salience = softmax_of(affine(net.gate, mean), there)
        fused = fused * salience[:, None]
    return fused.ravel(), salience


@pytest.mark.parametrize("gate", [False, True])
def test_forward_equals_the_equations_over_tokens(gate):
    net = make(gate=gate)
    streams, mask = batch()
    with torch.no_grad():
        codes, weights = net.encode(streams, mask), net.weights(streams, mask)
        logits = net(streams, mask)
    for row in range(4):
        clip = [x[row].numpy() for x in streams]
        code, salience = reference(net, clip, mask[row].numpy())
        np.testing.assert_allclose(codes[row], code, atol=1e-10)
        np.testing.assert_allclose(weights[row], salience, atol=1e-10)
        np.testing.assert_allclose(logits[row], affine(net.head, code), atol=1e-10)


def test_the_papers_letter_is_one_linear_map_of_all_streams():
    net = make(variant="paper")
    streams, mask = batch()
    with torch.no_grad():
        codes = net.encode(streams, mask)
    for row in range(4):
        clip = [x[row].numpy() for x in streams]
        joint = projected(net, clip, mask[row].numpy()).ravel()
        # softmax over the one element of (F W_Q)(F W_K)^T is 1, so Attn(F) = F W_V
        attended = joint @ net.value.weight.detach().numpy().T
        np.testing.assert_allclose(
            codes[row], normed(net.norm, joint + attended), atol=1e-10
        )


def test_a_gate_needs_tokens():
    with pytest.raises(ValueError, match="needs variant='sound'"):
        make(variant="paper", gate=True)
    with pytest.raises(ValueError, match="variant must be one of"):
        make(variant="code")
