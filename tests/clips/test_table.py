"""ClipTable."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmer.clips import ClipTable
from skmer.exceptions import ExtractionWarning, MediaError


def test_paths_become_rows_named_by_the_path():
    table = ClipTable().fit_transform(["b.mp4", Path("a.wav"), "b.mp4"])
    assert list(table.columns) == ["video", "audio", "text"]
    assert list(table.index) == ["b.mp4", "a.wav", "b.mp4"]
    assert table["video"].tolist() == ["b.mp4", None, "b.mp4"]
    assert table["audio"].tolist() == ["b.mp4", "a.wav", "b.mp4"]
    assert table["text"].tolist() == [None] * 3
    assert all(dtype.kind == "O" for dtype in table.dtypes)


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Series])
def test_any_sequence_gives_the_same_table(make):
    paths = ["a.mp4", "b.mov"]
    table = ClipTable().fit_transform(make(paths))
    expected = ClipTable().fit_transform(paths)
    pd.testing.assert_frame_equal(
        table.reset_index(drop=True), expected.reset_index(drop=True)
    )


def test_a_frame_keeps_its_index_and_only_its_three_columns():
    X = pd.DataFrame(
        {"label": ["sad", "sad"], "text": ["oh", None], "video": ["a.mp4", None]},
        index=["c1", "c2"],
    )
    table = ClipTable().fit_transform(X)
    assert list(table.index) == ["c1", "c2"]
    assert table.loc["c1"].tolist() == ["a.mp4", "a.mp4", "oh"]
    assert table.loc["c2"].tolist() == [None, None, None]


def test_a_given_sound_is_not_replaced():
    X = pd.DataFrame({"video": ["a.mp4", "b.mp4"], "audio": ["x.wav", np.nan]})
    assert ClipTable().fit_transform(X)["audio"].tolist() == ["x.wav", "b.mp4"]


def test_a_series_keeps_its_index():
    table = ClipTable().fit_transform(pd.Series(["a.mp4"], index=["id7"]))
    assert list(table.index) == ["id7"]


def test_one_column_of_paths_under_any_name():
    table = ClipTable().fit_transform(pd.DataFrame({"file": ["a.mp4"]}, index=["k"]))
    assert table.loc["k", "video"] == "a.mp4"


def test_words_are_read_from_sidecars_only_when_asked(tmp_path):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"")
    (tmp_path / "a.txt").write_text("I am  fine\n")
    other = tmp_path / "b.mp4"
    assert ClipTable().fit_transform([clip])["text"].tolist() == [None]
    read = ClipTable(sidecar_text=True).fit_transform([clip, other])
    assert read["text"].tolist() == ["I am fine", None]
    X = pd.DataFrame({"video": [str(clip), str(clip)], "text": ["given", None]})
    read = ClipTable(sidecar_text=True).fit_transform(X)
    assert read["text"].tolist() == ["given", "I am fine"]


def test_a_missing_row_keeps_its_place():
    table = ClipTable().fit_transform(["a.mp4", None])
    assert list(table.index) == ["a.mp4", "(missing 1)"]
    assert table.iloc[1].tolist() == [None, None, None]


def test_unreadable_transcripts(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "b.txt").write_text("fine")
    clips = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    with pytest.raises(MediaError, match="a.txt"):
        ClipTable(sidecar_text=True).transform(clips)
    with pytest.warns(ExtractionWarning, match="1 of 2 clips"):
        table = ClipTable(sidecar_text=True, on_error="nan").transform(clips)
    assert table["text"].tolist() == [None, "fine"]


@pytest.mark.parametrize(
    ("X", "kind", "words"),
    [
        ([], ValueError, "0 sample"),
        (pd.DataFrame({"video": []}), ValueError, "0 sample"),
        (["a.mp4", 3], TypeError, "Clip 1"),
        ([""], ValueError, "empty string"),
        ("a.mp4", TypeError, "a list even for one clip"),
        (7, TypeError, "int"),
        (
            pd.DataFrame({"file": ["a"], "label": [1]}),
            ValueError,
            "file, label. Rename the column that holds the paths to 'video', or use",
        ),
        (
            pd.DataFrame({"label": [1], "path": ["a.mp4"]}),
            ValueError,
            "label, path. Rename 'path' to 'video', or use skmer.datasets.load_clips",
        ),
        (
            pd.DataFrame({"n": [1], "sound": [Path("a.wav")]}),
            ValueError,
            "Rename 'sound' to 'audio'",
        ),
        (
            pd.DataFrame({"Video": ["a.mp4"], "Audio ": ["a.wav"], "y": [1]}),
            ValueError,
            "Rename 'Video' to 'video' and 'Audio ' to 'audio', or",
        ),
        (
            pd.DataFrame({"audio__0": [1.0], "audio__1": [2.0]}),
            ValueError,
            "features: it has 2 columns such as 'audio__0'.*encoders=None",
        ),
        (
            pd.DataFrame({"y": ["x"], "video__frames": [np.zeros((2, 3))]}),
            ValueError,
            "such as 'video__frames'.*encoders=None",
        ),
        (pd.DataFrame({0: [1.0], 1: [2.0]}), ValueError, "encoders=None"),
        (np.zeros((3, 2)), ValueError, r"\(3, 2\).*encoders=None"),
        (pd.DataFrame({"video": ["a.mp4", 4]}), TypeError, "Clip 1"),
    ],
)
def test_bad_input(X, kind, words):
    with pytest.raises(kind, match=words):
        ClipTable().fit_transform(X)


def test_parameters_are_validated():
    with pytest.raises(ValueError, match="sidecar_text"):
        ClipTable(sidecar_text="yes").fit(["a.mp4"])


def test_behaves_like_a_transformer():
    table = ClipTable(sidecar_text=True)
    for twin in (clone(table), copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert twin.get_params() == {"sidecar_text": True, "on_error": "raise"}
    frame = table.set_output(transform="pandas").transform(["a.mp4"])
    assert list(frame.columns) == list(table.get_feature_names_out())


def test_the_input_is_left_alone():
    X = pd.DataFrame({"video": ["a.mp4", None]})
    before = X.copy(deep=True)
    ClipTable().fit_transform(X)
    pd.testing.assert_frame_equal(X, before)
