import numpy as np
import pytest
import torch

from skmer.modules import central_moment_discrepancy, orthogonality_loss


def codes(n=7, size=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, size, generator=generator, dtype=torch.float64)


MASK = torch.tensor([1, 1, 0, 1, 0, 1, 1], dtype=torch.bool)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("n_moments", [1, 2, 5])
def test_discrepancy_equals_the_formula(n_moments, mask):
    x, y = codes(seed=0), codes(seed=1) ** 2
    kept = slice(None) if mask is None else mask.numpy()
    a, b = x.numpy()[kept], y.numpy()[kept]
    expected = np.linalg.norm(a.mean(0) - b.mean(0))
    for k in range(2, n_moments + 1):
        moments = [((z - z.mean(0)) ** k).mean(0) for z in (a, b)]
        expected += np.linalg.norm(moments[0] - moments[1])
    found = central_moment_discrepancy(x, y, n_moments, mask=mask)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-12)


def test_discrepancy_by_hand():
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([[0.4], [0.4]], dtype=torch.float64)
    # means 0.5 and 0.4; second moments 1/4 and 0, third 0 and 0, fourth 1/16 and 0
    found = central_moment_discrepancy(x, y)
    np.testing.assert_allclose(found.item(), 0.1 + 0.25 + 0.0625, rtol=1e-12)


def test_discrepancy_is_of_distributions_and_not_of_clips():
    x = codes(200)
    mixed = x[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    other = codes(200, seed=1)
    same = central_moment_discrepancy(x, mixed)
    alike = central_moment_discrepancy(x, other)
    apart = central_moment_discrepancy(x, other**2)
    assert same < 1e-12 < alike < apart
    assert torch.equal(alike, central_moment_discrepancy(other, x))


@pytest.mark.parametrize("mask", [None, MASK])
def test_orthogonality_equals_the_formula(mask):
    x, y = codes(seed=0), codes(seed=1)
    kept = slice(None) if mask is None else mask.numpy()
    a, b = x.numpy()[kept], y.numpy()[kept]
    a, b = a - a.mean(0), b - b.mean(0)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    expected = ((a.T @ b) ** 2).mean()
    found = orthogonality_loss(x, y, mask=mask)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-12)


def test_codes_that_tell_the_same_are_less_orthogonal_than_random_ones():
    x, random = codes(300), codes(300, seed=1)
    loss = orthogonality_loss(x, random)
    assert loss < 0.1 * orthogonality_loss(x, x)
    # and the sign of what they tell does not count
    np.testing.assert_allclose(orthogonality_loss(x, 1 - x), orthogonality_loss(x, x))


@pytest.mark.parametrize("loss", [central_moment_discrepancy, orthogonality_loss])
@pytest.mark.parametrize("mask", [None, torch.zeros(7, dtype=torch.bool)])
def test_gradients_are_finite_where_nothing_differs_or_is_left(loss, mask):
    x = torch.full((7, 3), 0.5, requires_grad=True)
    value = loss(x, x.detach(), mask=mask)
    value.backward()
    assert value == 0 and torch.isfinite(x.grad).all()
