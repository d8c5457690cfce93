"""ChiSquareSelector."""

import warnings

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from leaks import changed_rows, differences
from sklearn.feature_selection import (
    SelectKBest,
    chi2,
    f_classif,
    mutual_info_classif,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import check_random_state

from skmer.exceptions import MissingStreamError
from skmer.feature_selection import ChiSquareSelector, chi2_binned
from skmer.preprocessing import ModalityImputer

SIZES = {"audio": 8, "video__face": 6, "video__frame": 2}


@pytest.fixture
def data():
    """Audio says most, the face something, the frame nothing."""
    rng = np.random.default_rng(0)
    y = np.array(["angry", "happy", "sad"], dtype=object)[rng.integers(3, size=180)]
    names = [f"{s}__{i}" for s, n in SIZES.items() for i in range(n)]
    X = pd.DataFrame(rng.normal(size=(180, 16)).astype(np.float32), columns=names)
    X.index = [f"clip{i}" for i in range(180)]
    X.iloc[:, :8] += ((y == "sad") * 2.0).astype(np.float32)[:, None]
    X.iloc[:, 8:11] += ((y == "happy") * 0.7).astype(np.float32)[:, None]
    return X, y


def test_keeps_the_best_by_chi2_binned(data):
    X, y = data
    selector = ChiSquareSelector(k=5).fit(X, y)
    scores, p_values = chi2_binned(X, y)
    np.testing.assert_array_equal(selector.scores_, scores)
    np.testing.assert_array_equal(selector.pvalues_, p_values)
    best = np.argsort(-scores)[:5]
    assert sorted(best) == selector.get_support(indices=True).tolist()
    assert selector.ranking_[best].tolist() == [1, 2, 3, 4, 5]
    assert sorted(selector.ranking_) == list(range(1, 17))


def test_frame_in_frame_out(data):
    X, y = data
    X.iloc[3, :8] = np.nan
    selector = ChiSquareSelector(k=4).set_output(transform="pandas")
    kept = selector.fit_transform(X, y)
    pd.testing.assert_frame_equal(kept, X[kept.columns])
    assert list(kept.columns) == list(selector.get_feature_names_out())
    assert (kept.dtypes == np.float32).all() and np.isnan(kept.loc["clip3"]).any()
    array = ChiSquareSelector(k=4).fit_transform(X.to_numpy(), y)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("k", "n"), [(3, 3), (0.5, 8), (1.0, 16), (1, 1), (0.01, 1), ("all", 16), (16, 16)]
)
def test_how_many(data, k, n):
    assert ChiSquareSelector(k).fit(*data).support_.sum() == n


def test_more_than_there_are(data):
    with pytest.warns(UserWarning, match=r"k=20 is more than the columns of X \(16\)"):
        assert ChiSquareSelector(20).fit(*data).support_.all()
    with pytest.warns(UserWarning, match=r"columns of any stream \(8\)"):
        assert ChiSquareSelector(9, by_stream=True).fit(*data).support_.all()


@pytest.mark.parametrize(
    ("score_func", "function"),
    [("minmax", chi2), ("f_classif", f_classif), ("mutual_info", mutual_info_classif)],
)
def test_other_scores_are_those_of_scikit_learn(data, score_func, function):
    X, y = data[0].astype(np.float64), data[1]
    selector = ChiSquareSelector(4, score_func=score_func, random_state=0).fit(X, y)
    if score_func == "mutual_info":
        # Ties are broken by noise of 1e-10
        expected = mutual_info_classif(X, y, random_state=1)
        np.testing.assert_allclose(selector.scores_, expected)
        assert selector.pvalues_ is None
        return
    Z = MinMaxScaler().fit_transform(X) if score_func == "minmax" else X
    best = SelectKBest(function, k=4).fit(Z, y)
    np.testing.assert_allclose(selector.scores_, best.scores_)
    np.testing.assert_allclose(selector.pvalues_, best.pvalues_)
    np.testing.assert_array_equal(selector.support_, best.get_support())


@pytest.mark.parametrize("score_func", ["minmax", "f_classif", "mutual_info"])
def test_other_scores_skip_nan_cells(data, score_func):
    X, y = data
    X.iloc[:60, :8] = np.nan
    X.iloc[100:, 8] = np.nan
    X["audio__0"], X["audio__1"] = np.float32(np.nan), np.float32(2.0)
    X.loc[y != "sad", "audio__2"] = np.nan
    selector = ChiSquareSelector(score_func=score_func, random_state=0).fit(X, y)
    assert selector.scores_[:3].tolist() == [0, 0, 0]
    for columns, rows in (([3, 4, 5, 6, 7], slice(60, 180)), ([8], slice(100))):
        alone = ChiSquareSelector(score_func=score_func, random_state=0)
        alone.fit(X.iloc[rows, columns], y[rows])
        np.testing.assert_allclose(
            selector.scores_[columns], alone.scores_, rtol=1e-6, atol=1e-12
        )
    if selector.pvalues_ is not None:
        assert selector.pvalues_[:3].tolist() == [1, 1, 1]


def test_f_classif_of_a_column_that_never_errs():
    y = np.repeat([0, 1], 10)
    X = np.column_stack([np.random.default_rng(0).normal(size=20), y])
    selector = ChiSquareSelector(1, score_func="f_classif").fit(X, y)
    assert selector.get_support(indices=True).tolist() == [1]
    assert selector.scores_[1] == np.inf and selector.pvalues_[1] == 0


def test_one_clip_a_class():
    X, y = np.random.default_rng(0).normal(size=(3, 4)), ["a", "b", "c"]
    for score_func in ("binned", "minmax", "f_classif"):
        selector = ChiSquareSelector(2, score_func=score_func).fit(X, y)
        assert np.isfinite(selector.pvalues_).all() and selector.support_.sum() == 2


def test_rank_goes_by_p_value_where_bins_differ():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    binary = np.where(rng.random(400) < 0.15, 1 - y, y)
    fine = rng.normal(size=400) + 2.1 * y
    X = np.column_stack([fine, binary])
    selector = ChiSquareSelector(1, n_bins=50).fit(X, y)
    # The finer column scores more by having 50 bins, but is the less certain one
    assert selector.scores_[0] > selector.scores_[1]
    assert selector.pvalues_[0] > selector.pvalues_[1]
    assert selector.ranking_.tolist() == [2, 1]


def test_ranks_hold_where_p_values_are_zero():
    y = np.tile([0, 1, 2], 2000)
    rng = np.random.default_rng(0)
    X = y[:, None] * 1.0 + rng.normal(size=(6000, 6)) * [0.6, 0.1, 0.5, 0.2, 0.4, 0.3]
    selector = ChiSquareSelector(2).fit(X, y)
    assert (selector.pvalues_ == 0).all()
    assert selector.ranking_.tolist() == [6, 1, 5, 2, 4, 3]


def test_of_equals_the_first_column_comes_first(data):
    X, y = data
    twins = np.repeat(X[["audio__0", "video__frame__0"]].to_numpy(), 3, axis=1)
    selector = ChiSquareSelector(2).fit(twins, y)
    assert selector.ranking_.tolist() == [1, 2, 3, 4, 5, 6]
    assert selector.support_.tolist() == [True, True, False, False, False, False]


def test_min_per_stream(data):
    X, y = data
    assert ChiSquareSelector(8).fit(X, y).support_[8:].sum() == 0
    selector = ChiSquareSelector(8, min_per_stream=1).fit(X, y)
    kept = [name.rpartition("__")[0] for name in selector.get_feature_names_out()]
    assert kept == ["audio"] * 6 + ["video__face", "video__frame"]
    # Of each stream the best
    for columns in selector.streams_.values():
        own = columns[selector.support_[columns]]
        assert selector.ranking_[own].max() < min(
            [*selector.ranking_[np.setdiff1d(columns, own)], 17]
        )
    whole = ChiSquareSelector(8, min_per_stream=1, streams=["audio", "video"])
    kept = whole.fit(X, y).get_feature_names_out()
    assert sum(name.startswith("video") for name in kept) == 1
    with pytest.raises(ValueError, match=r"min_per_stream=3 asks for 8 of .*audio, vi"):
        ChiSquareSelector(7, min_per_stream=3).fit(X, y)


def test_by_stream(data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = ChiSquareSelector(3, by_stream=True).fit(X, y).get_feature_names_out()
    assert [n.rpartition("__")[0] for n in kept] == (
        ["audio"] * 3 + ["video__face"] * 3 + ["video__frame"] * 2
    )
    share = ChiSquareSelector(0.5, by_stream=True).fit(X, y)
    assert [share.support_[c].sum() for c in share.streams_.values()] == [4, 3, 1]
    # Columns of no stream are a stream of their own
    some = ChiSquareSelector(1, by_stream=True, streams=["audio"]).fit(X, y)
    assert some.support_[:8].sum() == 1 and some.support_[8:].sum() == 1
    with pytest.raises(MissingStreamError, match="text"):
        ChiSquareSelector(streams=["text"]).fit(X, y)


def test_unlabelled_clips_and_their_features_do_not_matter(data):
    X, y = data
    some = np.arange(180) % 2 == 0
    y[some] = None
    expected = ChiSquareSelector(5).fit(X[~some], y[~some])
    X[some] = X[some] * 100
    found = ChiSquareSelector(5).fit(X, y)
    assert not differences(expected, found)


def test_too_few_classes(data):
    X, y = data
    with pytest.raises(ValueError, match=r"\(0 of 180\) are of no class"):
        ChiSquareSelector().fit(X, np.full(180, -1))
    with pytest.raises(ValueError, match="of 1 class"):
        ChiSquareSelector().fit(X[y == "sad"], y[y == "sad"])
    with pytest.raises(ValueError, match="'k' parameter of ChiSquareSelector"):
        ChiSquareSelector(0).fit(X, y)


def test_held_out_clips_change_nothing(data):
    X, y = data
    train, test = np.arange(120), np.arange(120, 180)
    X2, y2 = changed_rows(X, y, test)

    def fit(X, y):
        model = make_pipeline(
            ChiSquareSelector(0.4, min_per_stream=1), LogisticRegression()
        )
        return model.set_output(transform="pandas").fit(X, y)

    one = fit(X.iloc[train], y[train])
    one.predict(X2.iloc[test])
    assert not differences(one, fit(X2.iloc[train], y2[train]))
    assert differences(fit(X, y), fit(X2, y2))


def test_choosing_before_splitting_inflates_the_score():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 2000)), np.tile([0, 1], 40)
    outside = ChiSquareSelector(20, n_bins=2).fit_transform(X, y)
    inside = make_pipeline(ChiSquareSelector(20, n_bins=2), LogisticRegression())
    assert cross_val_score(LogisticRegression(), outside, y).mean() > 0.8
    assert cross_val_score(inside, X, y).mean() < 0.65


def test_grid_search_in_a_pipeline_with_a_sampler(data):
    X, y = data
    X.iloc[::9, :8] = np.nan
    model = make_pipeline(
        ChiSquareSelector(min_per_stream=1),
        ModalityImputer(),
        RandomOverSampler(random_state=0),
        LogisticRegression(),
    ).set_output(transform="pandas")
    search = GridSearchCV(model, {"chisquareselector__k": [3, 0.5, "all"]}, cv=3)
    search.fit(X, y)
    assert search.best_score_ > 0.6
    classifier = search.best_estimator_[-1]
    selector = search.best_estimator_[0]
    assert list(classifier.feature_names_in_) == list(selector.get_feature_names_out())


def test_mutual_information_leaves_the_global_generator_alone(data):
    # numpy's global generator is the one behind the seed None of check_random_state
    generator = check_random_state(None)
    state = generator.get_state()[1].copy()
    for seed in (None, 0, np.random.RandomState(0)):
        ChiSquareSelector(score_func="mutual_info", random_state=seed).fit(*data)
    assert (generator.get_state()[1] == state).all()
