"""SplitStandardScaler."""

import numpy as np
import pandas as pd
import pytest
from leaks import changed_rows, differences
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.preprocessing import SplitStandardScaler


@pytest.fixture
def parts():
    """A training part, and a test part that is shifted and stretched."""
    rng = np.random.default_rng(0)
    names = ["audio__0", "audio__1", "video__0"]
    train, test = (
        pd.DataFrame(
            rng.normal(mean, sd, size=(n, 3)),
            columns=names,
            index=[f"{part}{i}" for i in range(n)],
        )
        for part, mean, sd, n in (("train", 2, 3, 80), ("test", 50, 0.5, 40))
    )
    train.iloc[2, 0] = test.iloc[3, 1] = np.nan
    return train, test


def test_each_split_is_scaled_by_itself(parts):
    scaler = SplitStandardScaler(shrinkage=0).set_output(transform="pandas")
    for part, scaled in zip(
        parts, (scaler.fit_transform(parts[0]), scaler.transform(parts[1])), strict=True
    ):
        expected = StandardScaler().fit_transform(part)
        np.testing.assert_allclose(scaled, expected, atol=1e-12)
        assert scaled.index.equals(part.index)
        assert list(scaled.columns) == list(part.columns)


@pytest.mark.parametrize("shrinkage", [0, 20.0])
def test_training_clips_get_the_training_scaling(parts, shrinkage):
    train, _ = parts
    scaler = SplitStandardScaler(shrinkage=shrinkage)
    expected = StandardScaler().fit_transform(train)
    np.testing.assert_allclose(scaler.fit_transform(train), expected, atol=1e-12)
    np.testing.assert_allclose(scaler.transform(train), expected, atol=1e-12)


def test_shrinkage_counts_clips(parts):
    train, test = parts
    scaled = SplitStandardScaler(shrinkage=10).fit(train).transform(test[5:])
    mean = (35 * test[5:].mean() + 10 * train.mean()) / 45
    variance = (35 * test[5:].var(ddof=0) + 10 * train.var(ddof=0)) / 45
    np.testing.assert_allclose(scaled, (test[5:] - mean) / np.sqrt(variance))


def test_few_clips_are_scaled_by_the_training_clips(parts):
    train, test = parts
    every = StandardScaler().fit(train)
    scaler = SplitStandardScaler(min_clips=6).fit(train)
    np.testing.assert_allclose(scaler.transform(test[:5]), every.transform(test[:5]))
    # Column by column: values count, not rows
    close = np.isclose(scaler.transform(test[:6]), every.transform(test[:6]))
    assert close.all(axis=0).tolist() == [False, False, False]
    assert close[[0, 1, 2, 4, 5]].all(axis=0).tolist() == [False, True, False]
    # A clip alone has no spread; it says nothing of a mean worth having
    alone = SplitStandardScaler(shrinkage=0).fit(train).transform(test[:1])
    np.testing.assert_allclose(alone, every.transform(test[:1]))


def test_a_column_without_spread_has_the_training_scale(parts):
    train, test = parts
    test["video__0"] = 7.0
    scaler = SplitStandardScaler(shrinkage=0, with_mean=False).fit(train)
    np.testing.assert_allclose(scaler.transform(test)[:, 2], 7 / scaler.scale_[2])


def test_without_mean_or_spread(parts):
    train, test = parts
    for params in ({"with_mean": False}, {"with_std": False}):
        scaler = SplitStandardScaler(shrinkage=0, **params).fit(train)
        expected = StandardScaler(**params).fit_transform(test)
        np.testing.assert_allclose(scaler.transform(test), expected, atol=1e-12)


def test_predictions_depend_on_each_other(parts):
    train, test = parts
    scaler = SplitStandardScaler().fit(train)
    assert not np.allclose(scaler.transform(test)[:20], scaler.transform(test[:20]))


def test_float32_stays(parts):
    scaler = SplitStandardScaler().fit(parts[0].astype(np.float32))
    scaled = scaler.transform(parts[1].astype(np.float32))
    assert scaled.dtype == np.float32
    expected = SplitStandardScaler().fit(parts[0]).transform(parts[1])
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)


def test_held_out_clips_change_nothing_fitted(parts):
    X = pd.concat(parts).fillna(0.0)
    y = np.arange(120) % 2
    train, test = np.arange(80), np.arange(80, 120)
    X2, y2 = changed_rows(X, y, test)

    def fit(X, y):
        return make_pipeline(SplitStandardScaler(), LogisticRegression()).fit(X, y)

    one = fit(X.iloc[train], y[train])
    before = one.predict_proba(X.iloc[train])
    one.predict(X2.iloc[test])
    assert not differences(one, fit(X2.iloc[train], y2[train]))
    np.testing.assert_array_equal(before, one.predict_proba(X2.iloc[train]))
    assert differences(fit(X, y), fit(X2, y2))
