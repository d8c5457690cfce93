import pickle
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import SMOTE, RandomOverSampler
from leaks import changed_rows, differences
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC

from skmer.fusion import AttentionFusionClassifier, CrossAttentionFusionClassifier
from skmer.over_sampling import LabeledSampler, at_least
from skmer.semi_supervised import AgreementSelfTrainingClassifier

CLASSES = ["angry", "happy", "sad"]
NET = AttentionFusionClassifier(hidden_size=8, stream_heads=8, max_epochs=3)


@pytest.fixture
def clips():
    """120 clips of three emotions; the first 30 rows have a label."""
    rng = np.random.default_rng(0)
    truth = np.array(CLASSES, dtype=object)[np.arange(120) % 3]
    values = rng.normal(size=(120, 6))
    for block in (0, 3):
        values[np.arange(120), block + np.arange(120) % 3] += 1.6
    names = [f"{m}__{i}" for m in ("audio", "text") for i in range(3)]
    X = pd.DataFrame(values, columns=names, index=[f"c{i}.mp4" for i in range(120)])
    y = truth.copy()
    y[30:] = None
    return X, y, truth


class OfStream(ClassifierMixin, BaseEstimator):
    """Logistic regression on one stream of a frame; fails without names."""

    def __init__(self, stream="audio", C=1.0):
        self.stream = stream
        self.C = C

    def _part(self, X):
        return X[[name for name in X.columns if name.startswith(self.stream)]]

    def fit(self, X, y):
        self.index_, self.feature_names_in_ = X.index, np.array(X.columns)
        self.model_ = LogisticRegression(C=self.C).fit(self._part(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(self._part(X))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def _agreeing(threshold=0.6, **params):
    return AgreementSelfTrainingClassifier(
        LogisticRegression(), GaussianNB(), threshold=threshold, **params
    )


# What is chosen


def test_rows_chosen_are_those_both_models_are_sure_of(clips):
    X, y, _ = clips
    first = LogisticRegression().fit(X[:30], y[:30])
    second = GaussianNB().fit(X[:30], y[:30])
    a, b = first.predict_proba(X[30:]), second.predict_proba(X[30:])
    same = a.argmax(axis=1) == b.argmax(axis=1)
    expected = same & (np.minimum(a.max(axis=1), b.max(axis=1)) >= 0.6)
    model = _agreeing().fit(X, y)
    assert 10 < expected.sum() < 90
    np.testing.assert_array_equal(model.labeled_iter_[:30], 0)
    np.testing.assert_array_equal(model.labeled_iter_[30:], np.where(expected, 1, -1))
    labels = np.where(expected, first.classes_[a.argmax(axis=1)], None)
    assert model.transduction_[30:].tolist() == labels.tolist()
    assert model.transduction_[:30].tolist() == y[:30].tolist()
    table = model.pseudo_labels_
    assert table.index.tolist() == X.index[30:].tolist()
    assert table["row"].tolist() == list(range(30, 120))
    np.testing.assert_array_equal(table["agreed"], same)
    np.testing.assert_allclose(table["confidence"], a.max(axis=1))
    np.testing.assert_allclose(table["partner_confidence"], b.max(axis=1))
    np.testing.assert_array_equal(table["round"], model.labeled_iter_[30:])
    again = np.r_[np.arange(30), 30 + np.flatnonzero(expected)]
    refit = LogisticRegression().fit(X.iloc[again], model.transduction_[again])
    np.testing.assert_allclose(model.predict_proba(X), refit.predict_proba(X))
    assert model.classes_.tolist() == CLASSES
    assert model.n_iter_ == 1 and model.termination_condition_ == "max_iter"


def test_confidence_says_whose_counts(clips):
    X, y, _ = clips
    taken = {}
    for which in ("both", "mean", "first"):
        model = _agreeing(0.7, confidence=which).fit(X, y)
        table = model.pseudo_labels_
        a, b = table["confidence"], table["partner_confidence"]
        score = {"both": np.minimum(a, b), "mean": (a + b) / 2, "first": a}[which]
        taken[which] = table["round"] == 1
        pd.testing.assert_series_equal(
            taken[which], table["agreed"] & (score >= 0.7), check_names=False
        )
    assert taken["both"].sum() < taken["mean"].sum()
    assert (taken["mean"] != taken["first"]).any()


def test_thresholds_by_class(clips):
    X, y, _ = clips
    limits = {"angry": 0.9, "happy": 0.5, "sad": 1.0}
    model = _agreeing(limits).fit(X, y)
    table = model.pseudo_labels_
    score = np.minimum(table["confidence"], table["partner_confidence"])
    expected = table["agreed"] & (score >= table["label"].map(limits).astype(float))
    assert ((table["round"] == 1) == expected).all()
    assert model.thresholds_ == limits
    assert set(table["label"][table["round"] == 1]) == {"angry", "happy"}


def test_counts_take_the_surest_of_each_class(clips):
    X, y, _ = clips
    counts = {"angry": 3, "happy": 0, "sad": 7}
    model = _agreeing(None, n_per_class=counts).fit(X, y)
    table = model.pseudo_labels_.query("agreed")
    table = table.assign(score=table[["confidence", "partner_confidence"]].min(axis=1))
    for label, count in counts.items():
        part = table[table["label"] == label].sort_values("score", ascending=False)
        assert (part["round"].iloc[:count] == 1).all()
        assert (part["round"].iloc[count:] == -1).all()
    assert model.thresholds_ == dict.fromkeys(CLASSES, 0.0)


def test_counts_and_thresholds_both_hold(clips):
    X, y, _ = clips
    limited = _agreeing(0.6).fit(X, y).pseudo_labels_
    some = _agreeing(0.6, n_per_class=5).fit(X, y).pseudo_labels_
    taken = some["round"] == 1
    assert some.loc[taken, "label"].value_counts().max() == 5
    assert (limited.loc[taken, "round"] == 1).all() and taken.sum() == 15


def test_a_share_is_divided_as_the_labels_are(clips):
    X, y, _ = clips
    y = y.copy()
    y[[0, 3, 6, 9, 12]] = None  # 5 angry, 10 happy, 10 sad are left
    model = _agreeing(None, n_per_class=0.2).fit(X, y)
    taken = model.pseudo_labels_.query("round == 1")["label"].value_counts()
    assert taken.to_dict() == {"happy": 8, "sad": 8, "angry": 4}  # 0.2 * 95 = 19


def test_without_a_partner_it_is_plain_self_training():
    rng = np.random.default_rng(1)
    truth = np.arange(150) % 3
    X = rng.normal(size=(150, 4)) + np.eye(4)[truth] * 2
    y = np.where(np.arange(150) < 30, truth, -1)
    ours = AgreementSelfTrainingClassifier(
        LogisticRegression(), threshold=0.8, n_rounds=None
    ).fit(X, y)
    theirs = SelfTrainingClassifier(LogisticRegression(), threshold=0.8, max_iter=None)
    theirs.fit(X, y)
    assert ours.n_iter_ > 2
    for name in ("transduction_", "labeled_iter_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for name in ("n_iter_", "termination_condition_"):
        assert getattr(ours, name) == getattr(theirs, name)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))
    assert "partner_label" not in ours.pseudo_labels_ and ours.partner_ is None


def test_the_partner_is_fitted_anew_before_each_further_round(clips):
    X, y, _ = clips
    one = _agreeing(0.7).fit(X, y)
    two = _agreeing(0.7, n_rounds=2).fit(X, y)
    first = GaussianNB().fit(X[:30], y[:30])
    np.testing.assert_array_equal(one.partner_.theta_, first.theta_)
    rows = two.labeled_iter_ >= 0
    rows &= two.labeled_iter_ <= 1
    second = GaussianNB().fit(X[rows], two.transduction_[rows])
    np.testing.assert_array_equal(two.partner_.theta_, second.theta_)
    assert two.n_iter_ == 2 and (two.labeled_iter_ == 2).any()
    np.testing.assert_array_equal(one.labeled_iter_ == 1, two.labeled_iter_ == 1)


def test_more_labels_are_right_where_both_agree(clips):
    X, y, truth = clips
    both = AgreementSelfTrainingClassifier(
        OfStream("audio"), OfStream("text"), threshold=None
    )
    alone = AgreementSelfTrainingClassifier(OfStream("audio"), threshold=None)
    right = {}
    for name, model in {"both": both, "alone": alone}.items():
        table = model.fit(X, y).pseudo_labels_.query("round == 1")
        right[name] = (table["label"] == truth[table["row"]]).mean()
    assert right["both"] > right["alone"] + 0.1


# What X and y may be


def test_names_and_ids_reach_the_models(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(
        OfStream("audio"), OfStream("text"), threshold=0.5
    ).fit(X, y)
    assert model.estimator_.index_.isin(X.index).all()
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert model.partner_.index_.tolist() == X.index[:30].tolist()


def _texts(truth):
    rng = np.random.default_rng(0)
    words = {"angry": "no stop never", "happy": "yes great fun", "sad": "oh dear lost"}
    return [
        " ".join(rng.choice([*words[t].split(), *"abcdefgh"], size=8)) for t in truth
    ]


@pytest.mark.parametrize("kind", ["list", "array", "series", "objects", "sparse"])
def test_any_indexable_x(clips, kind):
    _, y, truth = clips
    texts = _texts(truth)
    words = make_pipeline(HashingVectorizer(n_features=256), LogisticRegression())
    chars = make_pipeline(
        HashingVectorizer(n_features=256, analyzer="char"), LogisticRegression()
    )
    X = {
        "list": texts,
        "array": np.array(texts, dtype=object),
        "series": pd.Series(texts, index=[f"c{i}" for i in range(120)]),
        "objects": texts,
        "sparse": words[0].transform(texts),
    }[kind]
    if kind == "sparse":
        words, chars = LogisticRegression(), LogisticRegression(C=2.0)
    model = AgreementSelfTrainingClassifier(words, chars, threshold=0.5).fit(X, y)
    assert 0 < (model.labeled_iter_ == 1).sum() < 90
    assert model.score(X, truth) > 0.6
    if kind == "series":
        assert model.pseudo_labels_.index[0] == "c30"
    if kind == "list":
        assert model.pseudo_labels_.index[0] == texts[30]


class OfPaths(ClassifierMixin, BaseEstimator):
    """Reads files: paths reach it as they were given."""

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(self._read(X), y)
        self.classes_ = self.model_.classes_
        return self

    def _read(self, X):
        return np.array([np.load(path) for path in X])

    def predict_proba(self, X):
        return self.model_.predict_proba(self._read(X))

    def predict(self, X):
        return self.model_.predict(self._read(X))


def test_paths_of_clips(clips, tmp_path):
    X, y, truth = clips
    paths = [tmp_path / f"{i}.npy" for i in range(120)]
    for path, row in zip(paths, X.to_numpy(), strict=True):
        np.save(path, row)
    model = AgreementSelfTrainingClassifier(OfPaths(), threshold=0.7).fit(paths, y)
    other = AgreementSelfTrainingClassifier(LogisticRegression(), threshold=0.7)
    other.fit(X.to_numpy(), y)
    np.testing.assert_array_equal(model.transduction_, other.transduction_)
    assert model.predict(paths).tolist() == other.predict(X.to_numpy()).tolist()
    assert Path(model.pseudo_labels_.index[0]) == paths[30]


def test_sequences_in_object_columns(clips):
    X, y, _ = clips
    cells = pd.DataFrame(index=X.index)
    for stream in ("audio", "text"):
        column = np.empty(120, dtype=object)
        for i, row in enumerate(X.filter(like=stream).to_numpy(np.float32)):
            column[i] = np.repeat(row[np.newaxis], 1 + i % 3, axis=0)
        cells[f"{stream}__frames"] = column
    net = CrossAttentionFusionClassifier(max_epochs=2, hidden_size=8, random_state=0)
    model = AgreementSelfTrainingClassifier(net, threshold=None, n_per_class=4)
    model.fit(cells, y)
    assert len(model.estimator_.history_) == 4
    assert (model.labeled_iter_ == 1).sum() >= 4


@pytest.mark.parametrize(
    ("labels", "mark"),
    [((0, 1), -1), ((-1, 1), None), ((False, True), None), (("a", "b"), None)],
)
def test_marks_of_unlabelled_rows(labels, mark):
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 2
    X = rng.normal(size=(60, 2)) + 2 * codes[:, np.newaxis]
    y = np.array(labels, dtype=object)[codes]
    y[20:] = -1 if mark == -1 else None
    if mark == -1:
        y = y.astype(int)
    model = AgreementSelfTrainingClassifier(LogisticRegression(), threshold=0.95)
    model.fit(X, y)
    assert model.classes_.tolist() == list(labels)
    never = model.transduction_[model.labeled_iter_ == -1].tolist()
    assert never and set(never) == {mark}
    taken = model.labeled_iter_ == 1
    assert set(model.transduction_[taken].tolist()) == set(labels)
    assert set(model.predict(X).tolist()) == set(labels)


def test_minus_one_and_one_are_labels():
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.where(X[:, 0] > 0, 1, -1)
    model = AgreementSelfTrainingClassifier(LogisticRegression()).fit(X, y)
    assert model.classes_.tolist() == [-1, 1]
    assert model.termination_condition_ == "all_labeled"
    assert model.transduction_.tolist() == y.tolist()


# Edges


def test_no_unlabelled_rows_just_fits(clips):
    X, _, truth = clips
    model = _agreeing(calibrate="temperature", n_per_class=0.5).fit(X, truth)
    alone = LogisticRegression().fit(X, truth)
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert model.n_iter_ == 0 and model.termination_condition_ == "all_labeled"
    assert len(model.pseudo_labels_) == 0 and model.partner_ is None
    assert model.pseudo_labels_.columns.tolist() == [
        *("row", "label", "confidence", "partner_label", "partner_confidence"),
        *("agreed", "round"),
    ]


def test_no_rounds_leave_the_first_model(clips):
    X, y, _ = clips
    model = _agreeing(n_rounds=0).fit(X, y)
    alone = LogisticRegression().fit(X[:30], y[:30])
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert model.termination_condition_ == "max_iter"


def test_everything_unlabelled_is_an_error(clips):
    X, y, truth = clips
    with pytest.raises(ValueError, match="0 of 120 rows have a label"):
        _agreeing().fit(X, np.full(120, None))
    weight = np.where(np.arange(120) < 30, 0.0, 1.0)
    with pytest.raises(ValueError, match="30 of 120 rows have a label"):
        _agreeing().fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="None of the 120 rows"):
        _agreeing().fit(X, truth).score(X, np.full(120, None))


def test_thresholds_nobody_passes(clips):
    X, y, _ = clips
    with pytest.warns(UserWarning) as caught:
        model = _agreeing(0.9999999).fit(X, y)
    (message,) = [str(w.message) for w in caught]
    assert caught[0].filename == __file__
    table = model.pseudo_labels_.query("agreed and label == 'sad'")
    best = table[["confidence", "partner_confidence"]].min(axis=1).max()
    assert f"'sad' {best:.3g} of 1" in message and "n_per_class" in message
    alone = LogisticRegression().fit(X[:30], y[:30])
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert model.n_iter_ == 1 and model.termination_condition_ == "no_change"


def test_counts_that_ask_for_none(clips):
    X, y, _ = clips
    said = r"n_per_class=0.001 asks for none.*Raise n_per_class\."
    with pytest.warns(UserWarning, match=said):
        _agreeing(None, n_per_class=0.001).fit(X, y)


class Contrary(LogisticRegression):
    """Agrees with nobody."""

    def predict_proba(self, X):
        return np.roll(super().predict_proba(X), 1, axis=1)


def test_models_that_agree_on_nothing(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(
        LogisticRegression(), Contrary(), threshold=None
    )
    with pytest.warns(UserWarning, match="agree on none of them"):
        model.fit(X, y)


def test_dicts_that_do_not_fit_the_classes(clips):
    X, y, _ = clips
    with pytest.raises(ValueError, match=r"lacks the classes \['happy'\] and has "):
        _agreeing({"angry": 0.9, "hapy": 0.9, "sad": 0.9}).fit(X, y)
    with pytest.raises(ValueError, match=r"n_per_class lacks the classes"):
        _agreeing(None, n_per_class={"angry": 3}).fit(X, y)
    with pytest.raises(ValueError, match="whole numbers"):
        _agreeing(None, n_per_class=dict.fromkeys(CLASSES, 2.5)).fit(X, y)
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        _agreeing(dict.fromkeys(CLASSES, 99)).fit(X, y)
    with pytest.raises(ValueError, match="threshold must hold numbers from 0 on"):
        _agreeing(dict.fromkeys(CLASSES, "high")).fit(X, y)
    with pytest.raises(ValueError, match="share of the unlabelled"):
        _agreeing(None, n_per_class=1.5).fit(X, y)
    with pytest.warns(UserWarning, match=r"name \['bored'\], which no row") as caught:
        _agreeing({**dict.fromkeys(CLASSES, 0.6), "bored": 0.5}).fit(X, y)
    assert caught[0].filename == __file__


class Forgetful(LogisticRegression):
    """Learns from all rows but those of one class."""

    def fit(self, X, y):
        return super().fit(X[y != "sad"], y[y != "sad"])


@pytest.mark.parametrize("place", ["estimator", "partner"])
def test_a_model_that_lacks_a_class(clips, place):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(LogisticRegression(), GaussianNB())
    with pytest.raises(ValueError, match=r"knows \['angry', 'happy'\] only"):
        model.set_params(**{place: Forgetful()}).fit(X, y)


def test_models_that_cannot_say_how_sure_they_are(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(LogisticRegression(), LinearSVC())
    with pytest.raises(ValueError, match="The partner, LinearSVC, has no predict_pro"):
        model.fit(X, y)
    model.set_params(calibrate="temperature", threshold=0.5, random_state=0).fit(X, y)
    assert (model.labeled_iter_ == 1).any()
    table = model.pseudo_labels_
    assert table["partner_confidence"].between(1 / 3, 1).all()
    assert not hasattr(AgreementSelfTrainingClassifier(LinearSVC()), "predict_proba")


# Weights and samplers


def test_weights_of_labels_and_pseudo_labels(clips):
    X, y, _ = clips
    weight = np.linspace(0.5, 2.0, 120)
    model = _agreeing(pseudo_weight=0.25).fit(X, y, sample_weight=weight)
    first = LogisticRegression().fit(X[:30], y[:30], sample_weight=weight[:30])
    np.testing.assert_allclose(
        model.pseudo_labels_["confidence"], first.predict_proba(X[30:]).max(axis=1)
    )
    taken = model.labeled_iter_ >= 0
    weight[model.labeled_iter_ == 1] *= 0.25
    second = LogisticRegression().fit(
        X[taken], model.transduction_[taken], sample_weight=weight[taken]
    )
    np.testing.assert_allclose(model.predict_proba(X), second.predict_proba(X))


def test_weights_as_sure_as_the_labels(clips):
    X, y, _ = clips
    model = _agreeing(pseudo_weight="confidence").fit(X, y)
    table = model.pseudo_labels_.query("round == 1")
    taken = model.labeled_iter_ >= 0
    weight = np.ones(120)
    weight[table["row"]] = table[["confidence", "partner_confidence"]].min(axis=1)
    again = LogisticRegression().fit(
        X[taken], model.transduction_[taken], sample_weight=weight[taken]
    )
    np.testing.assert_allclose(model.predict_proba(X), again.predict_proba(X))


def test_weights_of_zero_leave_rows_out(clips):
    X, y, _ = clips
    weight = np.ones(120)
    weight[20:40] = 0.0
    model = _agreeing().fit(X, y, sample_weight=weight)
    keep = weight > 0
    other = _agreeing().fit(X[keep], y[keep])
    np.testing.assert_array_equal(model.labeled_iter_[keep], other.labeled_iter_)
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X))
    weight = np.where(y == "sad", 0.0, 1.0)
    assert _agreeing().fit(X, y, weight).classes_.tolist() == ["angry", "happy"]


def test_models_without_weights(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(OfStream(), pseudo_weight=0.5)
    with pytest.raises(ValueError, match="OfStream takes no weights of rows"):
        model.fit(X, y)


def _rare(y, seed=0):
    y = y.copy()
    y[np.flatnonzero(y == "sad")[3:]] = None
    return y


@pytest.mark.parametrize("wrap", [LabeledSampler, clone])
def test_one_class_is_too_few_for_a_sampler(clips, wrap):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(
        LogisticRegression(), sampler=wrap(RandomOverSampler())
    )
    with pytest.raises(ValueError, match="rows are of one class, 'sad'.*oversample=F"):
        model.fit(X, np.where(pd.isna(y), None, "sad"))


def test_a_sampler_in_each_step(clips):
    X, y, _ = clips
    y = _rare(y)
    seen = []

    class Seen(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append((X.index.tolist(), pd.Series(y).value_counts().to_dict()))
            return super().fit(X, y, sample_weight)

    model = AgreementSelfTrainingClassifier(
        Seen(),
        threshold=None,
        n_per_class={"angry": 6, "happy": 2, "sad": 3},
        sampler=RandomOverSampler(sampling_strategy={"sad": 8}),
        second_sampler=RandomOverSampler(sampling_strategy={"sad": 15}),
        random_state=0,
    ).fit(X, y)
    ids, counts = seen[0]
    assert counts == {"angry": 10, "happy": 10, "sad": 8}
    assert pd.Series(ids).value_counts().max() > 1 and set(ids) <= set(X.index)
    ids, counts = seen[1]
    assert counts == {"angry": 16, "happy": 12, "sad": 15}
    assert set(ids) == set(X.index[model.labeled_iter_ >= 0])
    same = model.set_params(second_sampler="same", sampler=RandomOverSampler())
    seen.clear()
    same.fit(X, y)
    assert [c for _, c in seen] == [
        dict.fromkeys(CLASSES, 10),
        dict.fromkeys(CLASSES, 16),
    ]
    seen.clear()
    same.set_params(second_sampler=None).fit(X, y)
    assert seen[1][1] == {"angry": 16, "happy": 12, "sad": 6}


def test_a_class_beyond_its_number(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(
        LogisticRegression(),
        threshold=None,
        n_per_class=20,
        sampler=RandomOverSampler(sampling_strategy={"sad": 12}),
    )
    with pytest.raises(ValueError, match="original number") as caught:
        model.fit(X, y)
    assert "skmer.over_sampling.at_least" in caught.value.__notes__[0]


def test_weights_go_through_samplers(clips):
    X, y, _ = clips
    y = _rare(y)
    weight = np.linspace(0.5, 2, 120)
    sampler = RandomOverSampler(random_state=0)
    model = AgreementSelfTrainingClassifier(
        LogisticRegression(), n_rounds=0, sampler=sampler
    ).fit(X, y, weight)
    known = np.array([label is not None for label in y])
    X2, y2 = sampler.fit_resample(X[known], y[known])
    rows = np.flatnonzero(known)[sampler.sample_indices_]
    again = LogisticRegression().fit(X2, y2, sample_weight=weight[rows])
    np.testing.assert_allclose(model.predict_proba(X), again.predict_proba(X))

    class Synthetic(RandomOverSampler):
        def fit_resample(self, X, y):
            found = super().fit_resample(X, y)
            del self.sample_indices_
            return found

    model.set_params(sampler=Synthetic()).fit(X, y)
    with pytest.raises(ValueError, match="makes rows up, or does not tell where"):
        model.fit(X, y, weight)


def test_samplers_of_labelled_rows(clips):
    X, y, truth = clips
    y, texts = _rare(y), _texts(truth)
    words = make_pipeline(HashingVectorizer(n_features=256), LogisticRegression())
    sampler = RandomOverSampler(sampling_strategy=at_least(9))
    model = AgreementSelfTrainingClassifier(
        words, threshold=None, n_per_class=12, sampler=LabeledSampler(sampler)
    )
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    model.fit(texts, y)  # classes of more than 9 rows in the second step
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002
    assert (model.labeled_iter_ == 1).sum() > 12
    with pytest.raises((TypeError, ValueError)) as caught:
        model.set_params(sampler=sampler).fit(texts, y)
    assert "LabeledSampler" in caught.value.__notes__[0]


def test_rows_that_are_made_up_have_no_clip(clips):
    X, y, _ = clips
    y, seen = _rare(y), []

    class Seen(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append(X.index)
            return super().fit(X, y, sample_weight)

    sampler = LabeledSampler(SMOTE(k_neighbors=2))
    model = AgreementSelfTrainingClassifier(
        Seen(), sampler=sampler, n_rounds=0, random_state=0
    ).fit(X, y)
    known = X.index[[label is not None for label in y]]
    assert len(seen[0]) == 30 and set(known) <= set(seen[0])
    assert not seen[0].difference(known).isin(X.index).any()
    with pytest.raises(ValueError, match="makes rows up"):
        model.fit(X, y, np.ones(120))


def test_models_that_learn_from_unlabelled_rows(clips):
    X, y, _ = clips
    net = make_pipeline(StandardScaler(), NET)
    model = AgreementSelfTrainingClassifier(
        net,
        threshold=None,
        n_per_class=5,
        pass_unlabeled=True,
        sampler=RandomOverSampler(),
        random_state=0,
    ).fit(X, _rare(y))
    scaler = model.estimator_[0]
    assert scaler.n_samples_seen_ == 120 + 7  # seven copies of sad
    model.set_params(pass_unlabeled=False, sampler=None).fit(X, _rare(y))
    assert model.estimator_[0].n_samples_seen_ == 23
    naive = AgreementSelfTrainingClassifier(LogisticRegression(), pass_unlabeled=True)
    codes = np.where(np.arange(120) < 30, np.arange(120) % 3, -1)
    with pytest.raises(ValueError, match="took the mark of unlabelled rows, -1, for a"):
        naive.fit(X, codes)
    texts = np.array(["a", "b", "c", None], dtype=object)[codes]
    with pytest.raises(ValueError, match="rows, None, for a.*pass_unlabeled=False"):
        naive.fit(X, texts)


def test_a_class_is_no_model(clips):
    X, y, _ = clips
    first, second = LogisticRegression, LogisticRegression()
    with pytest.raises(TypeError, match="estimator must be .*class LogisticRegression"):
        AgreementSelfTrainingClassifier(first).fit(X, y)
    with pytest.raises(TypeError, match="partner must be .*class LogisticRegression"):
        AgreementSelfTrainingClassifier(second, first).fit(X, y)


# Where the estimator is used


def test_leaks(clips):
    """Nothing fitted depends on rows that fit was not given."""
    X, _, truth = clips
    y = truth.copy()
    y[np.arange(120) % 4 != 0] = None
    held = np.arange(90, 120)
    X2, y2 = changed_rows(X, y, held)

    def fit(X, y):
        return AgreementSelfTrainingClassifier(
            make_pipeline(StandardScaler(), LogisticRegression()),
            GaussianNB(),
            threshold=None,
            n_per_class=8,
            calibrate="temperature",
            sampler=RandomOverSampler(),
            random_state=0,
        ).fit(X, y)

    assert not differences(fit(X[:90], y[:90]), fit(X2[:90], y2[:90]))
    found = " ".join(differences(fit(X, y), fit(X2, y2)))
    for name in ("temperatures_", "transduction_", "coef_", "pseudo_labels_"):
        assert name in found


class Unlabelled:
    """Folds of the labelled rows, all others in each training part."""

    def split(self, X, y=None, groups=None):
        known = np.array([label is not None for label in y])
        rows, others = np.flatnonzero(known), np.flatnonzero(~known)
        for fold in range(3):
            test = rows[10 * fold : 10 * fold + 10]
            yield np.r_[np.setdiff1d(rows, test), others], test

    def get_n_splits(self, X=None, y=None, groups=None):
        return 3


def test_pseudo_labelled_rows_are_training_rows(clips):
    X, y, _ = clips
    splitter, seen = Unlabelled(), []

    class Recorded(AgreementSelfTrainingClassifier):
        def fit(self, X, y, sample_weight=None):
            super().fit(X, y, sample_weight)
            seen.append((X.index, self.pseudo_labels_))
            return self

    model = Recorded(LogisticRegression(), GaussianNB(), threshold=0.6)
    scores = cross_val_score(model, X, y, cv=splitter)
    assert scores.mean() > 0.5
    for (learn, test), (ids, table) in zip(splitter.split(X, y), seen, strict=True):
        assert ids.tolist() == X.index[learn].tolist()
        taken = table.query("round == 1").index
        assert len(taken) and not taken.isin(X.index[test]).any()
        assert all(y[X.index.get_indexer(taken)] == None)  # noqa: E711


def test_in_a_search_and_a_pipeline(clips):
    X, y, truth = clips
    model = make_pipeline(StandardScaler(), _agreeing()).set_output(transform="pandas")
    name = "agreementselftrainingclassifier"
    search = GridSearchCV(
        model,
        {f"{name}__threshold": [0.5, 0.7], f"{name}__estimator__C": [0.1, 1.0]},
        cv=Unlabelled(),
    ).fit(X, y)
    assert search.best_estimator_[-1].feature_names_in_.tolist() == list(X.columns)
    assert search.score(X, truth) > 0.6
    copy = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(copy.predict(X), search.predict(X))


def test_has_what_the_estimator_has(clips):
    X, y, _ = clips
    model = _agreeing().fit(X, y)
    first = model.estimator_
    for name in ("predict_log_proba", "decision_function"):
        expected = getattr(first, name)(X)
        np.testing.assert_array_equal(getattr(model, name)(X), expected)
    assert not hasattr(model, "transform") and not hasattr(model, "set_output")
    net = AgreementSelfTrainingClassifier(NET, threshold=None, random_state=0)
    net.set_output(transform="pandas").fit(X, y)
    codes = net.transform(X)
    assert codes.columns.tolist() == net.get_feature_names_out().tolist()
    assert codes.index.equals(X.index)
    assert net.predict_proba(X).shape == (120, 3)


def test_seeded_and_global_generators_untouched(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(
        NET,
        make_pipeline(StandardScaler(), NET),
        threshold=None,
        n_per_class=4,
        n_rounds=2,
        calibrate="temperature",
        n_folds=2,
        sampler=RandomOverSampler(),
        random_state=3,
    )
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # noqa: NPY002
    state = random.getstate()
    first, second = clone(model).fit(X, y), clone(model).fit(X, y)
    after = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # noqa: NPY002
    assert before == after and random.getstate() == state
    assert not differences(first, second)
    other = clone(model).set_params(random_state=4).fit(X, y)
    assert (other.predict_proba(X) != first.predict_proba(X)).any()
    own = clone(model).set_params(random_state=None, estimator__random_state=7)
    own.set_params(n_rounds=0).fit(X, y)
    assert own.estimator_.random_state == 7


def test_jobs_change_nothing(clips):
    X, y, _ = clips
    model = _agreeing(calibrate="temperature", random_state=0)
    one = clone(model).fit(X, y)
    two = clone(model).set_params(n_jobs=2).fit(X, y)
    assert not differences(one, two)


def test_verbose_tells_of_each_round(clips, capsys):
    X, y, _ = clips
    model = _agreeing(verbose=1, n_rounds=2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    n = (model.labeled_iter_ == 1).sum()
    assert lines[0].startswith(f"Round 1: {n} of 90 rows pseudo-labelled: angry ")
    assert len(lines) == 2


class Unfitted(LogisticRegression):
    def fit(self, X, y):
        raise AssertionError("nothing was to be fitted")


def test_a_calibration_that_cannot_be_is_refused_before_anything_is_fitted(clips):
    X, y, _ = clips
    model = AgreementSelfTrainingClassifier(Unfitted(), calibrate="temperature")
    with pytest.raises(ValueError, match="groups has no value for clip"):
        model.set_params(groups=pd.Series({X.index[0]: "she"})).fit(X, y)
    one = pd.Series("she", index=X.index)
    with pytest.raises(ValueError, match="no class has rows of two clips or groups"):
        model.set_params(groups=one).fit(X, y)
