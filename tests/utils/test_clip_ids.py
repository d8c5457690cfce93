"""Clip ids and what a Series indexed by them knows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmer.utils._clip_ids import aligned_groups, clip_ids, look_up, unit_codes


def test_frames_and_series_have_their_index():
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    assert clip_ids(frame).tolist() == ["x", "y"]
    assert clip_ids(frame["a"]).tolist() == ["x", "y"]


def test_paths_are_ids_and_arrays_have_none():
    assert clip_ids(["a.mp4", Path("b.mp4")]).tolist() == ["a.mp4", "b.mp4"]
    assert clip_ids(np.array(["a.mp4", "b.mp4"])).tolist() == ["a.mp4", "b.mp4"]
    assert clip_ids(np.zeros((3, 2))) is None
    assert clip_ids([1, 2]) is None
    assert clip_ids(["a.mp4", None]) is None


def test_path_objects_are_the_strings_they_stand_for():
    frame = pd.DataFrame({"a": [1, 2]}, index=[Path("x/a.mp4"), Path("x/b.mp4")])
    assert clip_ids(frame).tolist() == ["x/a.mp4", "x/b.mp4"]
    by_path = pd.Series([1, 2], index=frame.index)
    by_string = pd.Series([1, 2], index=["x/a.mp4", "x/b.mp4"])
    for series in (by_path, by_string):
        for ids in (frame.index[::-1], by_string.index[::-1], frame.index[[1, 0]]):
            assert look_up(series, ids, "groups").tolist() == [2, 1]
    assert isinstance(by_path.index[0], Path)
    mixed = pd.Series([1, 2], index=[Path("x/a.mp4"), "x/b.mp4"])
    assert look_up(mixed, by_string.index, "groups").tolist() == [1, 2]
    twice = pd.Series([1, 2], index=[Path("x/a.mp4"), "x/a.mp4"])
    with pytest.raises(ValueError, match="different values for clip 'x/a.mp4'"):
        look_up(twice, by_string.index, "groups")


def test_look_up_follows_the_rows():
    series = pd.Series({"a": 1, "b": 2, "c": np.nan})
    values = look_up(series, pd.Index(["b", "a", "b"]), "groups")
    assert values.tolist() == [2, 1, 2]
    loose = look_up(series, pd.Index(["c", "z", "a"]), "groups", required=False)
    assert loose.isna().tolist() == [True, True, False]


def test_look_up_accepts_one_value_twice_and_refuses_two():
    twice = pd.Series(["m", "m", "f"], index=["a", "a", "b"])
    assert look_up(twice, pd.Index(["a", "b"]), "groups").tolist() == ["m", "f"]
    twice.iloc[1] = "f"
    with pytest.raises(ValueError, match="groups holds different values for clip 'a'"):
        look_up(twice, pd.Index(["b"]), "groups")


def test_look_up_says_what_lacks():
    with pytest.raises(ValueError, match=r"no value for clip 'z' \(1 of 2 rows"):
        look_up(pd.Series({"a": 1}), pd.Index(["a", "z"]), "weights")
    with pytest.raises(ValueError, match="X has no clip ids"):
        look_up(pd.Series({"a": 1}), None, "weights")
    stems = pd.Series({"a": 1, "b": 2, "c": 3})
    with pytest.raises(ValueError, match=r"clips such as 'a', 'b'\. Index it by"):
        look_up(stems, pd.Index(["clips/a.mp4"]), "groups")
    with pytest.raises(ValueError, match="It knows no clip"):
        look_up(pd.Series([None], index=["a"]), pd.Index(["a"]), "groups")


def test_look_up_wants_a_series_and_does_not_print_the_rest():
    with pytest.raises(TypeError, match=r"groups must be a Series .* Got list\.$"):
        look_up(list(range(2000)), pd.Index(["a"]), "groups")


def test_unit_codes():
    ids = pd.Index(["a", "b", "a", "c"])
    assert unit_codes(None, None, 3).tolist() == [0, 1, 2]
    assert unit_codes(ids, None, 4).tolist() == [0, 1, 0, 2]
    groups = pd.Series({"a": "s1", "b": "s2", "c": "s1"})
    assert unit_codes(ids, groups, 4).tolist() == [0, 1, 0, 0]


def test_groups_in_another_order_are_read_by_clip_id():
    ids = pd.Index(["b", "a", "b"])
    groups = pd.Series({"a": "s1", "b": "s2", "c": "s3"})
    assert aligned_groups(groups, ids).tolist() == ["s2", "s1", "s2"]
    loose = aligned_groups(groups.drop("a"), ids, required=False)
    assert loose.isna().tolist() == [False, True, False]


def test_groups_without_ids_are_read_by_position():
    groups = pd.Series(["s1", "s2"], index=["b", "a"])
    assert aligned_groups(groups, None) is groups
    assert aligned_groups(groups, pd.Index(["b", "a"])) is groups
    plain = np.array(["s1", "s2"])
    assert aligned_groups(plain, pd.Index(["a", "b"])) is plain
    assert aligned_groups(None, pd.Index(["a", "b"])) is None


def test_groups_of_other_clips_are_refused():
    by_row = pd.Series(["s1", "s2"])
    with pytest.raises(ValueError, match="speakers has no value for clip 'a'"):
        aligned_groups(by_row, pd.Index(["a", "b"]), "speakers")
