"""GroupStandardScaler."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from skmer.preprocessing import GroupStandardScaler


@pytest.fixture
def X():
    """Forty clips of each of three speakers who differ in mean and spread."""
    rng = np.random.default_rng(0)
    names = ["audio__0", "audio__1", "video__0"]
    values = rng.normal(size=(120, 3)) * np.repeat([[1.0], [3], [0.2]], 40, axis=0)
    values += np.repeat([[0.0], [10], [-5]], 40, axis=0)
    index = [f"clip{i}" for i in range(120)]
    return pd.DataFrame(values, columns=names, index=index)


@pytest.fixture
def speakers(X):
    return pd.Series(np.repeat(["ann", "bob", "cem"], 40), index=X.index)


def _own(X, **params):
    """What scikit-learn's scaler makes of X alone."""
    return StandardScaler(**params).fit_transform(X)


def test_without_groups_it_is_the_standard_scaler(X):
    X.iloc[:5, 0] = np.nan
    X["constant"] = 0.1
    for params in ({}, {"with_mean": False}, {"with_std": False}):
        scaler = GroupStandardScaler(**params).fit(X)
        other = StandardScaler(**params).fit(X)
        for part in (X, X.iloc[:7], X.iloc[:1]):
            np.testing.assert_allclose(
                scaler.transform(part), other.transform(part), rtol=1e-12, atol=1e-12
            )
    scaler, other = GroupStandardScaler().fit(X), StandardScaler().fit(X)
    np.testing.assert_allclose(scaler.mean_, other.mean_, rtol=1e-14)
    np.testing.assert_allclose(scaler.var_, other.var_, rtol=1e-12)
    np.testing.assert_allclose(scaler.scale_, other.scale_, rtol=1e-12)


def test_each_group_is_scaled_by_itself(X, speakers):
    X.iloc[3, 1] = np.nan
    scaler = GroupStandardScaler(speakers, shrinkage=0)
    mixed = X.sample(frac=1, random_state=0)
    scaled = scaler.set_output(transform="pandas").fit_transform(mixed)
    assert scaled.index.equals(mixed.index)
    for name in ("ann", "bob", "cem"):
        rows = speakers.index[speakers == name]
        np.testing.assert_allclose(scaled.loc[rows], _own(X.loc[rows]), atol=1e-12)
    assert np.isnan(scaled.loc["clip3", "audio__1"])
    assert set(scaler.groups_) == {"ann", "bob", "cem"}


def test_shrinkage_counts_clips(X, speakers):
    scaler = GroupStandardScaler(speakers, shrinkage=10).fit(X)
    own, total = X[40:80], X.var(ddof=0)
    # Variance within the three groups, without bias
    within = X.groupby(speakers).var().mean()
    np.testing.assert_allclose(scaler.within_var_, within)
    weight = 40 / (40 + 10 * within / total)
    mean = weight * own.mean() + (1 - weight) * X.mean()
    variance = (40 * own.var(ddof=0) + 10 * within) / 50
    variance += (1 - weight) * (total - within)
    np.testing.assert_allclose(scaler.group_means_[1], mean)
    np.testing.assert_allclose(scaler.group_scales_[1], np.sqrt(variance))
    np.testing.assert_allclose(
        scaler.transform(own), (own - mean) / np.sqrt(variance), rtol=1e-12
    )


def test_means_are_drawn_the_less_the_more_groups_differ(X, speakers):
    rows = X.index[:83]
    noise = np.random.default_rng(0).normal(size=(83, 3))
    weights = {}
    for offset in (0.1, 10):
        apart = offset * speakers[rows].map({"ann": 0, "bob": 1, "cem": 2}).to_numpy()
        frame = pd.DataFrame(noise + apart[:, None], index=rows)
        scaler = GroupStandardScaler(speakers, shrinkage=5).fit(frame)
        own = frame[80:].mean()
        weights[offset] = (scaler.group_means_[2] - scaler.mean_) / (own - scaler.mean_)
    # Three clips beside five, and beside hardly any
    np.testing.assert_allclose(weights[0.1], 3 / 8, atol=0.02)
    assert (weights[10] > 0.9).all()


def test_a_group_alone_is_all_there_is(X, speakers):
    one = GroupStandardScaler(speakers).fit(X[:40])
    np.testing.assert_allclose(one.transform(X[:40]), _own(X[:40]), atol=1e-12)
    np.testing.assert_allclose(one.within_var_, one.var_)


def test_known_groups_do_not_depend_on_what_else_is_in_X(X, speakers):
    train = X.iloc[np.r_[0:30, 40:70]]
    scaler = GroupStandardScaler(speakers).fit(train)
    whole = scaler.transform(X)
    for i in (0, 35, 75):
        np.testing.assert_array_equal(scaler.transform(X.iloc[[i]])[0], whole[i])
    np.testing.assert_array_equal(scaler.transform(train), scaler.fit_transform(train))


def test_new_groups_are_scaled_by_their_clips_in_X(X, speakers):
    scaler = GroupStandardScaler(speakers, shrinkage=0).fit(X.iloc[:80])
    together = scaler.transform(X)
    np.testing.assert_allclose(together[80:], _own(X.iloc[80:]), atol=1e-12)
    # Transductive: with other clips of the same speaker it is another number
    fewer = scaler.transform(X.iloc[80:90])
    np.testing.assert_allclose(fewer, _own(X.iloc[80:90]), atol=1e-12)
    assert not np.allclose(fewer, together[80:90])
    # but clips of other speakers say nothing
    np.testing.assert_array_equal(scaler.transform(X.iloc[80:]), together[80:])


def test_few_clips_are_scaled_by_the_training_clips(X, speakers):
    train = X.iloc[:80]
    every = StandardScaler().fit(train)
    scaler = GroupStandardScaler(speakers, min_clips=5).fit(train)
    few, enough = X.iloc[80:84], X.iloc[80:85]
    np.testing.assert_allclose(scaler.transform(few), every.transform(few))
    assert not np.allclose(scaler.transform(enough), every.transform(enough))
    # Column by column: values count, not rows
    enough = enough.copy()
    enough.iloc[0, 1] = np.nan
    close = np.isclose(scaler.transform(enough)[1:], every.transform(enough)[1:])
    assert close.all(axis=0).tolist() == [False, True, False]
    # The same holds for a group of few training clips, later on too
    scaler = GroupStandardScaler(speakers, min_clips=5).fit(X.iloc[:84])
    np.testing.assert_allclose(scaler.group_means_[2], scaler.mean_)
    np.testing.assert_allclose(scaler.group_scales_[2], scaler.scale_)


@pytest.mark.parametrize("min_clips", [1, 2])
@pytest.mark.parametrize("shrinkage", [0, 5.0])
def test_a_single_clip_of_a_new_group(X, speakers, min_clips, shrinkage):
    scaler = GroupStandardScaler(speakers, min_clips=min_clips, shrinkage=shrinkage)
    alone = scaler.fit(X.iloc[:80]).transform(X.iloc[[100]])
    assert np.isfinite(alone).all()
    every = StandardScaler().fit(X.iloc[:80]).transform(X.iloc[[100]])
    assert np.allclose(alone, every) == (min_clips == 2)


def test_a_column_without_spread_in_a_group(X, speakers):
    X.iloc[:40, 0] = 0.3
    train = X.iloc[np.r_[0:30, 40:80]]
    scaler = GroupStandardScaler(speakers, shrinkage=0).fit(train)
    assert np.abs(scaler.transform(X.iloc[:40])[:, 0]).max() < 1e-12
    assert scaler.group_scales_[0, 0] == scaler.scale_[0] > 1
    X["audio__1"] = 2.0
    constant = GroupStandardScaler(speakers).fit(X)
    assert (constant.scale_[1], constant.group_scales_[0, 1]) == (1.0, 1.0)


def test_a_column_that_only_tells_groups_apart(X, speakers):
    X["audio__0"] = speakers.map({"ann": 1.0, "bob": 2.0, "cem": 5.0})
    scaled = GroupStandardScaler(speakers).fit_transform(X)
    np.testing.assert_allclose(scaled[:, 0], 0, atol=1e-12)


def test_columns_without_values(X, speakers):
    X.iloc[:40, 2] = np.nan
    X["empty"] = np.nan
    scaled = GroupStandardScaler(speakers).fit_transform(X)
    assert np.isnan(scaled[:40, 2]).all() and np.isfinite(scaled[40:, 2]).all()
    assert np.isnan(scaled[:, 3]).all()


def test_clips_of_no_known_group(X, speakers):
    speakers[:20] = None
    scaler = GroupStandardScaler(speakers, shrinkage=0).fit(X)
    every = StandardScaler().fit(X)
    scaled = scaler.transform(X)
    np.testing.assert_allclose(scaled[:20], every.transform(X)[:20])
    np.testing.assert_allclose(scaled[20:40], _own(X[20:40]), atol=1e-12)


def test_copies_of_a_clip(X, speakers):
    rows = np.r_[0:120, 0, 0, 5]
    twice = GroupStandardScaler(speakers, shrinkage=0).fit_transform(X.iloc[rows])
    np.testing.assert_allclose(
        twice[np.r_[0:40, 120:123]], _own(X.iloc[np.r_[0:40, 0, 0, 5]]), atol=1e-12
    )


def test_groups_of_clips_that_come_later(X, speakers):
    scaler = GroupStandardScaler(speakers[:80], shrinkage=0).fit(X[:80])
    said = r"list clip 'clip80' \(40 of 120 .* as 'clip0', 'clip1'.*set_params\(groups"
    with pytest.raises(ValueError, match=said):
        scaler.transform(X)
    later = scaler.set_params(groups=speakers).transform(X)
    np.testing.assert_allclose(later[80:], _own(X[80:]), atol=1e-12)
    assert list(scaler.groups_) == ["ann", "bob"]


@pytest.mark.parametrize("kind", [int, "category", "float32", object])
def test_kinds_of_groups(X, speakers, kind):
    numbers = pd.Series(np.repeat([7, 3, 9], 40), index=X.index).astype(kind)
    expected = GroupStandardScaler(speakers).fit(X[:80]).transform(X)
    found = GroupStandardScaler(numbers).fit(X[:80]).transform(X)
    np.testing.assert_array_equal(expected, found)


def test_path_objects_are_the_strings_they_stand_for(X, speakers):
    expected = GroupStandardScaler(speakers).fit_transform(X)
    paths = [Path(clip) for clip in X.index]
    for index in (X.index, paths):
        scaler = GroupStandardScaler(speakers.set_axis(paths))
        found = scaler.fit_transform(X.set_axis(index))
        np.testing.assert_array_equal(found, expected)
    by_path = GroupStandardScaler(speakers).fit_transform(X.set_axis(paths))
    np.testing.assert_array_equal(by_path, expected)


def test_errors(X, speakers):
    with pytest.raises(ValueError, match="X has no clip ids"):
        GroupStandardScaler(speakers).fit(X.to_numpy())
    scaler = GroupStandardScaler(speakers).fit(X)
    with pytest.raises(ValueError, match="X has no clip ids"):
        scaler.transform(X.to_numpy())
    with pytest.raises(ValueError, match=r"clip 0 \(120 of 120 rows"):
        GroupStandardScaler(speakers).fit(X.reset_index(drop=True))
    with pytest.raises(ValueError, match="'groups' parameter"):
        GroupStandardScaler(speakers.to_numpy()).fit(X)
    two = pd.concat([speakers, pd.Series({"clip0": "bob"})])
    with pytest.raises(ValueError, match="different values for clip 'clip0'"):
        GroupStandardScaler(two).fit(X)


def test_float32_stays(X, speakers):
    scaler = GroupStandardScaler(speakers).set_output(transform="pandas")
    one = scaler.fit_transform(X.astype(np.float32))
    assert (one.dtypes == np.float32).all()
    np.testing.assert_allclose(one, scaler.fit_transform(X), rtol=1e-4, atol=1e-5)
    assert list(scaler.get_feature_names_out()) == list(X.columns)


def test_large_offsets_keep_their_digits(speakers, X):
    offset = GroupStandardScaler(speakers, shrinkage=0).fit_transform(X + 1e7)
    plain = GroupStandardScaler(speakers, shrinkage=0).fit_transform(X)
    np.testing.assert_allclose(offset, plain, atol=1e-6)


def test_input_is_left_alone_and_clones_and_pickles_agree(X, speakers):
    before = X.copy()
    scaler = GroupStandardScaler(speakers).fit(X[:80])
    expected = scaler.transform(X)
    pd.testing.assert_frame_equal(X, before)
    again = clone(scaler).fit(X[:80]).transform(X)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(scaler)).transform(X), expected
    )


def test_held_out_clips_change_nothing_fitted(X, speakers):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=120)
    train, test = np.arange(100), np.arange(100, 120)
    X2, y2 = changed_rows(X, y, test)

    def fit(X, y):
        return make_pipeline(GroupStandardScaler(speakers), LogisticRegression()).fit(
            X, y
        )

    one = fit(X.iloc[train], y[train])
    before = one.predict_proba(X.iloc[:80])
    one.predict(X2.iloc[test])
    assert not differences(one, fit(X2.iloc[train], y2[train]))
    np.testing.assert_array_equal(before, one.predict_proba(X2)[:80])
    assert differences(fit(X, y), fit(X2, y2))


def test_speakers_who_differ_are_told_apart_no_longer(X, speakers):
    """In a search with a sampler and folds of disjoint speakers."""
    rng = np.random.default_rng(1)
    y = np.tile([0, 0, 0, 1], 30)
    X = X.astype(np.float32)
    X.iloc[80:] = X.iloc[80:] * 5 + 20
    X.iloc[:, 0] += np.repeat(np.float32([3, 9, 3]), 40) * y
    order = rng.permutation(120)
    X, y = X.iloc[order], y[order]
    groups = speakers[X.index]
    model = make_pipeline(
        GroupStandardScaler(speakers),
        RandomOverSampler(random_state=0),
        LogisticRegression(),
    )
    folds = {"cv": GroupKFold(3), "scoring": "balanced_accuracy"}
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    score = cross_val_score(model, X, y, groups=groups, **folds)
    without = cross_val_score(plain, X, y, groups=groups, **folds)
    assert score.mean() > without.mean() + 0.15
    grid = {"groupstandardscaler__shrinkage": [0, 5.0]}
    search = GridSearchCV(model, grid, **folds).fit(X, y, groups=groups)
    assert search.best_score_ >= score.mean()
