"""to_submission: the files that the challenges score."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from skmer.datasets import to_submission
from skmer.exceptions import DataFileError

NAMES = ["sample_b", "sample_a", "sample.c"]
EMOTIONS = ["sad", "neutral", "surprise"]
ROWS = "name,discrete\nsample_b,sad\nsample_a,neutral\nsample.c,surprise\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "submission.csv"


def _frame(names):
    return pd.DataFrame({"video": "x.mp4"}, index=pd.Index(names, name="clip"))


@pytest.mark.parametrize(
    "clips",
    [
        NAMES,
        [f"videos/{name}.mp4" for name in NAMES],
        [Path("videos", f"{name}.avi") for name in NAMES],
        np.array(NAMES),
        pd.Index(NAMES),
        pd.Series(["x"] * 3, index=NAMES),
        _frame(NAMES),
        Bunch(data=_frame(NAMES)),
    ],
    ids=["names", "paths", "Path", "array", "Index", "Series", "frame", "Bunch"],
)
def test_clips_of_every_kind(path, clips):
    assert to_submission(clips, EMOTIONS, path, n_rows=3) == 3
    assert path.read_bytes() == ROWS.encode()


@pytest.mark.parametrize(
    "predictions",
    [
        np.array(EMOTIONS),
        np.array(EMOTIONS, dtype=object),
        pd.Series(EMOTIONS),
        [3, 0, 5],
        np.array([3, 0, 5]),
    ],
)
def test_predictions_of_every_kind(path, predictions):
    path.write_text("from before")
    to_submission(NAMES, predictions, path, n_rows=None)
    assert path.read_text() == ROWS
    assert [file.name for file in path.parent.iterdir()] == ["submission.csv"]


@pytest.mark.parametrize(
    "wrong", ["Sad", "disgust", "", None, np.nan, 6, -1, 1.0, True]
)
def test_classes_are_checked(path, wrong):
    with pytest.raises(
        ValueError, match="prediction of 'sample_a' is .*, none of neut"
    ):
        to_submission(NAMES, ["sad", wrong, "sad"], path, n_rows=None)
    assert not path.exists()


def test_shapes(path):
    with pytest.raises(ValueError, match=r"3 in all.*\(2,\)"):
        to_submission(NAMES, EMOTIONS[:2], path)
    with pytest.raises(ValueError, match="take the class of the highest"):
        to_submission(NAMES, np.eye(3), path)
    with pytest.raises(ValueError, match="clip ids or paths. Got ndarray"):
        to_submission(np.eye(3), EMOTIONS, path)
    with pytest.raises(ValueError, match="clip ids or paths"):
        to_submission(pd.DataFrame({"video": ["a", "b", "c"]}), EMOTIONS, path)


def test_a_series_of_clips_in_another_order(path):
    predictions = pd.Series(EMOTIONS, index=[f"videos/{name}.mp4" for name in NAMES])
    to_submission(NAMES, predictions, path, n_rows=None)
    assert path.read_text() == ROWS
    path.unlink()
    for other in ([0, 2, 1], [0, 0, 2]):
        with pytest.raises(ValueError, match="number 2 is of '.*', in clips it is 's"):
            to_submission(NAMES, predictions.iloc[other], path, n_rows=None)
    assert not path.exists()
    # Rows that are counted say nothing of clips
    to_submission(NAMES, predictions.reset_index(drop=True), path, n_rows=None)
    assert path.read_text() == ROWS


def test_the_number_of_rows_is_checked(path):
    with pytest.raises(
        DataFileError, match="3 predictions.* exactly 20,000.*n_rows=None"
    ):
        to_submission(NAMES, EMOTIONS, path)
    assert not path.exists()
    names = [f"s{i}" for i in range(20_000)]
    assert to_submission(names, ["sad"] * 20_000, path) == 20_000
    assert len(path.read_text().splitlines()) == 20_001


def test_candidates_are_all_there_in_their_order(path, tmp_path):
    listed = tmp_path / "track_all_candidates.csv"
    listed.write_text("name\r\nsample.c\r\nsample_a\r\nsample_b\r\n")
    to_submission(NAMES, EMOTIONS, path, candidates=listed, n_rows=3)
    assert pd.read_csv(path)["name"].tolist() == ["sample.c", "sample_a", "sample_b"]
    assert pd.read_csv(path)["discrete"].tolist() == ["surprise", "neutral", "sad"]
    with pytest.raises(DataFileError, match="1 of 4 candidates .*no prediction.*'d'"):
        to_submission(NAMES, EMOTIONS, path, candidates=[*NAMES, "d"], n_rows=None)
    with pytest.raises(DataFileError, match="1 of 3 predictions .*'sample.c'. Leave"):
        to_submission(NAMES, EMOTIONS, path, candidates=NAMES[:2], n_rows=None)
    listed.write_text("clip\na\n")
    with pytest.raises(DataFileError, match="row 1: there is no column 'name'"):
        to_submission(NAMES, EMOTIONS, path, candidates=listed)


def test_clips_that_come_twice(path):
    clips = ["videos/a.mp4", "other/a.mp4", "b"]
    with pytest.raises(DataFileError, match="there twice, such as 'a'"):
        to_submission(clips, EMOTIONS, path, n_rows=None)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist.*Make it first"):
        to_submission(NAMES, EMOTIONS, tmp_path / "no" / "x.csv", n_rows=None)
