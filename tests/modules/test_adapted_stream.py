"""AdaptedStream."""

import numpy as np
import torch

from skmer.modules import AdaptedStream, RandomSource


def module(**params):
    return AdaptedStream(5, 3, random_source=RandomSource(0), **params)


def batch(n=12):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(n, 5, generator=generator) * 4 + 2
    return values, torch.arange(n) % 3


def test_it_starts_next_to_the_standardised_features():
    values, _ = batch()
    values[:, 2] = 7.0
    net = module()
    net.standardize(values)
    plain = (values - values.mean(dim=0)) / values.std(dim=0, correction=0)
    plain[:, 2] = 0.0
    np.testing.assert_allclose(net(values).detach(), plain, atol=0.05)


def test_losses_are_those_of_the_definition():
    values, codes = batch()
    net = module(reconstruction_weight=0.5).eval()
    losses = net.losses(values, codes)
    adapted = net(values)
    rebuilt = net.rebuild(adapted)
    entropy = torch.nn.functional.cross_entropy(net.head(rebuilt), codes)
    error = 0.5 * (rebuilt - adapted).square().mean()
    np.testing.assert_allclose(losses["cross_entropy"].item(), entropy.item())
    np.testing.assert_allclose(losses["reconstruction"].item(), error.item())


def test_the_target_counts_as_given():
    values, codes = batch()
    net = module(mask_share=0.0)
    # Rebuilt by nothing: an error that only the target could make smaller
    for part in net.rebuild.parameters():
        torch.nn.init.zeros_(part)
    net.losses(values, codes)["reconstruction"].backward()
    assert (net.adapter.up.weight.grad == 0).all()
    net.losses(values, codes)["cross_entropy"].backward()
    assert (net.rebuild[2].weight.grad == 0).all()


def test_masks_are_drawn_in_training_only():
    values, codes = batch()
    net = module(mask_share=0.5)
    drawn = {net.losses(values, codes)["cross_entropy"].item() for _ in range(4)}
    assert len(drawn) > 1
    net.eval()
    drawn = {net.losses(values, codes)["cross_entropy"].item() for _ in range(4)}
    assert len(drawn) == 1


def test_the_adapter_learns_from_the_start():
    values, codes = batch()
    net = module()
    sum(net.losses(values, codes).values()).backward()
    for part in net.adapter.parameters():
        assert part.grad.abs().max() > 0
