"""Pitch, voicing and voice quality: what the vocal folds do, frame by frame."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal

HOP = 0.01
_N_CANDIDATES = 5
_VOICING = 0.45
_OCTAVE_COST = 0.02
_JUMP_COST = 0.35
_SWITCH_COST = 0.14
_SILENCE_DB = 35.0
_BLOCK = 4096
_LPC_ORDER = 9


@dataclass(frozen=True)
class PitchTrack:
    """Pitch and voice quality of each frame; all zero where a frame is unvoiced.

    Attributes
    ----------
    f0 : ndarray of shape (n_frames,), Hz
    voiced : bool ndarray of shape (n_frames,)
    periodicity : ndarray of shape (n_frames,)
        Highest normalised autocorrelation of the frame, 0 to 1, voiced or not.
    hnr : ndarray of shape (n_frames,), dB
    tilt : ndarray of shape (n_frames, 2), dB
        First harmonic over the second, and over the strongest near formant three.
    formants : ndarray of shape (n_frames, 6)
        Frequency (Hz) of formants one to three, then their bandwidths (Hz).
    periods : ndarray of shape (n_periods,), s
    peaks : ndarray of shape (n_periods,)
    chain : int ndarray of shape (n_periods,)
        Glottal periods, peak amplitude in each, and the voiced stretch it is in.
    """

    f0: np.ndarray
    voiced: np.ndarray
    periodicity: np.ndarray
    hnr: np.ndarray
    tilt: np.ndarray
    formants: np.ndarray
    periods: np.ndarray
    peaks: np.ndarray
    chain: np.ndarray


def _parabola(left, middle, right):
    """Offset (in samples) and height of the peak through three points."""
    curve = left - 2 * middle + right
    curve = np.where(curve > -1e-9, -1e-9, curve)
    shift = np.clip(0.5 * (left - right) / curve, -0.5, 0.5)
    return shift, middle - 0.25 * (left - right) * shift


def _candidates(frames, window, taper, n_fft, lags, rate, low):
    """Strongest autocorrelation peaks of each frame: pitch, strength, spectrum."""
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = fft.rfft(frames * window, n_fft, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    # Twice the spectrum's length gives the autocorrelation at twice the rate.
    corr = fft.irfft(power, 2 * n_fft, axis=1)[:, : lags.stop + 2]
    zero = corr[:, :1]
    corr = corr / np.maximum(zero, 1e-20) / taper[: lags.stop + 2]
    inner = corr[:, lags]
    left, right = (
        corr[:, lags.start - 1 : lags.stop - 1],
        corr[:, lags.start + 1 : lags.stop + 1],
    )
    is_peak = (inner > left) & (inner >= right) & (inner > 0)
    lag = np.arange(lags.start, lags.stop, dtype=np.float32)
    bonus = (_OCTAVE_COST * np.log2(lag / rate * low)).astype(np.float32)
    score = np.where(is_peak, inner - bonus, -1.0)
    k = min(_N_CANDIDATES, score.shape[1])
    best = np.argpartition(-score, k - 1, axis=1)[:, :k]
    rows = np.arange(len(score))[:, None]
    best.sort(axis=1)
    shift, height = _parabola(left[rows, best], inner[rows, best], right[rows, best])
    found = is_peak[rows, best]
    pitch = np.where(found, rate / (lag[best] + shift), 0.0)
    height = np.where(height > 1, 1 / np.maximum(height, 1e-9), height)
    height = np.where(found, height, 0.0)
    return pitch, height, power


def _best_path(pitch, strength, unvoiced, low, high):
    """Viterbi search for the cheapest path through the candidates (Boersma 1993).

    Candidate 0 of every frame is "unvoiced".
    """
    n_frames = len(pitch)
    value = np.where(
        pitch > 0,
        strength - _OCTAVE_COST * np.log2(high / np.maximum(pitch, low)),
        -1e3,
    )
    value = np.concatenate([unvoiced[:, None], value], axis=1)
    log_pitch = np.log2(np.maximum(pitch, 1.0))
    n = value.shape[1]
    cost = np.zeros((n_frames - 1, n, n))
    cost[:, 1:, 1:] = _JUMP_COST * np.abs(
        log_pitch[:-1, :, None] - log_pitch[1:, None, :]
    )
    cost[:, 0, 1:] = cost[:, 1:, 0] = _SWITCH_COST
    back = np.empty((n_frames - 1, n), np.intp)
    column = np.arange(n)
    score = value[0]
    for t in range(n_frames - 1):
        total = score[:, None] - cost[t]
        choice = total.argmax(axis=0)
        back[t] = choice
        score = total[choice, column] + value[t + 1]
    path = np.empty(n_frames, np.intp)
    path[-1] = score.argmax()
    for t in range(n_frames - 2, -1, -1):
        path[t] = back[t, path[t + 1]]
    return path


def runs(mask):
    """First and one-past-last index of each stretch of True."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _formants(power, n_fft, rate):
    """Formant frequencies and bandwidths by linear prediction of each power spectrum.

    Autocorrelation method: pre-emphasised power to autocorrelation, Levinson-Durbin
    over all frames at once, roots of the predictor as eigenvalues of its companion.
    """
    omega = 2 * np.pi * np.arange(power.shape[1]) / n_fft
    emphasis = 1 + 0.97**2 - 2 * 0.97 * np.cos(omega)
    corr = fft.irfft(power * emphasis, n_fft, axis=1)[:, : _LPC_ORDER + 1]
    corr = corr.astype(np.float64)
    corr[:, 0] = corr[:, 0] * (1 + 1e-6) + 1e-30
    predictor = lpc(corr)
    companion = np.zeros((len(power), _LPC_ORDER, _LPC_ORDER))
    companion[:, 0] = -predictor[:, 1:]
    index = np.arange(_LPC_ORDER - 1)
    companion[:, index + 1, index] = 1.0
    roots = np.linalg.eigvals(companion)
    hz = np.angle(roots) * rate / (2 * np.pi)
    width = -np.log(np.maximum(np.abs(roots), 1e-6)) * rate / np.pi
    good = (hz > 150) & (hz < 0.98 * rate / 2) & (width < 800)
    order = np.argsort(np.where(good, hz, np.inf), axis=1)[:, :3]
    rows = np.arange(len(hz))[:, None]
    kept = good[rows, order]
    return np.where(kept, hz[rows, order], 0.0), np.where(kept, width[rows, order], 0.0)


def lpc(corr):
    """Linear predictors by the Levinson-Durbin recursion.

    Parameters
    ----------
    corr : ndarray of shape (n_frames, order + 1)
        Autocorrelation at lags 0 to order.

    Returns
    -------
    ndarray of shape (n_frames, order + 1)
        Coefficients of the inverse filter; the first is 1.
    """
    n_frames, n = corr.shape
    a = np.zeros((n_frames, n))
    a[:, 0] = 1.0
    error = corr[:, 0].copy()
    for i in range(1, n):
        acc = np.einsum("tj,tj->t", a[:, :i], corr[:, i:0:-1])
        k = -acc / error
        a[:, 1 : i + 1] += k[:, None] * a[:, i - 1 :: -1][:, :i]
        error = error * np.maximum(1 - k * k, 1e-9)
    return a


def _harmonic_tilt(power, f0, n_fft, rate, third):
    """Level of harmonic 1 over harmonic 2, and over the peak near formant three."""
    level = 10 * np.log10(power + 1e-20)
    bins = np.arange(power.shape[1])
    rows = np.arange(len(power))

    def near(hz, reach):
        centre = np.clip(np.rint(hz * n_fft / rate).astype(np.intp), 0, bins[-1])
        span = np.clip(centre[:, None] + np.arange(-reach, reach + 1), 0, bins[-1])
        return level[rows[:, None], span].max(axis=1)

    first, second = near(f0, 1), near(2 * f0, 1)
    peak = near(np.where(third > 0, third, 2500.0), int(np.ceil(200 * n_fft / rate)))
    return np.stack([first - second, first - peak], axis=1)


def _pulses(sound, rate, f0, starts, stops):
    """Glottal pulses of each voiced stretch: the largest peak once a period.

    From the strongest sample of a stretch outwards, the next pulse is the highest
    sample between 0.8 and 1.25 periods away.
    """
    times, peaks, chain = [], [], []
    skew = float(np.mean(sound.astype(np.float64) ** 3))
    wave = (sound if skew >= 0 else -sound).astype(np.float64)
    hop = rate * HOP
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        first = int(start * hop)
        last = min(int(stop * hop), wave.size)
        if last - first < 3:
            continue
        period = rate / f0[start:stop]
        origin = first + int(wave[first:last].argmax())
        found = [origin]
        for direction in (1, -1):
            here = origin
            while True:
                width = period[min(max(int(here / hop) - start, 0), period.size - 1)]
                near, far = int(0.8 * width), int(1.25 * width) + 1
                if direction == 1:
                    low, high = here + near, here + far + 1
                    if high > last:
                        break
                else:
                    low, high = here - far, here - near + 1
                    if low < first:
                        break
                here = low + int(wave[low:high].argmax())
                found.append(here)
            if direction == 1:
                found.reverse()
        index = np.array(found[::-1])
        index.sort()
        times.append(index)
        chain.append(np.full(index.size, number))
    if not times:
        empty = np.zeros(0)
        return empty, empty, np.zeros(0, np.intp)
    times, chain = np.concatenate(times), np.concatenate(chain)
    inner = np.clip(times, 1, wave.size - 2)
    shift, peaks = _parabola(wave[inner - 1], wave[inner], wave[inner + 1])
    exact = (inner + shift) / rate
    same = chain[1:] == chain[:-1]
    return np.diff(exact)[same], peaks[1:][same], chain[1:][same]


def track_pitch(sound, rate, level, pitch_range=(65, 650)):
    """Track pitch and voice quality.

    Normalised autocorrelation candidates and a Viterbi path after Boersma (1993), on
    the sound below 4 kHz; windows of three of the longest periods.

    Parameters
    ----------
    sound : float32 ndarray of shape (n_samples,)
    rate : int
    level : ndarray of shape (n_frames,), dB
    pitch_range : tuple of (float, float), Hz

    Returns
    -------
    PitchTrack
    """
    low, high = pitch_range
    step = max(1, int(rate // 8000))
    if step > 1:
        sound = signal.resample_poly(sound, 1, step).astype(np.float32)
    rate = rate / step
    width = int(np.ceil(3 * rate / low))
    n_fft = 1 << int(width + np.ceil(rate / low)).bit_length()
    window = signal.get_window("hann", width).astype(np.float32)
    taper = fft.irfft(np.abs(fft.rfft(window, n_fft)) ** 2, 2 * n_fft)
    taper = np.maximum(taper / taper[0], 1e-3).astype(np.float32)
    lags = slice(int(2 * rate / high), int(np.ceil(2 * rate / low)) + 1)

    n_frames = level.size
    centres = np.floor((np.arange(n_frames) + 0.5) * (rate * HOP)).astype(np.intp)
    windows = sliding_window_view(np.pad(sound, (width // 2, width)), width)
    parts = [
        _candidates(
            windows[centres[i : i + _BLOCK]], window, taper, n_fft, lags, 2 * rate, low
        )
        for i in range(0, n_frames, _BLOCK)
    ]
    pitch, strength = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    power = np.concatenate([p[2] for p in parts])
    loud = level.max()
    unvoiced = _VOICING + 2 * np.clip((loud - _SILENCE_DB - level) / 20.0, 0, 1)
    path = _best_path(pitch, strength, unvoiced, low, high)
    voiced = path > 0
    starts, stops = runs(voiced)
    for start, stop in zip(starts, stops, strict=True):
        if stop - start < 3:
            voiced[start:stop] = False
    starts, stops = runs(voiced)
    rows = np.arange(n_frames)
    column = np.maximum(path - 1, 0)
    f0 = np.where(voiced, pitch[rows, column], 0.0)
    chosen = np.clip(strength[rows, column], 1e-3, 1 - 1e-4)
    hnr = np.where(voiced, 10 * np.log10(chosen / (1 - chosen)), 0.0)

    formants = np.zeros((n_frames, 6))
    tilt = np.zeros((n_frames, 2))
    if voiced.any():
        hz, bandwidth = _formants(power[voiced], n_fft, rate)
        formants[voiced] = np.concatenate([hz, bandwidth], axis=1)
        tilt[voiced] = _harmonic_tilt(
            power[voiced], f0[voiced], n_fft, rate, formants[voiced, 2]
        )
    periods, peaks, chain = _pulses(sound, rate, f0, starts, stops)
    return PitchTrack(
        f0=f0,
        voiced=voiced,
        periodicity=strength.max(axis=1),
        hnr=hnr,
        tilt=tilt,
        formants=formants,
        periods=periods,
        peaks=peaks,
        chain=chain,
    )
