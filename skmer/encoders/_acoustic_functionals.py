"""Statistics over acoustic contours: one sound in, one named vector out."""

from functools import lru_cache

import numpy as np
from scipy import fft

from skmer.encoders._acoustic_signal import (
    HOP,
    N_CEPSTRA,
    N_MELS,
    SHAPE_NAMES,
    analyse,
    deltas,
)

_REFERENCE_HZ = 27.5
_MODULATION_HZ = (0.5, 2.0, 4.0, 6.0, 10.0, 16.0, 25.0)
_MODULATION_FRAMES = 512
_N_SHAPE = 5


class _Functionals:
    """Names and values in the order in which they are added."""

    def __init__(self):
        self.names, self.values = [], []

    def add(self, name, value):
        self.names.append(name)
        self.values.append(np.atleast_1d(np.asarray(value, np.float64)))

    def add_all(self, names, values):
        self.names.extend(names)
        self.values.append(np.asarray(values, np.float64).ravel())

    def describe(self, names, contours, statistics):
        """Statistics of each column of `contours` (n_frames, n_contours)."""
        contours = np.asarray(contours, np.float64)
        if contours.ndim == 1:
            contours = contours[:, None]
        percents = [int(s[1:]) for s in statistics if s[0] == "p" and s[1:].isdigit()]
        if len(contours) == 0:
            table = {s: np.zeros(contours.shape[1]) for s in statistics}
        else:
            mean, std = contours.mean(axis=0), contours.std(axis=0)
            table = {"mean": mean, "std": std}
            if percents:
                for p, row in zip(
                    percents, np.percentile(contours, percents, axis=0), strict=True
                ):
                    table[f"p{p}"] = row
            if "range" in statistics:
                low, high = np.percentile(contours, [5, 95], axis=0)
                table["range"] = high - low
            if "skew" in statistics or "kurt" in statistics:
                z = (contours - mean) / np.maximum(std, 1e-6)
                table["skew"] = (z**3).mean(axis=0)
                table["kurt"] = (z**4).mean(axis=0)
            if "drift" in statistics:
                t = np.arange(len(contours)) * HOP
                t = t - t.mean()
                table["drift"] = t @ contours / max(float(t @ t), 1e-6)
        for s in statistics:
            self.add_all([f"{name}_{s}" for name in names], table[s])


def _bands(prefix, n):
    return [f"{prefix}{i:02d}" for i in range(1, n + 1)]


def _rise_and_fall(contour, chain):
    """Slopes (per second) of the steps inside the stretches, split by direction."""
    step = np.diff(contour)[np.diff(chain) == 0] / HOP
    return step[step > 0], -step[step < 0]


def _shape_of(contour, n):
    """First `n` DCT coefficients after the mean of a contour stretched to 64 points."""
    if contour.size < 2:
        return np.zeros(n)
    at = np.linspace(0, contour.size - 1, 64)
    stretched = np.interp(at, np.arange(contour.size), contour)
    return fft.dct(stretched, norm="ortho")[1 : n + 1] / 8.0


def _stretches(mask):
    """Lengths (s) of the stretches of True."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return (np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)) * HOP


def modulation_spectrum(contours):
    """Share of each contour's fluctuation that falls into each modulation band.

    Returns
    -------
    ndarray of shape (n_bands, n_contours)
        Standard deviation per band, in the contours' unit.
    """
    edges = np.asarray(_MODULATION_HZ)
    x = np.asarray(contours, np.float64)
    if x.ndim == 1:
        x = x[:, None]
    if len(x) < 2:
        return np.zeros((edges.size - 1, x.shape[1]))
    n_fft = max(_MODULATION_FRAMES, fft.next_fast_len(len(x), real=True))
    window = np.hanning(len(x) + 2)[1:-1, None]
    x = (x - x.mean(axis=0)) * window
    power = np.abs(fft.rfft(x, n_fft, axis=0)) ** 2
    power *= 2.0 / (n_fft * np.sum(window**2))
    hz = np.arange(len(power)) / (n_fft * HOP)
    inside = (hz >= edges[:-1, None]) & (hz < edges[1:, None])
    return np.sqrt(inside.astype(np.float64) @ power)


def _local_change(values, chain, limit):
    """Mean relative change from one period to the next (jitter, shimmer)."""
    if values.size < 2:
        return 0.0
    same = chain[1:] == chain[:-1]
    first, second = values[:-1][same], values[1:][same]
    ratio = np.maximum(first, second) / np.maximum(np.minimum(first, second), 1e-9)
    keep = (ratio < limit) & (np.minimum(first, second) > 0)
    if not keep.any():
        return 0.0
    first, second = first[keep], second[keep]
    return float(np.mean(np.abs(second - first)) / np.mean((first + second) / 2))


def compute(c):
    out = _Functionals()
    sounding = np.flatnonzero(c.active)
    # Silence is described too: as a whole, and as silent.
    mask = c.active if sounding.size else np.ones_like(c.active)
    span = np.flatnonzero(mask)
    span = slice(span[0], span[-1] + 1)
    active = mask[span]
    voiced = c.pitch.voiced & c.active
    full = ("mean", "std", "p20", "p50", "p80", "range", "skew", "drift")
    some = ("mean", "std", "p20", "p80", "drift")

    # level
    level = c.level[span].astype(np.float64)
    out.describe(["level"], level[active], (*full, "p5", "p95"))
    out.describe(["loudness"], c.loudness[span][active], full)
    chain = np.zeros(level.size, int)
    up, down = _rise_and_fall(level, chain)
    out.describe(["level_rise"], up, ("mean", "std"))
    out.describe(["level_fall"], down, ("mean", "std"))
    out.add_all([f"level_shape{i}" for i in range(1, 7)], _shape_of(level, 6))
    loud = c.loudness[span]
    up, down = _rise_and_fall(loud, chain)
    out.describe(["loudness_rise"], up, ("mean", "std"))
    out.describe(["loudness_fall"], down, ("mean", "std"))

    # pitch
    f0 = c.pitch.f0[voiced]
    tone = 12 * np.log2(np.maximum(f0, 1.0) / _REFERENCE_HZ)
    out.describe(
        ["f0"],
        tone,
        ("mean", "std", "p5", "p20", "p50", "p80", "p95", "range", "skew", "drift"),
    )
    out.describe(["f0hz"], f0, ("mean", "std", "range"))
    chain = np.cumsum(np.diff(np.concatenate([[0], np.flatnonzero(voiced)])) > 1)
    up, down = _rise_and_fall(tone, chain)
    out.describe(["f0_rise"], up, ("mean", "std"))
    out.describe(["f0_fall"], down, ("mean", "std"))
    where = np.flatnonzero(voiced)
    stretched = (
        np.interp(np.arange(span.start, span.stop), where, tone)
        if where.size
        else np.zeros(0)
    )
    out.add_all([f"f0_shape{i}" for i in range(1, 7)], _shape_of(stretched, 6))
    # voice quality
    out.describe(["hnr"], c.pitch.hnr[voiced], some)
    out.describe(
        ["periodicity"],
        c.pitch.periodicity[span][active],
        ("mean", "std", "p20", "p80"),
    )
    out.describe(["h1h2", "h1a3"], c.pitch.tilt[voiced], ("mean", "std"))
    p = c.pitch
    out.add("jitter_mean", _local_change(p.periods, p.chain, 1.3))
    out.add("shimmer_mean", _local_change(p.peaks, p.chain, 1.6))
    out.describe(
        [f"formant{i}" for i in (1, 2, 3)] + [f"bandwidth{i}" for i in (1, 2, 3)],
        p.formants[voiced],
        ("mean", "std", "p20", "p80"),
    )
    # rhythm
    seconds = max(level.size * HOP, HOP)
    stretches = _stretches(voiced[span])
    gaps = _stretches(~voiced[span])
    pauses = _stretches(~active)
    out.add("duration_active", level.size * HOP if sounding.size else 0.0)
    out.add("voiced_fraction", voiced[span].mean())
    out.add("active_fraction", c.active[span].mean())
    out.add("voiced_rate", stretches.size / seconds)
    out.describe(["voiced_length"], stretches, ("mean", "std"))
    out.describe(["unvoiced_length"], gaps, ("mean", "std"))
    out.describe(["pause_length"], pauses, ("mean", "std"))
    smooth = (
        np.convolve(loud, np.hanning(9) / np.hanning(9).sum(), "same")
        if loud.size > 9
        else loud
    )
    peaks = (
        (smooth[1:-1] > smooth[:-2])
        & (smooth[1:-1] >= smooth[2:])
        & (smooth[1:-1] > 0.2 * smooth.max(initial=0))
    )
    out.add("peak_rate", peaks.sum() / seconds)

    # spectra
    relative = c.log_mel - c.level[:, None]
    out.describe(
        _bands("logmel", N_MELS), c.log_mel[span][active], ("mean", "p95", "p20")
    )
    out.describe(
        _bands("relmel", N_MELS), relative[span][active], ("mean", "std", "p20", "p80")
    )
    out.describe(_bands("voicedmel", N_MELS), relative[voiced], ("mean", "std"))
    change = np.abs(deltas(c.log_mel))
    out.describe(_bands("deltamel", N_MELS), change[span][active], ("mean",))
    # cepstra
    cep = c.cepstra
    d1 = deltas(cep)
    d2 = deltas(d1)
    out.describe(_bands("mfcc", N_CEPSTRA), cep[span][active], (*some, "skew"))
    out.describe(_bands("voicedmfcc", N_CEPSTRA), cep[voiced], ("mean", "std"))
    out.describe(_bands("dmfcc", N_CEPSTRA), d1[span][active], ("mean", "std"))
    out.describe(_bands("ddmfcc", N_CEPSTRA), d2[span][active], ("std",))
    # shape
    out.describe(
        [f"{n}" for n in SHAPE_NAMES],
        c.shape[span][active],
        ("mean", "std", "p20", "p50", "p80", "drift"),
    )
    out.describe([f"voiced_{n}" for n in SHAPE_NAMES], c.shape[voiced], ("mean", "std"))
    # modulation
    level_floor = np.maximum(level, level.max(initial=-100) - 50)
    m = modulation_spectrum(level_floor)
    out.add_all([f"levelmod{i}" for i in range(1, len(m) + 1)], m[:, 0])
    groups = (
        c.log_mel[span][:, : N_MELS - N_MELS % 2]
        .reshape(level.size, N_MELS // 2, 2)
        .mean(axis=2)
    )
    m = modulation_spectrum(np.maximum(groups, groups.max(initial=-100) - 60))
    out.add_all(
        [
            f"melmod{j:02d}_{i}"
            for i in range(1, len(m) + 1)
            for j in range(1, m.shape[1] + 1)
        ],
        m,
    )
    m = modulation_spectrum(stretched)
    out.add_all([f"f0mod{i}" for i in range(1, len(m) + 1)], m[:, 0])
    return out


def acoustic_functionals(sound, rate=16000, **options):
    """Describe a sound by statistics of its contours, float32 (n_functionals,)."""
    values = compute(analyse(sound, rate, **options)).values
    return np.concatenate(values).astype(np.float32)


@lru_cache(maxsize=8)
def _names(rate, options):
    return tuple(compute(analyse(np.zeros(1), rate, **dict(options))).names)


def functional_names(rate=16000, **options):
    """Names of what :func:`acoustic_functionals` returns, in its order."""
    return list(_names(rate, tuple(sorted(options.items()))))
