import csv
import os
import re
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skmer.clips import ClipTable
from skmer.datasets import load_meld
from skmer.encoders import AcousticEncoder
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.media import read_audio, read_frames, write_clip
from skmer.model_selection import ReferenceFolds

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,"
    "Episode,StartTime,EndTime"
).split(",")
FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
# Utterance, speaker, emotion, sentiment, dialogue, utterance
ROWS = {
    "train": [
        ("You must\x92ve had \x93fun\x94", "Chandler", "joy", "positive", 0, 0),
        ("No, \x85 I\nmean it", "Joey", "anger", "negative", 0, 1),
        ("Well", "Joey", "neutral", "neutral", 125, 3),
        ("So sad", "Phoebe", "sadness", "negative", 125, 4),
    ],
    "dev": [
        ("Oh my God", "Phoebe", "surprise", "positive", 0, 0),
        ("Did they tell you anything?", "Phoebe", "neutral", "neutral", 110, 7),
    ],
    "test": [
        ("Hm", "Ross", "anger", "negative", 0, 0),
        ("", "Ross", "joy", "positive", 279, 14),
        ("Bye", "Rachel", "joy", "positive", 279, 15),
    ],
}


def _write_table(path, rows, encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number, row in enumerate(rows, start=1):
            writer.writerow([number, *row, 1, 2, "00:00:01,5", "00:00:02,0"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    rng = np.random.default_rng(0)
    return write_clip(
        tmp_path_factory.mktemp("clip") / "a.mp4",
        frames=np.full((6, 48, 64, 3), 90, dtype=np.uint8),
        audio=rng.uniform(-0.1, 0.1, 8000),
    )


@pytest.fixture
def release(tmp_path, clip):
    root = tmp_path / "MELD.Raw"
    for part, rows in ROWS.items():
        folder = root / part / FOLDERS[part]
        folder.mkdir(parents=True)
        _write_table(root / f"{part}_sent_emo.csv", rows)
        for *_, dialogue, utterance in rows:
            name = f"dia{dialogue}_utt{utterance}.mp4"
            if (dialogue, utterance) != (110, 7):
                shutil.copy(clip, folder / name)
    test = root / "test" / FOLDERS["test"]
    (test / "._dia0_utt0.mp4").write_bytes(b"\x00\x05\x16\x07")
    shutil.copy(clip, test / "final_videos_testdia0_utt0.mp4")
    (root / "._train_sent_emo.csv").write_bytes(b"\x00\x05\x16\x07")
    return root


def test_the_release_is_read(release):
    clips = load_meld(release)
    assert clips.data.index.tolist() == [
        "train_dia0_utt0",
        "train_dia0_utt1",
        "train_dia125_utt3",
        "train_dia125_utt4",
        "val_dia0_utt0",
        "val_dia110_utt7",
        "test_dia0_utt0",
        "test_dia279_utt14",
        "test_dia279_utt15",
    ]
    assert clips.target.tolist() == [row[2] for part in ROWS.values() for row in part]
    assert set(clips.target) <= set(clips.target_names) and len(clips.target_names) == 7
    assert clips.sentiment["test_dia0_utt0"] == "negative"
    assert clips.groups["train_dia125_utt4"] == "train_dia125"
    assert clips.frame.loc["train_dia0_utt0", "StartTime"] == "00:00:01,5"
    assert clips.frame.loc["val_dia0_utt0", "Speaker"] == "Phoebe"
    for series in (clips.sentiment, clips.groups, clips.folds, clips.frame):
        assert series.index.equals(clips.data.index)
    assert re.search(r"joy +3\n", clips.DESCR) and "9 clips" in clips.DESCR


def test_paths_lead_to_the_clip_of_the_row(release):
    data = load_meld(release).data
    video = data.loc["test_dia0_utt0", "video"]
    assert video == str(release / "test" / FOLDERS["test"] / "dia0_utt0.mp4")
    assert (data["video"].dropna() == data["audio"].dropna()).all()
    assert len(read_frames(video, 6)) == 6 and len(read_audio(video)) > 7000


def test_unusable_clips_keep_their_words(release):
    clips = load_meld(release)
    without = clips.data.index[[video is None for video in clips.data["video"]]]
    assert without.tolist() == clips.missing.index.tolist()
    assert clips.missing.to_dict() == {
        "train_dia125_utt3": "damaged in the release",
        "val_dia110_utt7": "not in the release",
        "test_dia279_utt15": "damaged in the release",
    }
    assert clips.data.loc["val_dia110_utt7"].tolist() == [
        None,
        None,
        "Did they tell you anything?",
    ]


def test_signs_of_windows_and_empty_words(release):
    text = load_meld(release, video=False).data["text"]
    assert text["train_dia0_utt0"] == "You must’ve had “fun”"
    assert text["train_dia0_utt1"] == "No, … I mean it"
    assert text["test_dia279_utt14"] is None


def test_a_table_in_windows_1252(release):
    rows = [("You must’ve “fun” – né", *ROWS["train"][0][1:])]
    _write_table(release / "train_sent_emo.csv", rows, encoding="cp1252")
    clips = load_meld(release, split="train", video=False)
    assert clips.data["text"].tolist() == ["You must’ve “fun” – né"]


def test_split_chooses_parts(release):
    shutil.rmtree(release / "dev")
    assert set(load_meld(release, split="train").folds) == {"train"}
    clips = load_meld(release, split=["test", "train"])
    assert clips.folds.unique().tolist() == ["train", "test"]
    with pytest.raises(ValueError, match="dev"):
        load_meld(release, split=["dev"])


def test_folds_train_and_test_where_the_data_set_says(release):
    clips = load_meld(release)
    cv = ReferenceFolds(clips.folds, test="test", train=["train", "val"])
    [(train, test)] = cv.split(clips.data, clips.target)
    assert train.tolist() == list(range(6)) and test.tolist() == [6, 7, 8]


def test_a_model_fits_on_it(release):
    clips = load_meld(release, split=["train", "test"])
    there = clips.data["video"].notna().to_numpy()
    model = make_pipeline(ClipTable(), AcousticEncoder(), LogisticRegression())
    cv = ReferenceFolds(clips.folds, test="test")
    data, target = clips.data[there], clips.target[there]
    scores = cross_val_score(model, data, target, cv=cv)
    assert scores.shape == (1,) and 0 <= scores[0] <= 1


def test_a_release_half_unpacked(release):
    (release / "train" / "train_splits" / "dia0_utt1.mp4").unlink()
    with pytest.raises(DataFileError, match=r"train_dia0_utt1.*unpack it again"):
        load_meld(release)
    with pytest.warns(ExtractionWarning, match=r"1 clips of MELD are not there"):
        clips = load_meld(release, on_error="nan")
    assert clips.data.loc["train_dia0_utt1", "video"] is None
    assert "dia0_utt1.mp4" in clips.missing["train_dia0_utt1"]


def test_folders_that_may_not_be_seen(release, monkeypatch):
    (release / "lost+found").mkdir()
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert len(load_meld(release).data) == 9


def test_what_is_not_there_is_named(release, tmp_path):
    (release / "train.tar.gz").write_bytes(b"")
    shutil.rmtree(release / "train")
    with pytest.raises(DataFileError, match=r"train_splits.*packed in .*tar\.gz"):
        load_meld(release)
    (release / "dev_sent_emo.csv").unlink()
    with pytest.raises(DataFileError, match=r"no dev_sent_emo\.csv"):
        load_meld(release, video=False)
    with pytest.raises(DataFileError, match="does not exist"):
        load_meld(tmp_path / "gone")


def test_wrong_rows_are_told_together(release):
    rows = list(ROWS["test"])
    rows[0] = ("Hm", "Ross", "rage", "negative", 0, 0)
    rows[1] = ("Hm", "Ross", "joy", "positive", "../../x", 0)
    rows += [rows[2]]
    _write_table(release / "test_sent_emo.csv", rows)
    with pytest.raises(DataFileError) as caught:
        load_meld(release)
    message = str(caught.value)
    assert "3 problems" in message and "test_sent_emo.csv" in message
    assert "row 2: Emotion is 'rage'" in message
    assert "row 3: Dialogue_ID must be a whole number, not '../../x'" in message
    assert "row 5: the same dialogue and utterance as row 4" in message


def test_a_column_that_lacks(release):
    table = release / "dev_sent_emo.csv"
    table.write_text(table.read_text().replace("Emotion", "Feeling"))
    with pytest.raises(DataFileError, match="no column 'Emotion'.*'Feeling'"):
        load_meld(release)


def test_all_utterances(shared_data, tmp_path):
    with np.load(shared_data / "meld" / "meld_text.npz") as real:
        real = {name: real[name] for name in real}
    for part in FOLDERS:
        rows = real["split"] == part
        fields = "text speaker emotion sentiment dialogue utterance".split()
        columns = [real[name][rows].tolist() for name in fields]
        path = tmp_path / f"{part}_sent_emo.csv"
        _write_table(path, zip(*columns, strict=True))
    clips = load_meld(tmp_path, video=False)
    assert clips.folds.value_counts().to_dict() == {
        "train": 9989,
        "val": 1109,
        "test": 2610,
    }
    assert clips.data["text"].tolist() == [" ".join(t.split()) for t in real["text"]]
    assert clips.target.tolist() == real["emotion"].tolist()
    assert clips.data.index.is_unique
