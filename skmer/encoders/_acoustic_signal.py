"""Sound in, frame-level acoustic contours out: spectrum, cepstra, level, activity.

Amplitude convention: full scale is 1 and levels are in dB relative to it, so that a
sine that just fills the range reads -3.01 dB. The constant offset of a sound is removed
first. Power below 1e-10 (-100 dB) is silence; mel bands and level are held within 70 dB
of the highest of the sound. Frames follow each other every 10 ms whatever the rate;
frame ``t`` is centred at ``(t + 0.5) * 10`` ms and sees zeros beyond the ends.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal

from skmer.encoders._acoustic_pitch import (
    BLOCK,
    FORMANT_NAMES,
    HOP,
    TILT_NAMES,
    PitchTrack,
    track_pitch,
)

N_MELS = 26
N_CEPSTRA = 16
_WINDOW = 0.025
_FLOOR = 1e-10
_CEILING = 1e6
_TOP_HZ = 8000.0
_LOW_HZ = 20.0
_ACTIVE_RANGE_DB = 30.0
_RANGE_DB = 70.0
MIN_RATE = 8000

SHAPE_NAMES = (
    "centroid",
    "spread",
    "entropy",
    "flux",
    "rolloff25",
    "rolloff50",
    "rolloff75",
    "rolloff90",
    "slope0to500",
    "slope500to1500",
    "slope1000to5000",
    "alpha",
    "hammarberg",
)


@dataclass(frozen=True)
class Contours:
    """Everything known about a sound at frame level.

    Attributes
    ----------
    log_mel : ndarray of shape (n_frames, 26), dB
    cepstra : ndarray of shape (n_frames, 16), dB
        Coefficients 1 to 16 of the orthonormal DCT-II of `log_mel`.
    level : ndarray of shape (n_frames,), dB
    loudness : ndarray of shape (n_frames,)
        Cube roots of the bands' power, weighted as the ear does, summed.
    shape : ndarray of shape (n_frames, 13), in the order of ``SHAPE_NAMES``
    pitch : PitchTrack
    active : bool ndarray of shape (n_frames,), True where something sounds
    """

    log_mel: np.ndarray
    cepstra: np.ndarray
    level: np.ndarray
    loudness: np.ndarray
    shape: np.ndarray
    pitch: PitchTrack
    active: np.ndarray


def numbered(stem, n):
    """Names of `n` columns: stem01, stem02, ..."""
    return [f"{stem}{i:02d}" for i in range(1, n + 1)]


def check_sound(sound, rate):
    """Return `sound` as float32 without its constant offset, or say what is wrong."""
    sound = np.asarray(sound)
    if sound.ndim != 1 or not sound.size:
        raise ValueError(
            f"A sound is a 1-D array of at least one sample, got shape {sound.shape}."
        )
    if not rate >= MIN_RATE:
        raise ValueError(
            f"Acoustic features need a rate of at least {MIN_RATE} Hz, got {rate!r}; "
            "resample the sound first."
        )
    if not np.issubdtype(sound.dtype, np.floating):
        raise ValueError(
            f"A sound is an array of floats with full scale 1, got {sound.dtype}; "
            "divide integer samples by their full scale first."
        )
    if not np.isfinite(sound).all():
        raise ValueError("The sound holds NaN or infinite samples; clean it first.")
    # Far beyond any real sound, low enough that no sum of squares overflows.
    sound = np.clip(sound, -_CEILING, _CEILING).astype(np.float32)
    return sound - np.float32(sound.mean(dtype=np.float64))


def frame_blocks(sound, rate, width):
    """Yield windows of `width` samples around the frame centres, a block at a time.

    The last window of a sound shorter than a frame is mostly zeros.
    """
    n_frames = max(1, round(sound.size / (rate * HOP)))
    starts = np.floor((np.arange(n_frames) + 0.5) * (rate * HOP)).astype(np.intp)
    padded = np.pad(sound, (width // 2, width))
    windows = sliding_window_view(padded, width)
    for first in range(0, n_frames, BLOCK):
        yield windows[starts[first : first + BLOCK]]


def mel_from_hz(hz):
    """Mel scale of O'Shaughnessy (1987): 1000 Hz is 1000 mel."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz, dtype=np.float64) / 700.0)


def hz_from_mel(mel):
    """Undo :func:`mel_from_hz`."""
    return 700.0 * (10.0 ** (np.asarray(mel, dtype=np.float64) / 2595.0) - 1.0)


def mel_edges(rate, n_mels=N_MELS):
    """Corner frequencies of the triangular bands, ndarray of shape (n_mels + 2,), Hz.

    The bands span 20 Hz to 8 kHz, or to half the rate where that is lower.
    """
    top = min(_TOP_HZ, rate / 2)
    return hz_from_mel(np.linspace(mel_from_hz(_LOW_HZ), mel_from_hz(top), n_mels + 2))


def mel_filterbank(rate, n_fft, n_mels=N_MELS):
    """Triangular mel bands of unit height, float32 of shape (n_bins, n_mels).

    Between two bins a narrow band would see nothing, so each triangle is averaged
    over the width of a bin instead of being sampled at its centre.
    """
    edges = mel_edges(rate, n_mels)
    fine = 8
    n_bins = n_fft // 2 + 1
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    hz = (np.arange(n_bins)[:, None] + offsets) * (rate / n_fft)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    hz = hz[..., None]
    rising, falling = (hz - low) / (centre - low), (high - hz) / (high - centre)
    bank = np.clip(np.minimum(rising, falling), 0.0, None).mean(axis=1)
    return bank.astype(np.float32)


def semitones(hz):
    """Pitch in semitones over 27.5 Hz (an octave is 12), as in GeMAPS."""
    return 12.0 * np.log2(np.maximum(hz, 1.0) / 27.5)


def equal_loudness(hz):
    """Weight of the ear at 40 phon, on power (Hermansky 1990)."""
    w2 = (2 * np.pi * np.asarray(hz, dtype=np.float64)) ** 2
    return (w2 + 56.8e6) * w2**2 / ((w2 + 6.3e6) ** 2 * (w2 + 0.38e9))


@dataclass(frozen=True)
class _Plan:
    """What depends on the rate alone: window, FFT length and matrices."""

    n_fft: int
    hz: np.ndarray
    window: np.ndarray
    scale: np.float32
    bank: np.ndarray
    ear: np.ndarray
    lines: np.ndarray
    cosines: np.ndarray


@lru_cache(maxsize=8)
def _plan(rate):
    width = round(_WINDOW * rate)
    n_fft = 1 << (width - 1).bit_length()
    hz = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    hz = hz[hz <= _TOP_HZ]
    window = signal.get_window("hann", width)
    lines = []
    for low, high in ((0, 500), (500, 1500), (1000, 5000)):
        inside = (hz > 0) & (hz >= low) & (hz <= high)
        centred = np.where(inside, hz - hz[inside].mean(), 0.0) / 1000.0
        lines.append(centred / np.sum(centred**2))
    k, band = np.arange(1, N_CEPSTRA + 1), np.arange(N_MELS) + 0.5
    cosines = np.sqrt(2.0 / N_MELS) * np.cos(np.pi / N_MELS * band[:, None] * k)
    return _Plan(
        n_fft=n_fft,
        hz=hz.astype(np.float32),
        window=window.astype(np.float32),
        # One-sided power: the bins add up to the mean square of the frame.
        scale=np.float32(2.0 / (n_fft * np.sum(window**2))),
        bank=mel_filterbank(rate, n_fft)[: hz.size],
        ear=equal_loudness(mel_edges(rate)[1:-1]).astype(np.float32),
        lines=np.stack(lines, axis=1).astype(np.float32),
        cosines=cosines.astype(np.float32),
    )


def decibel(power):
    """Power to dB relative to full scale, never below -100 dB."""
    return 10.0 * np.log10(np.maximum(power, np.float32(_FLOOR)))


def _spectral_shape(power, plan):
    """Twelve descriptors of each row's spectrum (all of SHAPE_NAMES but the flux)."""
    hz = plan.hz
    power = power + np.float32(_FLOOR / power.shape[1])
    share = power / power.sum(axis=1, keepdims=True)
    centroid = share @ hz
    spread = np.sqrt(np.maximum(share @ hz**2 - centroid**2, 0.0))
    log_power = np.log2(share)
    entropy = -np.einsum("tf,tf->t", share, log_power) / np.log2(share.shape[1])
    summed = np.cumsum(share, axis=1)
    rolloff = [
        hz[np.minimum((summed < part).sum(axis=1), hz.size - 1)]
        for part in (0.25, 0.5, 0.75, 0.9)
    ]
    slopes = (log_power * np.float32(10 * np.log10(2.0))) @ plan.lines

    def band(low, high):
        return power[:, np.searchsorted(hz, low) : np.searchsorted(hz, high)]

    alpha = band(50, 1000).sum(axis=1) / band(1000, 5000).sum(axis=1)
    hammarberg = band(0, 2000).max(axis=1) / band(2000, 5000).max(axis=1)
    return [
        centroid,
        spread,
        entropy,
        *rolloff,
        *slopes.T,
        10 * np.log10(alpha),
        10 * np.log10(hammarberg),
    ]


def deltas(contours, reach=2):
    """Slope of a straight line through `reach` frames on either side, per frame.

    Parameters
    ----------
    contours : ndarray of shape (n_frames, n_contours)
    reach : int, default=2

    Returns
    -------
    ndarray of shape (n_frames, n_contours)
        Change per frame; the end frames are repeated beyond the ends.
    """
    padded = np.pad(contours, ((reach, reach), (0, 0)), mode="edge")
    n = contours.shape[0]
    total = np.zeros_like(contours)
    for k in range(1, reach + 1):
        ahead, behind = padded[reach + k :][:n], padded[reach - k :][:n]
        total += k * (ahead - behind)
    return total / np.float32(2 * sum(k * k for k in range(1, reach + 1)))


def find_active(level):
    """Mark the frames within 30 dB of the loud ones; in silence, none.

    Loud is the 95th percentile of the levels within 40 dB of the highest: neither a
    click nor the silence around a sound moves it.
    """
    loud = np.percentile(level[level > level.max() - 40.0], 95)
    return (level > loud - _ACTIVE_RANGE_DB) & (level > -99.0)


def analyse(sound, rate, *, pitch_range=(65, 650)):
    """Compute all frame-level contours of a sound.

    Parameters
    ----------
    sound : ndarray of shape (n_samples,)
        Mono, full scale 1.
    rate : int
        Samples per second, at least 8000.
    pitch_range : tuple of (float, float), Hz
        Lowest and highest pitch to look for.

    Returns
    -------
    Contours

    Raises
    ------
    ValueError
        The sound is empty, not one-dimensional, no floats or not finite; the rate is
        too low; the pitch range is outside 20 to 1000 Hz.
    """
    sound = check_sound(sound, rate)
    plan = _plan(rate)
    parts = []
    for frames in frame_blocks(sound, rate, plan.window.size):
        spectrum = fft.rfft(frames * plan.window, plan.n_fft, axis=1)
        spectrum = spectrum[:, : plan.hz.size]
        power = (spectrum.real**2 + spectrum.imag**2) * plan.scale
        parts.append(
            (power @ plan.bank, power.sum(axis=1), *_spectral_shape(power, plan))
        )
    mel, total, *shape = (np.concatenate(part) for part in zip(*parts, strict=True))
    log_mel, level = decibel(mel), decibel(total)
    # What gates and codecs leave of the pauses must not look like expression.
    log_mel = np.maximum(log_mel, log_mel.max() - np.float32(_RANGE_DB))
    level = np.maximum(level, level.max() - np.float32(_RANGE_DB))
    loudness = np.sum((mel * plan.ear) ** np.float32(1 / 3), axis=1)
    tone = np.sqrt(mel + np.float32(_FLOOR))
    tone /= np.linalg.norm(tone, axis=1, keepdims=True)
    flux = np.zeros(level.size, np.float32)
    flux[1:] = np.linalg.norm(np.diff(tone, axis=0), axis=1)
    shape.insert(SHAPE_NAMES.index("flux"), flux)
    return Contours(
        log_mel=log_mel,
        cepstra=log_mel @ plan.cosines,
        level=level,
        loudness=loudness,
        shape=np.stack(shape, axis=1).astype(np.float32),
        pitch=track_pitch(sound, rate, level, pitch_range),
        active=find_active(level),
    )


def frame_contours(sound, rate=16000, **options):
    """Sequence of acoustic descriptors, one row every 10 ms.

    Parameters
    ----------
    sound : ndarray of shape (n_samples,)
        Mono, full scale 1.
    rate : int, default=16000
    **options
        ``pitch_range``, see :func:`analyse`.

    Returns
    -------
    names : list of str of length n_contours
    contours : float32 ndarray of shape (n_frames, n_contours)
        Log-mel bands and level in dB, loudness, cepstra and their deltas, spectral
        shape, pitch in semitones over 27.5 Hz and the other descriptors of voiced
        frames; these are 0 where a frame is unvoiced (``voiced`` is 0 there).
    hop : float
        Seconds from one row to the next, 0.01.
    """
    c = analyse(sound, rate, **options)
    p = c.pitch
    tone = np.where(p.voiced, semitones(p.f0), 0.0)
    blocks = [
        (numbered("logmel", N_MELS), c.log_mel),
        (numbered("mfcc", N_CEPSTRA), c.cepstra),
        (numbered("dmfcc", N_CEPSTRA), deltas(c.cepstra)),
        (["level", "loudness"], np.stack([c.level, c.loudness], axis=1)),
        (SHAPE_NAMES, c.shape),
        (["voiced", "active"], np.stack([p.voiced, c.active], axis=1)),
        (["f0", "periodicity", "hnr"], np.stack([tone, p.periodicity, p.hnr], axis=1)),
        (TILT_NAMES, p.tilt),
        (FORMANT_NAMES, p.formants),
    ]
    names = [name for stems, _ in blocks for name in stems]
    table = np.concatenate([np.asarray(b, np.float32) for _, b in blocks], axis=1)
    return names, table, HOP
