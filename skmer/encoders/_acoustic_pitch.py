"""Pitch, voicing and voice quality: what the vocal folds do, frame by frame.

Frames are those of ``_acoustic_signal``: one every 10 ms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal

HOP = 0.01
BLOCK = 4096
TILT_NAMES = ("h1h2", "h1a3")
FORMANT_NAMES = (
    "formant1",
    "formant2",
    "formant3",
    "bandwidth1",
    "bandwidth2",
    "bandwidth3",
)
_N_CANDIDATES = 5
_VOICING = 0.45
_OCTAVE_COST = 0.02
_JUMP_COST = 0.35
_SWITCH_COST = 0.14
_SILENCE_DB = 35.0
_SHORTEST_RUN = 3
_LPC_ORDER = 9
# Wider poles model the slope of the spectrum, not a resonance.
_WIDEST_HZ = 450.0


@dataclass(frozen=True)
class PitchTrack:
    """Pitch and voice quality of each frame; zero where a frame is unvoiced.

    Attributes
    ----------
    f0 : ndarray of shape (n_frames,), Hz
    voiced : bool ndarray of shape (n_frames,)
    periodicity : ndarray of shape (n_frames,)
        Highest normalised autocorrelation of the frame, 0 to 1, voiced or not.
    hnr : ndarray of shape (n_frames,), dB
        Harmonics-to-noise ratio, between -30 and 40.
    tilt : ndarray of shape (n_frames, 2), dB
        Harmonic one over harmonic two, and over the highest near formant three.
    formants : ndarray of shape (n_frames, 6), Hz
        Formants one to three, then their bandwidths; 0 where one was not found.
    periods : ndarray of shape (n_periods,), s
        Glottal periods.
    peaks : ndarray of shape (n_periods,)
        Peak amplitude at the end of each.
    chain : int ndarray of shape (n_periods,)
        Number of the voiced stretch that each is in.
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


class _Windows:
    """Windows around the frame centres and what they cost in FFT length."""

    def __init__(self, sound, rate, low, n_frames):
        self.rate = rate
        width = int(np.ceil(3 * rate / low))
        longest = int(np.ceil(rate / low))
        self.n_fft = 1 << (width + longest).bit_length()
        self.taper = signal.get_window("hann", width).astype(np.float32)
        self._views = sliding_window_view(np.pad(sound, (width // 2, width)), width)
        middle = (np.arange(n_frames) + 0.5) * (rate * HOP)
        self._starts = np.floor(middle).astype(np.intp)

    def power(self, frames):
        """Power spectra of the frames with these numbers, float32."""
        x = self._views[self._starts[frames]]
        x = (x - x.mean(axis=1, keepdims=True)) * self.taper
        spectrum = fft.rfft(x, self.n_fft, axis=1)
        return spectrum.real**2 + spectrum.imag**2

    def taper_correlation(self):
        """Normalised autocorrelation of the taper at twice the rate."""
        power = np.abs(fft.rfft(self.taper, self.n_fft)) ** 2
        corr = fft.irfft(power, 2 * self.n_fft)
        return np.maximum(corr / corr[0], 1e-3).astype(np.float32)


def track_pitch(sound, rate, level, pitch_range=(65, 650)):
    """Track pitch and describe the voice.

    Parameters
    ----------
    sound : float32 ndarray of shape (n_samples,)
    rate : int
    level : ndarray of shape (n_frames,), dB
    pitch_range : tuple of (float, float), Hz
        Lowest and highest pitch, within 20 to 1000 Hz.

    Returns
    -------
    PitchTrack

    References
    ----------
    .. [1] P. Boersma, "Accurate short-term analysis of the fundamental frequency and
       the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17, 1993.
       Candidates from the autocorrelation divided by that of the window, and the
       cheapest path through them. Here on the sound below 4 kHz, with lags refined
       by zero-padding the spectrum to twice the rate and a parabola.
    """
    low, high = pitch_range
    if not 20 <= low < high <= 1000:
        raise ValueError(
            "pitch_range must be (lowest, highest) within 20 to 1000 Hz, "
            f"got {pitch_range!r}."
        )
    step = max(1, int(rate // 8000))
    slow = sound
    if step > 1:
        slow = signal.resample_poly(sound, 1, step).astype(np.float32)
    n_frames = level.size
    windows = _Windows(slow, rate / step, low, n_frames)
    taper = windows.taper_correlation()
    found = [
        _candidates(windows.power(block), windows, taper, low, high)
        for block in _blocks(np.arange(n_frames))
    ]
    pitch, strength = (np.concatenate(part) for part in zip(*found, strict=True))

    quiet = (level.max() - _SILENCE_DB - level) / 20.0
    path = _best_path(pitch, strength, _VOICING + 2 * np.clip(quiet, 0, 1), high)
    voiced = path > 0
    for start, stop in zip(*runs(voiced), strict=True):
        if stop - start < _SHORTEST_RUN:
            voiced[start:stop] = False
    chosen = np.arange(n_frames), np.maximum(path - 1, 0)
    f0 = np.where(voiced, pitch[chosen], 0.0)
    share = np.clip(strength[chosen], 1e-3, 1 - 1e-4)

    formants, tilt = np.zeros((n_frames, 6)), np.zeros((n_frames, 2))
    for block in _blocks(np.flatnonzero(voiced)):
        power = windows.power(block)
        formants[block] = find_formants(power, windows.rate)
        tilt[block] = _tilt(power, f0[block], formants[block, 2], windows.rate)
    periods, peaks, chain = _glottal_periods(sound, rate, f0)
    return PitchTrack(
        f0=f0,
        voiced=voiced,
        periodicity=strength.max(axis=1),
        hnr=np.where(voiced, 10 * np.log10(share / (1 - share)), 0.0),
        tilt=tilt,
        formants=formants,
        periods=periods,
        peaks=peaks,
        chain=chain,
    )


def runs(mask):
    """First and one-past-last index of each stretch of True in a bool array."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _blocks(frames):
    # An hour of sound has 360,000 frames: their spectra are never held together.
    return [frames[i : i + BLOCK] for i in range(0, frames.size, BLOCK)]


def _parabola(left, middle, right):
    """Offset (in steps) and height of the maximum through three points."""
    bend = np.minimum(left - 2 * middle + right, -1e-9)
    shift = np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    return shift, middle - 0.25 * (left - right) * shift


def _candidates(power, windows, taper, low, high):
    """Highest peaks of the normalised autocorrelation of each frame.

    Returns
    -------
    pitch, strength : ndarray of shape (n_frames, n_candidates)
        Hz and 0 to 1; both 0 where a frame has fewer peaks.
    """
    rate = 2 * windows.rate
    first, last = int(rate / high), int(np.ceil(rate / low)) + 1
    # An inverse of twice the length gives the autocorrelation at twice the rate.
    corr = fft.irfft(power, 2 * windows.n_fft, axis=1)[:, : last + 1]
    corr = corr / np.maximum(corr[:, :1], 1e-20) / taper[: last + 1]
    left, middle, right = (
        corr[:, first - 1 : -2],
        corr[:, first:-1],
        corr[:, first + 1 :],
    )
    is_peak = (middle > left) & (middle >= right) & (middle > 0)
    lag = np.arange(first, last, dtype=np.float32)
    penalty = np.float32(_OCTAVE_COST) * np.log2(lag / lag[0])
    score = np.where(is_peak, middle - penalty, np.float32(-1))
    n = min(_N_CANDIDATES, lag.size)
    best = np.sort(np.argpartition(-score, n - 1, axis=1)[:, :n], axis=1)
    at = np.arange(len(score))[:, None], best
    shift, height = _parabola(left[at], middle[at], right[at])
    # Interpolation and the division by the taper may overshoot 1.
    height = np.where(height > 1, 1 / np.maximum(height, 1), height)
    found = is_peak[at]
    return np.where(found, rate / (lag[best] + shift), 0), np.where(found, height, 0)


def _best_path(pitch, strength, unvoiced, high):
    """Viterbi search for the best path through the candidates.

    Parameters
    ----------
    pitch, strength : ndarray of shape (n_frames, n_candidates)
    unvoiced : ndarray of shape (n_frames,)
        Strength of the candidate that a frame is unvoiced.
    high : float, Hz

    Returns
    -------
    int ndarray of shape (n_frames,)
        0 for unvoiced, else the candidate's index plus 1.
    """
    octave = np.log2(np.where(pitch > 0, pitch, high))
    value = np.where(
        pitch > 0, strength - _OCTAVE_COST * (np.log2(high) - octave), -1e3
    )
    value = np.concatenate([unvoiced[:, None], value], axis=1)
    n_frames, n_states = value.shape
    cost = np.full((n_frames - 1, n_states, n_states), _SWITCH_COST)
    cost[:, 0, 0] = 0.0
    jump = np.abs(octave[:-1, :, None] - octave[1:, None, :])
    cost[:, 1:, 1:] = _JUMP_COST * jump
    back = np.empty((n_frames - 1, n_states), np.intp)
    states = np.arange(n_states)
    score = value[0]
    for t in range(n_frames - 1):
        total = score[:, None] - cost[t]
        back[t] = total.argmax(axis=0)
        score = total[back[t], states] + value[t + 1]
    path = np.empty(n_frames, np.intp)
    path[-1] = score.argmax()
    for t in range(n_frames - 2, -1, -1):
        path[t] = back[t, path[t + 1]]
    return path


def lpc(corr):
    """Linear predictors by the Levinson-Durbin recursion, all frames at once.

    Parameters
    ----------
    corr : ndarray of shape (n_frames, order + 1)
        Autocorrelation at lags 0 to order.

    Returns
    -------
    ndarray of shape (n_frames, order + 1)
        Coefficients of the inverse filter; the first is 1.
    """
    inverse = np.zeros(corr.shape)
    inverse[:, 0] = 1.0
    error = corr[:, 0].astype(np.float64)
    for i in range(1, corr.shape[1]):
        known = inverse[:, :i].copy()
        k = -np.einsum("tj,tj->t", known, corr[:, i:0:-1]) / error
        inverse[:, 1 : i + 1] += k[:, None] * known[:, ::-1]
        error *= np.maximum(1 - k * k, 1e-9)
    return inverse


def find_formants(power, rate):
    """Formants by linear prediction, autocorrelation method.

    Parameters
    ----------
    power : ndarray of shape (n_frames, n_fft // 2 + 1)
        Power spectra, ``n_fft`` even.
    rate : float

    Returns
    -------
    ndarray of shape (n_frames, 6), Hz
        Formants one to three, then their bandwidths; 0 where one was not found.
    """
    n_fft = 2 * (power.shape[1] - 1)
    omega = 2 * np.pi * np.arange(power.shape[1]) / n_fft
    emphasis = 1 + 0.97**2 - 2 * 0.97 * np.cos(omega)
    corr = fft.irfft(power * emphasis, n_fft, axis=1)[:, : _LPC_ORDER + 1]
    # A touch of white noise keeps the recursion stable on pure tones.
    corr[:, 0] = corr[:, 0] * (1 + 1e-6) + 1e-30
    companion = np.zeros((len(power), _LPC_ORDER, _LPC_ORDER))
    companion[:, 0] = -lpc(corr)[:, 1:]
    below = np.arange(_LPC_ORDER - 1)
    companion[:, below + 1, below] = 1.0
    roots = np.linalg.eigvals(companion)
    hz = np.angle(roots) * rate / (2 * np.pi)
    width = -np.log(np.maximum(np.abs(roots), 1e-6)) * rate / np.pi
    good = (hz > 150) & (hz < 0.49 * rate) & (width < _WIDEST_HZ)
    order = np.argsort(np.where(good, hz, np.inf), axis=1)[:, :3]
    at = np.arange(len(hz))[:, None], order
    return np.concatenate(
        [np.where(good[at], hz[at], 0.0), np.where(good[at], width[at], 0.0)], axis=1
    )


def _tilt(power, f0, third, rate):
    """Level of harmonic 1 over harmonic 2, and over the highest near formant 3."""
    level = 10 * np.log10(power + 1e-20)
    top = power.shape[1] - 1
    bin_hz = rate / (2 * top)
    rows = np.arange(len(power))[:, None]

    def highest_near(hz, reach):
        middle = np.rint(hz / bin_hz).astype(np.intp)[:, None]
        span = np.clip(middle + np.arange(-reach, reach + 1), 0, top)
        return level[rows, span].max(axis=1)

    first = highest_near(f0, 1)
    third = np.where(third > 0, third, 2500.0)
    reach = int(np.ceil(200 / bin_hz))
    return np.stack(
        [first - highest_near(2 * f0, 1), first - highest_near(third, reach)], axis=1
    )


def _glottal_periods(sound, rate, f0):
    """Periods between pulses, peak amplitudes and the voiced stretch of each.

    A pulse is the highest sample of a period; the sign of the sound is chosen so that
    its pulses point upwards.
    """
    wave = sound.astype(np.float64)
    if np.mean(wave * wave * wave) < 0:
        wave = -wave
    pulses, chain = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for number, (start, stop) in enumerate(zip(*runs(f0 > 0), strict=True)):
        found = _pulses(wave, rate, f0, start, stop)
        pulses.append(found)
        chain.append(np.full(found.size, number))
    pulses, chain = np.concatenate(pulses), np.concatenate(chain)
    inner = np.clip(pulses, 1, wave.size - 2)
    shift, peaks = _parabola(wave[inner - 1], wave[inner], wave[inner + 1])
    same = chain[1:] == chain[:-1]
    periods = np.diff(inner + shift)[same] / rate
    return periods, peaks[1:][same], chain[1:][same]


def _pulses(wave, rate, f0, start, stop):
    """Samples of the pulses of one voiced stretch (frames `start` to `stop`).

    From the highest sample outwards, the next pulse is the highest sample between 0.8
    and 1.25 periods away.
    """
    hop = rate * HOP
    first, last = int(start * hop), min(int(stop * hop), wave.size)
    period = rate / f0[start:stop]
    origin = here = first + int(wave[first:last].argmax())
    after, before = [], []
    while True:
        width = period[min(int(here / hop) - start, stop - start - 1)]
        low, high = here + int(0.8 * width), here + int(1.25 * width) + 2
        if high > last:
            break
        here = low + int(wave[low:high].argmax())
        after.append(here)
    here = origin
    while True:
        width = period[min(max(int(here / hop) - start, 0), stop - start - 1)]
        low, high = here - int(1.25 * width) - 1, here - int(0.8 * width) + 1
        if low < first:
            break
        here = low + int(wave[low:high].argmax())
        before.append(here)
    return np.array([*before[::-1], origin, *after], dtype=np.intp)
