import pickle
import random
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as ImbalancedPipeline
from joblib import parallel_config
from leaks import changed_rows, differences
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    KFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from skmer.ensemble import FoldVotingClassifier, SeedVotingClassifier
from skmer.fusion import AttentionFusionClassifier
from skmer.over_sampling import DropUnlabeled, LabeledSampler
from skmer.utils._pipelines import last_step

NET = AttentionFusionClassifier(hidden_size=8, stream_heads=8, max_epochs=3)
VOTERS = [
    SeedVotingClassifier(NET, n_seeds=3, random_state=0),
    FoldVotingClassifier(NET, cv=3, random_state=0),
]


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    y = np.array(["angry", "happy", "sad"])[np.arange(60) % 3]
    values = rng.normal(size=(60, 7)).astype(np.float32)
    values[np.arange(60), np.arange(60) % 3] += 2.0
    values[:4, 4:] = np.nan
    names = [*(f"audio__{i}" for i in range(4)), *(f"text__{i}" for i in range(3))]
    return pd.DataFrame(values, columns=names, index=[f"c{i}" for i in range(60)]), y


class Fixed(ClassifierMixin, BaseEstimator):
    """A classifier that says what its seed says."""

    def __init__(self, table=None, random_state=None):
        self.table = table
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.n_features_in_ = 1
        return self

    def predict_proba(self, X):
        row = self.table[self.random_state]
        return np.tile(row, (len(X), 1))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def fixed_vote(table, voting):
    vote = SeedVotingClassifier(Fixed(table), n_seeds=len(table), voting=voting)
    vote.fit([[0]] * 3, ["a", "b", "c"])
    for index, member in enumerate(vote.estimators_):
        member.random_state = index
    return vote


TABLE = [[0.5, 0.3, 0.2], [0.5, 0.4, 0.1], [0.01, 0.9, 0.09]]


def test_soft():
    vote = fixed_vote(TABLE, "soft")
    np.testing.assert_allclose(
        vote.predict_proba([[0]]), [[1.01 / 3, 1.6 / 3, 0.39 / 3]]
    )
    assert vote.predict([[0]]) == ["b"]


def test_logit():
    roots = np.cbrt([0.5 * 0.5 * 0.01, 0.3 * 0.4 * 0.9, 0.2 * 0.1 * 0.09])
    vote = fixed_vote(TABLE, "logit")
    np.testing.assert_allclose(vote.predict_proba([[0]]), [roots / roots.sum()])
    np.testing.assert_allclose(
        fixed_vote([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], "logit").predict_proba([[0]]),
        [[1.0, 0.0, 0.0]],
        atol=1e-100,
    )


def test_hard():
    vote = fixed_vote(TABLE, "hard")
    assert vote.predict([[0]]) == ["a"]
    assert not hasattr(vote, "predict_proba")
    # One vote each for a and b: b has the higher mean.
    assert fixed_vote(TABLE[1:], "hard").predict([[0]]) == ["b"]


def test_hard_votes_are_what_members_predict():
    rng = np.random.default_rng(0)
    y = np.tile(["happy", "sad"], 40)
    X = rng.normal(size=(80, 3)) + (y == "sad")[:, None]
    cautious = FixedThresholdClassifier(
        LogisticRegression(), threshold=0.9, pos_label="sad"
    )
    vote = SeedVotingClassifier(cautious, n_seeds=2, voting="hard").fit(X, y)
    said = vote.estimators_[0].predict(X)
    assert (said != LogisticRegression().fit(X, y).predict(X)).any()
    np.testing.assert_array_equal(vote.predict(X), said)


def test_hard_votes_of_members_without_probabilities(clips):
    X, y = clips
    X = X.fillna(0.0)
    vote = SeedVotingClassifier(Perceptron(), voting="hard", random_state=0).fit(X, y)
    labels = np.array([member.predict(X) for member in vote.estimators_])
    counts = np.array([(labels == label).sum(axis=0) for label in vote.classes_])
    np.testing.assert_array_equal(vote.predict(X), vote.classes_[counts.argmax(axis=0)])
    assert not hasattr(SeedVotingClassifier(Perceptron()), "predict_proba")
    assert not hasattr(vote, "transform")
    assert not hasattr(vote, "modality_weights")


def sequential(vote, X, y, rows=None):
    """The same members, fitted one after another."""
    found = []
    for index, member in enumerate(vote.estimators_):
        own = np.arange(len(y)) if rows is None else rows[index]
        found.append(clone(member).fit(X.iloc[own], y[own]))
    return found


def test_members_are_those_of_fits_in_turn(clips):
    X, y = clips
    seeds = clone(VOTERS[0]).fit(X, y)
    folds = clone(VOTERS[1]).set_params(n_seeds=2).fit(X, y)
    assert len(folds.estimators_) == 6
    rows = [learn for learn, _ in folds.folds_ for _ in range(2)]
    for vote, own in ((seeds, None), (folds, rows)):
        alone = sequential(vote, X, y, own)
        for member, other in zip(vote.estimators_, alone, strict=True):
            np.testing.assert_allclose(
                member.predict_proba(X), other.predict_proba(X), atol=1e-5
            )
        np.testing.assert_allclose(
            vote.predict_proba(X),
            np.mean([other.predict_proba(X) for other in alone], axis=0),
            atol=1e-5,
        )
        states = {member.random_state for member in vote.estimators_}
        assert len(states) == len(vote.estimators_)


@pytest.mark.parametrize("seeded_step", [False, True])
def test_pipelines(clips, seeded_step):
    X, y = clips
    steps = [StandardScaler(), NET]
    if seeded_step:
        project = make_column_transformer(
            (GaussianRandomProjection(2), make_column_selector("audio")),
            ("passthrough", make_column_selector("audio")),
        )
        steps.insert(1, project)
    pipe = make_pipeline(*steps).set_output(transform="pandas")
    vote = FoldVotingClassifier(pipe, cv=3, n_seeds=2, random_state=0).fit(X, y)
    rows = [learn for learn, _ in vote.folds_ for _ in range(2)]
    for member, other in zip(
        vote.estimators_, sequential(vote, X, y, rows), strict=True
    ):
        np.testing.assert_allclose(
            member.predict_proba(X), other.predict_proba(X), atol=1e-5
        )
    first, second = (member[0] for member in vote.estimators_[:2])
    assert (first is second) != seeded_step
    assert vote.n_features_in_ == 7
    assert vote.feature_names_in_.tolist() == X.columns.tolist()
    assert vote.transform(X).shape == (60, 6 * 8)


def test_steps_without_a_seed_are_shared_within_a_fold_only(clips):
    X, y = clips
    pipe = make_pipeline(StandardScaler(), NET).set_output(transform="pandas")
    vote = FoldVotingClassifier(pipe, cv=2, n_seeds=2, random_state=0).fit(X, y)
    scalers = [member[0] for member in vote.estimators_]
    assert scalers[0] is scalers[1]
    assert scalers[0] is not scalers[2]
    learn = vote.folds_[1][0]
    expected = StandardScaler().fit(X.iloc[learn]).mean_
    np.testing.assert_allclose(scalers[2].mean_, expected)


def test_sample_weight_reaches_the_members(clips):
    X, y = clips
    X = X.fillna(0.0)
    weight = np.where(y == "sad", 5.0, 1.0)
    net = clone(NET).set_params(stream_heads=None, max_epochs=20, lr=1e-2)
    for estimator in (
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        net,
        make_pipeline(StandardScaler().set_output(transform="pandas"), net),
    ):
        vote = SeedVotingClassifier(estimator, n_seeds=2, random_state=0)
        even = clone(vote).fit(X, y).predict_proba(X)[:, 2].mean()
        assert vote.fit(X, y, weight).predict_proba(X)[:, 2].mean() > even + 0.02
        fold = FoldVotingClassifier(estimator, cv=2, random_state=0)
        even = clone(fold).fit(X, y).predict_proba(X)[:, 2].mean()
        assert fold.fit(X, y, weight).predict_proba(X)[:, 2].mean() > even + 0.02


def test_folds_are_stratified_shuffled_and_keep_groups_together(clips):
    X, y = clips
    X = X.fillna(0.0)
    vote = FoldVotingClassifier(LogisticRegression(), cv=4, random_state=0).fit(X, y)
    held = np.concatenate([rest for _, rest in vote.folds_])
    assert sorted(held) == list(range(60))
    assert held.tolist() != list(range(60))
    for learn, rest in vote.folds_:
        assert np.intersect1d(learn, rest).size == 0
        assert np.unique(y[rest], return_counts=True)[1].tolist() == [5, 5, 5]
    groups = np.repeat(np.arange(10), 6)
    for cv in (5, GroupKFold(5)):
        vote.set_params(cv=cv).fit(X, y, groups=groups)
        for learn, rest in vote.folds_:
            assert np.intersect1d(groups[learn], groups[rest]).size == 0
    pairs = [(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))]
    vote.set_params(cv=pairs).fit(X, y)
    np.testing.assert_array_equal(vote.folds_[1][0], np.arange(20, 60))


def test_unlabelled_rows_are_in_every_training_part(clips):
    X, y = clips
    y = y.astype(object)
    y[::4] = None
    vote = FoldVotingClassifier(NET, cv=3, random_state=0).fit(X, y)
    for learn, rest in vote.folds_:
        assert set(range(0, 60, 4)) <= set(learn)
        assert not set(range(0, 60, 4)) & set(rest)
    assert vote.classes_.tolist() == ["angry", "happy", "sad"]
    assert 0.0 <= vote.score(X, y) <= 1.0
    with pytest.raises(ValueError, match="None of the 60 rows"):
        vote.score(X, np.full(60, None))


@pytest.mark.parametrize("voting", ["soft", "logit", "hard"])
@pytest.mark.parametrize("estimator", [NET, LogisticRegression()])
def test_a_fold_may_lack_a_class(clips, estimator, voting):
    X, y = clips
    X = X.fillna(0.0)
    some = np.flatnonzero(y != "happy")
    pairs = [(np.arange(60), some), (some, some), (np.arange(60), some)]
    vote = FoldVotingClassifier(estimator, cv=pairs, voting=voting, random_state=0)
    vote.fit(X, y)
    assert vote.estimators_[1].classes_.tolist() == ["angry", "sad"]
    assert set(vote.predict(X)) <= set(y)
    if voting == "hard":
        return
    proba = vote.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    parts = [m.predict_proba(X).astype(float) for m in vote.estimators_]
    if voting == "soft":
        expected = (parts[0][:, 1] + parts[2][:, 1]) / 3
        np.testing.assert_allclose(proba[:, 1], expected)
    else:
        logs = [np.log(part) for part in parts]
        own = np.stack(
            [
                (logs[0][:, 0] + logs[1][:, 0] + logs[2][:, 0]) / 3,
                (logs[0][:, 1] + logs[2][:, 1]) / 2,
                (logs[0][:, 2] + logs[1][:, 1] + logs[2][:, 2]) / 3,
            ],
            axis=1,
        )
        own = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(proba, own, atol=1e-12)


@pytest.mark.parametrize("vote", VOTERS, ids=["seeds", "folds"])
def test_codes_and_weights(clips, vote):
    X, y = clips
    vote = clone(vote).set_output(transform="pandas").fit(X, y)
    codes = vote.transform(X)
    assert codes.shape == (60, 24)
    assert codes.index.equals(X.index)
    assert codes.columns[0] == f"{type(vote).__name__.lower()}0"
    np.testing.assert_allclose(
        codes.iloc[:, 8:16], vote.estimators_[1].transform(X), atol=1e-6
    )
    weights = vote.modality_weights(X, normalize=True)
    assert weights.columns.tolist() == ["audio", "text"]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert (weights["text"].iloc[:4] == 0).all()
    expected = np.mean([m.modality_weights(X) for m in vote.estimators_], axis=0)
    np.testing.assert_allclose(vote.modality_weights(X), expected, atol=1e-6)
    values = X.fillna(0.0).to_numpy()
    weights = clone(vote).fit(values, y).modality_weights(values)
    assert isinstance(weights, np.ndarray)
    assert weights.shape == (60, 1)


@pytest.mark.parametrize("vote", VOTERS, ids=["seeds", "folds"])
def test_repeats_and_leaves_global_generators_alone(clips, vote):
    X, y = clips
    legacy = np.random.get_state
    before = legacy()[1].copy(), torch.get_rng_state(), random.getstate()
    proba = clone(vote).fit(X, y).predict_proba(X)
    assert np.array_equal(proba, clone(vote).fit(X, y).predict_proba(X))
    clone(vote).set_params(random_state=None).fit(X, y)
    assert np.array_equal(before[0], legacy()[1])
    assert torch.equal(before[1], torch.get_rng_state())
    assert before[2] == random.getstate()
    results = {}

    def work(name):
        results[name] = clone(vote).fit(X, y).predict_proba(X)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[i], proba) for i in range(2))


@pytest.mark.parametrize("vote", VOTERS, ids=["seeds", "folds"])
def test_pickles_and_searches(clips, vote):
    X, y = clips
    vote = clone(vote).fit(X, y)
    again = pickle.loads(pickle.dumps(vote))
    assert np.array_equal(again.predict_proba(X), vote.predict_proba(X))
    search = GridSearchCV(
        clone(vote), {"estimator__hidden_size": [4, 8], "voting": ["logit"]}, cv=2
    ).fit(X, y)
    assert search.best_score_ > 0.3


def test_errors(clips):
    X, y = clips
    with pytest.raises(ValueError, match="cv=5 needs as many labelled clips"):
        FoldVotingClassifier(NET).fit(X[:4], y[:4])
    with pytest.raises(ValueError, match="cv=5 needs as many groups"):
        FoldVotingClassifier(NET).fit(X, y, groups=np.arange(60) % 2)
    with pytest.raises(ValueError, match="cv has no folds"):
        FoldVotingClassifier(NET, cv=[]).fit(X, y)
    with pytest.raises(ValueError, match="requires y"):
        SeedVotingClassifier(NET).fit(X, None)


def test_weights_are_refused_where_a_step_moves_rows(clips):
    X, y = clips[0].iloc[:, :4], np.tile([0, 1, -1], 20)
    sampler = LabeledSampler(RandomOverSampler(random_state=0))
    steps = [("sample", sampler), ("fuse", NET)]
    vote = SeedVotingClassifier(ImbalancedPipeline(steps), n_seeds=1, random_state=0)
    # Classes are even: no copy is made, but unlabelled rows go to the end
    with pytest.raises(ValueError, match="before AttentionFusionClassifier samples"):
        vote.fit(X, y, sample_weight=np.arange(1.0, 61))
    vote.fit(X, y)


@pytest.mark.parametrize("vote", [SeedVotingClassifier, FoldVotingClassifier])
def test_members_that_take_unlabelled_rows_for_a_class_are_refused(clips, vote):
    X, y = clips[0].iloc[:, :4], np.arange(60) % 3
    y[::4] = -1
    model = vote(LogisticRegression(), random_state=0)
    with pytest.raises(ValueError, match="LogisticRegression took the mark.*-1, for"):
        model.fit(X, y)
    steps = [("drop", DropUnlabeled()), ("classify", LogisticRegression())]
    model = vote(ImbalancedPipeline(steps), random_state=0)
    proba = model.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_a_vote_is_better_than_its_members_on_average(clips):
    rng = np.random.default_rng(1)
    y = np.arange(400) % 3
    X = rng.normal(size=(400, 20))
    X[np.arange(400), y] += 1.0
    net = AttentionFusionClassifier(
        streams={"a": slice(0, 10), "b": slice(10, 20)}, hidden_size=16, max_epochs=15
    )
    learn, rest = slice(0, 100), slice(100, None)
    for vote in (
        SeedVotingClassifier(net, n_seeds=8, random_state=0),
        FoldVotingClassifier(net, cv=KFold(8), random_state=0),
    ):
        vote.fit(X[learn], y[learn])
        members = [m.score(X[rest], y[rest]) for m in vote.estimators_]
        assert vote.score(X[rest], y[rest]) > np.mean(members)


def test_weights_and_saliency_through_pipelines(clips):
    X, y = clips
    scale = StandardScaler()
    resampled = ImbalancedPipeline(
        [("scale", scale), ("sample", RandomOverSampler(random_state=0)), ("net", NET)]
    ).set_output(transform="pandas")
    nested = make_pipeline(scale, make_pipeline(None, NET))
    nested.set_output(transform="pandas")
    plain = make_pipeline(scale, NET).set_output(transform="pandas")
    for pipe in (plain, nested, resampled):
        vote = SeedVotingClassifier(pipe, n_seeds=2, random_state=0)
        vote.fit(X.fillna(0.0), y)
        for method in ("modality_weights", "saliency"):
            found = getattr(vote, method)(X, normalize=True)
            assert found.index.equals(X.index)
            assert found.columns.tolist() == ["audio", "text"]
            parts = []
            for member in vote.estimators_:
                net = last_step(member)
                scaled = member.steps[0][1].transform(X)
                parts.append(getattr(net, method)(scaled, normalize=True))
            np.testing.assert_allclose(found, sum(parts) / 2, atol=1e-6)
        expected = np.mean([m.predict_proba(X) for m in vote.estimators_], axis=0)
        np.testing.assert_allclose(vote.predict_proba(X), expected, atol=1e-6)


def test_preparing_steps_that_members_share_run_once(clips):
    X, y = clips
    calls = []

    def count(values):
        calls.append(len(values))
        return values

    pipe = make_pipeline(FunctionTransformer(count), NET)
    vote = SeedVotingClassifier(pipe, n_seeds=3, random_state=0).fit(X, y)
    assert calls == [60]
    for method in ("predict", "predict_proba", "transform", "saliency"):
        calls.clear()
        getattr(vote, method)(X)
        assert calls == [60]


def test_what_members_cannot_do_is_missing():
    vote = SeedVotingClassifier(LogisticRegression())
    for method in ("transform", "fit_transform", "modality_weights", "saliency"):
        assert not hasattr(vote, method)
    for estimator in (NET, make_pipeline(StandardScaler(), NET)):
        vote = SeedVotingClassifier(estimator)
        for method in ("transform", "fit_transform", "modality_weights", "saliency"):
            assert hasattr(vote, method)


FOREST = RandomForestClassifier(5)


@pytest.mark.parametrize(
    ("vote", "backend"),
    [
        (SeedVotingClassifier(make_pipeline(StandardScaler(), FOREST)), "loky"),
        (FoldVotingClassifier(FOREST, cv=2), "threading"),
    ],
    ids=["seeds", "folds"],
)
def test_members_do_not_depend_on_jobs(clips, vote, backend):
    X, y = clips
    vote = clone(vote).set_params(random_state=0)
    alone = clone(vote).fit(X, y).predict_proba(X)
    with parallel_config(backend=backend):
        jobs = clone(vote).set_params(n_jobs=2).fit(X, y)
    assert np.array_equal(jobs.predict_proba(X), alone)


@pytest.mark.parametrize("kind", [SeedVotingClassifier, FoldVotingClassifier])
def test_held_out_rows_change_nothing_fitted(clips, kind):
    X, y = clips
    learn, held = np.arange(40), np.arange(40, 60)
    X2, y2 = changed_rows(X.fillna(0.0), y, held)
    for last in (LogisticRegression(), NET):
        pipe = make_pipeline(StandardScaler(), last).set_output(transform="pandas")
        vote = kind(pipe, random_state=0)

        def fit(X, y, rows, vote=vote):
            return clone(vote).fit(X.fillna(0.0).iloc[rows], y[rows])

        assert not differences(fit(X, y, learn), fit(X2, y2, learn))
        found = " ".join(differences(fit(X, y, range(60)), fit(X2, y2, range(60))))
        assert "mean_" in found
