from itertools import combinations

import numpy as np
import pytest
import torch

from skmer.modules import (
    MisaFusion,
    RandomSource,
    central_moment_discrepancy,
    orthogonality_loss,
)

SIZES = {"a": 3, "b": 2, "c": 4}


def make(sizes=SIZES, **params):
    params = {"hidden_size": 6, "dropout": 0.0, **params}
    net = MisaFusion(sizes, 5, random_source=RandomSource(0), **params)
    return net.double()


def batch(n=12):
    generator = torch.Generator().manual_seed(0)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.rand(n, 3, generator=generator) > 0.3
    mask[0] = True
    return streams, mask


def numbers(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def parts(net, streams):
    """Projected, shared and private codes, one array a stream."""
    projected = []
    for layers, x in zip(net.project, streams, strict=True):
        h = np.maximum(numbers(layers[1], x.numpy()), 0)
        h = h - h.mean(axis=1, keepdims=True)
        projected.append(h / np.sqrt(h.var(axis=1, keepdims=True) + 1e-5))
    shared = [sigmoid(numbers(net.shared, h)) for h in projected]
    private = [
        sigmoid(numbers(layer, h))
        for layer, h in zip(net.private, projected, strict=True)
    ]
    return projected, shared, private


def test_losses_equal_the_formulas():
    net = make().train()
    streams, mask = batch()
    _, losses = net(streams, mask)
    projected, shared, private = parts(net, streams)
    t = torch.from_numpy
    similarity, difference, reconstruction = [], [], []
    for a, b in combinations(range(3), 2):
        both = mask[:, a] & mask[:, b]
        similarity.append(
            central_moment_discrepancy(t(shared[a])[both], t(shared[b])[both])
        )
        difference.append(orthogonality_loss(t(private[a])[both], t(private[b])[both]))
    for i in range(3):
        has = mask[:, i].numpy()
        difference.append(
            orthogonality_loss(t(shared[i])[mask[:, i]], t(private[i])[mask[:, i]])
        )
        rebuilt = numbers(net.reconstruct[i], shared[i] + private[i])
        reconstruction.append(((rebuilt - projected[i])[has] ** 2).mean())
    expected = {
        "similarity": np.mean(similarity),
        "difference": np.sum(difference),
        "reconstruction": np.mean(reconstruction),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(losses[name].item(), value, rtol=1e-9)
    total = 0.1 * sum(expected.values())
    np.testing.assert_allclose(losses["auxiliary"].item(), total, rtol=1e-9)


def test_codes_equal_the_formula():
    net = make().eval()
    streams, mask = batch()
    _, shared, private = parts(net, streams)
    with torch.no_grad():
        for row in range(12):
            here = mask[row].nonzero().flatten().tolist()
            tokens = [private[i][row] for i in here] + [shared[i][row] for i in here]
            whole = np.zeros((6, 6))
            if here:
                # the missing left out, not masked
                seen = torch.from_numpy(np.stack(tokens))[None]
                known = torch.ones(1, len(tokens), dtype=torch.bool)
                rows = [*here, *(3 + i for i in here)]
                whole[rows] = net.attend(seen, known)[0].numpy()
            code = np.maximum(numbers(net.fuse[0], whole.ravel()), 0)
            found = net.encode([x[[row]] for x in streams], mask[[row]])[0]
            np.testing.assert_allclose(found, code, atol=1e-10)


@pytest.mark.parametrize("name", ["similarity", "difference", "reconstruction"])
def test_weights_turn_losses_off(name):
    streams, mask = batch()
    others = {"similarity", "difference", "reconstruction"} - {name}
    net = make(**{f"{other}_weight": 0.0 for other in others}).train()
    _, losses = net(streams, mask)
    assert losses[name] > 0
    np.testing.assert_allclose(losses["auxiliary"].item(), 0.1 * losses[name].item())


def test_training_brings_shared_codes_together_and_private_ones_apart():
    net = make(hidden_size=8).train()
    streams, _ = batch(64)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    values = []
    for _ in range(60):
        losses = net(streams)[1]
        values.append({k: v.item() for k, v in losses.items()})
        optimizer.zero_grad()
        losses["auxiliary"].backward()
        optimizer.step()
    for name in ("similarity", "difference", "reconstruction"):
        assert values[-1][name] < 0.7 * values[0][name]


def test_one_stream_has_nothing_to_be_like():
    net = make({"a": 3}).train()
    logits, losses = net([batch()[0][0]])
    assert logits.shape == (12, 5)
    assert losses["similarity"] == 0 and losses["difference"] > 0


def test_losses_are_of_training_alone():
    net = make().eval()
    assert torch.is_tensor(net(*batch()))
