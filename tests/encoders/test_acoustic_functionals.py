"""Acoustic contours and functionals against sounds whose truth is known."""

import numpy as np
import pytest
from scipy import fft, signal

from skmer.encoders._acoustic_functionals import acoustic_functionals, functional_names
from skmer.encoders._acoustic_pitch import find_formants, lpc
from skmer.encoders._acoustic_signal import (
    SHAPE_NAMES,
    analyse,
    deltas,
    frame_contours,
    mel_edges,
    mel_filterbank,
)
from skmer.encoders._acoustic_statistics import (
    correlations,
    cosine_shape,
    describe,
    local_change,
    modulation_spectrum,
)

RATE = 16000


def harmonics(f0, seconds=1.0, rate=RATE, top=3800.0, amplitude=0.1):
    """Sum of harmonics falling by 6 dB an octave; `f0` is a number or per sample."""
    f0 = np.broadcast_to(f0, round(seconds * rate)).astype(float)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    sound = np.zeros(f0.size)
    for k in range(1, int(top / f0.min()) + 1):
        sound += np.where(k * f0 < top, np.sin(k * phase + k) / k, 0.0)
    return (amplitude * sound).astype(np.float32)


def pulse_train(periods, peaks=None, rate=RATE):
    """Band-limited pulses (raised cosines of 1 ms) at the given distances in s."""
    times = np.cumsum(periods)
    peaks = np.ones(times.size) if peaks is None else peaks
    t = np.arange(round((times[-1] + 0.01) * rate)) / rate
    sound = np.zeros(t.size)
    for time, peak in zip(times, peaks, strict=True):
        near = np.abs(t - time) < 0.5e-3
        sound[near] += peak * (0.5 + 0.5 * np.cos(2e3 * np.pi * (t[near] - time)))
    return sound.astype(np.float32)


def all_pole(formants, widths, rate):
    """Denominator of a filter with these resonances and bandwidths in Hz."""
    hz, width = np.asarray(formants), np.asarray(widths)
    poles = np.exp(np.pi / rate * (-width + 2j * hz))
    return np.real(np.poly([*poles, *np.conj(poles)]))


def speech_like(seconds=1.5, seed=0, rate=RATE):
    """A gliding voice in syllables, through a vocal tract, then silence."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    f0 = 180 + 50 * np.sin(2 * np.pi * 0.9 * t)
    tract = all_pole((600.0, 1400.0, 2600.0), (80.0, 90.0, 120.0), rate)
    voice = signal.lfilter([1e-3], tract, harmonics(f0, seconds, rate, top=3500))
    voice *= 0.1 / np.abs(voice).max()
    envelope = np.clip(np.sin(2 * np.pi * 3 * t), 0.02, None)
    noise = 2e-4 * rng.standard_normal(n)
    sound = (voice * envelope + noise).astype(np.float32)
    return np.concatenate([sound, np.zeros(rate // 5, np.float32)])


def named(sound, rate=RATE, **options):
    values = acoustic_functionals(sound, rate, **options)
    return dict(zip(functional_names(rate, **options), values.tolist(), strict=True))


def noise(n=RATE, seed=0, scale=0.1):
    generator = np.random.default_rng(seed)
    return (scale * generator.standard_normal(n)).astype(np.float32)


# Pitch and voicing


@pytest.mark.parametrize("f0", [80, 100, 146.8, 220, 313, 400, 600])
def test_pitch_of_harmonic_complexes(f0):
    track = analyse(harmonics(f0), RATE).pitch
    assert track.voiced.mean() > 0.95
    np.testing.assert_allclose(track.f0[track.voiced], f0, rtol=0.01)


@pytest.mark.parametrize("f0", [80, 130, 250, 400])
def test_pitch_of_pure_tones(f0):
    sound = 0.3 * np.sin(2 * np.pi * f0 * np.arange(RATE) / RATE)
    track = analyse(sound, RATE).pitch
    assert track.voiced.mean() > 0.95
    np.testing.assert_allclose(track.f0[track.voiced], f0, rtol=0.01)


@pytest.mark.parametrize("f0", [110, 200])
def test_pitch_without_the_fundamental(f0):
    t = np.arange(RATE) / RATE
    sound = 0.05 * sum(np.sin(2 * np.pi * k * f0 * t + k) for k in range(3, 12))
    track = analyse(sound, RATE).pitch
    np.testing.assert_allclose(np.median(track.f0[track.voiced]), f0, rtol=0.01)


def test_pitch_follows_a_glide():
    truth = np.geomspace(100, 350, 2 * RATE)
    track = analyse(harmonics(truth, 2.0), RATE).pitch
    centres = ((np.arange(track.f0.size) + 0.5) * 0.01 * RATE).astype(int)
    inner = slice(5, -5)
    assert track.voiced[inner].all()
    np.testing.assert_allclose(track.f0[inner], truth[centres][inner], rtol=0.01)
    values = named(harmonics(truth, 2.0))
    octaves = np.log2(350 / 100)
    assert values["f0_drift"] == pytest.approx(12 * octaves, rel=0.03)
    assert values["f0_rise_mean"] == pytest.approx(6 * octaves, rel=0.05)
    assert values["f0_fall_mean"] == pytest.approx(0, abs=0.5)


def test_noise_is_unvoiced():
    track = analyse(noise(5 * RATE), RATE).pitch
    assert track.voiced.mean() < 0.01
    values = named(noise(5 * RATE))
    assert values["voiced_fraction"] < 0.01


def test_harmonics_in_noise_give_their_ratio():
    for wanted in (5.0, 15.0):
        voice, hiss = harmonics(200, 3.0), noise(3 * RATE)
        # Only the hiss below 4 kHz, half of it, meets the voice in the tracker.
        gain = np.sqrt(np.mean(voice**2) / (np.mean(hiss**2) / 2)) * 10 ** (
            -wanted / 20
        )
        track = analyse(voice + gain.astype(np.float32) * hiss, RATE).pitch
        assert np.median(track.hnr[track.voiced]) == pytest.approx(wanted, abs=1.5)


def test_pitch_range_is_obeyed():
    sound = harmonics(200)
    track = analyse(sound, RATE, pitch_range=(65, 150)).pitch
    assert track.f0.max() < 155
    track = analyse(sound, RATE, pitch_range=(65, 650)).pitch
    np.testing.assert_allclose(np.median(track.f0), 200, rtol=0.01)


# Voice quality


def test_steady_pulses_have_no_jitter():
    values = named(pulse_train(np.full(200, 1 / 125)))
    assert values["jitter_mean"] < 0.002
    assert values["shimmer_mean"] < 0.02


@pytest.mark.parametrize("sign", [1, -1])
def test_jitter_of_known_size(sign):
    periods = (1 / 125) * (1 + 0.02 * np.random.default_rng(0).standard_normal(300))
    truth = np.abs(np.diff(periods)).mean() / periods.mean()
    values = named(sign * pulse_train(periods))
    assert values["jitter_mean"] == pytest.approx(truth, rel=0.1)


def test_shimmer_of_known_size():
    peaks = 1 + 0.08 * np.random.default_rng(1).standard_normal(300)
    truth = np.abs(np.diff(peaks)).mean() / peaks.mean()
    values = named(pulse_train(np.full(300, 1 / 125), peaks))
    assert values["shimmer_mean"] == pytest.approx(truth, rel=0.15)


def test_changes_across_stretches_and_slips_do_not_count():
    values = np.array([1.0, 1.1, 2.0, 2.2, 4.4])
    chain = np.array([0, 0, 1, 1, 1])
    expected = 2 * (0.1 + 0.2) / (2.1 + 4.2)
    assert local_change(values, chain, 1.3) == pytest.approx(expected)
    assert local_change(values[:1], chain[:1], 1.3) == 0.0


def test_lpc_recovers_an_all_pole_filter():
    poles = [0.97 * np.exp(0.4j), 0.95 * np.exp(1.2j), 0.9 * np.exp(2.1j)]
    inverse = np.real(np.poly([*poles, *np.conj(poles)]))
    impulse = np.zeros(4096)
    impulse[0] = 1.0
    response = signal.lfilter([1.0], inverse, impulse)
    corr = np.correlate(response, response, "full")[4095 : 4095 + 7]
    np.testing.assert_allclose(lpc(corr[None])[0], inverse, atol=1e-6)


def test_formants_of_a_known_vocal_tract():
    rate, truth, widths = 8000, (500.0, 1500.0, 2500.0), (80.0, 90.0, 120.0)
    inverse = all_pole(truth, widths, rate)
    # A source that falls by 6 dB an octave, which the pre-emphasis undoes.
    whole = np.convolve(inverse, [1, -0.97])
    _, response = signal.freqz([1.0], whole, np.linspace(0, np.pi, 257))
    power = np.abs(response) ** 2
    formants = find_formants(power[None], rate)[0]
    np.testing.assert_allclose(formants[:3], truth, rtol=0.02)
    np.testing.assert_allclose(formants[3:], widths, rtol=0.25)


def test_formants_of_a_vowel_in_a_sound():
    truth = (500.0, 1500.0, 2500.0)
    inverse = all_pole(truth, (90.0, 90.0, 90.0), RATE)
    sound = signal.lfilter([1.0], inverse, harmonics(120, top=7900))
    values = named(0.01 * sound)
    for i, hz in enumerate(truth, start=1):
        assert values[f"formant{i}_mean"] == pytest.approx(hz, rel=0.06)


# Level and spectrum


def test_level_of_a_full_scale_sine():
    sound = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    level = analyse(sound, RATE).level
    np.testing.assert_allclose(level[2:-2], -3.01, atol=0.02)


def test_gain_moves_the_level_and_nothing_else():
    sound = speech_like()
    quiet, loud = named(sound), named(2 * sound)
    gain = 20 * np.log10(2)
    moved = (
        "level_mean",
        "level_p5",
        "level_p20",
        "level_p50",
        "level_p80",
        "level_p95",
    )
    for name in moved:
        assert loud[name] - quiet[name] == pytest.approx(gain, abs=0.01)
    assert loud["loudness_mean"] / quiet["loudness_mean"] == pytest.approx(
        2 ** (2 / 3), rel=1e-3
    )
    for name in set(quiet) - set(moved):
        if not name.startswith("loudness"):
            assert loud[name] == pytest.approx(quiet[name], rel=0.01, abs=0.01), name


def test_filterbank_equals_a_plain_loop():
    n_fft, fine = 512, 8
    bank = mel_filterbank(RATE, n_fft)
    edges = mel_edges(RATE)
    assert bank.shape == (257, 26)
    for m in range(26):
        low, centre, high = edges[m : m + 3]
        for k in range(257):
            total = 0.0
            for i in range(fine):
                hz = (k + (i + 0.5) / fine - 0.5) * RATE / n_fft
                if low < hz <= centre:
                    total += (hz - low) / (centre - low)
                elif centre < hz < high:
                    total += (high - hz) / (high - centre)
            assert bank[k, m] == pytest.approx(total / fine, abs=1e-6)


def test_mel_edges_span_the_range_evenly():
    edges = mel_edges(RATE)
    assert edges[0] == pytest.approx(20) and edges[-1] == pytest.approx(8000)
    np.testing.assert_allclose(
        np.diff(2595 * np.log10(1 + edges / 700), 2), 0, atol=1e-8
    )
    assert mel_edges(8000)[-1] == pytest.approx(4000)


def test_cepstra_are_the_cosine_transform_of_the_bands():
    c = analyse(speech_like(), RATE)
    expected = fft.dct(c.log_mel.astype(float), axis=1, norm="ortho")[:, 1:17]
    np.testing.assert_allclose(c.cepstra, expected, atol=1e-3)


def test_log_mel_equals_a_plain_computation():
    sound = noise(RATE // 2).astype(float)
    centred = np.pad(sound - sound.mean(), (200, 400))
    window = signal.get_window("hann", 400)
    expected = []
    for t in range(50):
        start = 80 + 160 * t
        frame = centred[start : start + 400] * window
        power = np.abs(np.fft.rfft(frame, 512)) ** 2 * 2 / (512 * np.sum(window**2))
        expected.append(10 * np.log10(power @ mel_filterbank(RATE, 512)))
    log_mel = analyse(sound, RATE).log_mel
    np.testing.assert_allclose(log_mel, expected, atol=2e-3)


def test_spectral_shape_of_a_tone():
    sound = 0.1 * np.sin(2 * np.pi * 1500 * np.arange(RATE) / RATE)
    shape = dict(zip(SHAPE_NAMES, analyse(sound, RATE).shape[20:-20].T, strict=True))
    np.testing.assert_allclose(shape["centroid"], 1500, atol=5)
    np.testing.assert_allclose(shape["rolloff50"], 1500, atol=32)
    np.testing.assert_allclose(shape["flux"], 0, atol=1e-2)
    assert (shape["entropy"] < 0.25).all()
    assert (shape["alpha"] < -40).all()
    assert (shape["hammarberg"] > 40).all()


def test_slope_of_white_noise_is_flat_and_of_brown_noise_falls():
    white = noise(4 * RATE)
    brown = signal.lfilter([1.0], [1.0, -0.995], white)
    assert named(white)["slope1000to5000_mean"] == pytest.approx(0, abs=0.3)
    # 6 dB an octave: 20 log10(5) dB over 4 kHz at the ends, steeper at first.
    assert named(0.01 * brown)["slope1000to5000_mean"] == pytest.approx(-3.3, abs=0.5)


def test_deltas_of_a_straight_line_are_its_slope():
    line = np.outer(np.arange(30.0), [1.0, -2.0])
    for reach in (2, 4):
        slope = deltas(line, reach)[reach:-reach]
        np.testing.assert_allclose(slope, np.tile([1.0, -2.0], (len(slope), 1)))


# Statistics


def test_describe_by_hand():
    x = np.array([[1.0], [2.0], [3.0], [6.0]])
    table = describe(x, ("mean", "std", "p50", "range", "skew", "drift"))
    assert table["mean"] == pytest.approx(3.0)
    assert table["std"] == pytest.approx(np.sqrt(3.5))
    assert table["p50"] == pytest.approx(2.5)
    assert table["range"] == pytest.approx((6 - 0.15 * 3) - 1.15)
    assert table["skew"] == pytest.approx(4.5 / 3.5**1.5)
    assert table["drift"] == pytest.approx(3 * np.polyfit(range(4), x[:, 0], 1)[0])
    assert describe(np.zeros((0, 2)), ("mean", "p20"))["p20"].tolist() == [0, 0]


def test_modulation_is_found_at_its_frequency():
    t = np.arange(300) * 0.01
    table = modulation_spectrum(
        np.stack([3 * np.sin(2 * np.pi * 5 * t), 0 * t], axis=1)
    )
    assert table[2, 0] == pytest.approx(3 / np.sqrt(2), rel=0.05)
    assert np.delete(table[:, 0], 2).max() < 0.3
    assert not table[:, 1].any()


def test_cosine_shape_ignores_length_and_mean():
    for n in (40, 300):
        contour = 7 + 2 * np.cos(np.pi * 2 * (np.arange(n) + 0.5) / n)
        shape = cosine_shape(contour, 4)
        np.testing.assert_allclose(shape, [0, np.sqrt(2), 0, 0], atol=0.1)


def test_correlations_equal_numpy():
    x = np.random.default_rng(0).standard_normal((50, 4))
    np.testing.assert_allclose(correlations(x), np.corrcoef(x.T), atol=1e-12)
    x[:, 1] = 5.0
    assert not correlations(x)[1].any()


def test_rhythm_of_regular_bursts():
    burst = harmonics(150, 0.2)
    gap = np.zeros(round(0.3 * RATE), np.float32)
    values = named(np.concatenate([gap, *[burst, gap] * 6]))
    assert values["duration_active"] == pytest.approx(6 * 0.2 + 5 * 0.3, abs=0.05)
    assert values["voiced_rate"] == pytest.approx(6 / 2.7, rel=0.05)
    assert values["peak_rate"] == pytest.approx(6 / 2.7, rel=0.05)
    assert values["voiced_length_mean"] == pytest.approx(0.2, abs=0.03)
    assert values["pause_length_mean"] == pytest.approx(0.3, abs=0.03)
    assert values["pause_length_std"] < 0.01


# The vector as a whole


def test_names_are_unique_and_fit_the_values():
    names = functional_names()
    assert len(set(names)) == len(names) == acoustic_functionals(noise()).size
    assert not [n for n in names if "__" in n or n != n.strip().lower()]
    assert {"f0_mean", "mfcc03_std", "relmel12_p80", "jitter_mean"} <= set(names)
    assert functional_names(44100, pitch_range=(50, 500)) == names


HARD = {
    "one sample": np.ones(1),
    "two samples": np.array([1.0, -1.0]),
    "less than a frame": noise(150),
    "one frame and a bit": noise(401),
    "silence": np.zeros(RATE),
    "offset": np.full(RATE, 0.3),
    "clipped": np.sign(np.sin(np.arange(RATE) / 10)),
    "impulse": np.eye(1, RATE, 5000)[0],
    "faint": noise(RATE, scale=1e-20),
    "huge": noise(RATE, scale=1e18),
    "subnormal": np.full(RATE, 1e-40, np.float32),
    "long": noise(60 * RATE),
}


@pytest.mark.parametrize("sound", HARD.values(), ids=HARD.keys())
def test_finite_and_repeatable_for_hard_sounds(sound):
    with np.errstate(all="raise", under="ignore"):
        values = acoustic_functionals(sound)
        names, contours, hop = frame_contours(sound)
    assert values.dtype == np.float32 and np.isfinite(values).all()
    assert values.tobytes() == acoustic_functionals(sound).tobytes()
    assert hop == 0.01
    assert contours.dtype == np.float32 and np.isfinite(contours).all()
    assert contours.shape == (max(1, round(len(sound) / 160)), len(names))
    assert len(set(names)) == len(names)


def test_silence_is_described_as_silent():
    values = named(np.zeros(RATE))
    assert values["level_mean"] == pytest.approx(-100)
    for name in ("active_fraction", "voiced_fraction", "f0_mean", "hnr_mean"):
        assert values[name] == 0


def test_silence_around_a_sound_changes_little():
    sound = speech_like()
    gap = np.zeros(RATE, np.float32)
    alone, padded = named(sound), named(np.concatenate([gap, sound, gap]))
    for name in ("f0_mean", "level_mean", "duration_active", "centroid_mean"):
        assert padded[name] == pytest.approx(alone[name], rel=0.02), name


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_rate_changes_little(rate):
    fine = speech_like(rate=48000)
    first = named(signal.resample_poly(fine, 1, 3))
    other = named(signal.resample_poly(fine, rate // 150, 320), rate)
    spread = {"f0_mean": 0.1, "level_p80": 0.1, "hnr_mean": 1.0, "formant1_mean": 40}
    spread |= {"duration_active": 0.03, "mfcc01_mean": 1.0, "mfcc02_mean": 1.0}
    spread |= {"voiced_fraction": 0.05, "alpha_mean": 0.5, "centroid_mean": 30}
    for name, tolerance in spread.items():
        assert other[name] == pytest.approx(first[name], abs=tolerance), name


def test_frame_contours_agree_with_the_analysis():
    sound = speech_like()
    names, table, _ = frame_contours(sound)
    c, column = analyse(sound, RATE), dict(zip(names, table.T, strict=True))
    np.testing.assert_array_equal(column["voiced"] > 0, c.pitch.voiced)
    np.testing.assert_array_equal(column["active"] > 0, c.active)
    np.testing.assert_allclose(column["level"], c.level)
    np.testing.assert_allclose(column["logmel05"], c.log_mel[:, 4])
    voiced = c.pitch.voiced
    np.testing.assert_allclose(
        27.5 * 2 ** (column["f0"][voiced] / 12), c.pitch.f0[voiced], rtol=1e-5
    )
    assert not column["f0"][~voiced].any()


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros(0), RATE, "at least one sample"),
        (np.zeros((2, 100)), RATE, "1-D"),
        (np.zeros(100, np.int16), RATE, "full scale"),
        (np.array([0.0, np.nan]), RATE, "NaN"),
        (np.zeros(100), 4000, "at least 8000 Hz"),
    ],
)
def test_bad_sounds_are_refused(sound, rate, message):
    with pytest.raises(ValueError, match=message):
        acoustic_functionals(sound, rate)


@pytest.mark.parametrize("pitch_range", [(300, 100), (5, 400), (65, 4000)])
def test_bad_pitch_range_is_refused(pitch_range):
    with pytest.raises(ValueError, match="pitch_range"):
        acoustic_functionals(noise(), pitch_range=pitch_range)


# A change of these values changes what AcousticEncoder returns: raise its
# `_cache_version` with them, or users keep features of the former kind.
GOLDEN = {
    "level_mean": -36.5888,
    "level_std": 6.83587,
    "loudness_p80": 0.190854,
    "level_rise_mean": 216.714,
    "level_shape02": 2.59236,
    "f0_mean": 33.2564,
    "f0_std": 3.25525,
    "f0_drift": 0.276238,
    "f0_shape01": 0.354345,
    "hnr_mean": 16.9842,
    "periodicity_p20": 0.95724,
    "h1h2_mean": 1.46705,
    "h1a3_std": 1.78979,
    "formant1_mean": 608.317,
    "bandwidth2_p80": 125.154,
    "jitter_mean": 0.013277,
    "shimmer_mean": 0.0821165,
    "duration_active": 1.5,
    "voiced_fraction": 0.566667,
    "voiced_rate": 3.33333,
    "peak_rate": 3.33333,
    "relmel05_mean": -9.57382,
    "relmel20_std": 6.92214,
    "voiced_relmel10_mean": -21.1198,
    "deltamel08_mean": 2.9183,
    "mfcc01_mean": 78.2562,
    "mfcc07_p20": -7.44459,
    "dmfcc03_std": 1.60211,
    "ddmfcc12_std": 0.246386,
    "centroid_mean": 559.286,
    "flux_p80": 0.0675407,
    "rolloff75_p50": 656.25,
    "slope500to1500_mean": -13.1801,
    "alpha_mean": 12.1404,
    "voiced_hammarberg_mean": 33.9574,
    "levelmod_2": 13.9644,
    "melmod05_3": 1.74827,
    "f0mod_1": 3.41593,
    "corr_f0_level": 0.0262913,
    "corr_leveld4_mfcc02d15": -0.864615,
}
# Sums over ten and six consecutive parts, so that no value changes unseen.
GOLDEN_SUMS = [
    199.633,
    -177.132,
    -64.0319,
    -19.182,
    215.59,
    152.389,
    17.0652,
    2.66019,
    -4.45027,
    -0.839087,
]
GOLDEN_CONTOUR_SUMS = [-63.4145, -48.9657, -9.90915, 0.107369, 37.9466, 41.1084]


def squeezed(values):
    return np.sign(values) * np.log1p(np.abs(np.asarray(values, float)))


def test_golden_values():
    values = named(speech_like())
    for name, expected in GOLDEN.items():
        assert values[name] == pytest.approx(expected, rel=1e-4, abs=1e-4), name
    parts = np.array_split(squeezed(list(values.values())), len(GOLDEN_SUMS))
    sums = [part.sum() for part in parts]
    np.testing.assert_allclose(sums, GOLDEN_SUMS, rtol=1e-4, atol=1e-2)


def test_golden_contours():
    means = squeezed(frame_contours(speech_like())[1]).mean(axis=0)
    sums = [part.sum() for part in np.array_split(means, len(GOLDEN_CONTOUR_SUMS))]
    np.testing.assert_allclose(sums, GOLDEN_CONTOUR_SUMS, rtol=1e-4, atol=1e-3)
