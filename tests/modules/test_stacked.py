import copy

import pytest
import torch
from torch import nn

from skmer.modules import (
    AttentionFusion,
    ConcatFusion,
    Dropout,
    DynamicWeightingFusion,
    RandomSource,
    StackedModules,
    bernoulli,
)

SIZES = {"audio": 5, "text": 3}
NETS = [
    lambda source: AttentionFusion(SIZES, 4, hidden_size=6, random_source=source),
    lambda source: AttentionFusion(
        SIZES, 4, hidden_size=6, attention="per_stream", random_source=source
    ),
    lambda source: ConcatFusion(SIZES, 4, hidden_sizes=(6, 7), random_source=source),
    lambda source: DynamicWeightingFusion(
        SIZES, 4, hidden_size=6, attention_dropout=0.2, random_source=source
    ),
    lambda source: DynamicWeightingFusion(
        SIZES, 4, hidden_size=6, gate=True, random_source=source
    ),
    lambda source: DynamicWeightingFusion(
        SIZES, 4, hidden_size=6, variant="paper", random_source=source
    ),
]


def batch(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    streams = [torch.randn(n, size, generator=generator) for size in SIZES.values()]
    return streams, torch.rand(n, len(SIZES), generator=generator) > 0.3


@pytest.mark.parametrize("make", NETS)
def test_output_and_gradients_are_those_of_the_members(make):
    members = [make(RandomSource(seed)) for seed in range(3)]
    alone = copy.deepcopy(members)
    stack = StackedModules(members)
    stack.set_counts([4, 4, 4])
    streams, mask = batch(12)
    out = stack(streams, mask)
    out.square().sum().backward()
    for index, member in enumerate(alone):
        rows = slice(4 * index, 4 * index + 4)
        own = member([x[rows] for x in streams], mask[rows])
        assert torch.allclose(out[rows], own, atol=1e-6)
        own.square().sum().backward()
    names = {id(p): name for name, p in members[1].named_parameters()}
    found = 0
    for entry in stack.entries():
        own = alone[1].get_parameter(names[id(entry.members[1])])
        assert torch.allclose(entry.view(entry.stacked.grad, 1), own.grad, atol=1e-5)
        found += 1
    assert found == len(names)


def test_a_step_on_the_stack_is_one_on_the_members():
    members = [NETS[0](RandomSource(seed)) for seed in range(2)]
    before = members[1].head.weight.clone()
    stack = StackedModules(members)
    assert torch.equal(members[1].head.weight, before)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += 1.0
    assert torch.equal(members[1].head.weight, before + 1.0)
    stack.release()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += 1.0
    assert torch.equal(members[1].head.weight, before + 1.0)
    assert members[1].head.weight.is_contiguous()


@pytest.mark.parametrize("counts", [[4, 4], [4, 1], [2, 4]])
def test_dropout_draws_what_each_member_would(counts):
    stack = StackedModules([NETS[0](RandomSource(0)), NETS[0](RandomSource(0))])
    stack.set_counts(counts)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    draws = stack.bernoulli((8, 3), 0.4, generators)
    for index, count in enumerate(counts):
        generator = torch.Generator().manual_seed(5 + index)
        own = bernoulli((count, 3), 0.4, generator)
        assert torch.equal(draws[4 * index : 4 * index + count], own)
        # As far along as alone, too.
        assert torch.equal(generator.get_state(), generators[index].get_state())


def test_a_probability_of_one_draws_nothing():
    stack = StackedModules([NETS[0](RandomSource(0))])
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert stack.bernoulli((2, 3), 1.0, [generator]).all()
    assert torch.equal(generator.get_state(), before)


class Plain(nn.Module):
    """A module that says that it can be stacked."""

    stackable = True

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, streams, mask=None):
        return self.layers(streams[0])


class Changed(Plain):
    pass


class Scaled(Plain):
    def __init__(self):
        super().__init__(nn.Linear(2, 2))
        self.scale = nn.Parameter(torch.ones(1))


Scaled.stackable = True


def tied():
    layer = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    other.weight = layer.weight
    return Plain(layer, other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Changed(nn.Linear(2, 2)), "Changed does not say that it can be"),
        (Scaled, "Scaled has parameters of its own"),
        (lambda: Plain(nn.Linear(2, 2), nn.BatchNorm1d(2)), "BatchNorm1d has param"),
        (lambda: Plain(nn.Linear(2, 2), nn.Dropout(0.1)), "Dropout draws for all"),
        (tied, "layers that share a weight"),
    ],
)
def test_what_cannot_be_stacked_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        StackedModules([make(), make()])


def test_frozen_weights_and_norms_without_weights():
    def make(seed):
        torch.manual_seed(seed)
        net = Plain(
            nn.Linear(2, 3, bias=False),
            nn.LayerNorm(3, bias=False),
            nn.LayerNorm(3, elementwise_affine=False),
            Dropout(0.0),
            nn.Linear(3, 2),
        )
        net.layers[0].weight.requires_grad_(False)
        return net

    with torch.random.fork_rng():
        members = [make(0), make(1)]
    alone = copy.deepcopy(members)
    stack = StackedModules(members)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    out = stack([x])
    out.sum().backward()
    assert torch.allclose(out[3:], alone[1]([x[3:]]), atol=1e-6)
    frozen = [p for p in stack.parameters() if not p.requires_grad]
    assert len(frozen) == 1
    assert frozen[0].grad is None
