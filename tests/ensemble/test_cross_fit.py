"""CrossFitTransformer."""

import pickle

import numpy as np
import pandas as pd
import pytest
from leaks import changed_rows, differences
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skmer.ensemble import CrossFitTransformer
from skmer.fusion import AttentionFusionClassifier


class Memory(TransformerMixin, BaseEstimator):
    """Says of each row whether it was among those that it was fitted on."""

    def fit(self, X, y):
        self.rows_ = set(np.asarray(X)[:, 0])
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.array([[float(v in self.rows_)] for v in np.asarray(X)[:, 0]])


class Turned(TransformerMixin, BaseEstimator):
    """Turns rows by an angle that depends on what it was fitted on."""

    def fit(self, X, y):
        angle = float(np.asarray(X).sum()) * 10
        cos, sin = np.cos(angle), np.sin(angle)
        self.turn_ = np.array([[cos, -sin], [sin, cos]])
        return self

    def transform(self, X):
        return np.asarray(X) @ self.turn_


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        rng.normal(size=(40, 2)),
        columns=["audio__0", "text__0"],
        index=[f"clip{i}" for i in range(40)],
    )
    return X, np.resize(np.array(["glad", "sad"], dtype=object), 40)


def test_no_training_row_is_transformed_by_what_has_seen_it(rows):
    X, y = rows
    crossed = CrossFitTransformer(Memory(), align=None, random_state=0)
    assert not crossed.fit_transform(X, y).any()
    assert crossed.transform(X).all()
    assert CrossFitTransformer(Memory(), cv=None).fit_transform(X, y).all()


def test_labels_of_noise_do_not_show():
    """In sample a discriminant tells classes of noise apart; out of fold it cannot."""
    rng = np.random.default_rng(0)
    y = np.tile([0, 1], 50)
    gaps = {None: [], 5: []}
    for X in rng.normal(size=(8, 100, 60)):
        for cv, found in gaps.items():
            discriminant = LinearDiscriminantAnalysis()
            crossed = CrossFitTransformer(discriminant, cv=cv, random_state=0)
            codes = crossed.fit_transform(X, y)
            found.append((codes[y == 1].mean() - codes[y == 0].mean()) / codes.std())
    assert np.mean(gaps[None]) > 1.3 and abs(np.mean(gaps[5])) < 0.3


def test_rotation_brings_codes_of_clones_together(rows):
    X, y = rows
    apart = CrossFitTransformer(Turned(), align=None, random_state=0)
    together = CrossFitTransformer(Turned(), random_state=0)
    far = np.abs(apart.fit_transform(X, y) - apart.transform(X)).mean()
    near = np.abs(together.fit_transform(X, y) - together.transform(X)).max()
    assert far > 0.5 and near < 1e-9


def test_rows_that_cannot_be_held_out_get_the_codes_of_the_whole(rows):
    X, y = rows
    y[:5], y[39] = None, "angry"
    codes = CrossFitTransformer(Memory(), align=None, random_state=0).fit_transform(
        X, y
    )[:, 0]
    assert codes[:5].all() and codes[39] == 1 and not codes[5:39].any()


def test_copies_of_a_clip_and_groups_stay_together(rows):
    X, y = rows
    X.iloc[20:] = X.iloc[:20].to_numpy()
    speakers = pd.Series(np.arange(40) // 4 % 5, index=X.index)
    # Rows 0 and 20 are the same to Memory, and of one clip, or one group, to the folds
    crossed = CrossFitTransformer(Memory(), align=None, random_state=0)
    assert crossed.fit_transform(X, y).any()
    assert not clone(crossed).set_params(groups=speakers).fit_transform(X, y).any()
    copies = X.set_axis([*X.index[:20], *X.index[:20]])
    assert not crossed.fit_transform(copies, y).any()
    y[20:] = None
    labelled = crossed.fit_transform(copies, y)[:20]
    assert not labelled.any(), "unlabelled copies of held-out clips were learnt from"


@pytest.mark.parametrize("y", [["a", "b"], ["a", "b", "c", "b"], ["a", "a", "a", "b"]])
def test_few_rows(rows, y):
    X = rows[0].iloc[: len(y)]
    codes = CrossFitTransformer(Memory(), align=None).fit_transform(X, y)[:, 0]
    alone = [y.count(label) == 1 for label in y]
    np.testing.assert_array_equal(codes, alone)


def test_names_index_and_pickles(rows):
    X, y = rows
    crossed = CrossFitTransformer(PCA(2), align=None, random_state=0)
    crossed.set_output(transform="pandas")
    codes = crossed.fit_transform(X, y)
    assert list(codes.columns) == ["pca0", "pca1"] and codes.index.equals(X.index)
    assert list(crossed.feature_names_in_) == ["audio__0", "text__0"]
    again = pickle.loads(pickle.dumps(crossed))
    pd.testing.assert_frame_equal(again.transform(X), crossed.transform(X))
    pd.testing.assert_frame_equal(clone(crossed).fit_transform(X, y), codes)


def test_networks(rows):
    X, y = rows
    X = X + 2 * (y == "sad")[:, None]
    net = AttentionFusionClassifier(max_epochs=3, hidden_size=4, lr=0.05)
    crossed = CrossFitTransformer(net, cv=2, random_state=0)
    first, second = (crossed.fit_transform(X, y) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (40, len(crossed.get_feature_names_out()))
    np.testing.assert_array_equal(
        clone(crossed).fit(X, y).transform(X), crossed.transform(X)
    )
    model = make_pipeline(crossed, LogisticRegression()).set_output(transform="pandas")
    assert cross_val_score(model, X, y, cv=2).mean() > 0.7


def test_held_out_rows_change_nothing(rows):
    X, y = rows
    test = np.arange(30, 40)
    model = make_pipeline(
        CrossFitTransformer(LinearDiscriminantAnalysis(), random_state=0),
        LogisticRegression(),
    )
    train = np.arange(30)

    def fitted(X, y):
        return clone(model).fit(X.iloc[train], y[train])

    other = changed_rows(X, y, test)
    assert not differences(fitted(X, y), fitted(*other))
    assert differences(fitted(X, y), fitted(*changed_rows(X, y, train[:5])))


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    "estimator",
    [AttentionFusionClassifier(hidden_size=8, max_epochs=2), PCA(2)],
    ids=["network", "other"],
)
def test_folds_of_much_data_are_fitted_in_turn(rows, estimator, n_jobs, monkeypatch):
    X, y = rows
    crossed = CrossFitTransformer(estimator, random_state=0, n_jobs=n_jobs)
    together = clone(crossed).fit_transform(X, y)
    fits = []
    # Where it looks names up: a module may be there twice, for the sake of doctests
    names = CrossFitTransformer._clones_on.__globals__
    fit_members = names["fit_members"]

    def counted(groups, jobs):
        fits.append(len(groups[0][0]))
        return fit_members(groups, jobs)

    monkeypatch.setitem(names, "fit_members", counted)
    monkeypatch.setitem(names["in_portions"].__globals__, "_TOGETHER", 1)
    in_turn = clone(crossed).fit_transform(X, y)
    # Networks' codes must not depend on n_jobs, even by rounding
    pairs = n_jobs == 2 and isinstance(estimator, PCA)
    assert fits == ([1, 2, 2, 1] if pairs else [1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(in_turn, together, rtol=1e-4, atol=1e-5)
