"""Decisions of people, and the file that keeps them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmer.label_refinement import LabelRefiner, read_decisions, write_decisions

HOSTILE = ['a, "b".mp4', "lines\nbroken.mp4", "'; drop", " spaces .mp4", "é😀.mp4"]


def test_hostile_names_survive(tmp_path):
    path = tmp_path / "decisions.csv"
    hostile = [*HOSTILE, os.fsdecode(b"no-utf8-\xff.mp4")]
    decisions = pd.Series(
        ["happy", "drop", "keep", "sad", "sad", "sad"],
        index=pd.Index(hostile, dtype=object),
    )
    write_decisions(path, decisions)
    assert read_decisions(path).to_dict() == decisions.to_dict()
    write_decisions(path, pd.Series({"more.mp4": "sad"}))
    assert len(read_decisions(path)) == 7


def test_bytes_of_windows(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_bytes(b'\xef\xbb\xbfclip;decision;by\r\n"a;b";sad ;me\r\nc;;\r\n\r\n')
    assert read_decisions(path).to_dict() == {"a;b": "sad"}


def test_other_columns_and_open_lines_stay(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text("note,clip,decision\nfirst,b,\nsecond,a,sad\n")
    write_decisions(path, pd.Series({"b": "happy", "c": 3, Path("d"): "drop"}))
    assert path.read_text().splitlines() == [
        "note,clip,decision",
        "first,b,happy",
        "second,a,sad",
        ",c,3",
        ",d,drop",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,label\na,sad\n", "no column 'decision'"),
        ("", "no column 'clip'"),
        ("clip,decision\na,sad\n\nb,c,sad\n", "line 4: 3 cells for 2 columns"),
        ("clip,decision\na,sad\na,happy\n", "line 3: clip 'a' is decided as 'happy'"),
        ("clip,decision\n,sad\n", "line 2: no clip"),
    ],
)
def test_errors_say_the_line(tmp_path, text, message):
    path = tmp_path / "decisions.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_decisions(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_decisions(tmp_path / "none.csv")


def test_a_contradiction_writes_nothing(tmp_path):
    path = tmp_path / "decisions.csv"
    write_decisions(path, pd.Series({"a": "sad", "b": None}))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="'a', the new decision is 'happy'"):
        write_decisions(path, pd.Series({"c": "sad", "a": "happy"}))
    twice = pd.Series(["sad", "happy"], index=["c", "c"])
    with pytest.raises(ValueError, match="different values for clip 'c'"):
        write_decisions(path, twice)
    with pytest.raises(TypeError, match="Series indexed by clip id"):
        write_decisions(path, {"c": "sad"})
    assert path.read_bytes() == before
    write_decisions(path, pd.Series({"a": "happy"}), overwrite=True)
    assert read_decisions(path).to_dict() == {"a": "happy"}


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "decisions.csv"
    write_decisions(path, pd.Series({"a": "sad"}))
    before = path.read_bytes()

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_decisions(path, pd.Series({"b": "sad"}))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _data(n=40, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 2
    X = pd.DataFrame(
        rng.normal(size=(n, 4)) + 4 * codes[:, None],
        index=[f"c{i}" for i in range(n)],
        columns=["audio__0", "audio__1", "text__0", "text__1"],
    )
    return X, codes


def test_decisions_override_votes(tmp_path):
    X, codes = _data(80)
    y = np.array(["sad", "shy"])[codes]
    y[[0, 2, 4]] = "shy"
    decisions = pd.Series(
        {"c0": "keep", "c2": "drop", "c6": "shy", "c9": "shy", "elsewhere": "bored"}
    )
    path = tmp_path / "decisions.csv"
    write_decisions(path, decisions)
    for given in (decisions, path, str(path)):
        refiner = LabelRefiner(decisions=given, random_state=0)
        X_new, y_new = refiner.fit_resample(X, y)
        after = pd.Series(y_new, index=X_new.index)
        assert "c2" not in after.index and len(after) == 79
        assert after["c0"] == "shy" and after["c6"] == "shy" and after["c4"] == "sad"
        assert not refiner.flagged_[["c0", "c2", "c6"]].any()
        report = refiner.report().set_index("clip")
        assert report.loc[["c0", "c2", "c6", "c9"], "decided_by"].eq("person").all()
        assert report.loc["c4", "decided_by"] == "sources"
        assert report["dropped"].to_dict()["c2"] and report["dropped"].sum() == 1


def test_decisions_about_numbers_and_unlabelled_clips(tmp_path):
    X, codes = _data()
    y = codes.copy()
    y[[1, 3]] = -1
    write_decisions(tmp_path / "d.csv", pd.Series({"c1": 1}))
    refiner = LabelRefiner(decisions=tmp_path / "d.csv", random_state=0)
    _, y_new = refiner.fit_resample(X, y)
    assert y_new[1] == 1 and y_new[3] == -1 and y_new.dtype == y.dtype


@pytest.mark.parametrize("kind", [int, Path])
def test_a_file_decides_about_clips_whose_ids_are_no_text(tmp_path, kind):
    X, codes = _data()
    y = np.array(["sad", "shy"])[codes]
    X.index = [kind(str(number)) for number in range(40)]
    path = tmp_path / "decisions.csv"
    write_decisions(path, pd.Series(["drop", "shy"], index=X.index[[3, 0]]))
    for decisions in (path, read_decisions(path)):
        refiner = LabelRefiner(decisions=decisions, random_state=0)
        X_new, _ = refiner.fit_resample(X, y)
        decided = refiner.decided_[refiner.decided_].index
        assert [str(clip) for clip in decided] == ["0", "3"]
        assert len(X_new) == 39 and refiner.labels_.iloc[0] == "shy"


def test_decisions_about_no_clip_of_X(tmp_path):
    X, codes = _data()
    y = np.array(["sad", "shy"])[codes]
    write_decisions(tmp_path / "d.csv", pd.Series({"x1": "sad", "x2": "shy"}))
    refiner = LabelRefiner(decisions=tmp_path / "d.csv", random_state=0)
    with pytest.warns(UserWarning, match="None of the 2 .*'x1', 'x2', X has 'c0', 'c1"):
        refiner.fit(X, y)
    assert not refiner.decided_.any()
    # One clip that is there is enough
    refiner.set_params(decisions=pd.Series({"x1": "sad", "c5": "sad"})).fit(X, y)
    assert refiner.decided_.sum() == 1


def test_spaces_and_the_case_of_the_header(tmp_path):
    X, codes = _data()
    y = np.array(["sad", "shy"])[codes]
    path = tmp_path / "decisions.csv"
    path.write_text("Clip, DECISION ,by\nc1, sad ,me\n")
    assert read_decisions(path).to_dict() == {"c1": "sad"}
    write_decisions(path, pd.Series({"c3": "drop"}))
    assert path.read_text().splitlines() == [
        "clip,decision,by",
        "c1,sad,me",
        "c3,drop,",
    ]
    decisions = pd.Series({"c1": "sad ", "c3": " drop", "c5": "keep "})
    refiner = LabelRefiner(decisions=decisions, random_state=0).fit(X, y)
    assert refiner.decided_.sum() == 3 and len(refiner.sample_indices_) == 39
    assert refiner.labels_["c1"] == "sad"
    with pytest.raises(ValueError, match="'Sad' of clip 'c1', which is no class"):
        refiner.set_params(decisions=pd.Series({"c1": "Sad"})).fit(X, y)


def test_a_dict_is_told_how_to_become_a_series(tmp_path):
    X, codes = _data()
    with pytest.raises(TypeError, match=r"Got dict: pass pd.Series\(decisions\)"):
        LabelRefiner(decisions={"c1": 1}).fit(X, codes)
    with pytest.raises(TypeError, match=r"Got dict: pass pd.Series\(decisions\)"):
        write_decisions(tmp_path / "d.csv", {"c1": 1})
    with pytest.raises(TypeError, match="Got dict. Pass pd.Series of it"):
        LabelRefiner(extra_labels={"llm": {"c1": 1}}).fit(X, codes)


def test_a_report_becomes_decisions(tmp_path):
    X, codes = _data(80)
    y = np.array(["sad", "shy"])[codes]
    y[[0, 2]] = "shy"
    refiner = LabelRefiner(random_state=0).fit(X, y)
    report = refiner.report()
    right = report[report["decided_by"] == "sources"]
    write_decisions(tmp_path / "d.csv", right.set_index("clip")["to"])
    again = LabelRefiner(decisions=tmp_path / "d.csv", random_state=0).fit(X, y)
    assert again.decided_[again.decided_].index.tolist() == ["c0", "c2"]
    assert again.labels_.equals(refiner.labels_)


def test_what_is_no_decision():
    X, codes = _data()
    y = np.array(["sad", "shy"])[codes]
    with pytest.raises(ValueError, match="'bored' of clip 'c1', which is no class"):
        LabelRefiner(decisions=pd.Series({"c1": "bored"})).fit(X, y)
    twice = pd.Series(["sad", "shy"], index=["c1", "c1"])
    with pytest.raises(ValueError, match="decisions holds different values"):
        LabelRefiner(decisions=twice).fit(X, y)
    with pytest.raises(ValueError, match="X has no clip ids"):
        LabelRefiner(decisions=pd.Series({"c1": "sad"})).fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="class 'drop'"):
        LabelRefiner(decisions=pd.Series({"c1": "sad"})).fit(
            X, np.where(y == "shy", "drop", y)
        )


def test_decisions_that_drop_whole_classes():
    X, codes = _data(60)
    y = np.arange(60) % 3
    gone = pd.Series("drop", index=X.index[y == 2])
    refiner = LabelRefiner(decisions=gone, random_state=0)
    with pytest.warns(UserWarning, match="No row has the label 2 any more"):
        X_new, y_new = refiner.fit_resample(X, y)
    assert len(X_new) == 40 and set(y_new) == {0, 1}
    more = pd.concat([gone, pd.Series("drop", index=X.index[y == 1])])
    with pytest.raises(ValueError, match="at least two classes. Decisions leave 1"):
        refiner.set_params(decisions=more).fit(X, y)
