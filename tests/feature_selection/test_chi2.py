"""chi2_binned."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import chi2_contingency
from sklearn.preprocessing import KBinsDiscretizer

from skmer.feature_selection import _chi2, chi2_binned

LABELS = np.array(["angry", "happy", "sad"])


def _table(bins, y):
    return pd.crosstab(np.asarray(bins), np.asarray(y)).to_numpy()


def _expected(bins, y):
    found = chi2_contingency(_table(bins, y), correction=False)
    return found.statistic, found.pvalue


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = LABELS[rng.integers(3, size=203)]
    X = rng.normal(size=(203, 6))
    X[:, 0] += (y == "sad") * 1.5
    X[:, 3] *= 1 + 2 * (y == "happy")
    return X, y


def test_a_table_made_by_hand():
    # Bins -3 -2 | -1 0 | 1 2, two clips each
    x = [[1.0], [-3.0], [0.0], [2.0], [-2.0], [-1.0]]
    y = ["b", "a", "a", "b", "a", "b"]
    scores, p_values = chi2_binned(x, y, n_bins=3)
    # 2 of a in the first bin, 1 and 1 in the second, 2 of b in the third; expected 1
    assert scores == pytest.approx([4.0])
    assert p_values == pytest.approx([np.exp(-2.0)])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_bins", [2, 5, 10, 33])
def test_bins_are_those_of_scikit_learn_without_ties(data, n_bins, dtype):
    X, y = data[0].astype(dtype), data[1]
    cut = KBinsDiscretizer(
        n_bins, encode="ordinal", quantile_method="averaged_inverted_cdf"
    )
    bins = cut.fit_transform(X)
    expected = np.array([_expected(column, y) for column in bins.T]).T
    np.testing.assert_allclose(chi2_binned(X, y, n_bins=n_bins), expected, rtol=1e-10)


def test_few_different_values_are_bins_of_their_own():
    rng = np.random.default_rng(1)
    y = rng.integers(4, size=400)
    X = np.column_stack([rng.integers(3, size=400) - 1, rng.random(400) < 0.03])
    scores, p_values = chi2_binned(X, y)
    for column, score, p_value in zip(X.T, scores, p_values, strict=True):
        # The rare value of the second column lies between quantiles
        assert (score, p_value) == pytest.approx(_expected(column, y), rel=1e-10)
    assert _table(X[:, 1], y).shape == (2, 4)


def test_equal_values_share_a_bin_and_merged_bins_are_fewer():
    x = np.array([0.0] * 12 + [1, 2, 3, 4, 5, 6, 7, 8])
    y = np.arange(20) % 2
    # Average rank of the zeros: 6.5 of 20, the second of five bins; then 13 to 16, 17
    # to 20 are the fourth and the fifth
    bins = np.repeat([1, 3, 4], [12, 4, 4])
    assert np.ravel(chi2_binned(x[:, None], y, n_bins=5)) == pytest.approx(
        _expected(bins, y)
    )


def test_only_order_matters(data):
    X, y = data
    X = np.round(X, 1)
    one = chi2_binned(X, y)
    np.testing.assert_array_equal(one, chi2_binned(np.exp(X) * 1e6 - 5, y))
    rows = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(one, chi2_binned(X[rows], y[rows]))
    np.testing.assert_array_equal(one[0][::-1], chi2_binned(X[:, ::-1], y)[0])


def test_nan_cells_are_left_out_per_column(data):
    X, y = data
    hole = np.random.default_rng(2).random(X.shape) < [0, 0.1, 0.5, 0.9, 1, 0.3]
    X[hole] = np.nan
    # A class that has no value in a column is no class there
    X[y == "angry", 5] = np.nan
    scores, p_values = chi2_binned(X, y, n_bins=4)
    for i in range(X.shape[1]):
        known = ~hole[:, i] & ~np.isnan(X[:, i])
        if i == 4:
            assert (scores[i], p_values[i]) == (0.0, 1.0)
            continue
        alone = chi2_binned(X[known, i : i + 1], y[known], n_bins=4)
        assert (scores[i], p_values[i]) == pytest.approx(np.ravel(alone))
        cut = KBinsDiscretizer(
            4, encode="ordinal", quantile_method="averaged_inverted_cdf"
        )
        bins = cut.fit_transform(X[known, i : i + 1])[:, 0]
        assert (scores[i], p_values[i]) == pytest.approx(_expected(bins, y[known]))


@pytest.mark.parametrize("unlabelled", [-1, None])
def test_unlabelled_clips_do_not_matter(data, unlabelled):
    X, y = data
    y = np.searchsorted(LABELS, y) if unlabelled == -1 else y.astype(object)
    some = np.arange(len(y)) % 3 == 0
    y[some] = unlabelled
    X[some] *= 1000
    expected = chi2_binned(X[~some], y[~some])
    np.testing.assert_array_equal(chi2_binned(X, y), expected)


def test_columns_that_say_nothing():
    X = np.column_stack([np.full(8, 3.0), np.full(8, np.nan), np.arange(8)])
    X[3, 1] = 2.0
    scores, p_values = chi2_binned(X, [0, 1] * 4, n_bins=2)
    assert scores[:2].tolist() == [0, 0] and p_values[:2].tolist() == [1, 1]
    # One class: nothing can be told apart
    scores, p_values = chi2_binned(X, [1] * 8)
    assert scores.tolist() == [0] * 3 and p_values.tolist() == [1] * 3


def test_more_bins_than_clips():
    X, y = np.arange(5.0)[:, None], [0, 0, 1, 1, 1]
    expected = _expected(range(5), y)
    assert np.ravel(chi2_binned(X, y, n_bins=1000)) == pytest.approx(expected)


@pytest.mark.parametrize("n_bins", [2, 3, 10, 64])
def test_many_clips_are_counted_as_few_are(n_bins, monkeypatch):
    """Without sorting, and in the same bins to the last clip."""
    rng = np.random.default_rng(n_bins)
    n_clips = 1201
    X = rng.standard_normal((n_clips, 8)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1] * 2)
    X[:, 2] = X[:, 2] > 2
    X[:, 3] = 7.0
    X[:, 4] = np.nan
    X[rng.random(n_clips) < 0.99, 5] = np.nan
    X[rng.random(n_clips) < 0.3, 6] = np.nan
    X[rng.random(n_clips) < 0.6, 7] = -1.0
    y = rng.integers(5, size=n_clips)
    used = []
    original = _chi2._table
    monkeypatch.setattr(_chi2, "_table", lambda *a: used.append(1) or original(*a))
    found = chi2_binned(X, y, n_bins=n_bins)
    assert len(used) == 8
    monkeypatch.setattr(_chi2, "_MANY_CLIPS", n_clips + 1)
    expected = chi2_binned(X, y, n_bins=n_bins)
    assert len(used) == 8
    np.testing.assert_array_equal(found, expected)
    assert (found[0] > 0).sum() == 6


def test_blocks_do_not_show(data, monkeypatch):
    X, y = data
    whole = chi2_binned(X, y)
    monkeypatch.setattr(_chi2, "_BLOCK", 2 * len(X))
    np.testing.assert_array_equal(chi2_binned(X, y), whole)
    monkeypatch.setattr(_chi2, "_BLOCK", 1)
    np.testing.assert_array_equal(chi2_binned(X, y), whole)


def test_frames_and_lists(data):
    X, y = data
    expected = chi2_binned(X, y)
    np.testing.assert_array_equal(chi2_binned(pd.DataFrame(X), pd.Series(y)), expected)
    np.testing.assert_array_equal(chi2_binned(X.tolist(), y.tolist()), expected)


def test_errors(data):
    X, y = data
    with pytest.raises(ValueError, match="none of 203 has one"):
        chi2_binned(X, np.full(203, None, dtype=object))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        chi2_binned(X, y[:-1])
    with pytest.raises(ValueError, match="n_bins"):
        chi2_binned(X, y, n_bins=1)
    X[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        chi2_binned(X, y)


def test_logarithms_of_p_values_too_small_for_numbers():
    freedom = np.repeat([2, 8, 64, 120], 6)
    scores = np.tile([200.0, 1000, 1300, 1400, 5000, 1e6], 4)
    # For even degrees of freedom the tail is a finite sum
    expected = []
    for f, x in zip(freedom, scores / 2, strict=True):
        j = np.arange(f // 2)
        expected.append(
            -x + logsumexp(j * np.log(x) - np.cumsum(np.log(np.maximum(j, 1))))
        )
    np.testing.assert_allclose(_chi2.log_tail(scores, freedom), expected, rtol=1e-12)
    assert (_chi2.tail(scores, freedom) == 0).any()


def test_logarithms_go_on_where_numbers_end():
    for freedom in (1, 7, 63):
        scores = np.linspace(1100, 1500, 400)
        logs = _chi2.log_tail(scores, np.full(400, freedom))
        steps = np.diff(logs)
        assert (steps < 0).all()
        assert np.abs(np.diff(steps)).max() < 1e-3
