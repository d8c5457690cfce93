"""Statistics over acoustic contours: one sound in, one named vector out.

Unless a name says otherwise, statistics run over the active frames, those within 30 dB
of the loud ones, and those of spectra leave the level out, which has features of its
own. What a sound does not have is 0 and shows in a feature that counts it: pitch and
voice quality of a sound without voice are 0 and so is its ``voiced_fraction``; a
silent sound has an ``active_fraction`` of 0 and is described as a whole, at -100 dB.
"""

from functools import lru_cache

import numpy as np
from scipy import signal

from skmer.encoders._acoustic_pitch import FORMANT_NAMES, TILT_NAMES, runs
from skmer.encoders._acoustic_signal import (
    HOP,
    N_CEPSTRA,
    N_MELS,
    SHAPE_NAMES,
    analyse,
    deltas,
    numbered,
    semitones,
)
from skmer.encoders._acoustic_statistics import (
    correlations,
    cosine_shape,
    describe,
    local_change,
    modulation_spectrum,
)

_SHAPE_COSINES = 6
_COUPLED_CEPSTRA = 6
_COUPLED_REACHES = (4, 15)
_JITTER_LIMIT, _SHIMMER_LIMIT = 1.3, 1.6


def acoustic_functionals(sound, rate=16000, **options):
    """Describe a sound by statistics of its acoustic contours.

    The families, with the stem of their names:

    - level (``level``, ``loudness``): distribution, drift, slopes, course;
    - pitch (``f0``): the same, in semitones over 27.5 Hz, and its modulation;
    - voice quality: harmonics-to-noise ratio, jitter, shimmer, harmonic tilt,
      formants and their bandwidths;
    - rhythm: durations, voiced stretches, pauses, loudness peaks;
    - spectrum: mel bands relative to the frame's level (``relmel``), cepstra
      (``mfcc``), descriptors of shape (``centroid`` ... ``hammarberg``), in all
      active and in voiced frames, and their movement (``dmfcc``, ``deltamel``);
    - modulation (``levelmod``, ``melmod``, ``f0mod``): fluctuation by frequency;
    - coupling (``corr``): correlations of pitch, level, periodicity, the first
      cepstra and their slopes over 90 and 310 ms.

    Parameters
    ----------
    sound : ndarray of shape (n_samples,)
        Mono, floats, full scale 1.
    rate : int, default=16000
        Samples per second, at least 8000. Bands above half the rate do not exist:
        below 16 kHz the mel bands share what is left and features are comparable
        only with those of sounds of the same rate.
    **options
        ``pitch_range``, the lowest and highest pitch to look for in Hz, default
        (65, 650).

    Returns
    -------
    ndarray of shape (n_functionals,), float32
        Finite for every finite sound, in the order of :func:`functional_names`.

    Raises
    ------
    ValueError
        The sound is empty, not one-dimensional, no floats or not finite, or the rate
        is too low.

    References
    ----------
    .. [1] F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS)
       for Voice Research and Affective Computing", IEEE Trans. Affective Computing,
       2016. The spectral shape, voice quality and rhythm descriptors follow their
       definitions there; windows, pitch tracker and statistics are our own.
    .. [2] J. R. Williamson et al., "Vocal biomarkers of depression based on motor
       incoordination", AVEC, 2013. The idea of correlating contours; here at lag 0,
       and the correlations themselves in place of their eigenvalues.

    Examples
    --------
    >>> import numpy as np
    >>> time = np.arange(16000) / 16000
    >>> sound = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 9))
    >>> values = dict(zip(functional_names(), acoustic_functionals(0.1 * sound)))
    >>> round(float(values["f0_p50"]), 1)  # 3 octaves above 27.5 Hz
    36.0
    """
    out = _collect(analyse(sound, rate, **options))
    return np.concatenate(out.values).astype(np.float32)


@lru_cache(maxsize=1)
def _names():
    # The values' own code names them, so that the two cannot disagree.
    return tuple(_collect(analyse(np.zeros(1), 16000)).names)


def functional_names(rate=16000, **options):
    """Names of what :func:`acoustic_functionals` returns, in its order.

    Parameters
    ----------
    rate : int, default=16000
    **options
        As given to :func:`acoustic_functionals`; the names are the same for all.

    Returns
    -------
    list of str of length n_functionals
    """
    return list(_names())


class _Functionals:
    """Names and values in the order in which they are added."""

    def __init__(self):
        self.names, self.values = [], []

    def add(self, names, values):
        """Add named values, one name for each."""
        self.names.extend([names] if isinstance(names, str) else names)
        self.values.append(np.asarray(values, np.float64).ravel())

    def describe(self, stems, contours, statistics):
        """Add statistics of the columns of `contours` (n_frames, n_stems)."""
        x = np.asarray(contours, np.float64)
        table = describe(x[:, None] if x.ndim == 1 else x, statistics)
        stems = [stems] if isinstance(stems, str) else stems
        for statistic in statistics:
            self.add([f"{stem}_{statistic}" for stem in stems], table[statistic])


def _collect(c):
    """Compute all functionals of a sound's contours."""
    sounding = c.active.any()
    active = c.active if sounding else np.ones_like(c.active)
    inside = np.flatnonzero(active)
    span = slice(inside[0], inside[-1] + 1)
    voiced = c.pitch.voiced & active
    out = _Functionals()
    _add_level(out, c, span, active)
    pitch = _add_pitch(out, c, span, voiced)
    _add_voice_quality(out, c, active, voiced)
    _add_rhythm(out, c, span, active, voiced, sounding)
    _add_spectra(out, c, active, voiced)
    _add_modulation(out, c, span, pitch)
    _add_coupling(out, c, active, pitch)
    return out


def _add_level(out, c, span, active):
    full = ("mean", "std", "p20", "p50", "p80", "range", "skew", "drift")
    out.describe("level", c.level[active], (*full, "p5", "p95"))
    out.describe("loudness", c.loudness[active], full)
    for name, contour in (("level", c.level[span]), ("loudness", c.loudness[span])):
        _add_slopes(out, name, np.diff(contour.astype(np.float64)) / HOP)
    course = cosine_shape(c.level[span], _SHAPE_COSINES)
    out.add(numbered("level_shape", _SHAPE_COSINES), course)


def _add_slopes(out, name, slopes):
    """Rising and falling steps of a contour apart, in its unit per second."""
    out.describe(f"{name}_rise", slopes[slopes > 0], ("mean", "std"))
    out.describe(f"{name}_fall", -slopes[slopes < 0], ("mean", "std"))


def _add_pitch(out, c, span, voiced):
    """Return the pitch of every frame too, with the gaps bridged by straight lines."""
    tone = semitones(c.pitch.f0[voiced])
    out.describe(
        "f0",
        tone,
        ("mean", "std", "p5", "p20", "p50", "p80", "p95", "range", "skew", "drift"),
    )
    where = np.flatnonzero(voiced)
    steps = np.diff(tone)[np.diff(where) == 1] / HOP
    _add_slopes(out, "f0", steps)
    bridged = np.zeros(voiced.size)
    if where.size:
        bridged = np.interp(np.arange(voiced.size), where, tone)
    course = cosine_shape(bridged[span], _SHAPE_COSINES)
    out.add(numbered("f0_shape", _SHAPE_COSINES), course)
    return bridged


def _add_voice_quality(out, c, active, voiced):
    p = c.pitch
    out.describe("hnr", p.hnr[voiced], ("mean", "std", "p20", "p80", "drift"))
    out.describe("periodicity", p.periodicity[active], ("mean", "std", "p20", "p80"))
    out.describe(TILT_NAMES, p.tilt[voiced], ("mean", "std"))
    for i in range(3):
        # Where a formant was not found it is 0 and would pull the mean down.
        found = voiced & (p.formants[:, i] > 0)
        stems = [FORMANT_NAMES[i], FORMANT_NAMES[i + 3]]
        table = p.formants[found][:, [i, i + 3]]
        out.describe(stems, table, ("mean", "std", "p20", "p80"))
    out.add("jitter_mean", local_change(p.periods, p.chain, _JITTER_LIMIT))
    out.add("shimmer_mean", local_change(p.peaks, p.chain, _SHIMMER_LIMIT))


def _add_rhythm(out, c, span, active, voiced, sounding):
    seconds = (span.stop - span.start) * HOP
    stretches = _lengths(voiced[span])
    out.add("duration_active", seconds if sounding else 0.0)
    out.add("active_fraction", c.active[span].mean())
    out.add("voiced_fraction", voiced[span].mean())
    out.add("voiced_rate", stretches.size / seconds)
    out.describe("voiced_length", stretches, ("mean", "std"))
    out.describe("unvoiced_length", _lengths(~voiced[span]), ("mean", "std"))
    out.describe("pause_length", _lengths(~active[span]), ("mean", "std"))
    out.add("peak_rate", _count_peaks(c.loudness[span]) / seconds)


def _lengths(mask):
    """Lengths of the stretches of True, in seconds."""
    starts, stops = runs(mask)
    return (stops - starts) * HOP


def _count_peaks(loudness):
    """Peaks of the smoothed loudness that stand out, about one a syllable."""
    kernel = np.hanning(9)
    smooth = np.convolve(loudness, kernel / kernel.sum())
    highest = smooth.max()
    peaks, _ = signal.find_peaks(smooth, height=0.2 * highest, prominence=0.1 * highest)
    return peaks.size


def _add_spectra(out, c, active, voiced):
    bands = numbered("relmel", N_MELS)
    relative = c.log_mel - c.level[:, None]
    out.describe(bands, relative[active], ("mean", "std", "p20", "p80"))
    out.describe([f"voiced_{b}" for b in bands], relative[voiced], ("mean", "std"))
    change = np.abs(deltas(c.log_mel))[active]
    out.describe(numbered("deltamel", N_MELS), change, ("mean",))
    first = deltas(c.cepstra)
    out.describe(
        numbered("mfcc", N_CEPSTRA),
        c.cepstra[active],
        ("mean", "std", "p20", "p80", "drift", "skew"),
    )
    out.describe(numbered("dmfcc", N_CEPSTRA), first[active], ("mean", "std"))
    out.describe(numbered("ddmfcc", N_CEPSTRA), deltas(first)[active], ("std",))
    statistics = ("mean", "std", "p20", "p50", "p80", "drift")
    out.describe(SHAPE_NAMES, c.shape[active], statistics)
    stems = [f"voiced_{name}" for name in SHAPE_NAMES]
    out.describe(stems, c.shape[voiced], ("mean", "std"))


def _add_modulation(out, c, span, pitch):
    pairs = c.log_mel[span].reshape(-1, N_MELS // 2, 2).mean(axis=2)
    for name, contours in (
        ("levelmod", c.level[span, None]),
        ("melmod", pairs),
        ("f0mod", pitch[span, None]),
    ):
        table = modulation_spectrum(contours)
        n_bands, n_contours = table.shape
        stems = [name] if n_contours == 1 else numbered(name, n_contours)
        names = [f"{stem}_{i + 1}" for i in range(n_bands) for stem in stems]
        out.add(names, table)


def _add_coupling(out, c, active, pitch):
    contours = np.column_stack(
        [pitch, c.level, c.pitch.periodicity, c.cepstra[:, :_COUPLED_CEPSTRA]]
    )
    stems = ["f0", "level", "periodicity", *numbered("mfcc", _COUPLED_CEPSTRA)]
    table, names = [contours], list(stems)
    for reach in _COUPLED_REACHES:
        table.append(deltas(contours, reach))
        names.extend(f"{stem}d{reach}" for stem in stems)
    matrix = correlations(np.concatenate(table, axis=1)[active])
    first, second = np.triu_indices(len(names), 1)
    pairs = zip(first, second, strict=True)
    out.add([f"corr_{names[i]}_{names[j]}" for i, j in pairs], matrix[first, second])
