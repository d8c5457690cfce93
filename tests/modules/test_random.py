import pickle

import numpy as np
import pytest
import torch

from skmer.modules import Dropout, RandomSource, bernoulli, linear


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_bernoulli_draws_ones_as_often_as_asked(p):
    draws = bernoulli((400, 501), p, torch.Generator().manual_seed(0))
    assert draws.shape == (400, 501)
    assert set(draws.unique().tolist()) <= {0.0, 1.0}
    # Five standard errors of 200,400 draws.
    assert abs(draws.mean().item() - p) < 5 * np.sqrt(p * (1 - p) / 200_400) + 1e-12


def test_bernoulli_draws_from_one_word_are_independent():
    draws = bernoulli((400_000,), 0.5, torch.Generator().manual_seed(0)).view(-1, 4)
    correlation = np.corrcoef(draws.numpy().T)
    assert np.abs(correlation - np.eye(4)).max() < 0.02


def test_dropout_keeps_the_expectation_and_passes_gradients_where_it_keeps():
    layer = Dropout(0.3, RandomSource(1))
    x = torch.ones(200, 501, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(y.detach().unique(), [0.0, 1 / 0.7], rtol=1e-6)
    assert torch.equal(x.grad, y.detach())


def test_dropout_does_nothing_when_not_training():
    layer = Dropout(0.5).eval()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert layer(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="0 <= p < 1"):
        Dropout(p)


def test_nothing_draws_from_the_global_generator():
    before = torch.random.get_rng_state()
    source = RandomSource(3)
    linear(5, 4, source)
    Dropout(0.5, source)(torch.ones(4, 4))
    assert torch.equal(before, torch.random.get_rng_state())


def test_linear_is_initialised_as_torch_does():
    ours = linear(400, 300, RandomSource(0))
    bound = 1 / np.sqrt(400)
    for values in (ours.weight, ours.bias):
        assert values.abs().max().item() <= bound
    assert ours.weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.01)
    again = linear(400, 300, RandomSource(0))
    assert torch.equal(ours.weight, again.weight)
    assert not torch.equal(ours.weight, linear(400, 300, RandomSource(1)).weight)


def test_a_pickled_source_goes_on_where_it_was():
    source = RandomSource(5)
    torch.rand(7, generator=source.generator())
    copy = pickle.loads(pickle.dumps(source))
    expected = torch.rand(5, generator=source.generator())
    assert torch.equal(expected, torch.rand(5, generator=copy.generator()))
