"""Splits of partly labelled rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline as make_sklearn_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmer.fusion import ConcatFusionClassifier
from skmer.model_selection import UnlabeledInTrain


def _data(n=60, unlabelled=20, kind="string"):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        rng.normal(size=(n, 4)).astype(np.float32),
        index=[f"clip_{i}" for i in range(n)],
        columns=[f"audio__{i}" for i in range(4)],
    )
    codes = np.arange(n) % 3
    X["audio__0"] += 3 * codes
    hidden = rng.permutation(n)[:unlabelled]
    if kind == "int":
        y = codes.copy()
        y[hidden] = -1
    else:
        y = np.array(["happy", "sad", "worried"], dtype=object)[codes]
        y[hidden] = None
    return X, y, hidden


@pytest.mark.parametrize("kind", ["string", "int"])
@pytest.mark.parametrize("cv", [5, StratifiedKFold(5)], ids=["int", "splitter"])
def test_every_unlabelled_row_trains_and_none_is_tested(kind, cv):
    X, y, hidden = _data(kind=kind)
    splitter = UnlabeledInTrain(cv)
    parts = list(splitter.split(X, y))
    assert len(parts) == splitter.get_n_splits(X, y) == splitter.get_n_splits() == 5
    for train, test in parts:
        assert set(hidden) <= set(train)
        assert not set(hidden) & set(test)
        assert sorted([*train, *test]) == list(range(60))
    tested = np.concatenate([test for _, test in parts])
    assert sorted([*tested, *hidden]) == list(range(60))


def test_without_unlabelled_rows_it_is_scikit_learns_split():
    X, y, _ = _data(unlabelled=0)
    theirs = StratifiedKFold(4, shuffle=True, random_state=3).split(X, y)
    for ours, other in zip(
        UnlabeledInTrain(4, random_state=3).split(X, y), theirs, strict=True
    ):
        np.testing.assert_array_equal(ours[0], other[0])
        np.testing.assert_array_equal(ours[1], other[1])


def test_seeds():
    X, y, _ = _data()

    def tested(seed):
        return [t.tolist() for _, t in UnlabeledInTrain(random_state=seed).split(X, y)]

    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert tested(0) == tested(0) != tested(1)
    assert tested(None) != tested(None)
    assert np.random.random() == expected  # noqa: NPY002


def test_groups_stay_together_and_unlabelled_rows_need_none():
    X, y, hidden = _data()
    speakers = (np.arange(60) // 6).astype(float)
    speakers[hidden[:5]] = np.nan
    for train, test in UnlabeledInTrain(3).split(X, y, groups=speakers):
        known = np.setdiff1d(train, hidden)
        assert not set(speakers[known]) & set(speakers[test])
        assert set(hidden) <= set(train)
    splitter = UnlabeledInTrain(LeaveOneGroupOut())
    n_speakers = len(set(np.delete(speakers, hidden)))
    assert splitter.get_n_splits(X, y, speakers) == n_speakers
    assert len(list(splitter.split(X, y, speakers))) == n_speakers


def test_groups_by_clip_id_are_those_of_rows():
    X, y, hidden = _data()
    speakers = pd.Series(np.arange(60) // 6, index=X.index)
    known = speakers.drop(X.index[hidden])
    given = list(UnlabeledInTrain(3).split(X, y, groups=speakers.to_numpy()))
    held = list(UnlabeledInTrain(3, groups=known.sample(frac=1)).split(X, y))
    for one, other in zip(given, held, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_groups_passed_in_another_order_are_read_by_clip_id():
    X, y, hidden = _data()
    speakers = pd.Series(np.arange(60) // 6, index=X.index)
    splitter = UnlabeledInTrain(LeaveOneGroupOut())
    # All clips, only labelled ones, and some that X does not hold
    more = pd.concat([speakers, pd.Series([99], index=["another"])])
    expected = list(splitter.split(X, y, groups=speakers.to_numpy()))
    for given in (speakers, speakers.drop(X.index[hidden]), more):
        shuffled = given.sample(frac=1, random_state=0)
        assert splitter.get_n_splits(X, y, shuffled) == len(expected)
        for one, other in zip(
            expected, splitter.split(X, y, groups=shuffled), strict=True
        ):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    with pytest.raises(ValueError, match=r"no value for clip 'clip_0' .*such as 0, 1"):
        next(splitter.split(X, y, groups=speakers.reset_index(drop=True)))
    # By position where X has no ids
    by_row = list(splitter.split(X.to_numpy(), y, groups=speakers.sample(frac=1)))
    assert len(by_row) == len(expected)


def test_groups_of_the_splitter_are_a_series():
    X, y, _ = _data()
    splitter = UnlabeledInTrain(LeaveOneGroupOut(), groups=list(range(60)))
    for ask in (splitter.split, splitter.get_n_splits):
        with pytest.raises(TypeError, match=r"groups must be a Series .* Got list\.$"):
            list(ask(X, y))


def test_unlabelled_rows_of_held_out_groups_may_be_left_out():
    X, y, hidden = _data()
    speakers = (np.arange(60) // 6).astype(object)
    speakers[hidden[0]] = None
    splitter = UnlabeledInTrain(3, hold_out_groups=True)
    left_out = 0
    for train, test in splitter.split(X, y, speakers):
        assert not set(speakers[train]) & set(speakers[test])
        assert hidden[0] in train
        others = np.isin(speakers[hidden], list(set(speakers[test])))
        left_out += others.sum()
        assert set(hidden[~others]) <= set(train)
    assert left_out > 0
    with pytest.raises(ValueError, match="hold_out_groups=True needs groups"):
        next(splitter.split(X, y))


def test_copies_of_a_clip_are_never_on_both_sides():
    X, y, _ = _data(30, 10)
    double = X.loc[X.index.repeat(2)]
    twice = np.repeat(y, 2)
    for train, test in UnlabeledInTrain(3).split(double, twice):
        assert not set(double.index[train]) & set(double.index[test])
    # A copy whose label is hidden is still that clip
    twice[::2] = None
    for train, test in UnlabeledInTrain(3).split(double, twice):
        assert not set(double.index[train]) & set(double.index[test])
    with pytest.raises(ValueError, match="copies of .* clips, such as 'clip_"):
        list(
            UnlabeledInTrain(LeaveOneOut()).split(double.iloc[:4], ["a", "a", "b", "b"])
        )


def test_a_splitter_that_tests_on_training_rows_is_refused():
    overlapping = PredefinedSplit([0, 1, 0, 1])
    overlapping.split = lambda X, y, groups: [(np.arange(4), np.arange(2))]
    with pytest.raises(ValueError, match="such as row 0, on both sides"):
        list(UnlabeledInTrain(overlapping).split(np.zeros((4, 1)), [0, 0, 1, 1]))


def test_a_splitter_that_knows_the_unlabelled_rows_too_is_refused():
    X, y, hidden = _data()
    fold = np.arange(60) % 4
    everything = UnlabeledInTrain(PredefinedSplit(fold))
    with pytest.raises(ValueError, match="row 5[0-9].* 40 labelled .*ReferenceFolds"):
        list(everything.split(X, y))
    labelled = UnlabeledInTrain(PredefinedSplit(np.delete(fold, hidden)))
    tested = np.concatenate([test for _, test in labelled.split(X, y)])
    assert sorted([*tested, *hidden]) == list(range(60))


def test_paths_are_clip_ids():
    paths = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"] * 2
    y = ["x", "x", "z", "z"] * 2
    for train, test in UnlabeledInTrain(2).split(paths, y):
        assert not {paths[i] for i in train} & {paths[i] for i in test}


@pytest.mark.parametrize("kind", ["string", "int"])
def test_scores_and_searches(kind):
    X, y, _ = _data(kind=kind)
    model = ConcatFusionClassifier(max_epochs=10, lr=1e-2, random_state=0)
    scores = cross_val_score(model, X, y, cv=UnlabeledInTrain(2), scoring="accuracy")
    assert len(scores) == 2 and scores.mean() > 0.6
    search = GridSearchCV(
        model, {"lr": [1e-3, 1e-2]}, cv=UnlabeledInTrain(2), scoring="f1_weighted"
    ).fit(X, y)
    assert -1 not in search.classes_ and None not in search.classes_
    assert isinstance(clone(search).cv, UnlabeledInTrain)


def test_groups_reach_it_by_routing():
    X, y, _ = _data(unlabelled=0)
    speakers = np.arange(60) // 6
    with sklearn.config_context(enable_metadata_routing=True):
        done = cross_validate(
            DummyClassifier(),
            X,
            y,
            cv=UnlabeledInTrain(LeaveOneGroupOut()),
            params={"groups": speakers},
        )
    assert len(done["test_score"]) == 10


def test_nothing_of_a_test_part_is_fitted():
    X, y, _ = _data()
    model = make_sklearn_pipeline(
        FunctionTransformer(), ConcatFusionClassifier(max_epochs=2, random_state=0)
    )
    for train, test in UnlabeledInTrain(2).split(X, y):
        X_other, y_other = changed_rows(X, y, test)
        first = clone(model).fit(X.iloc[train], y[train])
        second = clone(model).fit(X_other.iloc[train], y_other[train])
        assert differences(first, second) == []
    # The comparison would see it
    leaky = clone(model).fit(X_other, y_other)
    assert differences(clone(model).fit(X, y), leaky)


def test_a_class_with_one_row_is_tested_once():
    X, y, _ = _data(30, 6)
    y[y == "sad"] = "happy"
    y[np.flatnonzero(y == "happy")[0]] = "surprise"
    found = [
        (y[test] == "surprise").sum() for _, test in UnlabeledInTrain(3).split(X, y)
    ]
    assert sorted(found) == [0, 0, 1]


def test_other_splitters():
    X, y, _ = _data()
    splitter = UnlabeledInTrain(
        RepeatedStratifiedKFold(n_splits=2, n_repeats=3, random_state=0)
    )
    assert splitter.get_n_splits(X, y) == len(list(splitter.split(X, y))) == 6
    loo = UnlabeledInTrain(LeaveOneOut())
    assert loo.get_n_splits(X, y) == len(list(loo.split(X, y))) == 40
    scores = cross_val_score(
        make_sklearn_pipeline(LogisticRegression()), X[:6], [0, 0, 1, 1, 0, 1], cv=loo
    )
    assert len(scores) == 6


def test_repr_and_pickle():
    splitter = UnlabeledInTrain(3, random_state=1)
    assert repr(splitter).startswith("UnlabeledInTrain(cv=3, ")
    X, y, _ = _data()
    again = pickle.loads(pickle.dumps(splitter))
    for one, other in zip(splitter.split(X, y), again.split(X, y), strict=True):
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(
    ("splitter", "y", "groups", "match"),
    [
        (UnlabeledInTrain(2), None, None, "needs y"),
        (UnlabeledInTrain(2), [-1, -1, -1, -1], None, "None of the 4 rows is labelled"),
        (UnlabeledInTrain(5), [0, 0, 1, -1], None, "5 folds need as many"),
        (UnlabeledInTrain(1), [0, 0, 1, 1], None, "at least 2"),
        (UnlabeledInTrain([([0], [1])]), [0, 0, 1, 1], None, "a splitter such as"),
        (UnlabeledInTrain(True), [0, 0, 1, 1], None, "a splitter such as"),
        (UnlabeledInTrain(2), [0, 0, 1, 1], [1, None, 2, 3], "no value for clip 'b'"),
        (UnlabeledInTrain(2), [0, 0, 1], None, "inconsistent numbers"),
    ],
)
def test_messages(splitter, y, groups, match):
    with pytest.raises(ValueError, match=match):
        list(splitter.split(["a", "b", "c", "d"], y, groups))
