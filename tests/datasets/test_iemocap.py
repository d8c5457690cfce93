import os
import re
import shutil
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from media_files import numbered_picture, read_number
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

import skmer
from skmer.clips import ClipTable
from skmer.datasets import load_iemocap
from skmer.encoders import AcousticEncoder
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.media import probe, read_audio, read_frames, write_clip
from skmer.model_selection import ReferenceFolds

FPS = 25
# Dialogue -> turn, start, stop, emotion, words
DIALOGUES = {
    "Ses01F_impro01": [
        ("F000", 0.2, 1.0, "neu", "Excuse me."),
        ("M000", 0.8, 1.6, "fru", "Do you have your forms?"),
        ("F001", 1.6, 2.4, "ang", "No, [LAUGHTER] I don’t."),
    ],
    "Ses01M_script01_1b": [
        ("M000", 0.4, 1.2, "exc", "Look!"),
        ("F000", 1.2, 2.0, "xxx", "What?"),
    ],
    "Ses02F_impro03": [
        ("M000", 0.0, 0.8, "hap", "I am so glad."),
        ("F000", 1.0, 1.8, "sad", None),
    ],
}
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
RATERS = (
    "C-E2:\tNeutral; Sadness;\t()\nC-F1:\tNeutral;\t(tired)\n"
    "A-E3:\tval 3; act 2; dom  2;\t()\nA-M1:\tval 1; act  ; dom  5;\t(loud, angry)\n\n"
)


def _write_dialogue(path, seconds=2.6):
    """Write a video whose left half shows n at picture n, the right half n + 128."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 320, 96, "yuv420p"
        video.bit_rate = 4_000_000
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for i in range(round(seconds * FPS)):
            halves = numbered_picture(i), numbered_picture(i + 128)
            picture = np.concatenate(halves, axis=1)
            container.mux(
                video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            )
            block = av.AudioFrame.from_ndarray(
                np.zeros((1, 16000 // FPS), dtype=np.int16), format="s16", layout="mono"
            )
            block.sample_rate = 16000
            container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def _numbers(path):
    return [read_number(image) for image in read_frames(path, 99).images]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("iemocap") / "IEMOCAP_full_release"
    rng = np.random.default_rng(0)
    for dialogue, turns in DIALOGUES.items():
        session = root / f"Session{dialogue[4]}"
        parts = ("EmoEvaluation", "transcriptions", "avi/DivX")
        folders = [session / "dialog" / part for part in parts]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            # macOS left these in the archive
            (folder / f"._{dialogue}.txt").write_bytes(b"\x00\x05\x16\x07Ses0")
        labels, words = HEADER, ""
        # Files list the turns of one speaker after the other's
        for turn, start, stop, emotion, _ in sorted(turns):
            labels += f"[{start:.4f} - {stop:.4f}]\t{dialogue}_{turn}\t{emotion}"
            labels += f"\t[2.5000, {start + 1:.4f}, 2.5000]\n{RATERS}"
        for turn, start, stop, _, text in turns:
            if text:
                times = f"[{start:08.4f}-{stop:08.4f}]"
                words += f"{dialogue}_{turn} {times}: {text}\nM: yes\n"
            wav = session / "sentences" / "wav" / dialogue / f"{dialogue}_{turn}.wav"
            wav.parent.mkdir(parents=True, exist_ok=True)
            write_clip(wav, audio=rng.uniform(-0.2, 0.2, round((stop - start) * 16000)))
        (folders[0] / f"{dialogue}.txt").write_text(labels)
        (folders[1] / f"{dialogue}.txt").write_bytes(words.encode("cp1252"))
        _write_dialogue(folders[2] / f"{dialogue}.avi")
    return root


@pytest.fixture
def release(original, tmp_path):
    return shutil.copytree(original, tmp_path / "release" / original.name)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folder with the clips of the whole release."""
    return tmp_path_factory.mktemp("home")


def test_clips_show_the_speaker_at_the_time(original, home):
    clips = load_iemocap(original, classes="all", data_home=home)
    for dialogue, turns in DIALOGUES.items():
        for turn, start, stop, *_ in turns:
            path = clips.data.loc[f"{dialogue}_{turn}", "video"]
            info = probe(path)
            assert (info.width, info.height, info.fps) == (160, 96, FPS)
            assert not info.has_audio
            right = 0 if dialogue[5] == turn[0] else 128
            expected = np.arange(round(start * FPS), round(stop * FPS)) + right
            assert _numbers(path) == expected.tolist(), (dialogue, turn)


def test_what_the_files_say(original, home):
    clips = load_iemocap(original, classes="all", data_home=home)
    names = [
        f"{dialogue}_{turn}" for dialogue, t in DIALOGUES.items() for turn, *_ in t
    ]
    assert clips.data.index.tolist() == names
    target = "neutral frustrated angry excited - happy sad".split()
    assert [label or "-" for label in clips.target] == target
    assert set(filter(None, clips.target)) <= set(clips.target_names)
    text = [row[4] for turns in DIALOGUES.values() for row in turns]
    assert clips.data["text"].tolist() == text
    row = clips.frame.loc["Ses01M_script01_1b_F000"]
    assert row.to_dict() == {
        "session": 1,
        "dialogue": "Ses01M_script01_1b",
        "scenario": "scripted",
        "speaker": "Ses01F",
        "start": 1.2,
        "stop": 2.0,
        "emotion": "xxx",
        "valence": 2.5,
        "activation": 2.2,
        "dominance": 2.5,
    }
    assert clips.groups.tolist() == ["Ses01" + n for n in "FMFMF"] + [
        "Ses02M",
        "Ses02F",
    ]
    assert clips.folds.tolist() == [1] * 5 + [2] * 2
    sound = clips.data.loc["Ses02F_impro03_F000", "audio"]
    assert sound.endswith(
        "Session2/sentences/wav/Ses02F_impro03/Ses02F_impro03_F000.wav"
    )
    assert len(read_audio(sound)) == round(0.8 * 16000)
    assert "7 utterances" in clips.DESCR and re.search(r"sad +1\n", clips.DESCR)


def test_what_each_rater_said(original):
    ratings = load_iemocap(original, video=False).ratings
    first = ratings[ratings["clip"] == "Ses01F_impro01_F000"].set_index("rater")
    assert first.index.tolist() == ["E2", "F1", "E3", "M1"]
    assert first.loc["E2", "categories"] == "neutral; sadness"
    assert first.loc["F1", "comment"] == "tired"
    scales = ["valence", "activation", "dominance"]
    assert first.loc["E3", scales].tolist() == [3, 2, 2]
    np.testing.assert_equal(first.loc["M1", scales].tolist(), [1, np.nan, 5])
    assert first.loc["M1", "comment"] == "loud, angry"
    assert "Ses01F_impro01_M000" not in set(ratings["clip"])
    assert {str(t) for t in ratings[scales].dtypes} == {"float64"}
    assert len(ratings) == 20


def test_classes(original):
    four = load_iemocap(original, video=False)
    assert four.target.tolist() == ["neutral", "angry", "happy", "happy", "sad"]
    assert four.target_names == ["happy", "sad", "neutral", "angry"]
    six = load_iemocap(original, classes="six", video=False)
    assert six.target.tolist() == [
        *("neutral", "frustrated", "angry", "excited", "happy", "sad"),
    ]
    assert set(six.target) == set(six.target_names)
    assert four.data["video"].tolist() == [None] * 5


def test_one_session_is_left_out_at_a_time(original):
    clips = load_iemocap(original, video=False)
    splits = list(ReferenceFolds(clips.folds).split(clips.data, clips.target))
    assert [test.tolist() for _, test in splits] == [[0, 1, 2], [3, 4]]
    for train, test in splits:
        assert not set(clips.groups.iloc[train]) & set(clips.groups.iloc[test])
    model = make_pipeline(ClipTable(), AcousticEncoder(), LogisticRegression())
    cv = ReferenceFolds(clips.folds, test=2)
    assert len(cross_val_score(model, clips.data, clips.target, cv=cv)) == 1


def test_the_folder_above_and_sessions_that_lack(release):
    shutil.rmtree(release / "Session2")
    clips = load_iemocap(release.parent, video=False)
    assert clips.folds.unique().tolist() == [1]
    with pytest.raises(DataFileError, match="Session1 to Session5"):
        load_iemocap(release / "Session1")


def test_clips_that_are_there_are_kept(original, home, tmp_path):
    load_iemocap(original, classes="all", data_home=home)
    mine = shutil.copytree(home, tmp_path / "home")
    paths = sorted((mine / "iemocap").glob("Session?/*.mp4"))
    assert len(paths) == 7
    paths[3].unlink()
    paths[4].write_bytes(b"")
    paths[0].write_bytes(b"kept")
    before = {p: p.stat().st_mtime_ns for p in paths if p not in paths[3:5]}
    load_iemocap(original, classes="all", data_home=mine)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for path in paths[3:5]:
        assert path.read_bytes() == (home / path.relative_to(mine)).read_bytes()
    assert sorted((mine / "iemocap").glob("Session?/*")) == paths


SCRIPT = """
import sys
from skmer.datasets import load_iemocap
print("ready", flush=True)
sys.stdin.readline()
load_iemocap(sys.argv[1], classes="all", data_home=sys.argv[2])
"""


def test_a_killed_run_goes_on(original, home, tmp_path):
    load_iemocap(original, classes="all", data_home=home)
    for attempt in range(5):
        mine = tmp_path / str(attempt)
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(original), str(mine)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("go\n")
            process.stdin.flush()
            while not list(mine.rglob("Ses*.mp4")) and process.poll() is None:
                time.sleep(0.0005)
            process.kill()
        before = {p: p.stat().st_mtime_ns for p in mine.rglob("Ses*.mp4")}
        if 0 < len(before) < 7:
            break
    assert 0 < len(before) < 7, "cutting was always faster"
    left = mine / "iemocap" / "Session1" / ".Ses01F_impro01_F000.0123abcd.mp4"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    load_iemocap(original, classes="all", data_home=mine)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    for path in sorted(home.rglob("*.mp4")):
        assert _numbers(path) == _numbers(mine / path.relative_to(home))
    assert not left.exists()


def test_clips_go_below_data_home(original):
    clips = load_iemocap(original)
    folder = skmer.get_config()["data_home"] / "iemocap" / "Session2"
    path = clips.data.loc["Ses02F_impro03_M000", "video"]
    assert path == str(folder / "Ses02F_impro03_M000.mp4")


def test_processes_cut_the_same(original, home, tmp_path):
    load_iemocap(original, classes="all", data_home=home)
    load_iemocap(original, classes="all", data_home=tmp_path, n_jobs=2)
    for path in sorted(home.glob("iemocap/*/*.mp4")):
        other = tmp_path / path.relative_to(home)
        assert path.read_bytes() == other.read_bytes()


def test_a_bar_counts_clips(original, tmp_path, capsys):
    load_iemocap(original, data_home=tmp_path, verbose=True)
    assert "5/5" in capsys.readouterr().err


def test_a_damaged_dialogue_names_itself(release, tmp_path):
    video = release / "Session1" / "dialog" / "avi" / "DivX" / "Ses01F_impro01.avi"
    video.write_bytes(b"RIFF" + bytes(500))
    with pytest.raises(DataFileError, match=r"Ses01F_impro01\.avi.*F000, .*F001\)"):
        load_iemocap(release, data_home=tmp_path / "home")
    # The others were cut all the same
    assert len(list((tmp_path / "home").glob("iemocap/*/*.mp4"))) == 3
    with pytest.warns(ExtractionWarning, match=r"Ses01F_impro01\.avi"):
        clips = load_iemocap(release, data_home=tmp_path / "home", on_error="nan")
    assert clips.data["video"].isna().tolist() == [True, True, False, False, False]
    assert clips.data["audio"].notna().all()


def test_a_dialogue_that_is_cut_off(release, tmp_path):
    video = release / "Session1" / "dialog" / "avi" / "DivX" / "Ses01F_impro01.avi"
    _write_dialogue(video, seconds=1.8)
    with pytest.warns(ExtractionWarning, match=r"before Ses01F_impro01_F001 does"):
        clips = load_iemocap(release, data_home=tmp_path, on_error="nan")
    assert clips.data["video"].isna().tolist() == [False, True, False, False, False]
    assert not (tmp_path / "iemocap/Session1/Ses01F_impro01_F001.mp4").exists()


def test_a_sound_that_lacks(release):
    name = "Ses02F_impro03_M000"
    wav = release / "Session2/sentences/wav/Ses02F_impro03" / f"{name}.wav"
    wav.write_bytes(b"")
    with pytest.raises(DataFileError, match=rf"{name}\.wav, or an empty one"):
        load_iemocap(release, video=False)
    wav.unlink()
    with pytest.warns(ExtractionWarning, match="1 utterances"):
        clips = load_iemocap(release, video=False, on_error="nan")
    assert clips.data.loc[name, "audio"] is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0.2000 - 1.0000]", "[0.2000 1.0000]", r"line 3: expected"),
        ("[0.2000 - 1.0000]", "[1.2000 - 1.0000]", "line 3: the turn ends before"),
        ("\tneu\t", "\tnue\t", "line 3: 'nue' is none of the emotions neu, "),
        ("\tang\t[2.5000, ", "\tang\t[2.5000 ", "line 9: expected"),
        ("Ses01F_impro01_F001", "Ses03F_impro01_F001", "line 9: .* turn of Session1"),
        ("[0.2000 - 1.0000]\tSes01F", "[0.2 - 1.0]\t../Ses01F", "is no turn such as"),
        ("impro01_F001", "impro01_F000", r"line 9: Ses01F_impro01_F000 is also in"),
    ],
)
def test_malformed_labels_name_file_and_line(release, old, new, message):
    path = release / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataFileError, match=message) as caught:
        load_iemocap(release, video=False)
    assert str(path) in str(caught.value)


def test_malformed_words_name_file_and_line(release):
    path = release / "Session1" / "dialog" / "transcriptions" / "Ses01F_impro01.txt"
    path.write_text("Ses01F_impro01_F000 [0.2-1.0]: Hi\nSes01F_impro01_M000 Hm\n")
    with pytest.raises(DataFileError, match=r"Ses01F_impro01\.txt, line 2: expected"):
        load_iemocap(release, video=False)


def test_folders_that_lack(release, tmp_path):
    shutil.rmtree(release / "Session2" / "dialog" / "transcriptions")
    with pytest.raises(DataFileError, match=r"no \.txt files in .*transcriptions"):
        load_iemocap(release)
    with pytest.raises(DataFileError, match="does not exist"):
        load_iemocap(tmp_path / "gone")
    with pytest.raises(ValueError, match="classes"):
        load_iemocap(release, classes="five")
