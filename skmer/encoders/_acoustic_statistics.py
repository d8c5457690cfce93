"""Statistics of contours: pure numbers, nothing of sound."""

import numpy as np
from scipy import fft

_RATE = 100.0
_MODULATION_HZ = (0.5, 2.0, 4.0, 6.0, 10.0, 16.0, 25.0)
_MODULATION_FRAMES = 512


def describe(x, statistics):
    """Statistics of columns.

    Parameters
    ----------
    x : float64 ndarray of shape (n_rows, n_columns)
    statistics : sequence of str
        ``mean``, ``std``, ``skew``, percentiles ``pN``, ``range`` (from the 5th to
        the 95th percentile) and ``drift`` (change of the regression line from the
        first row to the last).

    Returns
    -------
    dict of str to ndarray of shape (n_columns,)
        All 0 if there are no rows.
    """
    if not len(x):
        return dict.fromkeys(statistics, np.zeros(x.shape[1]))
    mean, std = x.mean(axis=0), x.std(axis=0)
    table = {"mean": mean, "std": std}
    percents = [int(s[1:]) for s in statistics if s[0] == "p"]
    if "range" in statistics:
        percents = sorted({*percents, 5, 95})
    if percents:
        rows = np.percentile(x, percents, axis=0)
        table.update((f"p{p}", row) for p, row in zip(percents, rows, strict=True))
    if "range" in statistics:
        table["range"] = table["p95"] - table["p5"]
    if "skew" in statistics:
        table["skew"] = (((x - mean) / np.maximum(std, 1e-6)) ** 3).mean(axis=0)
    if "drift" in statistics:
        t = np.linspace(-0.5, 0.5, len(x)) if len(x) > 1 else np.zeros(1)
        table["drift"] = t @ x / max(t @ t, 1e-12)
    return table


def cosine_shape(contour, n_cosines):
    """Course of a contour whatever its length and mean.

    Parameters
    ----------
    contour : ndarray of shape (n_frames,)
    n_cosines : int

    Returns
    -------
    ndarray of shape (n_cosines,)
        DCT-II coefficients 1 to `n_cosines` of the contour stretched to 64 points;
        a cosine of amplitude ``a`` gives ``a / sqrt(2)``.
    """
    at = np.linspace(0, contour.size - 1, 64)
    stretched = np.interp(at, np.arange(contour.size), contour)
    return fft.dct(stretched, norm="ortho")[1 : n_cosines + 1] / 8.0


def modulation_spectrum(contours):
    """How much contours fluctuate, by frequency of the fluctuation.

    Parameters
    ----------
    contours : ndarray of shape (n_frames, n_contours)
        One frame every 10 ms.

    Returns
    -------
    ndarray of shape (6, n_contours)
        Standard deviation, in the unit of the contour, that lies between 0.5, 2, 4,
        6, 10, 16 and 25 Hz.
    """
    edges = np.asarray(_MODULATION_HZ)
    x = np.asarray(contours, np.float64)
    n_fft = max(_MODULATION_FRAMES, fft.next_fast_len(len(x), real=True))
    window = np.hanning(len(x) + 2)[1:-1, None]
    power = np.abs(fft.rfft((x - x.mean(axis=0)) * window, n_fft, axis=0)) ** 2
    power *= 2.0 / (n_fft * np.sum(window**2))
    hz = np.arange(len(power)) * (_RATE / n_fft)
    inside = (hz >= edges[:-1, None]) & (hz < edges[1:, None])
    return np.sqrt(inside.astype(np.float64) @ power)


def correlations(contours):
    """Correlation matrix of columns, 0 where one is constant.

    Parameters
    ----------
    contours : ndarray of shape (n_frames, n_contours)

    Returns
    -------
    ndarray of shape (n_contours, n_contours)
    """
    x = contours - contours.mean(axis=0)
    x /= np.maximum(x.std(axis=0), 1e-5)
    return x.T @ x / len(x)


def local_change(values, chain, limit):
    """Mean relative change from one glottal period to the next.

    Parameters
    ----------
    values : ndarray of shape (n_periods,)
        Periods (their change is jitter) or peak amplitudes (shimmer).
    chain : ndarray of shape (n_periods,)
        Voiced stretch of each; changes between stretches do not count.
    limit : float
        Changes by a larger factor are errors of the tracker and do not count.

    Returns
    -------
    float
        Mean absolute difference of neighbours over their mean; 0 without any.
    """
    first, second = values[:-1], values[1:]
    low, high = np.minimum(first, second), np.maximum(first, second)
    good = (np.diff(chain) == 0) & (low > 0) & (high < limit * low)
    if not good.any():
        return 0.0
    low, high = low[good], high[good]
    return float(2 * np.sum(high - low) / np.sum(high + low))
