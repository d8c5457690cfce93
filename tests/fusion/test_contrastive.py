import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from skorch.callbacks import Callback

from skmer.fusion import ContrastiveFusionClassifier


def small(**params):
    settings = {
        "hidden_size": 8,
        "max_epochs": 3,
        "pretrain_epochs": 3,
        "pretrain_batch_size": 32,
        "dropout": 0.3,
        "stream_heads": None,
        "random_state": 0,
        **params,
    }
    return ContrastiveFusionClassifier(**settings)


def same(a, b, X):
    return np.array_equal(a.predict_proba(X), b.predict_proba(X))


def same_start(a, b):
    a, b = a.pretraining_.weights, b.pretraining_.weights
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def hide(y, hidden):
    y = y.astype(object)
    y[hidden] = None
    return y


# What the pre-training sees


def test_labels_never_enter_the_pretraining(clips):
    X, y = clips
    net = small().fit(X, y)
    shuffled = np.random.default_rng(0).permutation(y)
    for other in (
        shuffled,
        np.where(y == "sad", "happy", y),  # other classes
        hide(y, np.arange(90) % 3 == 1),  # a class and many labels gone
        np.arange(90) % 5,
    ):
        assert same_start(net, small().fit(X, other))
    weight = np.linspace(0.5, 1.5, 90)
    assert same_start(net, small(sampler="balanced").fit(X, y, sample_weight=weight))
    assert not same(net, small().fit(X, shuffled), X)


def test_every_row_of_x_enters_it_and_no_other(clips):
    X, y = clips
    train, hidden = np.arange(90) < 70, np.arange(90) % 3 > 0
    target = hide(y, hidden)[train]
    net = small().fit(X[train], target)
    assert net.pretraining_.n_clips == 70
    # Rows without a label matter to it, ...
    changed = X.copy()
    changed[hidden] *= 2
    assert not same_start(net, small().fit(changed[train], target))
    # ... which other nets do not even notice, and so it does without pre-training.
    bare = small(pretrain_epochs=0)
    assert same(clone(bare).fit(X[train], target), bare.fit(changed[train], target), X)
    assert bare.pretraining_ is None
    # Held-out rows do not, even where they are looked at in between.
    changed = X.copy()
    changed[~train] = 7.0
    net.predict(changed)
    assert same(net, small().fit(changed[train], target), X)


def test_rows_of_weight_zero_and_watched_rows_do_not_enter_it(clips):
    X, y = clips
    weight = (np.arange(90) % 5 > 0).astype(float)
    net = small().fit(X, hide(y, np.arange(90) % 2 == 0), sample_weight=weight)
    assert net.pretraining_.n_clips == 72
    other = X.copy()
    other[weight == 0] = 9.0
    again = small().fit(other, hide(y, np.arange(90) % 2 == 0), sample_weight=weight)
    assert same_start(net, again)
    watching = small(train_split=0.2).fit(X, y)
    assert watching.pretraining_.n_clips == 72
    # Nor do rows of the same clips that have no label, nor a clip twice.
    twice = pd.concat([X, X])
    labels = np.concatenate([y, hide(y, np.ones(90, dtype=bool))])
    assert small(train_split=0.2).fit(twice, labels).pretraining_.n_clips == 72
    # A clip whose first row has no weight enters it by another one.
    labels, weight = np.tile(y, 2), np.repeat([0.0, 1.0], 90)
    assert small().fit(twice, labels, weight).pretraining_.n_clips == 90
    # Nor others of the watched speakers.
    speakers = pd.Series(np.arange(90) // 9, index=X.index)
    some = hide(y, np.arange(90) % 9 == 0)
    grouped = small(train_split=GroupKFold(5), groups=speakers).fit(X, some)
    assert grouped.pretraining_.n_clips == 72


def test_missing_streams_are_masked_in_it(clips):
    X, y = clips
    X = X.copy()
    X.iloc[::5, 2] = np.nan
    X.iloc[3] = np.nan
    other = X.copy()
    other.iloc[::5, :6] = np.nan
    a, b = small().fit(X, y), small().fit(other, y)
    assert same_start(a, b) and same(a, b, X)
    assert a.pretraining_.n_clips == 89
    weights = a.modality_weights(X)
    assert (weights["audio"].iloc[::5] == 0).all()
    assert (weights["text"].drop("clip3") > 0).all()
    assert (weights.sum(axis=1) < 1).all()


# Its reuse


def test_fit_is_pretrain_and_then_training_from_it(clips):
    X, y = clips
    net = small()
    before = net.get_params(deep=False)
    start = net.pretrain(X)
    assert net.get_params(deep=False) == before and not net.initialized_
    whole, parts = small().fit(X, y), small(pretrained=start).fit(X, y)
    assert same_start(whole, parts) and same(whole, parts, X)
    assert parts.pretraining_ is start
    assert [*start.training.history[0]] == ["loss", "intra", "inter"]
    losses = [record["loss"] for record in start.training.history]
    assert losses[-1] < losses[0]


def test_copies_of_a_clip_are_learnt_from_once(clips):
    # Two copies in one batch would be told to be unlike each other.
    X, y = clips
    copied = np.r_[:90, 3:20, 3:20]
    once = small(pretrained=small().pretrain(X)).fit(X, y)
    again = small(pretrained=small().pretrain(X.iloc[copied])).fit(X, y)
    assert once.pretraining_.n_clips == again.pretraining_.n_clips == 90
    assert same_start(once, again)
    assert same_start(once, small().fit(X.iloc[copied], y[copied]))
    # Rows without names are clips of their own
    assert small(streams={"a": slice(0, 6), "t": slice(6, None)}).pretrain(
        X.to_numpy()[copied]
    ).n_clips == len(copied)


def test_a_pretraining_outlives_clones_folds_and_pickles(clips):
    X, y = clips
    start = small().pretrain(X)
    net = small(pretrained=start)
    assert clone(net).pretrained is start
    assert cross_val_score(net, X, y, cv=3).mean() > 0.3
    grid = GridSearchCV(net, {"pretrained": [None, start]}, cv=2).fit(X, y)
    assert len(grid.cv_results_["params"]) == 2
    fitted = net.fit(X, y)
    assert same(fitted, pickle.loads(pickle.dumps(fitted)), X)
    assert same(fitted, pickle.loads(pickle.dumps(net)).fit(X, y), X)
    weights = {name: value.clone() for name, value in start.weights.items()}
    assert all(torch.equal(start.weights[name], weights[name]) for name in weights)


def test_of_a_fitted_classifier_only_what_labels_did_not_teach_is_taken(clips):
    X, y = clips
    first, other = small().fit(X, y), small().fit(X, y[::-1].copy())
    assert not same(first, other, X)
    second = small(pretrained=first, random_state=5).fit(X, y)
    third = small(pretrained=other, random_state=5).fit(X, y)
    assert same(second, third, X) and same_start(second, first)
    frozen = clone(small(pretrained=FrozenEstimator(first), random_state=5))
    assert same(frozen.fit(X, y), second, X)
    with pytest.raises(ValueError, match="not fitted.*FrozenEstimator"):
        clone(small(pretrained=first)).fit(X, y)
    with pytest.raises(ValueError, match="pretrain_epochs=0"):
        small(pretrained=small(pretrain_epochs=0).fit(X, y)).fit(X, y)
    with pytest.raises(ValueError, match="The 'pretrained' parameter"):
        small(pretrained="mer2024").fit(X, y)


def test_a_pretraining_of_another_net_is_refused(clips):
    X, y = clips
    start = small().pretrain(X)
    with pytest.raises(ValueError, match="is of streams.*but X has"):
        small(pretrained=start).fit(X.iloc[:, :-1], y)
    with pytest.raises(ValueError, match="same variant, hidden_size"):
        small(pretrained=start, hidden_size=9).fit(X, y)


def test_training_goes_on_without_a_second_pretraining(clips):
    X, y = clips
    whole = small(max_epochs=4).fit(X, y)
    parts = small(max_epochs=2).partial_fit(X, y)
    start = parts.pretraining_
    assert same(whole, parts.partial_fit(X, y), X)
    assert parts.pretraining_ is start


def test_an_interrupt_in_the_pretraining_ends_the_fit(clips, monkeypatch):
    X, y = clips
    original = small().module.pretraining_losses
    calls = []

    def interrupted(self, streams, mask):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(self, streams, mask)

    monkeypatch.setattr(small().module, "pretraining_losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().fit(X, y)
    assert len(calls) == 5


# What it is good for


def planted(n, seed):
    """Two streams that share four factors, one of which is the label, in much noise."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(2, 4, 30))
    factors = rng.normal(size=(n, 4))
    values = [factors @ part + 3 * rng.normal(size=(n, 30)) for part in mixing]
    columns = [f"{m}__{i}" for m in ("audio", "video") for i in range(30)]
    X = pd.DataFrame(np.hstack(values) / 3.6, columns=columns, dtype=np.float32)
    return X, (factors[:, 0] > 0).astype(int)


def test_unlabelled_clips_help_where_labels_are_few():
    X, y = planted(1000, seed=0)
    held_out, truth = planted(600, seed=1)
    gains = []
    for seed in range(3):
        target = np.full(1000, -1)
        known = np.random.default_rng(seed).permutation(1000)[:24]
        target[known] = y[known]
        scores = [
            ContrastiveFusionClassifier(
                hidden_size=16,
                max_epochs=20,
                pretrain_epochs=epochs,
                pretrain_batch_size=128,
                pretrain_lr=3e-3,
                dropout=0.1,
                stream_heads=None,
                random_state=seed,
            )
            .fit(X, target)
            .score(held_out, truth)
            for epochs in (15, 0)
        ]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.05


def test_the_weights_point_to_the_stream_that_tells():
    rng = np.random.default_rng(0)
    n = 900
    y = rng.integers(0, 3, n)
    informative = rng.integers(0, 2, n)
    values = rng.normal(size=(n, 2, 8))
    values[np.arange(n), informative, y] += 3.0
    X = pd.DataFrame(
        values.reshape(n, 16),
        columns=[f"{m}__{i}" for m in ("audio", "video") for i in range(8)],
        dtype=np.float32,
    )
    net = small(
        hidden_size=32, max_epochs=12, vote_weights={"audio": 1.0, "video": 1.0}
    )
    net.fit(X[:600], y[:600])
    weights = net.modality_weights(X[600:]).to_numpy()
    assert (weights.argmax(axis=1) == informative[600:]).mean() > 0.75


# As the base promises


@pytest.mark.parametrize("variant", ["sound", "paper", "code"])
def test_variants_learn_and_differ(clips, variant):
    X, y = clips
    net = small(variant=variant, hidden_size=16, max_epochs=25).fit(X[:60], y[:60])
    assert net.score(X[60:], y[60:]) > 0.7
    assert net.transform(X).shape == (90, 48)
    proba = net.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-9)
    alone = np.concatenate([net.predict_proba(X.iloc[i : i + 1]) for i in range(90)])
    np.testing.assert_allclose(proba, alone, atol=1e-5)


@pytest.mark.parametrize("contrast_weight", [0.0, 2.0])
def test_the_loss_has_the_contrast_while_training(clips, contrast_weight):
    X, y = clips
    net = small(contrast_weight=contrast_weight, dropout=0.0, modality_dropout=0.0)
    net.fit(X, y)
    data = net.get_dataset(X).X
    codes = torch.from_numpy(np.searchsorted(net.classes_, y))
    net.module_.train()
    with torch.no_grad():
        found = net.module_(data.streams(), None)
        loss = net.get_loss(found, codes, X=data, training=True)
        bare = net.module_.losses(found, codes, None, net.criterion_)
        if contrast_weight:
            contrast = found[1]["contrast"]
            torch.testing.assert_close(loss, bare.mean() + 2.0 * contrast)
        else:
            torch.testing.assert_close(loss, bare.mean())
        data.weight = torch.linspace(0, 2, 90)
        found = net.infer(data) if not contrast_weight else found
        weighted = net.get_loss(found, codes, X=data)
    assert weighted.item() - loss.item() == pytest.approx(
        ((bare * data.weight).mean() - bare.mean()).item(), abs=1e-5
    )


def test_streams_one_or_many_and_in_any_order(clips):
    X, y = clips
    one = small(streams=("audio",)).fit(X, y)
    assert one.predict_proba(X).shape == (90, 3)
    assert [record["inter"] for record in one.pretraining_.training.history] == [0] * 3
    columns = np.array_split(np.arange(15), 5)
    many = small(streams={f"s{i}": c for i, c in enumerate(columns)})
    assert many.fit(X.to_numpy(), y).modality_weights(X.to_numpy()).shape == (90, 5)
    turned = X[[*X.columns[11:], *X.columns[:6], *X.columns[6:11]]]
    a, b = small().fit(X, y), small().fit(turned, y)
    assert np.array_equal(a.predict_proba(X), b.predict_proba(turned))


def test_fits_repeat_and_leave_global_randomness_alone(clips):
    X, y = clips
    before = torch.random.get_rng_state()
    a, b, c = (small(random_state=seed).fit(X, y) for seed in (0, 0, 1))
    assert same(a, b, X) and not same(a, c, X) and not same_start(a, c)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_stream_heads_beside_it_are_no_part_of_the_pretraining(clips):
    X, y = clips
    start = small().pretrain(X)
    net = small(stream_heads=4, pretrained=start).fit(X, y)
    assert same_start(net, small().fit(X, y))
    assert not same(net, small(pretrained=start).fit(X, y), X)
    alone = small(stream_heads=4).fit(X, y)
    assert same_start(net, alone) and same(net, alone, X)


def test_pretraining_is_over_before_training_begins(clips):
    class Watch(Callback):
        def on_train_begin(self, net, **kwargs):
            state = net.module_.state_dict()
            start = net.pretraining_.weights
            self.same = all(torch.equal(state[n], start[n]) for n in start)

    X, y = clips
    watch = Watch()
    net = small(callbacks=[("watch", watch)]).fit(X, y)
    assert dict(net.callbacks_)["watch"].same
    state = net.module_.state_dict()
    start = net.pretraining_.weights
    assert not all(torch.equal(state[n], start[n]) for n in start)
