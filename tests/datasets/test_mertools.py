"""load_mertools: label files and feature folders of the toolkit."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score

from skmer.datasets import load_mertools
from skmer.encoders import PrecomputedEncoder, TextEncoder, write_mertools
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.model_selection import ReferenceFolds
from skmer.recipes import make_mertools_attention


def _label(emo, val=-10):
    return {"emo": emo, "val": val}


@pytest.fixture
def write(tmp_path):
    def write(**corpora):
        parts = {f"{name}_corpus": labels for name, labels in corpora.items()}
        np.savez_compressed(tmp_path / "label.npz", **parts)
        return tmp_path / "label.npz"

    return write


def test_mer2024_and_2025(write):
    # No valence, and "neutral" where there is no label
    path = write(
        train={f"s{i}": {"emo": e} for i, e in enumerate(["sad", "happy", "neutral"])},
        test1={f"t{i}": {"emo": "neutral"} for i in range(4)},
    )
    clips = load_mertools(path)
    assert clips.data.index.tolist() == ["s0", "s1", "s2", "t0", "t1", "t2", "t3"]
    assert clips.data.index.name == "clip"
    assert clips.data.columns.tolist() == ["video", "audio", "text"]
    assert clips.data.isna().to_numpy().all()
    assert clips.target.dtype == object
    assert clips.target.tolist() == ["sad", "happy", "neutral", *[None] * 4]
    assert clips.target_names == ["neutral", "happy", "sad"]
    assert clips.corpora.tolist() == ["train"] * 3 + ["test1"] * 4
    assert clips.valence is None and clips.groups is None and clips.folds is None
    assert clips.features == {}
    assert "test1" in clips.DESCR and "0 labelled" in clips.DESCR
    kept = load_mertools(path, placeholders="keep")
    assert kept.target.tolist()[3:] == ["neutral"] * 4
    assert set(kept.folds) == {"train", "test1"}
    for corpus in ("train_corpus", "train", ["train"]):
        part = load_mertools(path, corpus=corpus)
        assert part.target.tolist() == ["sad", "happy", "neutral"]


def test_a_training_part_of_neutral_clips_is_no_placeholder(write):
    path = write(train={"a": _label("neutral"), "b": _label("neutral")})
    assert load_mertools(path).target.tolist() == ["neutral"] * 2


def test_mer2023(write):
    path = write(
        train={"a": _label("angry", -2.5), "b": _label("worried", np.float64(4.25))},
        test1={"c": _label("surprise", 1.0)},
        test3={"d": _label("sad", -10)},
    )
    clips = load_mertools(path, dataset="MER2023")
    assert clips.target.tolist() == ["angry", "worried", "surprise", "sad"]
    np.testing.assert_array_equal(clips.valence, [-2.5, 4.25, 1.0, np.nan])
    assert clips.valence.index.equals(clips.data.index)
    assert clips.folds.to_dict() == {
        "a": "train",
        "b": "train",
        "c": "test1",
        "d": "test3",
    }
    assert clips.DESCR.startswith("MER2023")
    splits = ReferenceFolds(clips.folds, test="test1", train="train").split(clips.data)
    assert [part.tolist() for part in next(iter(splits))] == [[0, 1], [2]]


IEMOCAP = {
    "Ses01F_impro01_F000": 0,
    "Ses01F_impro01_M001": 1,
    "Ses03M_script01_1_F012": 2,
    "Ses05F_impro02_MXX0": 3,
}


def test_iemocap(write):
    labels = {name: _label(np.int64(number)) for name, number in IEMOCAP.items()}
    clips = load_mertools(write(whole=labels))
    assert clips.dataset == "IEMOCAPFour"
    assert clips.target.tolist() == ["happy", "sad", "neutral", "angry"]
    assert clips.target_names == ["happy", "sad", "neutral", "angry"]
    assert clips.groups.tolist() == ["Ses01F", "Ses01M", "Ses03F", "Ses05M"]
    assert clips.folds.tolist() == [1, 1, 3, 5]
    assert clips.valence is None
    labels["Ses02F_impro01_F000"] = _label(5)
    six = load_mertools(write(whole=labels))
    assert six.dataset == "IEMOCAPSix" and six.target[-1] == "frustrated"
    with pytest.raises(DataFileError, match="IEMOCAPFour has 4, numbered from 0"):
        load_mertools(write(whole=labels), dataset="IEMOCAPFour")


def test_meld(write):
    path = write(
        train={f"train_dia{i}_utt0": _label(i) for i in range(7)},
        val={"val_dia0_utt1": _label(6)},
        test={"test_dia9_utt15": _label(3), "test_dia9_utt16": _label(3)},
    )
    clips = load_mertools(path)
    assert clips.dataset == "MELD"
    names = ["anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise"]
    assert clips.target.tolist() == [*names, "surprise", "neutral", "neutral"]
    assert clips.target_names == names
    assert clips.groups.tolist()[-3:] == ["val_dia0", "test_dia9", "test_dia9"]
    assert clips.folds.tolist() == ["train"] * 7 + ["val", "test", "test"]


@pytest.mark.parametrize(
    ("dataset", "name", "group"),
    [
        ("CMUMOSI", "03bSnISJMiM_1", "03bSnISJMiM"),
        ("CMUMOSEI", "-3g5yACwYnA_13", "-3g5yACwYnA"),
        ("SIMS", "video_0001_0001", "video_0001"),
        ("SIMSv2", "aqgy3_0001_00000", "aqgy3_0001"),
    ],
)
def test_sentiments(write, dataset, name, group):
    path = write(
        train={name: _label(0, 0.6), "x_2": _label(0, -0.2)},
        val={"x_3": _label(0, 0.0)},
        test={"y_1": _label(0, np.float64(1.0))},
    )
    clips = load_mertools(path, dataset=dataset)
    assert clips.target.tolist() == ["positive", "negative", None, "positive"]
    assert clips.valence.tolist() == [0.6, -0.2, 0.0, 1.0]
    assert clips.groups.tolist() == [group, "x", "x", "y"]
    assert clips.folds.tolist() == ["train", "train", None, "test"]
    with pytest.raises(DataFileError, match="differ between data sets.*SIMSv2"):
        load_mertools(path)
    with pytest.raises(DataFileError, match=r"'x_1' is 3\.5, not from -?\d to \d"):
        load_mertools(write(train={"x_1": _label(0, 3.5)}), dataset=dataset)


def test_files_that_are_none_of_it(write, tmp_path):
    with pytest.raises(DataFileError, match="no test_corpus. It has train_corpus"):
        load_mertools(write(train={"a": _label("sad")}), corpus="test")
    both = write(train={"a": _label("sad")}, test={"a": _label("sad")})
    with pytest.raises(
        DataFileError, match="'a' is in train_corpus and in test_corpus"
    ):
        load_mertools(both)
    with pytest.raises(DataFileError, match="'a' has the label 'sad', not a dict"):
        load_mertools(write(train={"a": "sad"}))
    for name in ("../a", "/a", "b\\a", "..", "a\0"):
        with pytest.raises(DataFileError, match="is no name of a clip"):
            load_mertools(write(train={name: _label("sad")}))
    with pytest.raises(DataFileError, match="'a' has no 'emo'"):
        load_mertools(write(train={"a": {"val": 1}}))
    with pytest.raises(DataFileError, match="holds no clips"):
        load_mertools(write(train={}))
    np.savez(tmp_path / "other.npz", data=np.arange(3))
    with pytest.raises(DataFileError, match="holds no labels of MERTools"):
        load_mertools(tmp_path / "other.npz")


@pytest.fixture
def release(write, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"clip_{i:02d}" for i in range(24)]
    y = ["sad", "happy"] * 12
    path = write(
        train={name: {"emo": emo} for name, emo in zip(names, y, strict=True)},
        test1={f"test_{i}": {"emo": "neutral"} for i in range(3)},
    )
    everyone = [*names, "test_0", "test_1", "test_2"]
    codes = np.array([*(label == "sad" for label in y), 0, 1, 0])
    for model in ("chinese-hubert-large", "clip-vit-large-patch14"):
        frame = pd.DataFrame(rng.normal(size=(27, 4)) + codes[:, None], index=everyone)
        write_mertools(frame, tmp_path / "features", model)
    features = {
        "audio": tmp_path / "features" / "chinese-hubert-large-UTT",
        "video": tmp_path / "features" / "clip-vit-large-patch14-UTT",
    }
    return path, features


def test_features_reach_a_recipe(release, tmp_path):
    path, features = release
    clips = load_mertools(path, features)
    assert list(clips.features) == ["audio", "video"]
    encoders = {
        stream: PrecomputedEncoder(**settings, cache=tmp_path / "cache")
        for stream, settings in clips.features.items()
    }
    first = encoders["audio"].transform(clips.data["audio"])
    saved = np.load(features["audio"] / "clip_00.npy")
    np.testing.assert_array_equal(first[0], saved)
    model = make_mertools_attention(
        encoders=encoders, streams=("audio", "video"), random_state=0
    ).set_params(fuse__max_epochs=10)
    labelled = pd.notna(clips.target)
    scores = cross_val_score(model, clips.data[labelled], clips.target[labelled], cv=3)
    assert scores.mean() > 0.7
    model.fit(clips.data, clips.target)
    assert model.classes_.tolist() == ["happy", "sad"]
    assert model.predict(clips.data.iloc[-3:]).shape == (3,)


def test_missing_features_are_told(release, tmp_path):
    path, features = release
    (features["audio"] / "clip_03.npy").unlink()
    with pytest.warns(
        ExtractionWarning, match="lacks features of 1 of 27.*clip_03"
    ) as w:
        load_mertools(path, features)
    assert w[0].filename == __file__
    with pytest.raises(
        DataFileError, match=r"chinese-hubert-large-UTT, clip-.*Give the"
    ):
        load_mertools(path, {"audio": tmp_path / "features"})
    with pytest.raises(DataFileError, match="There is no folder .*nowhere.*'text'"):
        load_mertools(path, {"text": tmp_path / "nowhere"})


def test_videos_and_words(write, tmp_path):
    path = write(train={name: _label("sad") for name in ("a.1", "b", "c")})
    (tmp_path / "video").mkdir()
    for name in ("a.1.mp4", "b.avi", "b.txt", "other.mp4"):
        (tmp_path / "video" / name).write_bytes(b"x")
    words = tmp_path / "transcription-engchi-polish.csv"
    words.write_text("name,chinese,english\na.1,你好,Hello\nb,,\n", encoding="utf-8")
    with pytest.warns(ExtractionWarning, match="1 of 3 clips have no .*such as c") as w:
        clips = load_mertools(
            path, videos=tmp_path / "video", transcripts=words, language="english"
        )
    assert w[0].filename == __file__
    folder = tmp_path / "video"
    files = [str(folder / "a.1.mp4"), str(folder / "b.avi"), None]
    assert clips.data["video"].tolist() == files == clips.data["audio"].tolist()
    assert clips.data["text"].tolist() == ["Hello", None, None]
    chinese = load_mertools(path, transcripts=words)
    assert chinese.data["text"].iloc[0] == "你好"
    assert TextEncoder(cache=None).fit_transform(chinese.data["text"]).shape[0] == 3
    words.write_text("name,chinese\na.1,\nd,你好\n", encoding="utf-8")
    assert load_mertools(path, transcripts=words).data["text"].isna().all()
    words.write_text("name,chinese\nd,你好\n", encoding="utf-8")
    with pytest.raises(DataFileError, match="none of the 3 clips.*'a.1', but of 'd'"):
        load_mertools(path, transcripts=words)
    with pytest.raises(DataFileError, match="no column 'english', only 'name', 'chin"):
        load_mertools(path, transcripts=words, language="english")
    (folder / "a.1.mp4").unlink()
    (folder / "b.avi").unlink()
    with pytest.raises(DataFileError, match="None of the 3 clips has a video.*other"):
        load_mertools(path, videos=folder)
