import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from skmer.modules import Dropout, RandomSource, linear, shuffled_batches, train

X = torch.randn(96, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3


def layer(source, dropout=0.0):
    return nn.Sequential(Dropout(dropout, source), linear(3, 1, source))


def squares(module):
    return lambda rows: (module(X[rows]) - Y[rows]).square().mean()


def fit(seed=0, dropout=0.0, n=96, **params):
    source = RandomSource(seed)
    module = layer(source, dropout)
    settings = {"lr": 0.05, "max_epochs": 40, **params}
    done = train(
        module,
        squares(module),
        shuffled_batches(n, 16),
        random_source=source,
        **settings,
    )
    return module, done


def test_it_finds_the_least_squares_solution():
    module, done = fit()
    weight = module[1].weight.detach().numpy().ravel()
    np.testing.assert_allclose(weight, [1.0, -2.0, 0.5], atol=1e-3)
    assert float(module[1].bias.detach()) == pytest.approx(0.3, abs=1e-3)
    assert len(done.history) == 40 and done.stopped == "max_epochs"
    assert done.best_epoch is None and not module.training


def test_every_row_is_seen_once_an_epoch_in_another_order():
    batches = shuffled_batches(50, 16)
    generator = torch.Generator().manual_seed(0)
    first, second = batches(generator), batches(generator)
    assert [len(rows) for rows in first] == [13, 13, 12, 12]
    assert torch.equal(torch.cat(first).sort().values, torch.arange(50))
    assert not torch.equal(torch.cat(first), torch.cat(second))


def test_parts_of_the_loss_are_added_and_reported():
    source = RandomSource(0)
    module = layer(source)

    def loss(rows):
        return {
            "fit": (module(X[rows]) - Y[rows]).square().mean(),
            "size": 0.1 * module[1].weight.square().sum(),
        }

    done = train(
        module,
        loss,
        # One batch of unequal size, to see that means are those of rows
        lambda generator: [torch.arange(64), torch.arange(64, 96)],
        random_source=source,
        optimizer=torch.optim.SGD,
        lr=0.0,
        max_epochs=1,
    )
    (record,) = done.history
    with torch.no_grad():
        whole = loss(torch.arange(96))
    assert record["fit"] == pytest.approx(float(whole["fit"]), rel=1e-5)
    assert record["size"] == pytest.approx(float(whole["size"]), rel=1e-5)
    assert record["loss"] == pytest.approx(record["fit"] + record["size"], rel=1e-5)


def test_a_seed_repeats_bit_by_bit_also_in_threads():
    before = torch.random.get_rng_state()
    alone = [fit(seed % 3, dropout=0.3, max_epochs=5)[0] for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fit, s % 3, dropout=0.3, max_epochs=5) for s in range(6)]
    for module, job in zip(alone, jobs, strict=True):
        other = job.result()[0]
        assert torch.equal(module[1].weight, other[1].weight)
    assert torch.equal(alone[0][1].weight, alone[3][1].weight)
    assert not torch.equal(alone[0][1].weight, alone[1][1].weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_global_randomness_is_lent_and_given_back():
    def run(seed):
        source = RandomSource(seed)
        module = nn.Sequential(nn.Dropout(0.5), linear(3, 1, source))
        train(
            module,
            squares(module),
            shuffled_batches(96, 16),
            random_source=source,
            own_randomness=False,
            max_epochs=2,
        )
        return module[1].weight

    before = torch.random.get_rng_state()
    first = run(0)
    torch.rand(7)
    assert torch.equal(first, run(0)) and not torch.equal(first, run(1))
    torch.random.set_rng_state(before)
    run(0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_patience_counts_epochs_without_a_lower_loss():
    _, done = fit(max_epochs=500, patience=4)
    losses = [record["loss"] for record in done.history]
    assert done.stopped == "patience" and len(losses) < 500
    assert int(np.argmin(losses)) == len(losses) - 5


def test_the_weights_of_the_best_watched_epoch_are_kept():
    source = RandomSource(0)
    module = layer(source)
    seen, modes = [], []

    def watch():
        # Lowest at a weight that training passes on its way
        modes.append((module.training, torch.is_grad_enabled()))
        seen.append(module[1].weight.clone())
        return abs(float(module[1].weight[0, 1]) + 1.0)

    done = train(
        module,
        squares(module),
        shuffled_batches(96, 16),
        random_source=source,
        watch=watch,
        lr=0.02,
        max_epochs=60,
        patience=5,
    )
    scores = [record["watched"] for record in done.history]
    assert done.best_epoch == int(np.argmin(scores)) + 1 == len(scores) - 5
    assert torch.equal(module[1].weight, seen[done.best_epoch - 1])
    assert set(modes) == {(False, False)}


def test_frozen_weights_stay_and_groups_have_their_own_rates():
    source = RandomSource(0)
    module = nn.Sequential(linear(3, 4, source), linear(4, 1, source))
    module[0].requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    train(
        module,
        squares(module),
        shuffled_batches(96, 16),
        random_source=source,
        parameters=[{"params": [module[1].weight]}, {"params": [module[1].bias]}],
        watch=lambda: 0.0,
        max_epochs=2,
    )
    changed = {n for n, v in module.state_dict().items() if not v.equal(before[n])}
    assert changed == {"1.weight", "1.bias"}
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        train(module, squares(module), shuffled_batches(9, 3), random_source=source)


@pytest.mark.parametrize("limit", ["norm", "value"])
def test_gradients_are_limited(limit):
    source = RandomSource(0)
    module = layer(source)
    start = module[1].weight.detach().clone()
    train(
        module,
        squares(module),
        shuffled_batches(96, 96),
        random_source=source,
        optimizer=torch.optim.SGD,
        lr=1.0,
        max_epochs=1,
        **{f"gradient_clip_{limit}": 1e-3},
    )
    step = torch.cat([(module[1].weight - start).detach().ravel()])
    if limit == "value":
        assert float(step.abs().max()) == pytest.approx(1e-3, rel=1e-3)
    else:
        assert 0 < float(step.norm()) <= 1.001e-3


def test_an_interrupt_is_no_end_of_training():
    source = RandomSource(0)
    module = layer(source)
    inner, calls = squares(module), []

    def loss(rows):
        calls.append(rows)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return inner(rows)

    with pytest.raises(KeyboardInterrupt):
        train(
            module, loss, shuffled_batches(96, 16), random_source=source, max_epochs=9
        )
    assert len(calls) == 15


def test_divergence_and_emptiness_are_errors():
    with pytest.raises(ValueError, match="diverged: the loss of epoch 1 is (nan|inf)"):
        fit(optimizer=torch.optim.SGD, lr=1e30)
    for params, advice in (({}, "clip gradients."), ({"advice": "Wait."}, "Wait.")):
        with pytest.raises(ValueError, match=rf"is (nan|inf)\. .*{advice}$"):
            fit(optimizer=torch.optim.SGD, lr=1e30, **params)
    with pytest.raises(ValueError, match="Adapters: there are no rows"):
        fit(n=0, description="Adapters")


def test_the_bar_shows_only_where_asked_for(capsys):
    fit(max_epochs=2)
    assert capsys.readouterr().err == ""
    fit(max_epochs=2, verbose=1, description="Adapters")
    shown = capsys.readouterr().err
    assert "Adapters" in shown and "12/12" in shown and "loss=" in shown


@pytest.mark.parametrize(("n_threads", "expected"), [(1, 1), (None, 2)])
def test_threads_are_those_asked_for(n_threads, expected):
    setting, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        source = RandomSource(0)
        module = layer(source)
        inner = squares(module)

        def loss(rows):
            seen.append(torch.get_num_threads())
            return inner(rows)

        worker = threading.Thread(
            target=train,
            args=(module, loss, shuffled_batches(96, 96)),
            kwargs={
                "random_source": source,
                "max_epochs": 1,
                "n_threads": n_threads,
            },
        )
        worker.start()
        worker.join()
        assert seen == [expected] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(setting)
