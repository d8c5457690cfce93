"""StreamMap against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from skmer.modules import RandomSource, StreamMap


def some(n, size, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, size, generator=generator) + 3


def by_hand(module, source, target, same):
    """The loss in float64, anchor by anchor."""
    first = module(source).detach().double().numpy()
    second = module.place(target).double().numpy()
    first, second = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second)
    )
    logits = first @ second.T / float(module.temperature().detach())
    losses = []
    for table in (logits, logits.T):
        rows = []
        for i, row in enumerate(table):
            share = np.exp(row) / np.exp(row).sum()
            rows.append(np.mean([-np.log(share[j]) for j in np.flatnonzero(same[i])]))
        losses.append(np.mean(rows))
    return np.mean(losses)


@pytest.mark.parametrize("variant", ["sound", "paper"])
@pytest.mark.parametrize("copies", [False, True])
def test_the_loss_is_the_formula(variant, copies):
    source, target = some(6, 4), some(6, 5, seed=1)
    module = StreamMap(4, 5, variant=variant, hidden_size=8).eval()
    module.standardize(source, target)
    same = np.eye(6, dtype=bool)
    if copies:
        same[0, 1] = same[1, 0] = True
    given = torch.from_numpy(same) if copies else None
    loss = float(module.contrast(source, target, given).detach())
    assert loss == pytest.approx(by_hand(module, source, target, same), rel=1e-5)


def test_the_loss_falls_for_aligned_pairs_and_rises_for_opposed_ones():
    target = some(32, 6) - 3
    module = StreamMap(6, 6, dropout=0.0, random_source=RandomSource(1)).eval()
    # A map that hands on what it gets: positive and negative halves apart
    with torch.no_grad():
        wide = StreamMap(6, 6, hidden_size=12, dropout=0.0).eval()
        eye = torch.eye(6)
        wide.layers[1].weight.copy_(torch.cat([eye, -eye]))
        wide.layers[4].weight.copy_(torch.cat([eye, -eye], dim=1))
        for layer in (wide.layers[1], wide.layers[4]):
            layer.bias.zero_()
        aligned = float(wide.contrast(target, target))
        opposed = float(wide.contrast(-target, target))
        unrelated = float(module.contrast(some(32, 6, seed=5) - 3, target))
    assert aligned < 0.1 < unrelated < opposed


def test_standardising_is_of_the_given_rows():
    source, target = some(200, 3, scale=7.0), some(200, 2, seed=1, scale=0.1)
    source[:, 2] = 4.0
    module = StreamMap(3, 2)
    module.standardize(source, target)
    assert torch.allclose(module.source_mean, source.mean(dim=0), atol=1e-5)
    placed = module.place(target)
    assert torch.allclose(placed.mean(dim=0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(placed.std(dim=0, correction=0), torch.ones(2), atol=1e-5)
    assert float(module.source_scale[2]) == 1.0
    paper = StreamMap(3, 2, variant="paper")
    paper.standardize(source, target)
    assert torch.equal(paper.place(target), target)


def test_only_the_paper_ends_in_relu():
    source = some(50, 4)
    assert (StreamMap(4, 5, variant="paper").eval()(source) >= 0).all()
    assert (StreamMap(4, 5).eval()(source) < 0).any()


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant must be one of"):
        StreamMap(2, 2, variant="code")
