"""PrecomputedEncoder: one NumPy file a clip."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, make_pipeline

from skmer.clips import ClipTable
from skmer.encoders import PrecomputedEncoder
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.utils.estimator_checks import clip_encoder_checks

NAMES = ["dia0_utt0", "dia0_utt1", "samplenew3_00000001", "a.b", "e"]
CLIPS = [f"/data/video/{name}.mp4" for name in NAMES]


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


@pytest.fixture
def utt(tmp_path, vectors):
    """A folder of one vector a clip."""
    folder = tmp_path / "hubert-UTT"
    folder.mkdir()
    for name, vector in zip(NAMES, vectors, strict=True):
        np.save(folder / f"{name}.npy", vector)
    return folder


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    return [rng.normal(size=(n, 6)).astype(np.float32) for n in (9, 1, 4, 30, 2)]


@pytest.fixture
def fra(tmp_path, frames):
    """A folder of one vector a frame."""
    folder = tmp_path / "hubert-FRA"
    folder.mkdir()
    for name, sequence in zip(NAMES, frames, strict=True):
        np.save(folder / f"{name}.npy", sequence)
    return folder


@pytest.mark.parametrize("check", clip_encoder_checks(), ids=lambda c: c.__name__[1:])
@pytest.mark.parametrize("params", [{}, {"pooling": 2}, {"pooling": None}], ids=str)
def test_clip_checks(check, params, fra):
    check(PrecomputedEncoder(fra, **params), CLIPS)


def test_vectors_come_back_as_they_are(utt, vectors):
    features = PrecomputedEncoder(utt).fit_transform(CLIPS)
    np.testing.assert_array_equal(features, vectors)
    assert features.dtype == np.float32
    again = PrecomputedEncoder(utt).transform(CLIPS[::-2])
    np.testing.assert_array_equal(again, vectors[::-2])


def test_frames_are_pooled(fra, frames):
    mean = PrecomputedEncoder(fra).transform(CLIPS)
    both = PrecomputedEncoder(fra, pooling="mean_std").transform(CLIPS)
    np.testing.assert_allclose(mean, [f.mean(0) for f in frames], rtol=1e-5)
    np.testing.assert_allclose(both[:, :6], mean, rtol=1e-6)
    np.testing.assert_allclose(
        both[:, 6:], [f.std(0) for f in frames], rtol=1e-4, atol=1e-7
    )
    halves = PrecomputedEncoder(fra, pooling=2).transform(CLIPS[3:4])[0]
    np.testing.assert_allclose(halves[:6], frames[3][:15].mean(0), rtol=1e-4)
    np.testing.assert_allclose(halves[6:], frames[3][15:].mean(0), rtol=1e-4)


@pytest.mark.parametrize("cached", [False, True])
def test_sequences(fra, frames, tmp_path, cached):
    cache = tmp_path / "cache" if cached else None
    encoder = PrecomputedEncoder(fra, pooling=None, cache=cache)
    for _ in range(2):
        cells = encoder.transform(CLIPS)
        assert cells.shape == (5, 1)
        for cell, sequence in zip(cells[:, 0], frames, strict=True):
            np.testing.assert_array_equal(np.asarray(cell), sequence)
    assert list(encoder.get_feature_names_out()) == ["frames"]


def test_a_vector_is_a_sequence_of_one(utt, vectors):
    cells = PrecomputedEncoder(utt, pooling=None).transform(CLIPS)
    np.testing.assert_array_equal(np.concatenate(cells[:, 0]), vectors)


def test_names_of_clips(utt, vectors):
    # Paths of any folder, ids, and suffixes of media files alone
    X = ["dia0_utt0", "sound/dia0_utt1.WAV", "samplenew3_00000001.avi", "a.b", "e.flac"]
    np.testing.assert_array_equal(PrecomputedEncoder(utt).transform(X), vectors)
    with pytest.raises(MediaError, match=r"e\.txt\.npy"):
        PrecomputedEncoder(utt).transform(["e.txt"])


def test_columns_of_a_frame(utt, vectors):
    X = pd.DataFrame(
        {"video": [None, CLIPS[1]], "audio": ["a.b.wav", "e.wav"], "text": ["x", "y"]},
        index=NAMES[:2],
    )
    video = PrecomputedEncoder(utt).transform(X)
    assert np.isnan(video[0]).all() and (video[1] == vectors[1]).all()
    audio = PrecomputedEncoder(utt, column="audio").transform(X)
    np.testing.assert_array_equal(audio, vectors[3:])
    encoder = PrecomputedEncoder(utt, column="index")
    np.testing.assert_array_equal(encoder.transform(X), vectors[:2])
    np.testing.assert_array_equal(encoder.transform(X["text"]), vectors[:2])
    with pytest.raises(TypeError, match="index of a frame"):
        encoder.transform(CLIPS)


def test_after_a_clip_table(utt, vectors):
    union = FeatureUnion(
        [
            ("audio", PrecomputedEncoder(utt, column="audio")),
            ("text", PrecomputedEncoder(utt, column="index")),
        ]
    )
    model = make_pipeline(ClipTable(), union).set_output(transform="pandas")
    frame = model.fit_transform(CLIPS)
    np.testing.assert_array_equal(frame, np.hstack([vectors, vectors]))
    assert list(frame.columns[[0, -1]]) == ["audio__0", "text__5"]
    assert list(frame.index) == CLIPS
    by_column = ColumnTransformer([("text", PrecomputedEncoder(utt), "video")])
    table = ClipTable().fit_transform(CLIPS)
    np.testing.assert_array_equal(by_column.fit_transform(table), vectors)


@pytest.mark.parametrize("pattern", ["sub/x_{name}.npy", "{name}/face.npy"])
def test_patterns(tmp_path, vectors, pattern):
    for name, vector in zip(NAMES, vectors, strict=True):
        path = tmp_path / pattern.format(name=name)
        path.parent.mkdir(exist_ok=True, parents=True)
        np.save(path, vector)
    features = PrecomputedEncoder(tmp_path, pattern=pattern).transform(CLIPS)
    np.testing.assert_array_equal(features, vectors)


@pytest.mark.parametrize("pattern", ["x.npy", "/abs/{name}.npy", "{name}/{name}.npy"])
def test_bad_patterns(utt, pattern):
    with pytest.raises(ValueError, match="'pattern' parameter"):
        PrecomputedEncoder(utt, pattern=pattern).fit(CLIPS)


def test_a_missing_file_names_clip_and_file(utt):
    (utt / "e.npy").unlink()
    with pytest.raises(MediaError) as caught:
        PrecomputedEncoder(utt).transform(CLIPS)
    assert CLIPS[4] in str(caught.value) and str(utt / "e.npy") in str(caught.value)
    assert caught.value.stage == "features" and caught.value.clip == CLIPS[4]
    lenient = PrecomputedEncoder(utt, on_error="nan")
    with pytest.warns(ExtractionWarning, match="1 of 5"):
        features = lenient.transform(CLIPS)
    assert np.isnan(features).all(axis=1).tolist() == [False] * 4 + [True]
    assert lenient.failures(CLIPS)["clip"].tolist() == CLIPS[4:]


def test_no_file_of_any_clip(utt):
    with pytest.warns(ExtractionWarning) as caught:
        PrecomputedEncoder(utt, on_error="nan").fit_transform(["x.mp4", "y.mp4"])
    assert "Check root, pattern and column" in str(caught[-1].message)


def _damage(path, kind):
    if kind == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif kind == "text":
        path.write_text("0.1,0.2,0.3")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "head":
        path.write_bytes(path.read_bytes().replace(b"shape", b"sh(pe"))
    elif kind == "long head":
        path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 200)
    elif kind == "version":
        with path.open("wb") as file:
            np.lib.format.write_array(file, np.zeros(6), version=(3, 0))
    elif kind == "huge":
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 6)}
            )
    else:
        values = {
            "width": np.zeros(7),
            "complex": np.zeros(6, dtype=complex),
            "words": np.array(["a"] * 6),
            "deep": np.zeros((2, 3, 6)),
            "scalar": np.zeros(()),
            "nan": np.full(6, np.nan),
            "large": np.full(6, 1e300),
            "none": np.zeros(0),
        }
        np.save(path, values[kind])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pickle", "holds object in place"),
        ("cut", "cut short"),
        ("text", r"no \.npy file"),
        ("empty", r"no \.npy file"),
        ("head", "head is damaged"),
        ("long head", "head is damaged"),
        ("version", "no plain array"),
        ("huge", "claims to hold"),
        ("width", "7 values, not of 6"),
        ("complex", "complex128 in place"),
        ("words", "in place of real numbers"),
        ("deep", r"shape \(2, 3, 6\)"),
        ("scalar", r"shape \(\)"),
        ("nan", "NaN, infinite"),
        ("large", "too large"),
        ("none", r"shape \(0,\)"),
    ],
)
def test_damaged_files(utt, vectors, kind, words):
    _damage(utt / "e.npy", kind)
    with pytest.raises(MediaError, match=words) as caught:
        PrecomputedEncoder(utt).transform(CLIPS)
    assert caught.value.clip == CLIPS[4]
    assert str(utt / "e.npy") in caught.value.reason
    with pytest.warns(ExtractionWarning):
        features = PrecomputedEncoder(utt, on_error="nan").transform(CLIPS)
    np.testing.assert_array_equal(features[:4], vectors[:4])
    assert np.isnan(features[4]).all()


def test_a_file_without_frames_is_a_row_of_nan(utt):
    np.save(utt / "e.npy", np.zeros((0, 6)))
    features = PrecomputedEncoder(utt).transform(CLIPS)
    assert np.isnan(features).all(axis=1).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4", "int16", "bool"])
def test_other_dtypes(tmp_path, dtype):
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(values))
    features = PrecomputedEncoder(tmp_path).transform(["a"])
    np.testing.assert_array_equal(features, [[0.5, 0.5, 1.0]])


def test_width_is_read_from_the_folder(utt):
    encoder = PrecomputedEncoder(utt)
    assert len(encoder.get_feature_names_out()) == 6
    # A damaged first file does no harm, other widths replace the old at once
    (utt / "a.b.npy").write_bytes(b"nothing")
    assert len(encoder.get_feature_names_out()) == 6
    for name in NAMES:
        np.save(utt / f"{name}.npy", np.zeros(4))
    assert len(encoder.get_feature_names_out()) == 4
    assert encoder.transform(CLIPS).shape == (5, 4)


def test_width_can_be_given(tmp_path, utt):
    empty = tmp_path / "empty"
    encoder = PrecomputedEncoder(empty, n_features=3)
    assert list(encoder.get_feature_names_out()) == ["0", "1", "2"]
    with pytest.raises(MediaError, match="6 values, not of 3"):
        PrecomputedEncoder(utt, n_features=3).transform(CLIPS)


def test_no_features_at_all(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ValueError, match="finds no features in .* there is no"):
            PrecomputedEncoder(folder).transform(CLIPS)
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(ValueError, match="a.npy: it is no .npy file"):
        PrecomputedEncoder(tmp_path).get_feature_names_out()


def test_clips_of_one_name_are_refused(utt):
    X = ["train/dia0_utt0.mp4", "test/dia0_utt0.mp4"]
    with pytest.raises(ValueError, match="same name 'dia0_utt0'"):
        PrecomputedEncoder(utt).transform(X)
    # Sound and picture of one clip, and a clip given twice
    X = ["dia0_utt0.mp4", "dia0_utt0.wav", "./dia0_utt0.mp4", "dia0_utt0.mp4"]
    assert len(PrecomputedEncoder(utt).transform(X)) == 4
    named = pd.Series(["x/c.mp4", "y/c.mp4"], index=NAMES[:2])
    assert PrecomputedEncoder(utt, column="index").transform(named).shape == (2, 6)


def test_a_changed_file_is_read_again(utt, tmp_path):
    encoder = PrecomputedEncoder(utt, cache=tmp_path / "cache")
    before = encoder.transform(CLIPS)
    np.save(utt / "e.npy", np.arange(6.0))
    after = encoder.transform(CLIPS)
    np.testing.assert_array_equal(after[4], np.arange(6))
    np.testing.assert_array_equal(after[:4], before[:4])


class _FailingDisk(PrecomputedEncoder):
    def _encode(self, cells):
        if (Path(self.root) / "down").exists():
            return [OSError(5, "Input/output error") for _ in cells]
        return super()._encode(cells)


def test_a_failing_disk_is_not_remembered(utt, vectors, tmp_path):
    encoder = _FailingDisk(utt, cache=tmp_path / "cache")
    (utt / "down").touch()
    with pytest.raises(MediaError, match=r"a\.b\.npy: Input/output error"):
        encoder.transform(CLIPS[3:4])
    (utt / "down").unlink()
    np.testing.assert_array_equal(encoder.transform(CLIPS), vectors)


def test_a_failure_names_where_the_file_lies_now(utt, tmp_path):
    cache = tmp_path / "cache"
    (utt / "e.npy").write_bytes(b"nothing")
    for folder in (utt, tmp_path / "moved"):
        if folder != utt:
            utt.rename(folder)
        with pytest.raises(MediaError) as caught:
            PrecomputedEncoder(folder, cache=cache).transform(CLIPS)
        assert caught.value.reason == f"{folder / 'e.npy'}: it is no .npy file"


def test_objects_are_never_unpickled(utt, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    trapped = np.empty(6, dtype=object)
    trapped[:] = [Trap()] * 6
    data = pickle.dumps(trapped)
    assert b"sprung" in data
    np.save(utt / "e.npy", trapped, allow_pickle=True)
    with pytest.raises(MediaError):
        PrecomputedEncoder(utt).transform(CLIPS)
    assert not (tmp_path / "sprung").exists()
