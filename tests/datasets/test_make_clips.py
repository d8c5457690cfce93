import os
import random
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, chi2_contingency

from skmer import config_context
from skmer.datasets import make_clips
from skmer.datasets._evidence import EMOTIONS, MODALITIES, RELIABILITY, confusion
from skmer.datasets._make_clips import _plan, _shares


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    missing = {"video": 0.1, "audio": 0.15, "text": 0.2}
    return make_clips(
        20, folder, n_speakers=6, missing=missing, duration=(0.6, 1.0), random_state=3
    )


def _bytes_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_table_and_index(clips):
    assert list(clips.data.columns) == ["video", "audio", "text"]
    assert clips.paths == list(clips.data.index) == list(clips.data["video"])
    for part in (clips.groups, clips.evidence):
        assert part.index.equals(clips.data.index)
    assert clips.folds is None
    assert clips.target.shape == (20,)
    assert clips.target.dtype.kind == "U"
    assert clips.target_names == list(EMOTIONS)
    assert set(os.listdir(clips.directory)) == {
        *(Path(path).name for path in clips.paths),
        *(
            Path(path).with_suffix(".txt").name
            for path in clips.data.index[clips.data["text"].notna()]
        ),
    }


def test_streams_are_as_the_table_says(clips):
    assert clips.data["audio"].isna().sum() == 3
    for path, row in clips.data.iterrows():
        with av.open(path) as container:
            video = container.streams.video[0]
            assert video.codec_context.name == "h264"
            assert (video.width, video.height) == (320, 240)
            assert float(video.average_rate) == 12
            duration = clips.evidence.loc[path, "duration"]
            assert video.frames == round(12 * duration)
            assert len(container.streams.audio) == int(pd.notna(row["audio"]))
            if container.streams.audio:
                sound = container.streams.audio[0]
                assert sound.codec_context.name == "aac"
                assert sound.rate == 16000
                assert float(sound.duration * sound.time_base) == pytest.approx(
                    duration, abs=1e-3
                )


def test_sidecars_hold_the_words(clips):
    assert clips.data["text"].isna().sum() == 4
    for path, text in clips.data["text"].items():
        sidecar = Path(path).with_suffix(".txt")
        assert sidecar.exists() == pd.notna(text)
        if sidecar.exists():
            assert sidecar.read_text(encoding="utf-8") == text + "\n"


def test_no_clip_lacks_two(clips):
    lacks = clips.evidence[list(MODALITIES)].isna()
    assert lacks.sum().tolist() == [2, 3, 4]
    assert lacks.sum(axis=1).max() == 1
    assert (lacks["audio"] == clips.data["audio"].isna()).all()
    assert (lacks["text"] == clips.data["text"].isna()).all()
    assert (lacks["audio"] == clips.evidence["pitch"].isna()).all()


def test_faces_are_found_in_the_files_unless_turned_away(clips):
    name = os.path.join(cv2.data.haarcascades, "haarcascade_frontalface_default.xml")
    haar = cv2.CascadeClassifier(name)
    rates = {}
    for path in clips.paths:
        with av.open(path) as container:
            frames = [
                frame.to_ndarray(format="gray") for frame in container.decode(video=0)
            ]
        rates[path] = np.mean(
            [len(haar.detectMultiScale(frame, 1.2, 3)) > 0 for frame in frames[::3]]
        )
    rates = pd.Series(rates)
    seen = clips.evidence["video"].notna()
    assert rates[seen].mean() >= 0.95
    assert rates[~seen].mean() <= 0.05


def test_pitch_of_the_decoded_sound(clips, measure_pitch):
    heard = {}
    for path in clips.data["audio"].dropna():
        with av.open(path) as container:
            sound = np.concatenate(
                [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
            )
        heard[path] = measure_pitch(sound, 16000)
    ratio = pd.Series(heard) / clips.evidence["pitch"].dropna()
    assert len(ratio) == 17
    assert ratio.between(0.9, 1.1).all()
    assert ratio.median() == pytest.approx(1, abs=0.02)


def test_same_bytes_again_and_with_more_processes(tmp_path, warm_workers):
    settings = dict(n_speakers=3, duration=(0.5, 0.7), missing=0.2, random_state=7)
    make_clips(5, tmp_path / "one", **settings)
    first = _bytes_of(tmp_path / "one")
    make_clips(5, tmp_path / "two", n_jobs=2, **settings)
    assert _bytes_of(tmp_path / "two") == first
    # Over the files of the first run.
    make_clips(5, tmp_path / "one", **settings)
    assert _bytes_of(tmp_path / "one") == first
    make_clips(5, tmp_path / "three", **{**settings, "random_state": 8})
    third = _bytes_of(tmp_path / "three")
    assert all(third[name] != first[name] for name in third if name in first)


def test_old_words_do_not_stay_beside_a_clip_without(tmp_path):
    settings = dict(duration=(0.5, 0.5), random_state=0)
    make_clips(2, tmp_path, missing=0, **settings)
    assert len(list(tmp_path.glob("*.txt"))) == 2
    clips = make_clips(2, tmp_path, missing={"text": 1.0}, **settings)
    assert clips.data["text"].isna().all()
    assert not list(tmp_path.glob("*.txt"))


def test_global_random_state_is_left_alone(tmp_path):
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for seed in (0, None):
        make_clips(1, tmp_path, duration=(0.5, 0.5), random_state=seed)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]


def _drawn(n_clips, weights=None, lacking=None):
    """Classes and shown emotions of many clips, without making the files."""
    priors = np.full(6, 1 / 6) if weights is None else np.asarray(weights)
    tables = {name: confusion(name, RELIABILITY[name]) for name in MODALITIES}
    lacking = lacking or dict.fromkeys(MODALITIES, 0)
    counts = _shares(priors, n_clips)
    jobs = _plan(counts, 12, tables, lacking, Path("."), 0, {})
    rows = [job.draw_shown(job.streams()) for job in jobs]
    frame = pd.DataFrame(rows)
    frame["label"] = [EMOTIONS[job.label] for job in jobs]
    frame["speaker"] = [job.speaker for job in jobs]
    frame["absent"] = [job.absent for job in jobs]
    return frame, tables


@pytest.fixture(scope="module")
def drawn():
    return _drawn(6000)


def test_labels_are_balanced_or_as_weighted(drawn, clips):
    assert drawn[0]["label"].value_counts().tolist() == [1000] * 6
    assert pd.Series(clips.target).value_counts().between(3, 4).all()
    frame, _ = _drawn(100, [0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert frame["label"].value_counts()["neutral"] == 50


@pytest.mark.parametrize("modality", MODALITIES)
def test_evidence_follows_its_table(drawn, modality):
    frame, tables = drawn
    seen = pd.crosstab(frame["label"], frame[modality])
    seen = seen.reindex(index=EMOTIONS, columns=EMOTIONS, fill_value=0).to_numpy()
    expected = 1000 * tables[modality]
    assert (seen[expected == 0] == 0).all()
    used = expected > 0
    statistic = ((seen[used] - expected[used]) ** 2 / expected[used]).sum()
    freedom = used.sum() - len(EMOTIONS)
    assert chi2.sf(statistic, freedom) > 1e-3


@pytest.mark.parametrize(
    "one, other",
    [("video", "audio"), ("video", "text"), ("audio", "text"), ("video", "speaker")],
)
def test_evidence_is_independent_given_the_class(drawn, one, other):
    statistic = freedom = 0
    for _, part in drawn[0].groupby("label"):
        result = chi2_contingency(pd.crosstab(part[one], part[other]))
        statistic += result.statistic
        freedom += result.dof
    assert chi2.sf(statistic, freedom) > 1e-3


def test_speaker_and_gaps_say_nothing_about_the_class():
    lacking = {"video": 300, "audio": 300, "text": 300}
    frame, _ = _drawn(6000, lacking=lacking)
    for column in ("speaker", "absent"):
        table = pd.crosstab(frame["label"], frame[column].fillna("none"))
        assert chi2_contingency(table).pvalue > 1e-3


def test_one_modality_does_not_move_another(tmp_path):
    settings = dict(duration=(0.5, 0.5), n_speakers=2, random_state=1)
    full = make_clips(4, tmp_path / "full", missing=0, **settings)
    dumb = make_clips(4, tmp_path / "dumb", missing={"audio": 0.5}, **settings)
    for name in ("video", "text"):
        assert full.evidence[name].tolist() == dumb.evidence[name].tolist()
    assert full.data["text"].tolist() == dumb.data["text"].tolist()
    kept = dumb.evidence["audio"].notna().to_numpy()
    assert (
        full.evidence["pitch"].to_numpy()[kept].tolist()
        == dumb.evidence["pitch"].to_numpy()[kept].tolist()
    )


def test_description_tells_the_scores(clips):
    assert "2 (10.0%) have no face in sight" in clips.DESCR
    for value in clips.scores["weighted_f1"]:
        assert f"{value:.3f}" in clips.DESCR


def test_certain_evidence_shows_the_label(tmp_path):
    clips = make_clips(
        6, tmp_path, reliability=1.0, missing=0, duration=(0.5, 0.5), fps=6
    )
    for name in MODALITIES:
        assert clips.evidence[name].tolist() == clips.target.tolist()
    np.testing.assert_allclose(clips.scores, 1)


def test_default_folder_is_named_after_the_parameters(tmp_path):
    with config_context(data_home=tmp_path):
        one = make_clips(1, duration=(0.5, 0.5), random_state=0)
        same = make_clips(np.int64(1), duration=[0.5, 0.5], random_state=0, verbose=0)
        other = make_clips(1, duration=(0.5, 0.5), random_state=1)
    assert Path(one.directory).parent == tmp_path
    assert one.directory == same.directory != other.directory


def test_progress_bar(tmp_path, capsys):
    make_clips(2, tmp_path, duration=(0.5, 0.5), verbose=True)
    assert "2/2" in capsys.readouterr().err
    make_clips(1, tmp_path, duration=(0.5, 0.5))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(n_clips=0), "'n_clips' parameter"),
        (dict(n_clips=2.5), "'n_clips' parameter"),
        (dict(n_speakers=0), "'n_speakers' parameter"),
        (dict(directory=3), "'directory' parameter"),
        (dict(rate=11000), "'rate' parameter"),
        (dict(fps=0), "'fps' parameter"),
        (dict(random_state="x"), "'random_state' parameter"),
        (dict(weights=[1, 2]), "weights must be 6 proportions"),
        (dict(weights=[1, 1, 1, 1, 1, -1]), "none below 0"),
        (dict(weights=[0] * 6), "not all 0"),
        (dict(reliability=0.0), "'reliability' parameter"),
        (dict(reliability={"video": 1.5}), "reliability of 'video'"),
        (dict(reliability={"face": 0.5}), "reliability has the key 'face'"),
        (dict(missing=0.4), "sum to at most 1"),
        (dict(missing={"text": -0.1}), "missing of 'text'"),
        (dict(missing={"words": 0.1}), "missing has the key 'words'"),
        (dict(duration=(2.0, 1.0)), "duration must be"),
        (dict(duration=(0.1, 1.0)), "duration must be"),
        (dict(size=(321, 240)), "size must be"),
        (dict(size=(320,)), "size must be"),
    ],
)
def test_bad_parameters(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make_clips(**{"n_clips": 10, "directory": tmp_path / "new", **settings})
    assert not (tmp_path / "new").exists()


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        make_clips(1, tmp_path / "file")
    with pytest.raises(OSError, match="cannot make the folder"):
        make_clips(1, tmp_path / "file" / "below")
