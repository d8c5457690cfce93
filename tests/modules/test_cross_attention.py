import math

import numpy as np
import pytest
import torch

from skmer.modules import CrossAttentionFusion, RandomSource
from skmer.modules._losses import info_nce

SIZES = {"audio": 6, "video": 4}


def make(sizes=SIZES, n_classes=3, seed=0, **params):
    settings = {"hidden_size": None, "n_heads": 2, "projection_size": 5, **params}
    source = RandomSource(seed)
    return CrossAttentionFusion(
        sizes, n_classes, random_source=source, **settings
    ).double()


def quiet(net):
    """In training mode, for the losses, and without dropout."""
    for module in net.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    return net.train()


def batch(n=8, sizes=SIZES, seed=0, longest=5):
    generator = torch.Generator().manual_seed(seed)
    streams, masks = [], []
    for size in sizes.values():
        lengths = torch.randint(1, longest + 1, (n,), generator=generator)
        lengths[0] = longest
        mask = torch.arange(longest) < lengths[:, None]
        x = torch.randn(n, longest, size, generator=generator, dtype=torch.float64)
        streams.append(x * mask[..., None])
        masks.append(mask)
    return streams, masks


def dense(layer, x):
    y = x @ layer.weight.detach().numpy().T
    return y if layer.bias is None else y + layer.bias.detach().numpy()


def layer_norm(x):
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return (x - x.mean(axis=-1, keepdims=True)) / spread


def attended(layer, x, other):
    """One clip: the formulas 11 to 16 of the paper."""
    width = layer.query.out_features // layer.n_heads
    query, key = dense(layer.query, x), dense(layer.keys[0], other)
    value = dense(layer.values[0], other)
    heads = []
    for h in range(layer.n_heads):
        part = slice(h * width, (h + 1) * width)
        scores = query[:, part] @ key[:, part].T / math.sqrt(width)
        share = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        heads.append(share @ value[:, part])
    return layer_norm(dense(layer.out, np.concatenate(heads, axis=1)) + x)


def reference(net, streams, masks):
    codes = []
    for row in range(len(streams[0])):
        steps = [x[row][m[row]].numpy() for x, m in zip(streams, masks, strict=True)]
        parts = []
        for index in range(2):
            x = steps[index]
            for layer in net.layers[index]:
                x = attended(layer, x, steps[1 - index])
            parts.append(x.mean(axis=0))
        codes.append(np.concatenate(parts))
    return np.array(codes), dense(net.head, np.array(codes))


def projected(projection, pooled):
    first = dense(projection.first, pooled)
    erf = np.vectorize(math.erf)
    second = dense(projection.second, first * (1 + erf(first / math.sqrt(2))) / 2)
    point = layer_norm(first + second)
    return point / np.linalg.norm(point, axis=1, keepdims=True)


def pooled(streams, masks):
    return [
        np.array([x[i][m[i]].numpy().mean(axis=0) for i in range(len(x))])
        for x, m in zip(streams, masks, strict=True)
    ]


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])


def expected_losses(net, streams, masks, temperature, average):
    """Alignment and matching with hard negatives, a pair at a time, in NumPy."""
    labels = LABELS.numpy()
    n = len(labels)
    a, v = (
        projected(p, x)
        for p, x in zip(net.projections, pooled(streams, masks), strict=True)
    )
    similarity = {0: a @ v.T / temperature, 1: v @ a.T / temperature}
    alignment = matching = 0.0
    for index in (0, 1):
        for i in range(n):
            row = similarity[index][i]
            log_share = row - np.log(np.exp(row).sum())
            terms = -log_share[labels == labels[i]]
            alignment += (terms.mean() if average else terms.sum()) / (2 * n)
            others = np.where(labels != labels[i], row, -np.inf)
            j = int(others.argmax())
            own = streams[index][i][masks[index][i]].numpy()
            for wanted, partner in ((1, i), (0, j)):
                mask = masks[1 - index][partner]
                other = streams[1 - index][partner][mask].numpy()
                x = own
                for layer in net.layers[index]:
                    x = attended(layer, x, other)
                score = dense(net.matchers[index], x.mean(axis=0))
                log_share = score - np.log(np.exp(score).sum())
                matching += -log_share[wanted] / (2 * n * 2)
    return alignment, matching


def test_forward_equals_the_formulas():
    net = make().eval()
    streams, masks = batch()
    codes, logits = reference(net, streams, masks)
    with torch.no_grad():
        np.testing.assert_allclose(net.encode(streams, masks), codes, atol=1e-12)
        np.testing.assert_allclose(net(streams, masks), logits, atol=1e-12)
        whole = [torch.ones_like(mask) for mask in masks]
        assert torch.equal(net(streams), net(streams, whole))


@pytest.mark.parametrize(
    ("variant", "temperature"),
    [("sound", 0.07), ("paper", 0.07), ("code", math.log(1 / 0.07))],
)
def test_losses_equal_the_formulas(variant, temperature):
    net = quiet(make(variant=variant))
    streams, masks = batch()
    _, parts = net(streams, masks)
    alignment, matching = net.auxiliary_losses(parts, LABELS)
    expected = expected_losses(net, streams, masks, temperature, variant == "sound")
    # Constants are kept in float32.
    assert float(alignment.mean().detach()) == pytest.approx(expected[0], rel=1e-6)
    assert float(matching.mean().detach()) == pytest.approx(expected[1], rel=1e-6)


def test_sound_alignment_is_half_the_symmetric_info_nce():
    net = quiet(make())
    streams, masks = batch()
    _, parts = net(streams, masks)
    alignment, _ = net.auxiliary_losses(parts, LABELS)
    points = [
        torch.from_numpy(projected(p, x))
        for p, x in zip(net.projections, pooled(streams, masks), strict=True)
    ]
    same = LABELS[:, None] == LABELS[None, :]
    both = info_nce(*points, net.temperature(), positives=same)
    torch.testing.assert_close(alignment.mean(), both / 2)


def test_aligned_streams_cost_less_than_random_and_than_opposed_ones():
    net = quiet(make({"audio": 6, "video": 6}, projection_size=6))
    net.projections[1].load_state_dict(net.projections[0].state_dict())
    labels = torch.arange(3).repeat(5)
    centres = 2 * torch.eye(3, 6, dtype=torch.float64)
    noise = batch(15, {"audio": 6, "video": 6}, longest=1)[0]
    losses = []
    for turn in (0, None, 1):
        video = noise[1] if turn is None else centres[(labels + turn) % 3][:, None]
        _, parts = net([centres[labels][:, None], video])
        losses.append(float(net.auxiliary_losses(parts, labels)[0].mean().detach()))
    assert losses[0] < losses[1] < losses[2]


def test_only_the_published_loss_grows_with_the_number_of_positives():
    streams, masks = batch()
    twice = [x.repeat(2, 1, 1) for x in streams], [m.repeat(2, 1) for m in masks]
    positives = float((LABELS[:, None] == LABELS[None, :]).sum()) / len(LABELS)
    for variant, factor, count in (("sound", 1, 1), ("paper", 2, positives)):
        net = quiet(make(variant=variant))
        once, doubled = (
            float(net.auxiliary_losses(net(*given)[1], labels)[0].mean().detach())
            for given, labels in (((streams, masks), LABELS), (twice, LABELS.repeat(2)))
        )
        # Twice the candidates take log 2 more from each positive's share.
        expected = factor * (once + count * math.log(2))
        assert doubled == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("variant", ["sound", "code"])
def test_the_temperature_learns(variant):
    net = quiet(make(variant=variant))
    _, parts = net(*batch())
    alignment, _ = net.auxiliary_losses(parts, LABELS)
    alignment.mean().backward()
    (name,) = [n for n, _ in net.named_parameters() if "temperature" in n]
    assert net.get_parameter(name).grad.abs().sum() > 0


def test_the_papers_temperature_is_fixed():
    net = make(variant="paper")
    assert not [n for n, _ in net.named_parameters() if "temperature" in n]
    assert float(net.temperature().detach()) == pytest.approx(0.07)


def test_gradients_reach_every_parameter():
    net = make(hidden_size=8).train()
    streams, masks = batch(20)
    logits, parts = net(streams, masks)
    labels = torch.arange(20) % 3
    losses = net.auxiliary_losses(parts, labels)
    (logits.square().sum() + losses[0].sum() + losses[1].sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


# Padding, missing streams, other clips


@pytest.mark.parametrize("hidden_size", [None, 8])
def test_padding_counts_for_nothing(hidden_size):
    net = make(hidden_size=hidden_size).eval()
    streams, masks = batch()
    expected = net(streams, masks)
    filled = [
        torch.where(mask[..., None], x, 1e3)
        for x, mask in zip(streams, masks, strict=True)
    ]
    torch.testing.assert_close(net(filled, masks), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden_size", [None, 8])
def test_a_clip_does_not_see_the_others_in_its_batch(hidden_size):
    net = make(hidden_size=hidden_size).eval()
    streams, masks = batch(12)
    together = net(streams, masks)
    for i in range(12):
        cut = [int(mask[i].sum()) for mask in masks]
        alone = net([x[i : i + 1, :n] for x, n in zip(streams, cut, strict=True)])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-10, atol=1e-12)


def test_a_missing_stream_has_no_code_and_changes_no_other_clip():
    net = make(hidden_size=8).eval()
    streams, masks = batch()
    before = net(streams, masks)
    masks[1][3] = False
    codes, weights = net.encode(streams, masks), net.weights(streams, masks)
    assert codes[3, 8:].abs().sum() == 0 and weights[3, 1] == 0
    # It passes through the norms only.
    (steps, _), (real, _) = net._steps(streams, masks)
    plain = torch.nn.functional.layer_norm(steps[3][real[3]], (8,))
    plain = torch.nn.functional.layer_norm(plain, (8,)).mean(dim=0)
    torch.testing.assert_close(codes[3, :8], plain, rtol=1e-6, atol=1e-6)
    changed = (net(streams, masks) != before).any(dim=1)
    assert changed.nonzero().squeeze(1).tolist() == [3]
    masks[0][3] = False
    assert torch.equal(net(streams, masks)[3], net.head.bias)


def test_losses_leave_out_clips_that_lack_a_stream():
    net = quiet(make())
    streams, masks = batch()
    masks[1][2] = False
    alignment, matching = net.auxiliary_losses(net(streams, masks)[1], LABELS)
    # Its sound still has positives among the others' pictures.
    assert alignment[2] != 0 and matching[2] == 0
    streams[1][2] = 1e3
    again = net.auxiliary_losses(net(streams, masks)[1], LABELS)
    assert torch.equal(alignment, again[0]) and torch.equal(matching, again[1])
    masks[0][2] = False
    rows = [0, 1, 3, 4, 5, 6, 7]
    losses = net.auxiliary_losses(net(streams, masks)[1], LABELS)
    kept = [x[rows] for x in streams], [m[rows] for m in masks]
    expected = net.auxiliary_losses(net(*kept)[1], LABELS[rows])
    for loss, other in zip(losses, expected, strict=True):
        assert loss[2] == 0
        torch.testing.assert_close(loss.mean(), other.mean())


def test_a_batch_of_one_class_matches_nothing_and_stays_finite():
    net = quiet(make())
    _, parts = net(*batch())
    alignment, matching = net.auxiliary_losses(parts, torch.zeros(8, dtype=torch.int64))
    assert matching.abs().sum() == 0 and torch.isfinite(alignment).all()
    (alignment.sum() + matching.sum()).backward()


def test_negatives_change_the_loss():
    hard, sampled = (
        quiet(make(negatives=kind, variant="code")) for kind in ("hard", "sampled")
    )
    losses = [
        [float(net.auxiliary_losses(net(*batch())[1], LABELS)[1].mean().detach())]
        for net in (hard, hard, sampled)
    ]
    assert losses[0] == losses[1] != losses[2]


# Other numbers of streams


def test_one_stream_and_three_streams():
    alone = make({"all": 3}).train()
    streams, masks = batch(sizes={"all": 3})
    logits, parts = alone(streams, masks)
    assert logits.shape == (8, 3)
    losses = alone.auxiliary_losses(parts, LABELS)
    assert [float(loss.abs().sum()) for loss in losses] == [0.0, 0.0]
    sizes = {"audio": 6, "text": 5, "video": 4}
    three = quiet(make(sizes, hidden_size=8))
    streams, masks = batch(sizes=sizes)
    logits, parts = three(streams, masks)
    losses = three.auxiliary_losses(parts, LABELS)
    (logits.sum() + losses[0].sum() + losses[1].sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in three.parameters())
    # With the third stream gone everywhere, the first two attend to each other alone.
    masks[1] = torch.zeros_like(masks[1])
    codes = three.eval().encode(streams, masks)
    assert codes[:, 8:16].abs().sum() == 0 and codes[:, :8].abs().sum() > 0


def test_weights_are_what_is_lost_without_a_stream():
    net = make(hidden_size=8).eval()
    streams, masks = batch()
    masks[1][2] = False
    weights, whole = net.weights(streams, masks), net(streams, masks)
    for index in range(2):
        hidden = list(masks)
        hidden[index] = torch.zeros_like(masks[index])
        lost = whole - net(streams, hidden)
        lost = lost - lost.mean(dim=1, keepdim=True)
        expected = lost[torch.arange(8), whole.argmax(dim=1)]
        torch.testing.assert_close(weights[:, index], expected)
    assert weights[2, 1] == 0 and (weights != 0).sum() == 15


def test_statistics_standardise_the_steps():
    net = make().eval()
    streams, masks = batch()
    means = [torch.full((size,), 2.0) for size in SIZES.values()]
    scales = [torch.full((size,), 4.0) for size in SIZES.values()]
    expected = net(streams, masks)
    net.set_statistics(means, scales)
    moved = [x * 4 + 2 for x in streams]
    torch.testing.assert_close(net(moved, masks), expected)


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match="variant must be one of"):
        make(variant="loud")
    with pytest.raises(ValueError, match="negatives must be one of"):
        make(negatives="soft")
