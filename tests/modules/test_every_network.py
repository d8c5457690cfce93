"""What holds for every network over pooled streams."""

import pytest
import torch

from skmer.modules import (
    ConcatFusion,
    DynamicWeightingFusion,
    LateFusion,
    LowRankFusion,
    MisaFusion,
    MmimFusion,
    ModalTokenFusion,
    RandomSource,
    StackedModules,
    TensorFusion,
)

SIZES = {"audio": 6, "text": 3, "video__face": 4, "video__frame": 4}
LAYERS = {"layer_sizes": {"audio": [2, 2, 2]}}
NETWORKS = [
    (ConcatFusion, {"hidden_sizes": (48, 32)}),
    (ConcatFusion, {"hidden_sizes": ()}),
    (DynamicWeightingFusion, {}),
    (DynamicWeightingFusion, {"gate": True}),
    (DynamicWeightingFusion, {"variant": "paper"}),
    (ModalTokenFusion, LAYERS),
    (ModalTokenFusion, {"layers": "tokens", **LAYERS}),
    (ModalTokenFusion, {"modal_tokens": "add", "readout": "mean"}),
    (LateFusion, {}),
    (TensorFusion, {"code_size": 8}),
    (LowRankFusion, {}),
    (MisaFusion, {}),
    (MmimFusion, {}),
]
# Networks whose streams have no weights.
UNWEIGHTED = (
    ConcatFusion,
    LateFusion,
    TensorFusion,
    LowRankFusion,
    MisaFusion,
    MmimFusion,
)
IDS = [f"{cls.__name__}-{'-'.join(map(str, kw.values()))}" for cls, kw in NETWORKS]
every = pytest.mark.parametrize(("cls", "params"), NETWORKS, ids=IDS)


def make(cls, params, **more):
    if cls is not ConcatFusion:
        more = {"hidden_size": 32, **more}
    net = cls(SIZES, 3, random_source=RandomSource(0), **params, **more)
    return net.double().eval()


def batch(n=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.rand(n, len(SIZES), generator=generator) > 0.4
    mask[0] = True
    mask[1] = False
    return streams, mask


@every
def test_logits_are_the_heads_of_the_codes(cls, params):
    net = make(cls, params)
    streams, mask = batch()
    logits = net(streams, mask)
    assert logits.shape == (9, 3) and torch.isfinite(logits).all()
    assert torch.equal(logits, net.head(net.encode(streams, mask)))


@every
def test_a_full_mask_is_no_mask(cls, params):
    net = make(cls, params)
    streams, mask = batch()
    full = torch.ones_like(mask)
    torch.testing.assert_close(net(streams), net(streams, full), rtol=0, atol=1e-12)


@every
def test_masked_values_count_for_nothing(cls, params):
    net = make(cls, params)
    streams, mask = batch()
    hidden = [
        torch.where(mask[:, m : m + 1], x, torch.full_like(x, 1e3))
        for m, x in enumerate(streams)
    ]
    assert torch.equal(net(hidden, mask), net(streams, mask))
    # and what is not masked does count
    assert not torch.equal(net(hidden), net(streams))


@every
def test_a_missing_stream_changes_its_clip_alone(cls, params):
    net = make(cls, params)
    streams, _ = batch()
    mask = torch.ones(9, len(SIZES), dtype=torch.bool)
    whole = net(streams, mask)
    mask[4, 2] = False
    changed = (net(streams, mask) != whole).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [4]


@every
def test_a_clip_does_not_see_the_others_in_its_batch(cls, params):
    net = make(cls, params)
    streams, mask = batch(40)
    alone = torch.cat(
        [net([x[i : i + 1] for x in streams], mask[i : i + 1]) for i in range(40)]
    )
    torch.testing.assert_close(net(streams, mask), alone, rtol=1e-10, atol=1e-12)


@every
def test_gradients_reach_every_parameter_and_no_masked_stream(cls, params):
    # Some have losses in training, and parameters for these alone.
    net = make(cls, params, dropout=0.0).train()
    streams, mask = batch(40)
    streams = [x.requires_grad_() for x in streams]
    output = net(streams, mask)
    logits, losses = output if isinstance(output, tuple) else (output, {})
    (logits.square().sum() + losses.get("auxiliary", 0.0)).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    for m, x in enumerate(streams):
        reached = x.grad.abs().sum(dim=1) > 0
        assert torch.equal(reached, mask[:, m])


@every
def test_dropout_is_on_only_in_training(cls, params):
    net = make(cls, params, dropout=0.5)
    streams, _ = batch()
    assert torch.equal(net(streams), net(streams))
    net.train()
    if params.get("hidden_sizes") != ():
        first, second = (
            output[0] if isinstance(output, tuple) else output
            for output in (net(streams), net(streams))
        )
        assert not torch.equal(first, second)


@every
def test_weights_are_shares_of_the_streams_that_are_there(cls, params):
    net = make(cls, params)
    if cls in UNWEIGHTED:
        assert not hasattr(net, "weights")
        return
    streams, mask = batch()
    weights = net.weights(streams, mask)
    assert torch.equal(weights > 0, mask)
    if params.get("variant") == "paper":
        assert torch.equal(weights, mask.double())
    else:
        total = mask.any(dim=1).double()
        torch.testing.assert_close(weights.sum(dim=1), total, rtol=1e-6, atol=1e-9)


@every
def test_a_seed_is_a_net(cls, params):
    first, again = make(cls, params), make(cls, params)
    streams, mask = batch()
    assert torch.equal(first(streams, mask), again(streams, mask))
    before = torch.random.get_rng_state()
    other = cls(SIZES, 3, random_source=RandomSource(1), **params).double().eval()
    assert not torch.equal(other(streams, mask), first(streams, mask))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("cls", [LateFusion, TensorFusion])
def test_a_stack_does_what_its_members_do(cls):
    def members():
        sources = [RandomSource(seed) for seed in (0, 1)]
        return [cls(SIZES, 3, hidden_size=8, random_source=own) for own in sources]

    streams, mask = batch(8)
    streams = [x.float() for x in streams]
    expected = torch.cat([net.train()(streams, mask) for net in members()])
    stack = StackedModules(members()).train()
    stack.set_counts([8, 8])
    found = stack([torch.cat([x, x]) for x in streams], torch.cat([mask, mask]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
