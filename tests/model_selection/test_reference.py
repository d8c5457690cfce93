"""Folds that are made once, saved and read."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from skmer.model_selection import ReferenceFolds


def _data(n=60, unlabelled=15):
    rng = np.random.default_rng(0)
    index = [f"speaker {i // 6}/clip, {i}.mp4" for i in range(n)]
    X = pd.DataFrame(rng.normal(size=(n, 3)), index=index)
    y = np.array(["happy", "sad", "worried"], dtype=object)[np.arange(n) % 3]
    y[rng.permutation(n)[:unlabelled]] = None
    speakers = pd.Series(np.arange(n) // 6, index=index)
    return X, pd.Series(y, index=index), speakers


def _same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_folds_are_stratified_and_keep_groups():
    X, y, speakers = _data()
    folds = ReferenceFolds.from_labels(y, n_splits=5)
    counts = pd.crosstab(folds.folds.astype("float"), y.fillna("none"))
    assert counts.shape == (5, 3) and np.ptp(counts.to_numpy(), axis=0).max() <= 1
    grouped = ReferenceFolds.from_labels(y, groups=speakers, n_splits=4)
    assert speakers.groupby(speakers).count().size == 10
    known = grouped.folds.dropna()
    assert known.groupby(speakers[known.index]).nunique().eq(1).all()
    assert grouped.facts == {
        "n_splits": 4,
        "random_state": 0,
        "grouped": True,
        "hold_out_groups": False,
        "classes": y.value_counts().to_dict(),
        "unlabelled": 15,
    }


def test_a_file_gives_the_same_folds(tmp_path):
    X, y, speakers = _data()
    folds = ReferenceFolds.from_labels(y, groups=speakers, n_splits=3, random_state=7)
    folds.save(tmp_path / "folds.csv")
    again = ReferenceFolds.read(tmp_path / "folds.csv")
    pd.testing.assert_series_equal(again.folds, folds.folds)
    assert again.facts == folds.facts
    _same(folds.split(X, y), again.split(X, y))
    again.save(tmp_path / "again.csv")
    text = (tmp_path / "folds.csv").read_bytes()
    assert (tmp_path / "again.csv").read_bytes() == text
    assert {p.name for p in tmp_path.iterdir()} == {"folds.csv", "again.csv"}
    plain = pd.read_csv(tmp_path / "folds.csv", comment="#")
    assert plain["clip"].tolist() == X.index.tolist()


def test_labels_in_another_order_are_read_by_clip_id():
    X, y, speakers = _data()
    shuffled = y.sample(frac=1, random_state=0)
    for clips in (X, list(X.index), X.index):
        for groups in (None, speakers, speakers.sample(frac=1), speakers.to_numpy()):
            expected = ReferenceFolds.from_labels(y, clips=clips, groups=groups)
            folds = ReferenceFolds.from_labels(shuffled, clips=clips, groups=groups)
            pd.testing.assert_series_equal(folds.folds, expected.folds)
    # Rows without ids have numbers: an array follows the clips
    by_row = ReferenceFolds.from_labels(y.to_numpy(), clips=X)
    pd.testing.assert_series_equal(
        by_row.folds, ReferenceFolds.from_labels(y, clips=X).folds
    )
    for other in (y.reset_index(drop=True), y.rename(index={y.index[0]: "z"})):
        with pytest.raises(ValueError, match="y is a Series of other clips than"):
            ReferenceFolds.from_labels(other, clips=X)
    twice = pd.concat([y, y])
    folds = ReferenceFolds.from_labels(twice, clips=twice.index).folds
    assert len(folds) == 60
    with pytest.raises(ValueError, match="several times"):
        ReferenceFolds.from_labels(twice, clips=twice.index[::-1])


def test_path_objects_are_the_strings_they_stand_for(tmp_path):
    X, y, _ = _data()
    paths = [Path(clip) for clip in X.index]
    folds = ReferenceFolds.from_labels(y, n_splits=3)
    by_path = ReferenceFolds.from_labels(y.set_axis(paths), n_splits=3)
    for one in (by_path, ReferenceFolds(folds.folds.set_axis(paths))):
        for clips in (X, X.set_axis(paths), paths):
            _same(folds.split(X, y), one.split(clips, y))


@pytest.mark.parametrize("train", [0, [0], "all"])
def test_nothing_to_train_on(train):
    folds = pd.Series([0, 0, 1, 1, None], index=list("abcde"))
    y = np.array(["x", "z", "x", "z", None], dtype=object)
    if train == "all":
        folds, train = folds.iloc[:2], None
        clips, y = list("ab"), y[:2]
    else:
        clips = list("abcde")
    with pytest.raises(ValueError, match="no labelled row to train on where fold 0 is"):
        next(ReferenceFolds(folds, train=train).split(clips, y))
    # The same folds, tested on the other
    if train is not None:
        ((learn, test),) = ReferenceFolds(folds, train=train, test=1).split(clips, y)
        assert learn.tolist() == [0, 1, 4] and test.tolist() == [2, 3]


def test_small_classes_are_told_of():
    _, y, speakers = _data(unlabelled=0)
    y[y == "sad"] = "happy"
    y.iloc[[0, 6, 12]] = "surprise"
    said = r"Class 'surprise' has fewer clips \(3\) than there are folds \(4\)"
    with pytest.warns(UserWarning, match=said):
        ReferenceFolds.from_labels(y, n_splits=4)
    twice = pd.concat([y, y])
    with pytest.warns(UserWarning, match=said):
        ReferenceFolds.from_labels(twice, n_splits=4)
    ReferenceFolds.from_labels(y, n_splits=3)
    y.iloc[:6] = "surprise"
    with pytest.warns(UserWarning, match=r"'surprise' has fewer groups \(3\) than"):
        ReferenceFolds.from_labels(y, groups=speakers, n_splits=4)


def test_seeds():
    _, y, _ = _data()
    first = ReferenceFolds.from_labels(y).folds
    pd.testing.assert_series_equal(first, ReferenceFolds.from_labels(y).folds)
    assert not first.equals(ReferenceFolds.from_labels(y, random_state=1).folds)


def test_order_and_missing_clips_change_nothing():
    X, y, _ = _data()
    folds = ReferenceFolds.from_labels(y, n_splits=3)
    order = np.random.default_rng(1).permutation(60)[:45]
    whole = [set(X.index[test]) for _, test in folds.split(X, y)]
    part = X.iloc[order]
    for (train, test), before in zip(
        folds.split(part, y.iloc[order]), whole, strict=True
    ):
        assert set(part.index[test]) == before & set(part.index)
        assert sorted([*train, *test]) == list(range(45))
    # A search inside of a training part has one fold fewer
    inner = X.drop(list(whole[1]))
    assert folds.get_n_splits(inner, y[inner.index]) == 2
    assert len(list(folds.split(inner, y[inner.index]))) == 2
    assert folds.get_n_splits() == 3


def test_unlabelled_rows_train_unless_their_fold_is_tested():
    X, y, speakers = _data()
    hidden = np.flatnonzero(y.isna())
    for train, test in ReferenceFolds.from_labels(y, n_splits=3).split(X, y):
        assert set(hidden) <= set(train) and not set(hidden) & set(test)
    folds = ReferenceFolds.from_labels(
        y, groups=speakers, n_splits=3, hold_out_groups=True
    )
    left_out = 0
    for train, test in folds.split(X, y):
        assert not set(speakers.iloc[train]) & set(speakers.iloc[test])
        assert not set(hidden) & set(test)
        left_out += len(set(hidden) - set(train))
    assert left_out == len(hidden)


def test_unlabelled_clips_need_no_entry():
    X, y, _ = _data()
    folds = ReferenceFolds(ReferenceFolds.from_labels(y).folds.dropna())
    for train, _ in folds.split(X, y):
        assert set(np.flatnonzero(y.isna())) <= set(train)
    with pytest.raises(ValueError, match="15 of 60 rows are clips without an entry"):
        next(folds.split(X))


def test_fixed_parts(tmp_path):
    clips = [f"{i}.mp4" for i in range(8)]
    parts = pd.Series(["train"] * 3 + ["dev"] * 2 + ["test"] * 2 + [None], index=clips)
    y = ["a", "b"] * 4

    def rows(**settings):
        folds = ReferenceFolds(parts, **settings)
        folds.save(tmp_path / "folds.csv")
        again = ReferenceFolds.read(tmp_path / "folds.csv")
        found = [(a.tolist(), b.tolist()) for a, b in folds.split(clips, y)]
        assert found == [(a.tolist(), b.tolist()) for a, b in again.split(clips, y)]
        return found

    assert rows(test="test", train="train") == [([0, 1, 2, 7], [5, 6])]
    assert rows(test=["test"]) == [([0, 1, 2, 3, 4, 7], [5, 6])]
    assert rows(test=["dev", "test"], train=["train"]) == [
        ([0, 1, 2, 7], [3, 4]),
        ([0, 1, 2, 7], [5, 6]),
    ]
    assert len(rows()) == 3


def test_all_marks_of_no_fold_mean_the_same():
    clips = list("abcdef")
    for none in (None, np.nan, -1, ""):
        folds = ReferenceFolds(pd.Series([0, 1, 0, 1, none, 1], index=clips))
        assert [t.tolist() for _, t in folds.split(clips)] == [[0, 2], [1, 3, 5]]
        assert all(4 in train for train, _ in folds.split(clips))


def test_rows_without_ids_are_taken_in_order(tmp_path):
    y = np.array([0, 1, -1] * 10)
    folds = ReferenceFolds.from_labels(y, n_splits=2)
    folds.save(tmp_path / "folds.csv")
    again = ReferenceFolds.read(tmp_path / "folds.csv")
    X = np.zeros((30, 2))
    _same(folds.split(X, y), again.split(pd.DataFrame(X), y))
    with pytest.raises(ValueError, match="X has 29 rows without clip ids"):
        next(again.split(X[1:], y[1:]))


def test_copies_share_a_fold():
    X, y, _ = _data(30, 8)
    twice = y.loc[y.index.repeat(2)]
    twice.iloc[::2] = None
    folds = ReferenceFolds.from_labels(twice, n_splits=3)
    assert folds.folds.index.is_unique and len(folds.folds) == 30
    double = X.loc[twice.index]
    for train, test in folds.split(double, twice):
        assert not set(double.index[train]) & set(double.index[test])


def test_scores_and_searches():
    X, y, _ = _data(unlabelled=0)
    folds = ReferenceFolds.from_labels(y, n_splits=3)
    model = LogisticRegression()
    scores = cross_val_score(model, X, y, cv=folds)
    order = np.random.default_rng(0).permutation(60)
    other = cross_val_score(model, X.iloc[order], y.iloc[order], cv=folds)
    np.testing.assert_allclose(scores, other)
    search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=folds)
    assert cross_val_score(search, X, y, cv=folds).shape == (3,)
    clone(search).fit(X, y)
    again = pickle.loads(pickle.dumps(folds))
    assert repr(again) == repr(folds) and repr(folds).startswith("ReferenceFolds(")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    _, y, _ = _data()
    folds = ReferenceFolds.from_labels(y)
    folds.save(tmp_path / "folds.csv")
    before = (tmp_path / "folds.csv").read_bytes()
    clips = pd.Index(["a", "\ud800"], dtype=object)
    bad = ReferenceFolds(pd.Series([0, 1], index=clips))
    # A clip id that UTF-8 cannot write, found out half-way
    with pytest.raises(UnicodeEncodeError):
        bad.save(tmp_path / "folds.csv")
    assert (tmp_path / "folds.csv").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["folds.csv"]


def test_awkward_clip_ids_survive(tmp_path):
    clips = ['say "hi".mp4', "a,b.mp4", "# c.mp4", "喜.mp4", "two\nlines", "a#b.mp4"]
    folds = ReferenceFolds(pd.Series([0, 1, 0, 1, None, 1], index=clips))
    folds.save(tmp_path / "folds.csv")
    again = ReferenceFolds.read(tmp_path / "folds.csv").folds
    assert again.index.tolist() == clips
    assert again.fillna(-1).tolist() == [0, 1, 0, 1, -1, 1]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: "clip,fold\na,0\n", "is no file of folds"),
        (lambda t: t.replace("format 1", "format 2"), "is of format 2"),
        (lambda t: t.replace("b.mp4,1", "b.mp4"), "line 11: a row is a clip"),
        (lambda t: t.replace("b.mp4,1", "b.mp4,7"), "line 11: there is no fold '7'"),
        (lambda t: t.replace("b.mp4", "a.mp4"), "line 11: .* line 10 already"),
        (lambda t: t.replace("b.mp4,1", "b.mp4,0"), "rows were lost or changed"),
        (lambda t: t.replace("d.mp4,1\n", ""), "holds 3 in folds"),
        (lambda t: t.replace("clip,fold", "clip"), "line 9: the columns must be"),
        (lambda t: t[: t.index("clip,fold")], "the columns must be"),
        (lambda t: t.replace("# n_clips: 4\n", ""), "'# n_clips: ...' is missing"),
        (lambda t: t.replace("[0, 1]", "[0, 1"), "line 6: 'fold_names' is no JSON"),
        (lambda t: t.replace("b.mp4,1", '"b.mp4,1'), "line 1[0-9]: unexpected end"),
        (lambda t: t.replace('"paths"', '"numbers"'), "line 10: clips are numbers"),
    ],
)
def test_damaged_files(tmp_path, change, match):
    clips = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    path = tmp_path / "folds.csv"
    ReferenceFolds(pd.Series([0, 1, 0, 1], index=clips)).save(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=match):
        ReferenceFolds.read(path)


@pytest.mark.parametrize(
    ("folds", "settings", "match"),
    [
        ([0, 1, 2.5], {}, "whole numbers or names.*2.5"),
        ([0, 1, "dev"], {}, "not both"),
        ([None, None, -1], {}, "gives no clip a fold"),
        ([0, 1, 1], {"test": 3}, "test must name folds, each once, out of 0, 1"),
        ([0, 1, 1], {"test": [0, 0]}, "each once"),
        ([0, 1, 1], {"test": 0, "train": []}, "train must name folds"),
    ],
)
def test_wrong_folds(folds, settings, match):
    with pytest.raises(ValueError, match=match):
        list(
            ReferenceFolds(pd.Series(folds, index=list("abc")), **settings).split("abc")
        )


def test_messages_of_rows():
    folds = ReferenceFolds(pd.Series([0, 1, 1, 0], index=list("abcd")))
    with pytest.raises(ValueError, match="entry in the folds: 'y', 'z'. The folds"):
        next(folds.split(["a", "y", "z"]))
    with pytest.raises(ValueError, match="no labelled row of the fold 1"):
        list(ReferenceFolds(folds.folds, test=1).split(["a", "d"]))
    with pytest.raises(ValueError, match="none is tested"):
        list(folds.split(["a", "b"], [-1, -1]))
    with pytest.raises(ValueError, match="X has 2 rows and y 3"):
        next(folds.split(["a", "b"], [0, 1, 1]))
    with pytest.raises(TypeError, match="must be a Series"):
        next(ReferenceFolds([0, 1]).split(["a", "b"]))
    with pytest.raises(TypeError, match=r"Got NoneType\. .*fold_column.*from_labels"):
        next(ReferenceFolds(None).split(["a", "b"]))
    twice = ReferenceFolds(pd.Series([0, 1], index=["a", "a"]))
    with pytest.raises(ValueError, match="gives clip 'a' two folds"):
        next(twice.split(["a"]))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"y": [None, None]}, "None of the 2 rows"),
        ({"y": [0, 0, 1, 1], "n_splits": 1}, "n_splits must be a whole number from 2"),
        ({"y": [0, 0, 1, 1], "random_state": None}, "random_state must be a whole"),
        ({"y": [0, 0, 1, 1]}, "5 folds need as many clips"),
        ({"y": [0, 0, 1, 1], "clips": ["a"], "n_splits": 2}, "clips must have the ids"),
        ({"y": [0, 1, 1], "groups": ["a", None, "b"]}, "no value for clip 1"),
        ({"y": [0, 1, 1], "groups": ["a", "b"]}, "3 rows and 2 groups"),
        (
            {"y": [0, 1, 1], "hold_out_groups": True, "n_splits": 2},
            "hold_out_groups=True needs groups",
        ),
        (
            {"y": [0, 1], "clips": pd.MultiIndex.from_tuples([(0, 0), (0, 1)])},
            "one level.*Got 2 levels",
        ),
        (
            {"y": [0, 1], "groups": ["a", "b"], "clips": ["x", "x"]},
            "copies of a clip different groups",
        ),
    ],
)
def test_messages_of_labels(settings, match):
    with pytest.raises(ValueError, match=match):
        ReferenceFolds.from_labels(**settings)


def test_facts_may_be_numpys_numbers(tmp_path):
    facts = {"n": np.int64(3), "share": [np.float32(0.5)], "by": np.str_("age")}
    folds = ReferenceFolds(pd.Series([0, 1], index=["a", "b"]), facts=facts)
    folds.save(tmp_path / "folds.csv")
    again = ReferenceFolds.read(tmp_path / "folds.csv").facts
    assert again == {"n": 3, "share": [0.5], "by": "age"}


def test_a_folder_that_does_not_exist(tmp_path):
    folds = ReferenceFolds(pd.Series([0, 1], index=["a", "b"]))
    with pytest.raises(FileNotFoundError, match="The folder .*nope.* does not exist"):
        folds.save(tmp_path / "nope" / "folds.csv")


def test_facts_must_be_kept():
    folds = ReferenceFolds(pd.Series([0, 1], index=["a", "b"]), facts={"by": object()})
    with pytest.raises(ValueError, match="facts must hold strings"):
        folds.save("never.csv")
    mixed = ReferenceFolds(pd.Series([0, 1], index=["a", 2]))
    with pytest.raises(ValueError, match="all strings or all whole numbers"):
        mixed.save("never.csv")
