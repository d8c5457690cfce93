import math

import numpy as np
import pytest
import torch

from skmer.modules import (
    LearnedTemperature,
    add_noise,
    info_nce,
    noise_schedule,
    supervised_contrast,
)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(codes):
    return codes / codes.norm(dim=1, keepdim=True)


def by_hand(anchors, others, tau, positives, there):
    """One direction of the formula, a clip at a time, in plain Python."""
    losses = []
    for k, anchor in enumerate(anchors):
        candidates = [j for j in range(len(others)) if there[k][j]]
        scores = {
            j: sum(a * b for a, b in zip(anchor, others[j], strict=True)) / tau
            for j in candidates
        }
        total = sum(math.exp(score) for score in scores.values())
        wanted = [j for j in candidates if positives[k][j]]
        if wanted:
            logs = [math.log(math.exp(scores[p]) / total) for p in wanted]
            losses.append(-sum(logs) / len(wanted))
    return sum(losses) / len(losses) if losses else 0.0


# Contrast


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_info_nce_equals_the_formula(normalize, masked, several):
    first, second = draw(6, 4), draw(6, 4, seed=1)
    mask = torch.tensor([True, True, False, True, True, False])
    positives = torch.eye(6, dtype=torch.bool)
    if several:
        positives[0, 3] = positives[4, 1] = positives[1, 2] = True
        positives[3] = False
    loss = info_nce(
        first,
        second,
        0.5,
        positives=positives if several else None,
        mask=mask if masked else None,
        normalize=normalize,
    )
    there = (mask[:, None] & mask[None]).tolist() if masked else [[True] * 6] * 6
    if normalize:
        first, second = unit(first), unit(second)
    a, b = first.tolist(), second.tolist()
    forth = by_hand(a, b, 0.5, positives.tolist(), there)
    back = by_hand(b, a, 0.5, positives.T.tolist(), there)
    assert float(loss) == pytest.approx(forth + back, rel=1e-12)


def test_one_direction_is_a_part_of_the_sum():
    first, second = draw(6, 4), draw(6, 4, seed=1)
    forth = info_nce(first, second, symmetric=False)
    back = info_nce(second, first, symmetric=False)
    assert not torch.isclose(forth, back)
    torch.testing.assert_close(forth + back, info_nce(first, second))


def test_aligned_views_cost_least_and_opposite_ones_most():
    codes, other = unit(draw(64, 32)), unit(draw(64, 32, seed=1))
    losses = [float(info_nce(codes, second, 1.0)) for second in (codes, other, -codes)]
    # 2 log(63 exp(1 / 64) + exp(s)) - 2 s for s = 1, 0, -1, up to chance
    np.testing.assert_allclose(losses, [6.40, 8.35, 10.32], atol=0.1)
    classes = torch.arange(64) // 16
    grouped = unit(draw(4, 32, seed=2)[classes] + 0.1 * codes)
    assert (
        float(supervised_contrast(grouped, classes))
        < float(supervised_contrast(codes, classes))
        < float(supervised_contrast(grouped, torch.arange(64) % 16))
    )


def test_masked_clips_count_for_nothing():
    first, second = draw(6, 4), draw(6, 4, seed=1)
    mask = torch.tensor([True, True, False, True, False, True])
    rows = mask.nonzero().squeeze(1)
    expected = info_nce(first[rows], second[rows])
    first[~mask] = 1e6
    second[~mask] = -1e6
    first.requires_grad_()
    loss = info_nce(first, second, mask=mask)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (first.grad[~mask] == 0).all() and (first.grad[mask] != 0).any()


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare_with_costs_nothing(n):
    first = draw(3, 4).requires_grad_()
    mask = torch.arange(3) < n
    loss = info_nce(first, draw(3, 4, seed=1), mask=mask)
    loss.backward()
    assert loss.item() == 0.0
    assert (first.grad == 0).all()


def test_zero_codes_have_finite_gradients():
    first = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    info_nce(first, draw(3, 4)).backward()
    assert first.grad.isfinite().all()


def test_supervised_contrast_equals_the_formula():
    codes = draw(7, 3)
    labels = torch.tensor([0, 1, 0, -1, 1, 2, 0])
    mask = torch.tensor([True, True, True, True, True, True, False])
    loss = supervised_contrast(codes, labels, 0.3, mask=mask)
    used = [bool(m) and label >= 0 for m, label in zip(mask, labels, strict=True)]
    there = [[used[i] and used[j] and i != j for j in range(7)] for i in range(7)]
    same = (labels[:, None] == labels[None]).tolist()
    a = unit(codes).tolist()
    assert float(loss) == pytest.approx(by_hand(a, a, 0.3, same, there), rel=1e-12)
    assert float(supervised_contrast(codes, torch.arange(7))) == 0.0


# Temperature


def test_temperatures_are_kept_as_logarithms_and_learnt():
    temperature = LearnedTemperature(2, initial=0.2)
    torch.testing.assert_close(temperature(), torch.tensor([0.2, 0.2]))
    torch.testing.assert_close(
        temperature.log_scale.detach(), torch.full((2,), math.log(5))
    )
    first, second = draw(8, 4).float(), draw(8, 4, seed=1).float()
    info_nce(first, second, temperature()[0]).backward()
    gradient = temperature.log_scale.grad
    assert gradient[0] != 0 and gradient[1] == 0
    # d tau / d log_scale = -tau
    tau = torch.tensor(0.2, requires_grad=True)
    info_nce(first, second, tau).backward()
    torch.testing.assert_close(gradient[0], -0.2 * tau.grad)


@pytest.mark.parametrize(("scale", "limit"), [(100.0, 0.01), (-3.0, 1.0)])
def test_a_temperature_stays_within_limits_and_comes_back(scale, limit):
    temperature = LearnedTemperature()
    with torch.no_grad():
        temperature.log_scale.fill_(scale)
    assert temperature().item() == pytest.approx(limit)
    inwards = 1.0 if limit == 0.01 else -1.0
    for sign, moves in [(inwards, False), (-inwards, True)]:
        temperature.log_scale.grad = None
        (sign * temperature()).sum().backward()
        assert bool(temperature.log_scale.grad != 0) is moves
    optimizer = torch.optim.Adam(temperature.parameters(), lr=0.05)
    with torch.no_grad():
        temperature.log_scale.fill_(-math.log(limit) + 0.2 * inwards)
    for _ in range(400):
        optimizer.zero_grad()
        (temperature().log() - math.log(0.3)).square().sum().backward()
        optimizer.step()
    assert temperature().item() == pytest.approx(0.3, abs=1e-3)


def test_temperatures_outside_of_their_limits_are_refused():
    with pytest.raises(ValueError, match="0 < low <= initial <= high"):
        LearnedTemperature(initial=2.0)


# Noise


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("scaled_linear", [0.980, 0.887, 0.542, 0.174, 0.022]),
        ("linear", [0.946, 0.721, 0.273, 0.054, 0.005]),
    ],
)
def test_noise_schedules_have_the_published_shares(schedule, expected):
    signal = noise_schedule(schedule=schedule)
    steps = [9, 24, 49, 74, 99]
    np.testing.assert_allclose(signal[steps], expected, atol=6e-4)
    share = 1.0
    for t in range(100):
        if schedule == "linear":
            beta = 0.001 + (0.1 - 0.001) * t / 99
        else:
            beta = (0.001**0.5 + (0.1**0.5 - 0.001**0.5) * t / 99) ** 2
        share *= 1 - beta
        assert float(signal[t]) == pytest.approx(share, rel=1e-12)


def test_noise_replaces_what_it_takes():
    values = draw(4000, 3)
    signal = torch.linspace(0, 1, 4000, dtype=torch.float64).unsqueeze(1)
    noisy = add_noise(values, signal, torch.Generator().manual_seed(5))
    noise = torch.randn(
        4000, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    torch.testing.assert_close(
        noisy, signal.sqrt() * values + (1 - signal).sqrt() * noise
    )
    assert torch.equal(noisy[-1], values[-1])
    assert float(noisy.var()) == pytest.approx(1.0, abs=0.05)


def test_impossible_schedules_are_refused():
    with pytest.raises(ValueError, match="schedule must be one of"):
        noise_schedule(schedule="cosine")
    with pytest.raises(ValueError, match="first <= last"):
        noise_schedule(first=0.2, last=0.1)
