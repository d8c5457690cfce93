import numpy as np
import pytest
import torch

from skmer.modules import RandomSource
from skmer.modules._self_attention import SelfAttention


def reference(net, tokens, there):
    """Attention of one clip, a head and a token at a time, in NumPy."""
    weight, bias = (p.detach().numpy() for p in net.project.parameters())
    n_tokens, hidden = tokens.shape
    size = hidden // net.n_heads
    query, key, value = np.split(tokens @ weight.T + bias, 3, axis=1)
    attention = np.zeros((net.n_heads, n_tokens, n_tokens))
    mixed = np.zeros((n_tokens, hidden))
    for head in range(net.n_heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(n_tokens):
            scores = np.array([query[i, own] @ k / np.sqrt(size) for k in key[:, own]])
            odds = np.exp(scores) * there
            attention[head, i] = odds / odds.sum()
            mixed[i, own] = attention[head, i] @ value[:, own]
    weight, bias = (p.detach().numpy() for p in net.out.parameters())
    return mixed @ weight.T + bias, attention


def test_it_equals_the_formula():
    net = SelfAttention(6, 2, 0.0, RandomSource(0)).double()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(5, 4, 6, generator=generator, dtype=torch.float64)
    mask = torch.rand(5, 4, generator=generator) > 0.4
    mask[:, 0] = True
    with torch.no_grad():
        attended, attention = net(tokens, mask)
    assert not mask.all()
    for row in range(5):
        expected = reference(net, tokens[row].numpy(), mask[row].numpy())
        np.testing.assert_allclose(attended[row], expected[0], atol=1e-12)
        np.testing.assert_allclose(attention[row], expected[1], atol=1e-12)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of n_heads. Got 6 and 4"):
        SelfAttention(6, 4, 0.0, RandomSource(0))
