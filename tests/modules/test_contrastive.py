import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from skmer.modules import (
    ContrastiveFusion,
    RandomSource,
    add_noise,
    info_nce,
    noise_schedule,
)
from skmer.modules._contrastive_parts import self_contrast

SIZES = {"audio": 5, "text": 3, "video__face": 4}


def make(variant="sound", sizes=SIZES, seed=0, **params):
    net = ContrastiveFusion(
        sizes,
        3,
        variant=variant,
        hidden_size=6,
        random_source=RandomSource(seed),
        **params,
    )
    return net.double().eval()


def batch(n=7, sizes=SIZES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in sizes.values()
    ]
    mask = torch.rand(n, len(sizes), generator=generator) > 0.3
    mask[0] = True
    mask[1] = False
    return streams, mask


def layer(module, x):
    return x @ module.weight.detach().numpy().T + module.bias.detach().numpy()


def normed(norm, x):
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return x * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def encoded(encoder, x):
    """One stream's specific code of one clip, in NumPy."""
    for part in encoder:
        if isinstance(part, nn.Linear):
            x = layer(part, x)
        elif hasattr(part, "feedforward"):
            x = normed(part.norms[0], x + layer(part.output, layer(part.value, x)))
            first, _, _, last = part.feedforward
            x = normed(part.norms[1], x + layer(last, np.maximum(layer(first, x), 0)))
    return x


def scored(head, x):
    *hidden, last = [part for part in head if isinstance(part, nn.Linear)]
    for part in hidden:
        x = np.maximum(layer(part, x), 0)
    return layer(last, x)


def invariant(net, code):
    for part in net.invariant:
        if isinstance(part, nn.Linear):
            code = layer(part, code)
            code = np.where(code > 0, code, 0.01 * code)
    return code


def votes(net, there):
    return net.votes.double().numpy() * np.append(there, there.any())


def reference(net, streams, mask):
    """Logits, codes and heads by the formulas, a clip at a time."""
    logits, codes, heads = [], [], []
    for row in range(len(mask)):
        there = mask[row].numpy()
        specific = [
            encoded(encoder, x[row].numpy()) * there[m]
            for m, (encoder, x) in enumerate(zip(net.encoders, streams, strict=True))
        ]
        joined = np.concatenate(specific)
        each = np.array(
            [scored(h, x) for h, x in zip(net.heads, [*specific, joined], strict=True)]
        )
        vote = votes(net, there)
        if net.variant == "code":
            logits.append(vote @ each)
        elif there.any():
            logits.append(np.log(vote @ softmax(each, axis=1) / vote.sum()))
        else:
            logits.append(np.full(3, np.nan))
        codes.append(joined)
        heads.append(each)
    return np.array(logits), np.array(codes), np.array(heads)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_forward_equals_the_formulas(variant, masked):
    net = make(variant)
    streams, mask = batch()
    if not masked:
        mask = torch.ones_like(mask)
    logits, codes, heads = reference(net, streams, mask)
    given = mask if masked else None
    with torch.no_grad():
        found, parts = net(streams, given)
        np.testing.assert_allclose(net.encode(streams, given), codes, atol=1e-12)
    np.testing.assert_allclose(parts["heads"], heads, atol=1e-12)
    some = mask.any(dim=1).numpy()
    np.testing.assert_allclose(found[some], logits[some], atol=1e-7)
    assert found.isfinite().all()


@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_the_loss_of_labels_equals_the_formulas(variant):
    net = make(variant)
    streams, mask = batch()
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    criterion = nn.CrossEntropyLoss(reduction="none")
    with torch.no_grad():
        losses = net.losses(net(streams, mask), y, mask, criterion).numpy()
    logits, _, heads = reference(net, streams, mask)
    for row in mask.any(dim=1).nonzero().squeeze(1).tolist():
        there = mask[row].numpy()
        label = int(y[row])
        if variant == "code":
            weighted = heads[row] * net.votes.double().numpy()[:, None]
            each = -log_softmax(weighted, axis=1)[:, label]
            whole = -log_softmax(logits[row])[label]
            expected = whole + each[np.append(there, True)].mean()
        else:
            each = -log_softmax(heads[row], axis=1)[:, label]
            expected = each[-1] + each[:-1][there].mean()
        assert losses[row] == pytest.approx(expected, rel=1e-6)


def expected_contrasts(net, streams, mask):
    """Return the two losses of the pre-training, and how many contrasts there are."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        clean = [torch.tensor(encode(x)) for encode, x in _pairs(net, streams)]
        noisy = []
        for x in streams:
            if net.variant == "paper":
                share = noise_schedule(schedule="linear")[-1]
            else:
                shape = (len(x), 1) if net.variant == "sound" else ()
                steps = torch.randint(100, shape, generator=generator)
                share = noise_schedule()[steps]
            # The net keeps its schedule in single precision
            noisy.append(add_noise(x, share.float(), generator))
        noisy = [torch.tensor(encode(x)) for encode, x in _pairs(net, noisy)]
        H = clean
        if net.variant != "code":
            H = [torch.tensor(np.array([invariant(net, c.numpy()) for c in code]))
                 for code in clean]  # fmt: skip

        def contrast(a, b, there):
            a, b = a[there], b[there]
            if net.variant == "code":
                z = torch.cat([a, b])
                s = z @ z.T
                return float((s.logsumexp(dim=1) - s.diagonal()).mean())
            tau = 0.1 if net.variant == "sound" else 1.0
            return float(info_nce(a, b, tau, normalize=net.variant == "sound"))

        intra = [
            contrast(c, v, mask[:, m])
            for m, (c, v) in enumerate(zip(clean, noisy, strict=True))
        ]
        inter = [
            contrast(H[i], H[j], mask[:, i] & mask[:, j])
            for i, j in [(0, 1), (0, 2), (1, 2)]
        ] + [
            contrast(
                net.expansions[i](H[i]), torch.cat([H[j], H[k]], 1), mask.all(dim=1)
            )
            for i, j, k in [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
        ]
    return np.mean(intra), np.mean(inter)


def _pairs(net, streams):
    for encoder, x in zip(net.encoders, streams, strict=True):
        yield lambda x, e=encoder: np.array([encoded(e, row) for row in x.numpy()]), x


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_pretraining_losses_equal_the_formulas(variant, masked):
    net = make(variant)
    streams, mask = batch(12)
    if not masked:
        mask = torch.ones_like(mask)
    net.random_source = RandomSource(0)
    losses = net.pretraining_losses(streams, mask if masked else None)
    intra, inter = expected_contrasts(net, streams, mask)
    assert losses["intra"].item() == pytest.approx(intra, rel=1e-6)
    assert losses["inter"].item() == pytest.approx(inter, rel=1e-6)


def test_the_authors_contrast_rewards_views_that_differ():
    generator = torch.Generator().manual_seed(0)
    codes, other = (
        nn.functional.normalize(torch.randn(64, 32, generator=generator), dim=1)
        for _ in range(2)
    )
    one = torch.tensor(1.0)
    aligned, chance, opposite = (
        self_contrast(codes, second, one, None).item()
        for second in (codes, other, -codes)
    )
    np.testing.assert_allclose([aligned, chance, opposite], [3.894, 3.883, 3.875],
                               atol=1e-2)  # fmt: skip
    assert aligned > chance > opposite
    # Twice divided by the temperature
    half = self_contrast(codes, other, torch.tensor(0.5), None)
    torch.testing.assert_close(half, self_contrast(2 * codes, 2 * other, one, None))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_any_number_of_streams(n):
    sizes = {f"s{i}__x": 3 + i for i in range(n)}
    net = make(sizes=sizes).train()
    streams, mask = batch(9, sizes)
    contrasts = n + n * (n - 1) // 2 + (n if n > 2 else 0)
    assert len(net.temperature()) == contrasts and len(net.heads) == n + 1
    losses = net.pretraining_losses(streams, mask)
    assert (losses["inter"].item() == 0) is (n == 1)
    assert net(streams, mask)[0].shape == (9, 3)
    assert net.weights(streams, mask).shape == (9, n)


def test_every_weight_learns_from_what_it_is_for():
    net = make()
    streams, _ = batch(20)
    sum(net.pretraining_losses(streams).values()).backward()
    free = {n: p for n, p in net.named_parameters() if not n.startswith("heads.")}
    assert set(free) == set(net.label_free_state())
    assert all((p.grad != 0).any() for p in free.values())
    assert (net.temperature.log_scale.grad != 0).all()
    assert all(p.grad is None for n, p in net.named_parameters() if n not in free)
    net.zero_grad(set_to_none=True)
    criterion = nn.CrossEntropyLoss(reduction="none")
    y = torch.arange(20) % 3
    net.losses(net(streams), y, None, criterion).sum().backward()
    assert all((p.grad != 0).any() for p in net.heads.parameters())
    assert all((p.grad != 0).any() for p in net.encoders.parameters())


@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_variants_learn_temperatures_as_they_say(variant):
    net = make(variant)
    streams, _ = batch(20)
    sum(net.pretraining_losses(streams).values()).backward()
    (parameter,) = net.temperature.parameters()
    assert (parameter.grad is None) is (variant == "paper")
    grad = [p.grad is not None for p in net.invariant.parameters()]
    assert all(grad) if variant != "code" else not any(grad)


@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_masked_values_count_for_nothing(variant):
    net = make(variant)
    streams, mask = batch(12)
    hidden = [
        torch.where(mask[:, m : m + 1], x, torch.full_like(x, 1e3))
        for m, x in enumerate(streams)
    ]
    assert torch.equal(net(hidden, mask)[0], net(streams, mask)[0])
    assert torch.equal(net.weights(hidden, mask), net.weights(streams, mask))
    found = []
    for x in (streams, hidden):
        net.random_source = RandomSource(3)
        found.append(sum(net.pretraining_losses(x, mask).values()))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_a_clip_does_not_see_the_others_in_its_batch(variant):
    net = make(variant)
    streams, mask = batch(30)
    together = net(streams, mask)[0]
    alone = torch.cat(
        [net([x[i : i + 1] for x in streams], mask[i : i + 1])[0] for i in range(30)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


def test_weights_are_shares_of_the_vote_for_the_predicted_class():
    net = make()
    streams, mask = batch()
    logits, _, heads = reference(net, streams, mask)
    with torch.no_grad():
        weights = net.weights(streams, mask).numpy()
    for row in mask.any(dim=1).nonzero().squeeze(1).tolist():
        support = (
            votes(net, mask[row].numpy())
            * softmax(heads[row], axis=1)[:, logits[row].argmax()]
        )
        np.testing.assert_allclose(
            weights[row], support[:-1] / support.sum(), rtol=1e-6
        )
    assert (weights[~mask.numpy()] == 0).all()


def test_votes_go_by_stream_then_modality():
    assert make().votes.tolist() == pytest.approx([0.7, 0.4, 0.5, 0.7])
    assert make("code").votes.tolist() == pytest.approx([0.7, 0.3, 0.4, 0.7])
    given = {"video": 2.0, "fused": 0.0, "text": 0.1}
    assert make(vote_weights=given).votes.tolist() == pytest.approx([0.7, 0.1, 2, 0])
    given["video__face"] = 3.0
    assert make(vote_weights=given).votes[2] == 3.0
    other = make(sizes={"eeg": 2, "audio__a": 2}).votes.tolist()
    assert other == pytest.approx([0.5, 0.7, 0.7])
    with pytest.raises(ValueError, match="names 'smell', but the heads"):
        make(vote_weights={"smell": 1.0})
    with pytest.raises(ValueError, match="not all 0"):
        make(vote_weights={"audio": -1.0})


def test_contrast_and_noise_are_for_training():
    net = make(dropout=0.0)
    streams, mask = batch()
    assert "contrast" not in net(streams, mask)[1]
    net.train()
    inter = net(streams, mask)[1]["contrast"]
    torch.testing.assert_close(inter, net.pretraining_losses(streams, mask)["inter"])
    assert torch.equal(net(streams, mask)[0], net.eval()(streams, mask)[0])
    assert make("paper").contrast_weight == 0 and make("code").contrast_weight == 1
    assert "contrast" not in make("paper").train()(streams, mask)[1]


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant must be one of"):
        make("best")
