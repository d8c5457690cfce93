"""The MER challenges' own files."""

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score

from skmer.datasets import (
    load_mer2023,
    load_mer2024,
    load_mer2025,
    make_clips,
    to_submission,
)
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.model_selection import ReferenceFolds, UnlabeledInTrain
from skmer.recipes import make_mertools_attention

EMOTIONS = ["neutral", "angry", "happy", "sad", "worried", "surprise"]


def _fill(folder, names, suffix=".mp4"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}{suffix}").write_bytes(b"not looked into")


@pytest.fixture
def mer2023(tmp_path):
    root = tmp_path / "mer2023-dataset"
    root.mkdir()
    rows = {
        "train": ["a0,happy,2.5", "a1,sad,-1.0", "a2,worried,-2"],
        "test1": ["b0,angry,-3.25"],
        "test2": ["c0,neutral,0"],
        "test3": ["d0,surprise,"],
    }
    for part, lines in rows.items():
        text = "name,discrete,valence\n" + "\n".join(lines) + "\n"
        (root / f"{part}-label.csv").write_text(text)
    _fill(root / "train", ["a0", "a1", "a2"], ".avi")
    _fill(root / "test1", ["b0"])
    _fill(root / "test2", ["c0"])
    _fill(root / "test3", ["d0", "d1", "d2"])
    return root


def test_mer2023(mer2023):
    clips = load_mer2023(mer2023)
    assert clips.data.index.tolist() == ["a0", "a1", "a2", "b0", "c0", "d0"]
    assert clips.data["video"].iloc[0] == str(mer2023 / "train" / "a0.avi")
    assert clips.data["audio"].equals(clips.data["video"])
    assert clips.data["text"].isna().all()
    assert clips.target.dtype == object
    assert clips.target.tolist() == [
        *("happy", "sad", "worried", "angry", "neutral", "surprise")
    ]
    assert clips.target_names == EMOTIONS
    np.testing.assert_array_equal(clips.valence, [2.5, -1, -2, -3.25, 0, np.nan])
    assert clips.groups is None
    assert clips.parts.tolist() == ["train"] * 3 + ["test1", "test2", "test3"]
    folds = ReferenceFolds(clips.folds, test="test1", train="train")
    assert [p.tolist() for p in next(iter(folds.split(clips.data)))] == [[0, 1, 2], [3]]
    assert "no file of words was found" in clips.DESCR


def test_parts_and_unlabelled_clips_of_mer2023(mer2023):
    clips = load_mer2023(mer2023, parts="train")
    assert clips.data.index.tolist() == ["a0", "a1", "a2"] and clips.folds is None
    # The folder may be the one above, too
    more = load_mer2023(mer2023.parent, parts=["train"], unlabelled=True)
    assert more.data.index.tolist() == ["a0", "a1", "a2", "d1", "d2"]
    assert more.target.tolist() == ["happy", "sad", "worried", None, None]
    assert more.data["video"].notna().all() and more.folds is None
    (mer2023 / "test1-label.csv").unlink()
    assert set(load_mer2023(mer2023).parts) == {"train", "test2", "test3"}
    with pytest.raises(DataFileError, match="There is no test1-label.csv in .*mer2023"):
        load_mer2023(mer2023, parts=["train", "test1"])
    with pytest.raises(ValueError, match="parts must be of train, test1"):
        load_mer2023(mer2023, parts="test4")


@pytest.fixture
def mer2024(tmp_path):
    root = tmp_path / "mer2024-dataset"
    root.mkdir()
    (root / "label-disdim.csv").write_text(
        "name,discrete,valence\nsamplenew_0,happy,1.5\nsamplenew_1,sad,-2\n"
    )
    (root / "label-transcription.csv").write_text(
        "name,chinese,english\nsamplenew_0,真好,Great\nsamplenew_1,,\n",
        encoding="utf-8",
    )
    (root / "candidate_20000.csv").write_text("name\nsample_3\nsample_5\n")
    _fill(root / "video-labeled", ["samplenew_0", "samplenew_1"])
    others = [f"sample_{i}" for i in range(6)]
    _fill(root / "video-unlabeled-with-test2noise", others)
    return root


def test_mer2024(mer2024):
    clips = load_mer2024(mer2024)
    assert clips.data.index.tolist() == ["samplenew_0", "samplenew_1"]
    assert clips.target.tolist() == ["happy", "sad"]
    assert clips.valence.tolist() == [1.5, -2]
    assert clips.data["text"].tolist() == ["真好", None]
    assert clips.folds is None and clips.groups is None
    english = load_mer2024(mer2024, language="english")
    assert english.data["text"].tolist() == ["Great", None]


def test_unlabelled_clips_of_mer2024(mer2024):
    clips = load_mer2024(mer2024, unlabelled="all")
    others = [f"sample_{i}" for i in range(6)]
    assert clips.data.index.tolist() == ["samplenew_0", "samplenew_1", *others]
    assert clips.target.tolist() == ["happy", "sad", *[None] * 6]
    assert clips.parts.value_counts().to_dict() == {"unlabelled": 6, "train": 2}
    folder = mer2024 / "video-unlabeled-with-test2noise"
    assert clips.data["video"].iloc[2] == str(folder / "sample_0.mp4")
    candidates = load_mer2024(mer2024, unlabelled="candidates")
    assert candidates.data.index.tolist()[2:] == ["sample_3", "sample_5"]
    assert "2 labelled" in candidates.DESCR and "(unlabelled)" in candidates.DESCR
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(
        DataFileError, match="no folder video-unlabeled-with-test2noise"
    ):
        load_mer2024(mer2024, unlabelled="all")
    (mer2024 / "candidate_20000.csv").unlink()
    with pytest.raises(DataFileError, match="There is no candidate_20000.csv"):
        load_mer2024(mer2024, unlabelled="candidates")


def test_words_of_all_clips_come_first(mer2024, tmp_path):
    merged = tmp_path / "transcription-merge.csv"
    text = "name,sentence\nsamplenew_0,甲\nsample_3,乙\n"
    (mer2024 / "transcription-merge.csv").write_text(text, encoding="utf-8")
    clips = load_mer2024(mer2024, unlabelled="candidates")
    assert clips.data["text"].tolist() == ["甲", None, "乙", None]
    merged.write_text("name,chinese\nsamplenew_1,丙\n", encoding="gb18030")
    with pytest.raises(DataFileError, match="is no text in utf-8"):
        load_mer2024(mer2024, transcripts=merged)
    merged.write_text("name,chinese\nsamplenew_1,丙\n", encoding="utf-8-sig")
    clips = load_mer2024(mer2024, transcripts=merged)
    assert clips.data["text"].tolist() == [None, "丙"]


def test_clips_without_a_file(mer2024):
    (mer2024 / "video-labeled" / "samplenew_1.mp4").unlink()
    with pytest.raises(
        DataFileError, match="1 of 2 clips.*samplenew_1.*on_error='nan'"
    ):
        load_mer2024(mer2024)
    with pytest.warns(ExtractionWarning, match="neither video nor sound") as caught:
        clips = load_mer2024(mer2024, on_error="nan")
    assert caught[0].filename == __file__
    assert clips.data["video"].notna().tolist() == [True, False]
    (mer2024 / "video-labeled" / "samplenew_0.mp4").unlink()
    with pytest.raises(DataFileError, match="None of the 2 clips.*samplenew_0.mp4"):
        load_mer2024(mer2024)
    clips = load_mer2024(mer2024, video=False)
    assert clips.data["video"].isna().all() and clips.data["text"].notna().any()


def test_the_nearest_file_of_a_name_is_taken(mer2023):
    # As the toolkit lays them out, beside what OpenFace writes
    (mer2023 / "train").rename(mer2023 / "video")
    for other in ("openface", "zzz"):
        _fill(mer2023 / other / "a0", ["a0"], ".avi")
    (mer2023 / "openface" / "back").symlink_to(mer2023)
    _fill(mer2023 / "video", ["a1"], ".mkv")
    clips = load_mer2023(mer2023, parts="train")
    files = [str(mer2023 / "video" / f"a{i}.avi") for i in range(3)]
    assert clips.data["video"].tolist() == files


def test_words_of_other_clips(mer2024):
    other = mer2024 / "other.csv"
    other.write_text("name,chinese\nsamplenew3_0,x\n")
    with pytest.raises(DataFileError, match="none of the 2 clips.*of 'samplenew3_0'"):
        load_mer2024(mer2024, transcripts=other)
    other.write_text("name,chinese\nsamplenew_0,x\nsamplenew_0,x\nsamplenew_0,y\n")
    with pytest.raises(DataFileError, match="row 4: 'samplenew_0' has other words fur"):
        load_mer2024(mer2024, transcripts=other)


def test_wrong_tables(mer2024):
    labels = mer2024 / "label-disdim.csv"
    labels.write_text("name,discrete\na,happy\nb,Happy\na,fear\nc,sad\n,sad\n")
    with pytest.raises(DataFileError) as caught:
        load_mer2024(mer2024)
    message = str(caught.value)
    assert "rows 2 and 4: the clip 'a' is listed twice" in message
    assert "row 6: the name is empty" in message
    labels.write_text("name,discrete,valence\na,happy,high\nb,Happy,1\n")
    with pytest.raises(DataFileError) as caught:
        load_mer2024(mer2024)
    message = str(caught.value)
    assert "row 2: the valence 'high' is no number" in message
    assert "row 3: the class of 'b' is 'Happy', none of neutral, angry" in message
    labels.write_text("clip,discrete\na,happy\n")
    with pytest.raises(DataFileError, match="there is no column 'name'.*organisers"):
        load_mer2024(mer2024)
    labels.unlink()
    with pytest.raises(DataFileError, match="There is no label-disdim.csv in"):
        load_mer2024(mer2024)
    with pytest.raises(DataFileError, match="does not exist. Give the folder"):
        load_mer2024(mer2024 / "nowhere")


def test_mer2025_from_files_to_a_submission(tmp_path):
    made = make_clips(
        16,
        tmp_path / "video",
        missing=0,
        reliability=1,
        duration=(0.5, 0.6),
        weights=[0, 1, 0, 1, 0, 0],
        random_state=0,
    )
    names = [f"clip_{i:04d}" for i in range(16)]
    table = pd.DataFrame({"name": names, "discrete": made.target, "valence": 0.5})
    table[:12].to_csv(tmp_path / "track1_train_disdim.csv", index=False)
    table[["name"]][12:15].to_csv(tmp_path / "track_all_candidates.csv", index=False)
    words = pd.DataFrame(
        {"name": names, "chinese": made.data["text"].to_numpy(), "english": ""}
    )
    words.to_csv(tmp_path / "subtitle_chieng.csv", index=False)
    clips = load_mer2025(tmp_path, unlabelled="all")
    assert clips.data.index.tolist() == names
    assert clips.data["video"].tolist() == made.paths
    assert clips.data["text"].tolist() == made.data["text"].tolist()
    assert clips.target.tolist() == [*made.target[:12], *[None] * 4]
    model = make_mertools_attention(cache=tmp_path / "cache", random_state=0)
    model.set_params(fuse__max_epochs=10)
    scores = cross_val_score(model, clips.data, clips.target, cv=UnlabeledInTrain(3))
    assert scores.mean() > 0.6
    candidates = load_mer2025(tmp_path, unlabelled="candidates")
    held_out = candidates.data[candidates.parts == "unlabelled"]
    predictions = model.fit(clips.data, clips.target).predict(held_out)
    file = tmp_path / "submission.csv"
    listed = tmp_path / "track_all_candidates.csv"
    assert to_submission(held_out, predictions, file, candidates=listed, n_rows=3) == 3
    assert pd.read_csv(file)["name"].tolist() == names[12:15]


def test_folders_of_a_folder_a_clip_are_not_gone_through(mer2024, monkeypatch):
    for i in range(1001):
        (mer2024 / "openface_face" / f"sample_{i}").mkdir(parents=True)
    opened, scandir = [], os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: opened.append(path) or scandir(path)
    )
    (mer2024 / "label-transcription.csv").unlink()
    assert load_mer2024(mer2024, video=False).data["text"].isna().all()
    assert any(path.endswith("openface_face") for path in opened)
    assert not any("openface_face/" in path for path in opened)
