import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from skmer.fusion import AttentionFusionClassifier, FusionClassifier
from skmer.fusion._data import StreamData
from skmer.fusion._mixing import _SHRINKAGE, GroupMixing
from skmer.modules import AttentionFusion, RandomSource

SIZES = [4, 3]


def clips_of_groups(n=120, n_groups=4, seed=0):
    """Three classes; each group has its own mean and spread in every column."""
    rng = np.random.default_rng(seed)
    y, group = np.arange(n) % 3, np.arange(n) // 3 % n_groups
    means = rng.normal(size=(n_groups, 7))
    spreads = rng.uniform(0.5, 2, size=(n_groups, 7))
    x = rng.normal(size=(n, 7)) * spreads[group] + means[group]
    x += rng.normal(size=(3, 7))[y]
    return x, y, group


def as_data(x, group, mask=None):
    return StreamData(
        torch.from_numpy(x.astype(np.float32)),
        SIZES,
        None if mask is None else torch.from_numpy(mask),
        group=torch.from_numpy(group),
    )


def reference(x, y, group):
    """Class means, and offset and spread of each group, in float64 NumPy."""
    centres = np.array([x[y == c].mean(axis=0) for c in range(3)])
    rest = x - centres[y]
    offsets, scales = [], []
    for g in range(group.max() + 1):
        own = rest[group == g]
        offsets.append(own.sum(axis=0) / (len(own) + _SHRINKAGE))
        squares = ((own - own.mean(axis=0)) ** 2).sum(axis=0)
        squares = squares + _SHRINKAGE * rest.var(axis=0)
        scales.append(np.sqrt(squares / (len(own) + _SHRINKAGE)))
    return centres, np.array(offsets), np.array(scales)


def test_statistics_and_moves_equal_the_formulas():
    x, y, group = clips_of_groups()
    data = as_data(x, group)
    mixing = GroupMixing(data, torch.from_numpy(y), 3, 1.0, RandomSource(0))
    centres, offsets, scales = reference(x, y, group)
    np.testing.assert_allclose(mixing.centres, centres, atol=1e-5)
    np.testing.assert_allclose(mixing.offsets, offsets, atol=1e-5)
    np.testing.assert_allclose(mixing.scales, scales, atol=1e-5)
    moved = mixing(data, torch.from_numpy(y))
    assert moved.group is data.group and moved.sizes == SIZES
    start, taken = 0, []
    for values in moved.streams():
        columns = slice(start, start + values.shape[1])
        start = columns.stop
        # Which group each clip came to: the one whose formula gives these values.
        rest = (x - centres[y] - offsets[group])[:, columns] / scales[group][:, columns]
        each = np.stack(
            [
                centres[y][:, columns] + offsets[g, columns] + rest * scales[g, columns]
                for g in range(4)
            ]
        )
        error = np.abs(each - values.numpy()).max(axis=2)
        assert error.min(axis=0).max() < 1e-4
        taken.append(error.argmin(axis=0))
    assert (np.bincount(taken[0], minlength=4) > 15).all()
    # Streams are moved apart from each other.
    assert 0.1 < (taken[0] == taken[1]).mean() < 0.5


def test_moved_clips_have_the_statistics_of_all_groups():
    x, y, group = clips_of_groups(n=1200)
    data = as_data(x, group)
    mixing = GroupMixing(data, torch.from_numpy(y), 3, 1.0, RandomSource(0))
    moved = mixing(data, torch.from_numpy(y)).values.numpy()
    between = [
        np.array([v[group == g].mean(axis=0) for g in range(4)]).std(axis=0).mean()
        for v in (x, moved)
    ]
    assert between[1] < 0.25 * between[0]
    np.testing.assert_allclose(
        [moved[y == c].mean(axis=0) for c in range(3)],
        [x[y == c].mean(axis=0) for c in range(3)],
        atol=0.25,
    )


def test_p_is_the_share_of_moved_clips():
    x, y, group = clips_of_groups(n=1200)
    data = as_data(x, group)
    labels = torch.from_numpy(y)
    mixing = GroupMixing(data, labels, 3, 0.4, RandomSource(0))
    same = (mixing(data, labels).values == data.values).numpy()
    # Of those drawn, a quarter draw their own group.
    for columns in (slice(0, 4), slice(4, 7)):
        stay = same[:, columns].all(axis=1)
        assert stay.mean() == pytest.approx(1 - 0.4 * 0.75, abs=0.05)


def test_missing_streams_stay_as_they_are_and_say_nothing():
    x, y, group = clips_of_groups()
    mask = np.ones((120, 2), dtype=bool)
    mask[::4, 0] = False
    empty = np.where(mask[:, :1].repeat(4, axis=1), x[:, :4], 0)
    data = as_data(np.hstack([empty, x[:, 4:]]), group, mask)
    mixing = GroupMixing(data, torch.from_numpy(y), 3, 1.0, RandomSource(0))
    there = mask[:, 0]
    known = reference(x[there], y[there], group[there])
    for found, expected in zip(
        (mixing.centres, mixing.offsets, mixing.scales), known, strict=True
    ):
        np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-5)
    moved = mixing(data, torch.from_numpy(y))
    assert (moved.values[::4, :4] == 0).all()
    assert torch.equal(moved.mask, data.mask)


def test_columns_that_never_vary_and_groups_of_one_clip_stay_finite():
    x, y, group = clips_of_groups()
    x[:, 0] = 0.7
    group[0] = 4
    data = as_data(x, group)
    mixing = GroupMixing(data, torch.from_numpy(y), 3, 1.0, RandomSource(0))
    moved = mixing(data, torch.from_numpy(y)).values.numpy()
    np.testing.assert_allclose(moved[:, 0], 0.7, atol=1e-5)
    assert np.abs(moved).max() < 10 * np.abs(x).max()


# In the classifiers


def frame(x):
    columns = [f"audio__{i}" for i in range(4)] + [f"text__{i}" for i in range(3)]
    index = [f"clip{i}" for i in range(len(x))]
    return pd.DataFrame(x.astype(np.float32), columns=columns, index=index)


def small(groups=None, **params):
    settings = {"hidden_size": 8, "max_epochs": 3, "random_state": 0, **params}
    return AttentionFusionClassifier(groups=groups, **settings)


def test_groups_change_the_net_only_where_they_are_mixed():
    x, y, group = clips_of_groups()
    X, groups = frame(x), pd.Series(group, index=frame(x).index)
    plain = small().fit(X, y).predict_proba(X)
    off = small(groups, group_mixing=0.0).fit(X, y).predict_proba(X)
    on = small(groups)
    mixed = on.fit(X, y).predict_proba(X)
    assert np.array_equal(plain, off) and not np.array_equal(plain, mixed)
    assert np.array_equal(mixed, clone(on).fit(X, y).predict_proba(X))
    # The names and the order of the groups do not matter, the grouping does.
    named = groups.map("speaker {}".format).sample(frac=1, random_state=0)
    assert np.array_equal(mixed, small(named).fit(X, y).predict_proba(X))


def test_rows_that_are_watched_have_no_say_in_the_mixing():
    x, y, group = clips_of_groups(n_groups=5)
    X, groups = frame(x), pd.Series(group, index=frame(x).index)
    net = small(groups, train_split=0.2, keep_epochs=True).fit(X, y)
    changed = []
    for g in range(5):
        other = X.copy()
        other[group == g] *= -3
        again = clone(net).fit(other, y)
        changed.append(
            not all(
                torch.equal(a[name], b[name])
                for a, b in zip(net.epoch_states_, again.epoch_states_, strict=True)
                for name in a
            )
        )
    assert sum(changed) == 4


def test_a_net_learns_more_about_a_new_group():
    """Each group has its own offset; the class is in what they have in common."""
    scores = {0.0: [], 1.0: []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        group, y = np.arange(240) // 24, np.arange(240) % 3
        offsets = 3 * rng.normal(size=(10, 1)) * rng.normal(size=7)
        x = rng.normal(size=(240, 7)) + offsets[group] + 1.2 * np.eye(3, 7)[y]
        X, groups = frame(x), pd.Series(group, index=frame(x).index)
        train = group < 5
        for p, found in scores.items():
            net = small(groups, group_mixing=p, max_epochs=40, hidden_size=32)
            found.append(net.fit(X[train], y[train]).score(X[~train], y[~train]))
    assert np.mean(scores[1.0]) > np.mean(scores[0.0])


def test_a_clip_without_group_is_an_error():
    x, y, group = clips_of_groups()
    X = frame(x)
    groups = pd.Series(group, index=X.index)
    with pytest.raises(ValueError, match="groups has no value for clip 'clip7'"):
        small(groups.drop("clip7")).fit(X, y)
    with pytest.raises(ValueError, match="X has no clip ids"):
        small(groups).fit(X.to_numpy(), y)


def test_any_module_can_mix_groups():
    x, y, group = clips_of_groups()
    X, groups = frame(x), pd.Series(group, index=frame(x).index)
    net = FusionClassifier(
        AttentionFusion, groups=groups, group_mixing=0.5, max_epochs=2, random_state=0
    )
    assert net.fit(X, y).predict_proba(X).shape == (120, 3)
