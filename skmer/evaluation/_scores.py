"""Scores of confusion matrices, and bootstrap intervals of them."""

import numpy as np
from scipy.sparse import csr_array

SCORES = ("WAF", "UA", "WA")
# Numbers of draws kept in memory, 64 MB
_KEPT = 8_000_000


def confusion_of(true, predicted, n_classes, weights=None):
    """Count how often each class was taken for which.

    Parameters
    ----------
    true, predicted : ndarray of shape (n_rows,), dtype int64
        Positions of classes.
    n_classes : int
        Number of classes.
    weights : ndarray of shape (n_rows,) or None, default=None
        How often each row counts.

    Returns
    -------
    counts : ndarray of shape (n_classes, n_classes), dtype float64
        One row a true class.
    """
    cells = np.bincount(true * n_classes + predicted, weights, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.float64)


def class_scores(confusion):
    """Return precision, recall, F1 and support of each class.

    Parameters
    ----------
    confusion : ndarray of shape (..., n_classes, n_classes)
        Counts, one row a true class.

    Returns
    -------
    precision, recall, f1, support : ndarray of shape (..., n_classes)
        0 where a ratio has nothing to divide by.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return (
        _ratio(right, predicted),
        _ratio(right, support),
        _ratio(2 * right, support + predicted),
        support,
    )


def three_scores(confusion):
    """Return weighted F1, unweighted and weighted accuracy.

    Parameters
    ----------
    confusion : ndarray of shape (..., n_classes, n_classes)
        Counts, one row a true class.

    Returns
    -------
    scores : ndarray of shape (..., 3)
        WAF, UA, WA. Classes that do not occur do not count.
    """
    _, recall, f1, support = class_scores(confusion)
    total = support.sum(axis=-1)
    occurs = support > 0
    waf = _ratio((f1 * support).sum(axis=-1), total)
    ua = _ratio((recall * occurs).sum(axis=-1), occurs.sum(axis=-1))
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return np.stack([waf, ua, _ratio(right, total)], axis=-1)


def _ratio(a, b):
    return np.divide(a, b, out=np.zeros(np.shape(a)), where=np.asarray(b) > 0)


class Bootstrap:
    """The same drawn clips, or groups of clips, for all systems that are compared.

    Parameters
    ----------
    rows : ndarray of shape (n_predictions,), dtype int64
        Which row of X each prediction is of.
    units : ndarray of shape (n_samples,), dtype int64
        What is drawn together, for each row of X.
    n_classes : int
        Number of classes.
    n_bootstraps : int
        How often to draw; 0 draws nothing, and intervals are NaN.
    confidence : float
        Share of the draws that is inside an interval.
    seed : int
        Seed of the draws.
    """

    def __init__(self, rows, units, n_classes, n_bootstraps, confidence, seed):
        _, self._unit = np.unique(units[rows], return_inverse=True)
        self.n_units = int(self._unit.max()) + 1
        self._n_classes = n_classes
        self._n_bootstraps = n_bootstraps
        self._tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        self._seed = seed
        self._kept = None

    def scores(self, true, predicted):
        """Return the three scores of each draw.

        Parameters
        ----------
        true : ndarray of shape (n_predictions,), dtype int64
            Classes.
        predicted : ndarray of shape (n_repeats, n_predictions), dtype int64
            Predicted classes; scores are means over repeats.

        Returns
        -------
        scores : ndarray of shape (n_bootstraps, 3)
        """
        shape = (self.n_units, self._n_classes**2)
        drawn = np.zeros((self._n_bootstraps, 3))
        for codes in predicted:
            cells = true * self._n_classes + codes
            ones = np.ones(len(cells))
            # How often each unit has each cell of the confusion matrix
            of_units = csr_array((ones, (self._unit, cells)), shape=shape)
            at = 0
            for counts in self._draws():
                matrices = counts @ of_units
                part = matrices.reshape(len(counts), self._n_classes, self._n_classes)
                drawn[at : at + len(counts)] += three_scores(part)
                at += len(counts)
        return drawn / len(predicted)

    def _draws(self):
        """Yield how often each unit was drawn, some draws at a time."""
        if self._kept is not None:
            yield from self._kept
            return
        # Drawn anew for each system where they do not fit into memory: one seed
        # gives the same draws
        small = self._n_bootstraps * self.n_units <= _KEPT
        step = max(1, _KEPT // 8 // self.n_units)
        rng = np.random.default_rng(self._seed)
        even = np.full(self.n_units, 1 / self.n_units)
        kept = []
        for at in range(0, self._n_bootstraps, step):
            n = min(step, self._n_bootstraps - at)
            counts = rng.multinomial(self.n_units, even, size=n).astype(np.float64)
            if small:
                kept.append(counts)
            yield counts
        if small:
            self._kept = kept

    def interval(self, drawn):
        """Return the ends of the percentile interval of each column of draws.

        Parameters
        ----------
        drawn : ndarray of shape (n_bootstraps, n_columns)
            From :meth:`scores`, or a difference of two of them.

        Returns
        -------
        low, high : ndarray of shape (n_columns,)
        """
        if len(drawn) == 0:
            nothing = np.full(drawn.shape[1], np.nan)
            return nothing, nothing
        low, high = np.quantile(drawn, self._tails, axis=0)
        return low, high
