"""The chi-square statistic of binned columns against the classes."""

from numbers import Integral

import numpy as np
from scipy.special import chdtrc, gammaln
from sklearn.utils import check_array, check_consistent_length

from skmer.utils import split_labels
from skmer.utils._sklearn import Interval, validate_params

# Cells that are looked at in one go: about 100 MB of scratch.
_BLOCK = 2**20
# From how many clips on, and up to how many bins, columns are cut without sorting them.
_MANY_CLIPS, _FEW_BINS = 1000, 64
# Below this a p-value is no longer its logarithm's best source.
_TINY = 1e-280


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def chi2_binned(X, y, *, n_bins=10):
    """Compare each column, cut into quantile bins, with the classes.

    scikit-learn's :func:`~sklearn.feature_selection.chi2` takes its columns for
    counts: it refuses negative numbers and depends on where a column has its zero.
    Here each column is cut into bins of about equally many clips and the chi-square
    statistic is that of the contingency table bins x classes, so that only the order
    of a column's values matters.

    Parameters
    ----------
    X : array-like of shape (n_clips, n_features)
        Numbers of any sign. A clip whose value is NaN is left out for that column.
    y : array-like of shape (n_clips,)
        Classes. Unlabelled clips (see :func:`skmer.utils.split_labels`) are left out.
    n_bins : int, default=10
        Number of bins. The statistic is rough where few clips meet: about five clips
        for every bin and class are advisable.

    Returns
    -------
    scores : ndarray of shape (n_features,)
        The statistic, 0.0 for columns that are constant or have no values.
    p_values : ndarray of shape (n_features,)
        Probability of such a score, or a higher one, of a column that says nothing
        about the classes. Strong columns may have 0.0: it is too small a number.

    Raises
    ------
    ValueError
        If no clip has a label, or X holds infinite numbers.

    See Also
    --------
    ChiSquareSelector : Keeps the best columns.
    scipy.stats.chi2_contingency : The statistic of one table.

    Notes
    -----
    Each value goes to the quantile bin of its average rank among the column's known
    values. Equal values share a bin, a bin that gets none is none, and a column of
    two different values makes two bins, however rare one of them is (one that is
    rarer than ``1 / n_bins`` falls between quantiles and would be lost). Without equal
    values the bins are those of scikit-learn's ``KBinsDiscretizer`` with
    ``quantile_method="averaged_inverted_cdf"``.

    Degrees of freedom are (bins - 1) x (classes - 1), of those that occur among the
    clips with a value. Where they differ, because of equal values or NaN, compare
    p-values and not scores. No continuity correction is made.

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.feature_selection import chi2_binned
    >>> X = np.array([[-2.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [2.0, -1.0]])
    >>> scores, p_values = chi2_binned(X, ["sad", "sad", "happy", "happy"], n_bins=2)
    >>> scores
    array([4., 0.])
    >>> p_values.round(3)
    array([0.046, 1.   ])
    """
    X = check_array(
        X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", input_name="X"
    )
    labelled, classes, codes = split_labels(y)
    check_consistent_length(X, codes)
    if not labelled.any():
        raise ValueError(
            f"chi2_binned needs clips with a label; none of {len(codes)} has one."
        )
    scores, freedom = contingency(X, labelled, codes, len(classes), n_bins)
    return scores, tail(scores, freedom)


def contingency(X, labelled, codes, n_classes, n_bins):
    """Return the statistic of each column and its degrees of freedom.

    Parameters
    ----------
    X : ndarray of shape (n_clips, n_features)
        Finite numbers and NaN.
    labelled : ndarray of shape (n_clips,), dtype bool
        Clips to use.
    codes : ndarray of shape (n_clips,), dtype int64
        Class of each clip to use, from 0 on.
    n_classes : int
        Number of classes.
    n_bins : int
        Number of bins.

    Returns
    -------
    scores : ndarray of shape (n_features,), dtype float64
    freedom : ndarray of shape (n_features,), dtype int64
    """
    codes = codes[labelled]
    # With more bins than clips each value has its own, as with that many.
    n_bins = min(n_bins, len(codes))
    width = max(1, _BLOCK // max(len(codes), n_bins * n_classes))
    scores = np.empty(X.shape[1])
    freedom = np.empty(X.shape[1], dtype=np.int64)
    for start in range(0, X.shape[1], width):
        block = slice(start, start + width)
        values = np.ascontiguousarray(X[:, block][labelled].T)
        if len(codes) >= _MANY_CLIPS and n_bins <= _FEW_BINS:
            tables = [_table(column, codes, n_classes, n_bins) for column in values]
            tables = np.array(tables)
        else:
            tables = _tables(values, codes, n_classes, n_bins)
        scores[block], freedom[block] = _statistics(tables)
    return scores, freedom


def tail(scores, freedom):
    """Return the probability of a score or a higher one by chance."""
    return np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), scores), 1.0)


def log_tail(scores, freedom):
    """Return the logarithm of :func:`tail`, finite where that is 0."""
    p_values = tail(scores, freedom)
    with np.errstate(divide="ignore"):
        logs = np.log(p_values)
    tiny = p_values < _TINY
    logs[tiny] = _log_gamma_tail(freedom[tiny] / 2, scores[tiny] / 2)
    return logs


def _tables(values, codes, n_classes, n_bins):
    """Count clips; shape (n_columns, n_bins, n_classes), values (n_columns, n_clips).

    Works on each column's values in their order, NaN last.
    """
    n_columns, n_clips = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    n_known = n_clips - np.isnan(values).sum(axis=1, keepdims=True)
    position = np.arange(1, n_clips + 1)
    new = np.ones((n_columns, n_clips + 1), dtype=bool)
    new[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new[:, :-1], position, 0), axis=1)
    last = np.where(new[:, 1:], position, n_clips)[:, ::-1]
    last = np.minimum.accumulate(last, axis=1)[:, ::-1]
    bins = _bins(first, last, n_bins, n_known)
    bins[position > n_known] = n_bins
    cells = bins * n_classes + codes[order]
    size = (n_bins + 1) * n_classes
    cells += size * np.arange(n_columns)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n_columns * size)
    return counts.reshape(n_columns, n_bins + 1, n_classes)[:, :-1]


def _table(values, codes, n_classes, n_bins):
    """Count clips of one column as :func:`_tables` does, in time linear in them.

    Values that end bins, and the gaps between these, are what is counted; ranks, and
    with them bins, follow from the counts.
    """
    missing = np.isnan(values)
    n_known = len(values) - int(np.count_nonzero(missing))
    ends = np.arange(1, n_bins) * n_known // n_bins
    ends = np.unique(ends[ends > 0]) - 1
    values_of_ends = np.unique(np.partition(values, ends)[ends])
    # The n-th of them has the number 2 n + 1, the gap above it the next
    numbers = np.zeros(len(values), dtype=np.uint8)
    for value in values_of_ends:
        numbers += values > value
        numbers += values >= value
    size = 2 * len(values_of_ends) + 2
    numbers[missing] = size - 1
    counts = np.bincount(codes * size + numbers, minlength=n_classes * size)
    counts = counts.reshape(n_classes, size)[:, :-1].T
    last = counts.sum(axis=1).cumsum()
    first = np.append(0, last[:-1]) + 1
    bins = _bins(first, last, n_bins, n_known)
    table = np.zeros((n_bins, n_classes), dtype=np.int64)
    occurs = last >= first
    np.add.at(table, bins[occurs], counts[occurs])
    return table


def _bins(first, last, n_bins, n_known):
    """Return the bins of equal values by their first and last ranks, from 1 on."""
    # ceil(rank * n_bins / n_known) - 1 in integers, rank = (first + last) / 2
    return ((first + last) * n_bins - 1) // (2 * np.maximum(n_known, 1))


def _statistics(tables):
    in_bins, in_classes = tables.sum(axis=2), tables.sum(axis=1)
    total = np.maximum(in_bins.sum(axis=1), 1)
    expected = in_bins[:, :, None] * in_classes[:, None, :] / total[:, None, None]
    parts = np.zeros_like(expected)
    np.divide((tables - expected) ** 2, expected, out=parts, where=expected > 0)
    freedom = (np.count_nonzero(in_bins, axis=1) - 1).clip(min=0)
    freedom *= (np.count_nonzero(in_classes, axis=1) - 1).clip(min=0)
    return parts.sum(axis=(1, 2)), freedom


def _log_gamma_tail(a, x):
    """Logarithm of the upper regularised incomplete gamma function, x far above a.

    By its continued fraction (modified Lentz method), which converges fast there.
    """
    b = x + 1 - a
    c = np.full_like(x, np.inf)
    d = 1 / b
    value = d.copy()
    for i in range(1, 1000):
        factor = -i * (i - a)
        b = b + 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        value *= c * d
        if np.all(np.abs(c * d - 1) < 1e-15):
            break
    return a * np.log(x) - x - gammaln(a) + np.log(value)
