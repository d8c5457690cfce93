import numpy as np
import pytest
import torch

from skmer.modules import RandomSource, StreamHeads

SIZES = {"audio": 5, "text": 3}


def make(**params):
    heads = StreamHeads(
        SIZES, 3, hidden_size=6, random_source=RandomSource(0), **params
    )
    return heads.double().eval()


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    return streams, mask[torch.arange(n) % 4]


def log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def test_each_head_sees_one_stream():
    heads = make()
    streams, mask = batch()
    with torch.no_grad():
        logits = heads(streams, mask).numpy()
    for m, (head, x) in enumerate(zip(heads.heads, streams, strict=True)):
        first, last = head[0], head[-1]
        hidden = x.numpy() @ first.weight.detach().numpy().T
        hidden = np.maximum(hidden + first.bias.detach().numpy(), 0)
        expected = hidden @ last.weight.detach().numpy().T
        expected = (expected + last.bias.detach().numpy()) * mask[:, m : m + 1].numpy()
        np.testing.assert_allclose(logits[:, m], expected, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_joining_is_the_mean_of_the_net_and_of_bayes_rule(masked):
    heads = make()
    prior = np.array([0.5, 0.3, 0.2])
    heads.set_prior(torch.from_numpy(prior))
    streams, mask = batch()
    rng = np.random.default_rng(0)
    fused = rng.normal(size=(6, 3))
    with torch.no_grad():
        alone = heads(streams, mask if masked else None)
        joined = heads.join(
            torch.from_numpy(fused), alone, mask if masked else None
        ).numpy()
    for row in range(6):
        product = prior.copy()
        for m in range(2):
            if mask[row, m] or not masked:
                product *= np.exp(log_softmax(alone[row, m].numpy())) / prior
        expected = 0.5 * (log_softmax(fused[row]) + np.log(product))
        np.testing.assert_allclose(
            log_softmax(joined[row]), log_softmax(expected), atol=1e-12
        )


def test_two_streams_that_know_the_truth_give_the_truth():
    # p(y) and p(x | y) of two streams of two values, independent given the class.
    prior = np.array([0.7, 0.2, 0.1])
    given = np.array([[[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [[0.5, 0.5]] * 3])
    given[1, 2] = [0.05, 0.95]
    heads = make()
    heads.set_prior(torch.from_numpy(prior))
    for a in range(2):
        for b in range(2):
            whole = prior * given[0, :, a] * given[1, :, b]
            alone = np.log([prior * given[0, :, a], prior * given[1, :, b]])
            joined = heads.join(
                torch.from_numpy(np.log(whole))[None], torch.from_numpy(alone)[None]
            )
            np.testing.assert_allclose(
                joined.softmax(dim=1)[0], whole / whole.sum(), rtol=1e-12
            )


def test_masked_values_count_for_nothing():
    heads = make()
    streams, mask = batch()
    hidden = [
        torch.where(mask[:, m : m + 1], x, torch.full_like(x, 1e3))
        for m, x in enumerate(streams)
    ]
    assert torch.equal(heads(streams, mask), heads(hidden, mask))


def test_each_head_learns_from_its_own_loss():
    heads = make()
    streams, _ = batch()
    heads(streams)[:, 0].square().sum().backward()
    assert all(p.grad.abs().sum() == 0 for p in heads.heads[1].parameters())
    assert all(p.grad.abs().sum() > 0 for p in heads.heads[0].parameters())


def test_dropout_is_on_only_in_training():
    heads = make(dropout=0.5)
    streams, _ = batch()
    assert torch.equal(heads(streams), heads(streams))
    heads.train()
    assert not torch.equal(heads(streams), heads(streams))
