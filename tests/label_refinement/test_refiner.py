"""LabelRefiner: what it finds, what it must not see, and odd inputs."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn import FunctionSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from leaks import changed_rows, differences
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from skmer.exceptions import MissingStreamError
from skmer.label_refinement import LabelRefiner

CLASSES = np.array(["angry", "happy", "sad"])


def planted(n=240, rate=0.15, seed=0, separation=2.5):
    """Two streams, three classes, and labels of which some are wrong."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=n)
    columns = [f"{s}__{i}" for s in ("audio", "video__face") for i in range(4)]
    X = rng.normal(size=(n, 8))
    X[np.arange(n), codes] += separation
    X[np.arange(n), 4 + codes] += separation
    wrong = rng.random(n) < rate
    given = np.where(wrong, (codes + rng.integers(1, 3, size=n)) % 3, codes)
    index = [f"clip{i}" for i in range(n)]
    return pd.DataFrame(X, columns=columns, index=index), CLASSES[codes], CLASSES[given]


@pytest.mark.parametrize("rule", ["posterior", "majority"])
def test_finds_wrong_labels(rule):
    X, truth, given = planted()
    refiner = LabelRefiner(rule=rule, random_state=0)
    X_new, y_new = refiner.fit_resample(X, given)
    wrong = given != truth
    changed = refiner.changed_.to_numpy()
    assert X_new.equals(X) and y_new.dtype == given.dtype
    assert (changed & wrong).sum() > 0.8 * changed.sum()
    assert (changed & wrong).sum() > 0.5 * wrong.sum()
    assert (y_new == truth).mean() > (given == truth).mean() + 0.05
    assert refiner.quality_[wrong].mean() < 0.35 < 0.6 < refiner.quality_[~wrong].mean()
    assert list(refiner.votes_.columns) == ["audio", "video__face"]
    np.testing.assert_array_equal(changed, given != y_new)
    np.testing.assert_array_equal(refiner.labels_, y_new)


def test_report_is_sorted_and_right():
    X, truth, given = planted()
    refiner = LabelRefiner(random_state=0).fit(X, given)
    report = refiner.report()
    assert report["quality"].is_monotonic_increasing
    for row in report.to_dict("records"):
        votes = refiner.votes_.loc[row["clip"]]
        assert row["agreement"] == (votes == row["to"]).mean()
        assert row["sources"] == ", ".join(votes.index[votes == row["to"]])
        assert row["flagged"] == (not (votes == row["from"]).any())
        assert row["probability"] == refiner.probabilities_.loc[row["clip"], row["to"]]
        assert row["decided_by"] == ("sources" if row["from"] != row["to"] else "")
    shown = refiner.changed_ | refiner.flagged_
    assert set(report["clip"]) == set(shown.index[shown])


class Echo(ClassifierMixin, BaseEstimator):
    """Remembers rows exactly; says a fixed class of rows that it does not know."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.known_ = {tuple(row): label for row, label in zip(X, y, strict=True)}
        return self

    def predict(self, X):
        return np.array([self.known_.get(tuple(row), self.classes_[0]) for row in X])


@pytest.mark.parametrize("rounds", [1, 3])
def test_nothing_judges_what_it_has_learnt(rounds):
    X, _, given = planted(60)
    refiner = LabelRefiner({"echo": Echo()}, rounds=rounds, random_state=0)
    refiner.fit(X.to_numpy(), given)
    # A memory of labels would vote for each annotation
    assert refiner.votes_["echo"].eq("angry").all()
    near = LabelRefiner({"1-NN": KNeighborsClassifier(1)}, random_state=0)
    noise = np.random.default_rng(0).normal(size=(300, 3))
    labels = np.random.default_rng(1).permutation(np.arange(300) % 2)
    near.fit(noise, labels)
    assert (near.votes_["1-NN"] == labels).mean() == pytest.approx(0.5, abs=0.12)


def test_copies_of_a_clip_and_groups_stay_together():
    X, _, given = planted(60)
    twice = X.iloc[np.repeat(np.arange(60), 2)]
    refiner = LabelRefiner({"echo": Echo()}, random_state=0)
    echo = FunctionTransformer(pd.DataFrame.to_numpy)
    refiner.set_params(estimators={"echo": make_pipeline(echo, Echo())})
    refiner.fit(twice, np.repeat(given, 2))
    assert refiner.votes_["echo"].eq("angry").all()
    # Without ids a copy lies in the training part, and the echo answers
    refiner.fit(twice.reset_index(drop=True), np.repeat(given, 2))
    assert not refiner.votes_["echo"].eq("angry").all()
    speakers = pd.Series(np.arange(60) % 6, index=X.index)
    same = pd.DataFrame({"audio__0": (np.arange(60) % 6).astype(float)}, index=X.index)
    refiner.set_params(groups=speakers, cv=3).fit(same, given)
    assert refiner.votes_["echo"].eq("angry").all()


def test_unlabelled_clips_need_no_group():
    X, _, given = planted(60)
    y = given.astype(object)
    y[:20] = None
    groups = pd.Series(np.arange(40) % 7, index=X.index[20:])
    refiner = LabelRefiner(groups=groups, random_state=0).fit(X, y)
    assert refiner.votes_.notna().any(axis=1).to_numpy()[20:].all()


def test_columns_of_probabilities_are_those_of_the_classes_left():
    def drop(X, y):
        return X[y != "happy"], y[y != "happy"]

    X, truth, given = planted()
    weak = make_sampling_pipeline(FunctionSampler(func=drop), LogisticRegression())
    refiner = LabelRefiner({"two": weak}, rule="majority", random_state=0)
    refiner.fit(X, given)
    says = refiner.votes_["two"].to_numpy()
    for label in ("angry", "sad"):
        assert (says[truth == label] == label).mean() > 0.9


def test_settings_of_sklearn_reach_other_processes():
    X, _, given = planted(60)
    # A selector by name wants a frame
    columns = make_column_transformer(
        ("passthrough", make_column_selector(pattern="__"))
    )
    weak = make_pipeline(StandardScaler(), columns, GaussianNB())
    with sklearn.config_context(transform_output="pandas"):
        for n_jobs in (1, 2):
            LabelRefiner(weak, random_state=0, n_jobs=n_jobs).fit(X, given)


def test_held_out_rows_change_nothing():
    X, _, given = planted(150)
    extra = pd.Series(given, index=X.index).sample(100, random_state=0)
    model = make_sampling_pipeline(
        StandardScaler(),
        LabelRefiner(extra_labels={"llm": extra}, random_state=0),
        LogisticRegression(),
    ).set_output(transform="pandas")
    train, test = np.arange(100), np.arange(100, 150)
    other_X, other_y = changed_rows(X, given, test)
    first = clone(model).fit(X.iloc[train], given[train])
    second = clone(model).fit(other_X.iloc[train], other_y[train])
    assert differences(first, second) == []
    # The comparison would see a leak
    third = clone(model).fit(other_X.iloc[50:150], other_y[50:150])
    assert differences(first, third)
    assert first.predict(X.iloc[test]).shape == (50,)


def test_only_training_rows_are_refined():
    X, truth, given = planted(240, rate=0.3)
    model = make_sampling_pipeline(LabelRefiner(random_state=0), LogisticRegression())
    done = cross_validate(
        model, X, given, cv=3, return_indices=True, return_estimator=True
    )
    for fitted, test, score in zip(
        done["estimator"], done["indices"]["test"], done["test_score"], strict=True
    ):
        assert not set(X.index[test]) & set(fitted[0].votes_.index)
        right = fitted.predict(X.iloc[test]) == given[test]
        assert score == right.mean()


def test_unlabelled_rows_stay_and_teach_nothing():
    X, _, given = planted(120)
    y = given.astype(object)
    y[::4] = None
    refiner = LabelRefiner(random_state=0)
    X_new, y_new = refiner.fit_resample(X, y)
    assert len(X_new) == 120 and all(label is None for label in y_new[::4])
    assert not refiner.flagged_.iloc[::4].any()
    other = X.copy()
    other.iloc[::4] = 99.0
    again = LabelRefiner(random_state=0).fit(other, y)
    assert differences(refiner, again) == []


def test_labels_from_elsewhere():
    X, truth, given = planted(90, separation=0.0)
    helps = pd.Series(truth, index=X.index).drop(index=X.index[:10])
    refiner = LabelRefiner(
        extra_labels={"llm": helps, "human": helps}, rule="majority", random_state=0
    )
    _, y_new = refiner.fit_resample(X, given)
    assert refiner.votes_["llm"].iloc[:10].isna().all()
    assert (y_new[10:] == truth[10:]).mean() > 0.9 > (given == truth).mean()
    posterior = LabelRefiner(extra_labels={"llm": helps}, random_state=0)
    posterior.fit(X, given)
    assert posterior.trust_["llm"] > posterior.trust_["audio"]
    strange = helps.replace({"sad": "bored"})
    with pytest.warns(UserWarning, match="no class of y, 'bored', for"):
        refiner.set_params(extra_labels={"llm": strange}).fit(X, given)
    assert refiner.votes_["llm"].isin(["angry", "happy", None]).all()
    with pytest.raises(TypeError, match="must be a Series"):
        refiner.set_params(extra_labels={"llm": helps.tolist()}).fit(X, given)
    with pytest.raises(ValueError, match="same name, 'audio'"):
        refiner.set_params(extra_labels={"audio": helps}).fit(X, given)


def test_only_labels_from_elsewhere():
    X, truth, given = planted(60)
    refiner = LabelRefiner({}, extra_labels={"a": pd.Series(truth, index=X.index)})
    refiner.fit(list(X.index), given)
    assert list(refiner.votes_) == ["a"] and refiner.out_of_fold_ == {}
    with pytest.raises(ValueError, match="neither estimators nor extra_labels"):
        LabelRefiner({}).fit(X, given)


def test_missing_streams_abstain():
    X, _, given = planted(120)
    X.iloc[:20, :4] = np.nan
    X.iloc[:5] = np.nan
    refiner = LabelRefiner(random_state=0)
    _, y_new = refiner.fit_resample(X, given)
    assert refiner.votes_["audio"].isna().to_numpy().nonzero()[0].tolist() == list(
        range(20)
    )
    assert refiner.quality_.iloc[:5].isna().all() and refiner.quality_[5:].notna().all()
    assert not refiner.flagged_.iloc[:5].any()
    np.testing.assert_array_equal(y_new[:5], given[:5])


def test_sources():
    X, _, given = planted(90)
    names = ["audio", "video__face"]
    per_stream = LabelRefiner(GaussianNB(), random_state=0).fit(X, given)
    assert list(per_stream.votes_) == names and set(per_stream.out_of_fold_) == set(
        names
    )
    hard = LabelRefiner({"svc": LinearSVC()}, random_state=0).fit(X, given)
    assert hard.out_of_fold_ == {} and hard.votes_["svc"].notna().all()
    both = LabelRefiner(confidence=GaussianNB(), by="modality", random_state=0)
    assert list(both.fit(X, given).votes_) == ["audio", "video", "confidence"]
    one = LabelRefiner(streams=["audio"], random_state=0).fit(X, given)
    assert list(one.votes_) == ["audio"]
    with pytest.raises(MissingStreamError):
        LabelRefiner(streams=["text"]).fit(X, given)
    with pytest.raises(ValueError, match="pass estimators="):
        LabelRefiner().fit(list(X.index), given)


class Length(BaseEstimator, ClassifierMixin):
    """Reads nothing of a clip but its name."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.array([self.classes_[len(name) % 2] for name in X])


def test_raw_clips():
    clips = ["a" * (5 + i % 2) + f"{i:03d}" for i in range(40)]
    y = ["x" if i % 2 else "y" for i in range(40)]
    y[6] = "x"
    refiner = LabelRefiner({"name": Length()}, rule="majority", min_votes=1)
    clips_new, y_new = refiner.fit_resample(clips, y)
    assert clips_new == clips and y_new == y
    assert list(refiner.flagged_.index) == clips


def test_repeatable_and_jobs_and_pickle():
    X, _, given = planted(90)
    first = LabelRefiner(random_state=3).fit(X, given)
    second = LabelRefiner(random_state=3, n_jobs=2).fit(X, given)
    assert differences(first, second) == []
    assert differences(first, pickle.loads(pickle.dumps(first))) == []
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    LabelRefiner().fit(X, given)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_grid_search_over_its_parameters():
    X, _, given = planted(90)
    model = make_sampling_pipeline(LabelRefiner(random_state=0), GaussianNB())
    search = GridSearchCV(
        model, {"labelrefiner__threshold": [0.3, 0.9]}, cv=2, error_score="raise"
    )
    assert search.fit(X, given).score(X, given) > 0.6


@pytest.mark.parametrize("kind", ["series", "frame", "list", "column", "ints"])
def test_y_comes_back_as_it_was(kind):
    X, _, given = planted(90)
    y = {
        "series": pd.Series(given, index=X.index, name="emotion", dtype="category"),
        "frame": pd.DataFrame({"emotion": given}, index=X.index),
        "list": given.tolist(),
        "column": given[:, np.newaxis],
        "ints": np.searchsorted(CLASSES, given).astype(np.int16),
    }[kind]
    before = pickle.dumps(y)
    refiner = LabelRefiner(random_state=0, flagged="drop")
    X_new, y_new = refiner.fit_resample(X, y)
    assert pickle.dumps(y) == before
    assert type(y_new) is type(y) and len(y_new) == len(X_new) < 90
    flat = np.asarray(y_new).ravel()
    np.testing.assert_array_equal(flat, refiner.labels_.iloc[refiner.sample_indices_])
    if hasattr(y, "dtype"):
        assert y_new.dtype == y.dtype


def test_lone_classes_stay():
    X, _, given = planted(60)
    given = given.astype(object)
    given[0] = "unique"
    with pytest.warns(UserWarning, match="'unique' cannot be judged"):
        refiner = LabelRefiner(random_state=0).fit(X, given)
    assert refiner.labels_.iloc[0] == "unique" and not refiner.flagged_.iloc[0]


def test_nothing_to_refine():
    X, _, given = planted(30)
    with pytest.raises(ValueError, match="None of the 30 rows of y has a label"):
        LabelRefiner().fit(X, np.full(30, -1))
    with pytest.raises(ValueError, match="one class, 'sad'"):
        LabelRefiner().fit(X, np.full(30, "sad"))
    speakers = pd.Series("one", index=X.index)
    with pytest.raises(ValueError, match=r"LabelRefiner .*cv=5\).* 1 clips or groups"):
        LabelRefiner(groups=speakers).fit(X, given)
    with pytest.raises(ValueError, match="at most 1 labelled rows of one class"):
        LabelRefiner().fit(X[:12], np.arange(12))


def test_fewer_folds_where_classes_are_small():
    X, _, given = planted(30)
    y = ["a", "b", "c", "d"] * 3
    refiner = LabelRefiner(random_state=0).fit(X[:12], y)
    three = LabelRefiner(cv=3, random_state=0).fit(X[:12], y)
    assert refiner.votes_.notna().all(axis=None)
    # Seeds of the folds do not depend on how many there are
    assert refiner.votes_.equals(three.votes_)
    LabelRefiner(cv=40, random_state=0).fit(X, given)
    two = pd.Series(np.arange(30) % 2, index=X.index)
    LabelRefiner(groups=two, random_state=0).fit(X, given)


@pytest.mark.parametrize("rule", ["posterior", "majority"])
def test_no_class_is_refined_away(rule):
    X, _, given = planted(240)
    given = given.astype(object)
    # Nothing but the label sets these clips apart
    given[:4] = "rare"
    given[10:20] = "odd"
    refiner = LabelRefiner(rule=rule, random_state=0).fit(X, given)
    assert (refiner.labels_[:4] == "rare").all()
    left = refiner.labels_[10:20] == "odd"
    assert 5 <= left.sum() < 10
    if rule == "posterior":
        assert left.sum() == 5
        odd = refiner.probabilities_["odd"][10:20]
        assert odd[left].min() >= odd[~left].max()


def test_extra_labels_of_other_clips():
    X, _, given = planted(60)
    llm = pd.Series("sad", index=[f"{clip}.mp4" for clip in X.index])
    refiner = LabelRefiner(extra_labels={"llm": llm}, random_state=0)
    with pytest.warns(
        UserWarning, match="None of the 60 .*'clip0.mp4'.* X has 'clip0'"
    ):
        refiner.fit(X, given)
    assert np.isnan(refiner.trust_["llm"]) and refiner.trust_.drop("llm").notna().all()
    # Files hold text, rows that were never named have numbers
    llm = pd.Series(given, index=[str(i) for i in range(60)])
    refiner.set_params(extra_labels={"llm": llm}).fit(X.reset_index(drop=True), given)
    assert refiner.votes_["llm"].notna().all()


class Says(ClassifierMixin, BaseEstimator):
    """Its probabilities are its features."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_changes_that_no_source_votes_for_are_told_apart():
    classes = np.array(["angry", "calm", "happy", "sad"])
    codes = np.arange(80) % 4
    told = np.full((2, 80, 4), 0.05)
    told[:, np.arange(80), codes] = 0.85
    given = classes[codes]
    # One thinks of anger, the other of calm, and both next of happiness
    told[0, 6], told[1, 6] = (0.5, 0.03, 0.45, 0.02), (0.03, 0.5, 0.45, 0.02)
    # One is sure of anger, the other half so
    told[0, 10], told[1, 10] = (0.45, 0.5, 0.01, 0.04), (0.96, 0.02, 0.01, 0.01)
    given[[6, 10]] = "sad"
    columns = [f"{stream}__{label}" for stream in ("a", "b") for label in classes]
    X = pd.DataFrame(np.hstack(told), columns=columns)
    refiner = LabelRefiner(Says(), random_state=0).fit(X, given)
    report = refiner.report().set_index("clip")
    assert sorted(report.index) == [6, 10]
    assert report.loc[6, ["to", "decided_by"]].tolist() == ["happy", "model"]
    assert report.loc[6, "sources"] == "a, b" and report.loc[6, "agreement"] == 0
    assert report.loc[10, ["to", "decided_by"]].tolist() == ["angry", "sources"]
    assert report.loc[10, "sources"] == "b" and report.loc[10, "agreement"] == 0.5


class Contrary(BaseEstimator, ClassifierMixin):
    """Says the class that comes after the right one."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        at = np.searchsorted(self.classes_, X[:, 0].astype(self.classes_.dtype))
        return self.classes_[(at + 1) % len(self.classes_)]


def test_everything_or_a_whole_class_dropped():
    y = np.repeat([0, 1, 2], 10)
    X = y[:, np.newaxis].astype(float)
    refiner = LabelRefiner({"no": Contrary()}, rule="majority", flagged="drop")
    with pytest.raises(ValueError, match="No row with a label is left of 30: 30 are"):
        refiner.fit(X, y)
    refiner.set_params(flagged="keep").fit(X, y)
    assert refiner.flagged_.all()
    X[y < 2] = (X[y < 2] - 1) % 3
    refiner.set_params(flagged="drop")
    with pytest.warns(UserWarning, match="No row has the label 2 any more"):
        _, y_new = refiner.fit_resample(X, y)
    assert sorted(set(y_new)) == [0, 1]


def test_errors_name_the_source():
    X, _, given = planted(30)
    X.iloc[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN") as caught:
        LabelRefiner({"plain": LogisticRegression()}, random_state=0).fit(X, given)
    assert "weak classifier 'plain'" in caught.value.__notes__[0]


def test_better_than_noise_on_real_features(shared_data):
    path = shared_data / "ravdess" / "ravdess_av.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as data:
        y = data["y"]
        X = pd.DataFrame(
            np.hstack([data["audio_egemaps"], data["visual_au"]]),
            columns=[f"audio__{i}" for i in range(88)]
            + [f"au__{i}" for i in range(35)],
        )
    rng = np.random.default_rng(7)
    wrong = rng.random(len(y)) < 0.2
    given = np.where(wrong, rng.permutation(y), y)
    wrong = given != y
    refiner = LabelRefiner(random_state=0).fit(X, given)
    changed = refiner.changed_.to_numpy()
    assert (changed & wrong).sum() > 0.75 * changed.sum()
    assert (changed & wrong).sum() > 0.6 * wrong.sum()


def test_streams_are_converted_no_further_than_rows_have_labels():
    rng = np.random.default_rng(0)
    names = [f"{stream}__{i}" for stream in "abcd" for i in range(100)]
    X = pd.DataFrame(rng.normal(size=(6000, 400)).astype(np.float32), columns=names)
    y = np.full(6000, None, dtype=object)
    y[:60] = np.tile(["happy", "sad"], 30)
    tracemalloc.start()
    try:
        LabelRefiner(random_state=0).fit_resample(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What is returned is as large as X; X in float64 would be twice that
    assert peak < 1.9 * X.to_numpy().nbytes
