"""AcousticEncoder: the functionals of the sound of a file."""

import struct

import numpy as np
import pandas as pd
import pytest

from skmer.encoders import AcousticEncoder
from skmer.encoders._acoustic_functionals import acoustic_functionals, functional_names
from skmer.encoders._acoustic_signal import frame_contours
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import read_audio, write_clip


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Three sound files of one second."""
    folder = tmp_path_factory.mktemp("tones")
    time = np.arange(16000) / 16000
    paths = []
    for hz in (110, 150, 220):
        sound = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 12)) / 4
        path = folder / f"{hz}.wav"
        write_clip(path, audio=sound.astype(np.float32), rate=16000)
        paths.append(str(path))
    return paths


def test_functionals_are_those_of_the_sound_that_is_read(tones):
    features = AcousticEncoder(cache=None).fit_transform(tones)
    for path, row in zip(tones, features, strict=True):
        np.testing.assert_array_equal(row, acoustic_functionals(read_audio(path)))
    assert list(AcousticEncoder().get_feature_names_out()) == functional_names()


def test_sequences_and_what_is_pooled_from_them(tones):
    cells = AcousticEncoder(pooling=None, cache=None).transform(tones)[:, 0]
    _, contours, _ = frame_contours(read_audio(tones[1]))
    np.testing.assert_array_equal(cells[1], contours)
    mean = AcousticEncoder(pooling="mean", cache=None).transform(tones)
    np.testing.assert_allclose(mean[1], contours.mean(axis=0), rtol=1e-4, atol=1e-4)
    both = AcousticEncoder(pooling="mean_std", cache=None).transform(tones)
    assert both.shape[1] == 2 * mean.shape[1]
    names = list(AcousticEncoder(pooling=3).get_feature_names_out())
    assert len(names) == 3 * mean.shape[1] == len(set(names))


def test_windows_are_the_functionals_of_parts(tmp_path):
    sound = np.tile(_spoken(), 3)[:41_000]  # 2.5625 s
    long = _write_floats(tmp_path / "long.wav", sound)
    short = _write_floats(tmp_path / "short.wav", sound[:12_000])
    encoder = AcousticEncoder(pooling="windows", cache=tmp_path / "cache")
    assert list(encoder.get_feature_names_out()) == ["windows"]
    cells = encoder.fit_transform([long, short])[:, 0]
    # Four hops of at most half a second, the last window at the very end
    starts = [0, 6250, 12500, 18750, 25000]
    expected = [acoustic_functionals(sound[s : s + 16000]) for s in starts]
    np.testing.assert_array_equal(cells[0], np.stack(expected))
    whole = AcousticEncoder(cache=None).transform([short])
    np.testing.assert_array_equal(cells[1], whole)


def test_length_and_hop_of_windows_tell_cached_ones_apart(tones, tmp_path):
    def n_windows(**params):
        encoder = AcousticEncoder(pooling="windows", cache=tmp_path, **params)
        return len(np.asarray(encoder.transform(tones)[0, 0]))

    assert n_windows() == 1
    assert n_windows(window_seconds=0.5) == 2
    assert n_windows(window_seconds=0.5, hop_seconds=0.25) == 3
    # Windows that touch: sounds that are as long as several have no hop too many
    assert n_windows(window_seconds=0.25, hop_seconds=0.25) == 4


def test_windows_leave_other_cached_features_as_they_are(tones, tmp_path):
    one = AcousticEncoder(cache=tmp_path)
    one.transform(tones)
    two = AcousticEncoder(window_seconds=2.0, hop_seconds=0.1, cache=tmp_path)
    two._encode = None  # so that computing anything would fail
    np.testing.assert_array_equal(two.transform(tones), one.transform(tones))


def test_cached_sequences_are_loaded_on_use_and_pickle_small(tones, tmp_path):
    import pickle

    encoder = AcousticEncoder(pooling=None, cache=tmp_path / "cache")
    cells = encoder.set_output(transform="pandas").fit_transform(pd.Series(tones))
    assert list(cells.columns) == ["frames"]
    cell = cells["frames"].iloc[0]
    assert len(pickle.dumps(cell)) < 500 < np.asarray(cell).nbytes
    plain = AcousticEncoder(pooling=None, cache=None).transform(tones)
    np.testing.assert_array_equal(np.asarray(cell), plain[0, 0])


def test_cached_sequences_of_clips_that_occur_twice(tones):
    encoder = AcousticEncoder(pooling=None)
    once = encoder.fit_transform(tones)
    again = encoder.transform([tones[1], tones[0], tones[1], tones[1]])
    assert again[:, 0].tolist() == [once[i, 0] for i in (1, 0, 1, 1)]


def test_rate_changes_the_features(tones):
    one = AcousticEncoder(cache=None).transform(tones)
    two = AcousticEncoder(rate=8000, cache=None).transform(tones)
    assert one.shape[0] == two.shape[0] == 3
    assert one.shape != two.shape or np.abs(one - two).max() > 0.01


def test_pictures_alone_and_silence(tmp_path):
    frames = np.zeros((6, 48, 64, 3), dtype=np.uint8)
    mute = tmp_path / "mute.mp4"
    write_clip(mute, frames=frames)
    silent = tmp_path / "silent.wav"
    write_clip(silent, audio=np.zeros(8000, dtype=np.float32), rate=16000)
    features = AcousticEncoder().transform([mute, silent])
    assert np.isnan(features[0]).all()
    assert np.isfinite(features[1]).all()


def test_too_long_a_sound_is_an_error_with_its_name(tones):
    with pytest.raises(MediaError, match=r"110\.wav.*"):
        AcousticEncoder(max_seconds=0.5).transform(tones)
    with pytest.warns(ExtractionWarning, match="3 of 3"):
        AcousticEncoder(max_seconds=0.5, on_error="nan").transform(tones)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_an_error_with_the_name(tones, tmp_path, bad):
    sound = np.zeros(4000, dtype=np.float32)
    sound[100] = bad
    path = _write_floats(tmp_path / "bad.wav", sound)
    with pytest.raises(MediaError, match=r"bad\.wav.*finite"):
        AcousticEncoder(cache=None).transform([path])
    encoder = AcousticEncoder(cache=None, on_error="nan")
    with pytest.warns(ExtractionWarning, match=r"1 of 2 .*bad\.wav"):
        features = encoder.transform([tones[0], path])
    assert np.isfinite(features[0]).all() and np.isnan(features[1]).all()


def _write_floats(path, sound, rate=16000):
    data = sound.astype("<f4").tobytes()
    head = struct.pack("<IHHIIHH", 16, 3, 1, rate, 4 * rate, 4, 32)
    size = struct.pack("<I", len(data))
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + head)
    with open(path, "ab") as file:
        file.write(b"data" + size + data)
    return str(path)


@pytest.mark.parametrize(
    "params",
    [
        {"feature_set": "mfcc"},
        {"pooling": "max"},
        {"pooling": 0},
        {"rate": 4000},
        {"window_seconds": 0.0},
        {"hop_seconds": 0.0},
    ],
)
def test_bad_parameters(tones, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        AcousticEncoder(**params).fit(tones)


def _spoken(rate=16000):
    """Return a vowel-like sound with a pause, the same on every machine."""
    time = np.arange(rate) / rate
    phase = 2 * np.pi * (150 * time + 20 * time**2)
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    return (voice * np.sin(3 * np.pi * time) ** 2 / 6).astype(np.float32)


def _squashed(row):
    """Return one number that every feature takes part in, large or small."""
    row = np.asarray(row, dtype=np.float64)
    return float(np.sign(row) * np.log1p(np.abs(row)) @ np.cos(np.arange(len(row))))


# All features squashed into one number, then every eighth part of a row.
GOLDEN = {
    "functionals": [
        *(-2.69859, -24.3339, -57.9098, 0.299016, 1.19185, 187.5, 1.7821),
        *(0.0938215, 0.716742, -0.678605),
    ],
    "mean_std": [
        *(-23.0796, -39.5693, -89.8631, -0.0161481, 0.0110558, 201.751, 12.6205),
        *(4.49017, 30.4973, 1284.0),
    ],
    "parts": [
        *(-24.072, -46.2597, -52.4047, 0.155689, 0.0155704, 316.168, -50.9538),
        *(-1.62423, 475.728, 61.1634),
    ],
}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, GOLDEN["functionals"]),
        ({"pooling": "mean_std"}, GOLDEN["mean_std"]),
        ({"pooling": 2, "rate": 8000}, GOLDEN["parts"]),
    ],
)
def test_golden_values(tmp_path, params, expected):
    # Other values mean other features: raise AcousticEncoder._cache_version with them.
    path = _write_floats(tmp_path / "spoken.wav", _spoken())
    row = AcousticEncoder(cache=None, **params).transform([path])[0]
    assert AcousticEncoder._cache_version == 2
    np.testing.assert_allclose(row[:: len(row) // 8], expected[1:], 1e-3, 1e-3)
    assert _squashed(row) == pytest.approx(expected[0], abs=5e-3)


class TestOpenSmile:
    """The optional feature sets, against opensmile itself."""

    @pytest.fixture(autouse=True)
    def opensmile(self):
        return pytest.importorskip("opensmile", reason="extra opensmile not installed")

    def test_egemaps(self, opensmile, tones):
        smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )
        encoder = AcousticEncoder(feature_set="eGeMAPSv02", cache=None)
        features = encoder.fit_transform(tones)
        expected = np.vstack(
            [smile.process_signal(read_audio(path), 16000) for path in tones]
        )
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
        assert list(encoder.get_feature_names_out()) == smile.feature_names

    def test_pitch_is_found(self, tones):
        encoder = AcousticEncoder(feature_set="eGeMAPSv02").set_output(
            transform="pandas"
        )
        frame = encoder.fit_transform(tones)
        semitones = frame["F0semitoneFrom27.5Hz_sma3nz_amean"].to_numpy()
        hz = 27.5 * 2 ** (semitones / 12)
        np.testing.assert_allclose(hz, [110, 150, 220], rtol=0.02)

    def test_full_scale_does_not_wrap(self, tones, tmp_path):
        # opensmile makes 16-bit integers, where 1.0 would become -1.0.
        sound = read_audio(tones[0]) / np.abs(read_audio(tones[0])).max()
        paths = [
            _write_floats(tmp_path / f"{peak}.wav", sound * np.float32(peak))
            for peak in (0.999, 1.0, 1.02)
        ]
        encoder = AcousticEncoder(feature_set="eGeMAPSv02", cache=None)
        frame = encoder.set_output(transform="pandas").transform(paths)
        for name in ("loudness_sma3_amean", "spectralFlux_sma3_amean"):
            np.testing.assert_allclose(frame[name], frame[name].iloc[0], rtol=0.03)

    def test_too_short_a_sound_is_an_error_that_says_so(self, tones, tmp_path):
        path = _write_floats(tmp_path / "short.wav", np.zeros(5, dtype=np.float32))
        encoder = AcousticEncoder(feature_set="eGeMAPSv02", cache=None)
        with (
            pytest.warns(UserWarning, match="too short"),
            pytest.raises(MediaError, match="eGeMAPSv02: 5 samples .* too short"),
        ):
            encoder.transform([path])

    def test_windows(self, opensmile, tones):
        encoder = AcousticEncoder(
            feature_set="eGeMAPSv02", pooling="windows", window_seconds=0.6, cache=None
        )
        cells = encoder.fit_transform(tones)[:, 0]
        smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )
        last = smile.process_signal(read_audio(tones[1])[6400:], 16000)
        assert cells[1].shape == (2, 88)
        np.testing.assert_allclose(cells[1][1:], last, rtol=1e-5, atol=1e-5)

    def test_descriptors_can_be_pooled_and_encoders_cloned(self, tones):
        from sklearn.base import clone

        encoder = AcousticEncoder(feature_set="eGeMAPSv02", pooling="mean_std")
        twin = clone(encoder.fit(tones))
        assert twin.fit_transform(tones).shape == (3, 50)
