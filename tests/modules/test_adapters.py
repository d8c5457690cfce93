"""Adapters between frozen blocks: formulas, losses, padding, batches."""

import copy
import pickle

import pytest
import torch
import transformers
from tiny_models import N_LAYERS, WIDTH, speech_model

from skmer.modules import (
    AdaptedLayers,
    BottleneckAdapter,
    FrozenBlocks,
    RandomSource,
    bucketed_batches,
)

FAMILIES = ["hubert-large", "hubert-base", "wavlm-large", "wavlm-base"]
FAMILIES += ["wav2vec2-large", "data2vec"]


def _model(name, **options):
    model = transformers.AutoModel.from_pretrained(speech_model(name), **options)
    return model.eval().requires_grad_(False)


def _noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _layers(layers=(2, 3, 4), n_classes=3, **params):
    params.setdefault("random_source", RandomSource(0))
    return AdaptedLayers(WIDTH, layers, n_classes, adapter_size=8, **params)


def test_adapter_is_the_formula_of_the_paper():
    adapter = BottleneckAdapter(3, 2, random_source=RandomSource(1))
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]))
        adapter.down.bias.copy_(torch.tensor([0.5, 0.0]))
        adapter.up.weight.copy_(torch.tensor([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
        adapter.up.bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
    x = torch.tensor([[1.0, -4.0, 10.0]])
    # down: 1.5 and 4; up: 3, -1.5 and 3
    assert torch.equal(adapter(x), torch.tensor([[4.0, -4.0, 13.0]]))
    adapter.outer_relu = False
    assert torch.equal(adapter(x), torch.tensor([[4.0, -5.5, 13.0]]))


def test_size_of_adapters_is_that_of_the_paper():
    adapter = BottleneckAdapter(1024)
    assert sum(p.numel() for p in adapter.parameters()) == 263_296


@pytest.mark.parametrize("outer_relu", [True, False])
def test_adapter_starts_near_nothing_and_learns_at_once(outer_relu):
    adapter = BottleneckAdapter(WIDTH, 8, outer_relu=outer_relu)
    x = _noise(5, 7, WIDTH)
    assert 0 < (adapter(x) - x).abs().max() < 0.05
    adapter(x).square().sum().backward()
    for name, value in adapter.named_parameters():
        assert value.grad.abs().max() > 0, name


def test_adapter_that_starts_from_zeros_would_stay_dead():
    adapter = BottleneckAdapter(WIDTH, 8)
    torch.nn.init.zeros_(adapter.up.weight)
    torch.nn.init.zeros_(adapter.up.bias)
    adapter(_noise(5, 7, WIDTH)).square().sum().backward()
    assert all(p.grad.abs().max() == 0 for p in adapter.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_frozen_blocks_are_those_of_the_model(name):
    model = _model(name)
    states = []

    def note(module, args, output):
        if not states:
            states.append(args[0])
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_hook(note) for layer in model.encoder.layers]
    model(_noise(1, 16000))
    for hook in hooks:
        hook.remove()
    asked = {2: torch.nn.Identity(), N_LAYERS: torch.nn.Identity()}
    real = torch.ones(states[1].shape[:2], dtype=torch.bool)
    found = FrozenBlocks(model, 2, N_LAYERS)(states[1], real, asked)
    for state, expected in zip(found, (states[2], states[N_LAYERS]), strict=True):
        torch.testing.assert_close(state, expected)


# WavLM has no SDPA.
@pytest.mark.parametrize(
    ("name", "attention"),
    [(name, "eager") for name in FAMILIES]
    + [(name, "sdpa") for name in FAMILIES if not name.startswith("wavlm")],
)
def test_padding_changes_nothing(name, attention):
    blocks = FrozenBlocks(_model(name, attn_implementation=attention), 2, N_LAYERS)
    module = _layers()
    sizes = [11, 4, 7]
    steps = _noise(3, 11, WIDTH)
    real = torch.arange(11) < torch.tensor(sizes)[:, None]
    steps[~real] = 1e3
    together = module.pool(blocks, steps, real)
    for row, size in enumerate(sizes):
        alone = module.pool(blocks, steps[row : row + 1, :size], real[:1, :size])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hubert-large", "wavlm-large"])
def test_gradients_pass_through_frozen_blocks_to_the_first_adapter(name):
    model = _model(name)
    before = copy.deepcopy(model.state_dict())
    module = _layers(read_layer=4)
    steps, real = _noise(4, 6, WIDTH), torch.ones(4, 6, dtype=torch.bool)
    real[1, 3:] = False
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    losses = module.losses(
        module.pool(FrozenBlocks(model, 2, 4), steps, real), torch.tensor([0, 1, 2, 0])
    )
    sum(losses.values()).backward()
    for name, value in module.named_parameters():
        assert value.grad.abs().max() > 0, name
    optimizer.step()
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_adapters_are_in_the_way_of_later_blocks():
    blocks = FrozenBlocks(_model("hubert-large"), 2, 4)
    module = _layers()
    steps, real = _noise(1, 6, WIDTH), torch.ones(1, 6, dtype=torch.bool)
    before = module.pool(blocks, steps, real)
    with torch.no_grad():
        module.adapters["3"].up.bias += 1
    changed = (module.pool(blocks, steps, real) != before).any(dim=2)
    assert changed.tolist() == [[False, True, True]]


def test_weights_of_layers_are_free():
    module = _layers(read_layer=3)
    assert module.layer_weights.tolist() == [0, 1, 0]
    assert _layers().layer_weights.tolist() == pytest.approx([1 / 3] * 3)
    pooled = _noise(2, 3, WIDTH)
    assert torch.equal(module.fuse(pooled), pooled[:, 1])
    with torch.no_grad():
        module.layer_weights.copy_(torch.tensor([2.0, 0.0, -1.0]))
    torch.testing.assert_close(module.fuse(pooled), 2 * pooled[:, 0] - pooled[:, 2])


def test_losses_by_hand():
    pooled, codes = _noise(4, 3, WIDTH), torch.tensor([0, 2, -1, 1])
    module = _layers(
        read_layer=3, standardize=False, mask_share=0.0, reconstruction_weight=0.5
    )
    fused = pooled[:, 1]
    first, _, second = module.rebuild
    rebuilt = second(torch.relu(first(fused)))
    logs = torch.log_softmax(module.head(rebuilt), dim=1)
    losses = module.losses(pooled, codes)
    expected = -(logs[0, 0] + logs[1, 2] + logs[3, 1]) / 3
    torch.testing.assert_close(losses["cross_entropy"], expected)
    error = ((rebuilt - fused) ** 2).mean() / 2
    torch.testing.assert_close(losses["reconstruction"], error)


def test_variants_change_the_loss_and_its_gradient():
    pooled, codes = _noise(4, 3, WIDTH), torch.tensor([0, 2, 1, 1])
    paper = {"standardize": False, "mask_share": 0.0, "frozen_target": False}
    changes = ({}, {"standardize": True}, {"mask_share": 0.5}, {"frozen_target": True})
    found = []
    for change in changes:
        module = _layers(**paper | change).train()
        error = module.losses(pooled, codes)["reconstruction"]
        error.backward()
        found.append((error.item(), module.layer_weights.grad))
    assert found[0][0] != found[1][0] and found[0][0] != found[2][0]
    assert found[0][0] == found[3][0]
    assert not torch.equal(found[0][1], found[3][1])


def test_nothing_is_hidden_but_in_training():
    pooled, codes = _noise(4, 3, WIDTH), torch.tensor([0, 2, 1, 1])
    module = _layers(standardize=False, mask_share=0.5)
    module.train()
    losses = module.losses(pooled, codes)
    again = module.losses(pooled, codes)
    assert losses["reconstruction"] != again["reconstruction"]
    seen = []
    module.rebuild[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    _, parts = module(pooled)
    hidden = seen[0] == 0
    assert 0.3 < hidden.float().mean() < 0.7
    assert torch.equal(seen[0][~hidden], parts["target"][~hidden])
    module.eval()(pooled)
    assert torch.equal(seen[1], module.fuse(pooled))


def test_clips_without_labels_are_rebuilt_only():
    module = _layers(mask_share=0.0)
    losses = module.losses(_noise(2, 3, WIDTH), torch.tensor([-1, -1]))
    assert losses["cross_entropy"] == 0
    sum(losses.values()).backward()
    assert module.rebuild[0].weight.grad.abs().max() > 0
    assert module.head.weight.grad.abs().max() == 0


def test_standardising_by_running_averages():
    module = _layers(read_layer=3)
    pooled = _noise(5, 3, WIDTH) * 50 + 1000
    _, parts = module.train()(pooled)
    target = parts["target"]
    torch.testing.assert_close(target.mean(0), torch.zeros(WIDTH), rtol=0, atol=1e-4)
    ones = torch.ones(WIDTH)
    torch.testing.assert_close(target.std(0, correction=0), ones, rtol=0, atol=1e-3)
    # From the first batch on, and for a clip alone.
    expected = (pooled[:, 1] - pooled[:, 1].mean(0)) / pooled[:, 1].std(0)
    for training in (True, False):
        _, parts = module.train(training)(pooled[:1])
        torch.testing.assert_close(parts["target"], expected[:1], rtol=0, atol=1e-3)
    before = module.normalize.mean.clone()
    module.train()(pooled + 10)
    torch.testing.assert_close(module.normalize.mean, before + 1)


def test_frozen_blocks_refuse_what_is_not_frozen_or_not_there():
    model = _model("hubert-large")
    with pytest.raises(ValueError, match="Blocks from 1 to 4 are there. Got 3 to 5"):
        FrozenBlocks(model, 3, 5)
    with pytest.raises(ValueError, match="must be frozen"):
        FrozenBlocks(model.requires_grad_(True), 2, 3)
    with pytest.raises(ValueError, match="must be frozen"):
        FrozenBlocks(model.requires_grad_(False).train(), 2, 3)


def test_adapters_draw_from_their_source_alone_and_pickle():
    state = torch.get_rng_state()
    module = _layers(random_source=RandomSource(3))
    twin = _layers(random_source=RandomSource(3))
    other = _layers(random_source=RandomSource(4))
    pooled = _noise(4, 3, WIDTH)
    for one in (module, twin, other):
        one.train()
    (logits, _), (same, _), (unlike, _) = (m(pooled) for m in (module, twin, other))
    assert torch.equal(logits, same) and not torch.equal(logits, unlike)
    copied = pickle.loads(pickle.dumps(module))
    assert torch.equal(copied(pooled)[0], module(pooled)[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_batches_are_of_like_length_and_hold_every_row_once():
    lengths = torch.randint(1, 500, (203,), generator=torch.Generator().manual_seed(0))
    batches = bucketed_batches(lengths, 8)
    generator = torch.Generator().manual_seed(0)
    first, second = batches(generator), batches(generator)
    spreads = []
    for found in (first, second):
        assert sorted(torch.cat(found).tolist()) == list(range(203))
        assert {len(rows) for rows in found} <= {7, 8}
        spreads += [float(lengths[r].max() - lengths[r].min()) for r in found]
    assert [r.tolist() for r in first] != [r.tolist() for r in second]
    again = batches(torch.Generator().manual_seed(0))
    assert [r.tolist() for r in first] == [r.tolist() for r in again]
    # Batches of random rows span about 400.
    assert sum(spreads) / len(spreads) < 120
    sizes = [len(rows) for rows in bucketed_batches(range(129), 16)(generator)]
    assert sorted(sizes) == [14] * 6 + [15] * 3
    assert bucketed_batches([], 4)(generator) == []
    assert [r.tolist() for r in bucketed_batches([5], 4)(generator)] == [[0]]
