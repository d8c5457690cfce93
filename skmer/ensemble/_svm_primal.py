"""Linear support vector machines of all pairs of classes, solved together."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

# The hinge is rounded off over this much of the margin, which makes it smooth.
_WIDTH = 0.1
# Share of the rows that is taken to lie there before anything is known.
_SHARE = 0.02
_MEMORY = 10
_SEARCH = 20


class Curvature:
    """How far rows spread, from a sample: the shape of what is minimised.

    Parameters
    ----------
    variance : ndarray of shape (n_axes,)
        Variance of the rows along each axis.
    axes : ndarray of shape (n_features, n_axes), or None
        Directions of length one; None for the features themselves.
    """

    def __init__(self, variance, axes=None):
        self.variance = variance
        self.axes = axes

    def divide(self, gradients, factors):
        """Return gradients divided by one plus factor times variance.

        Parameters
        ----------
        gradients : ndarray of shape (n_features, n_pairs)
        factors : ndarray of shape (n_pairs,)

        Returns
        -------
        steps : ndarray of shape (n_features, n_pairs)
        """
        share = np.outer(self.variance, factors)
        share /= 1 + share
        if self.axes is None:
            return gradients * (1 - share)
        return gradients - self.axes @ (share * (self.axes.T @ gradients))


def fit_pairs(values, basis, center, curvature, groups, costs, *, tol, max_iter):
    """Fit a linear support vector machine to each pair of classes.

    The problem is that of :class:`sklearn.svm.SVC` with a linear kernel on the
    features ``values @ basis``: half the squared length of the weights plus the hinge
    losses of the rows times their costs, the intercept free. All pairs are solved in
    turn with each other by L-BFGS, so that each pass over the rows serves them all.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns), dtype float64
        Rows, sorted by class.
    basis : ndarray of shape (n_columns, n_features), or None
        What makes features of them; None where they are features.
    center : ndarray of shape (n_features,)
        About the mean of the features; any will do, a good one saves passes.
    curvature : Curvature
        About how they spread; likewise.
    groups : list of slice of length n_classes
        Rows of each class.
    costs : ndarray of shape (n_rows,)
        Penalty of each row, 0 for one that is not learnt from.
    tol : float
        A pair is done when what is left to gain is about this share of the whole.
    max_iter : int
        Steps after which it gives up, with a warning; -1 never.

    Returns
    -------
    weights : ndarray of shape (n_columns, n_pairs)
        Weights of the columns; pairs in the order 01, 02, ..., 12, ..., positive for
        the first class.
    intercepts : ndarray of shape (n_pairs,)
    n_iter : ndarray of shape (n_pairs,), dtype int32
        Steps taken.
    """
    task = _Task(values, basis, center, groups, costs)
    n_pairs, n_features = task.n_pairs, len(center)
    weights = np.zeros((n_features + 1, n_pairs))
    factors = np.maximum(_SHARE * task.mass, np.finfo(np.float64).tiny) / _WIDTH
    n_iter = np.zeros(n_pairs, dtype=np.int32)

    def divided(gradients):
        steps = np.empty_like(gradients)
        steps[:-1] = curvature.divide(gradients[:-1], factors)
        steps[-1] = gradients[-1] / factors
        return steps

    live = np.ones(n_pairs, dtype=bool)
    losses, gradients = task.gradients(live)
    past = []
    while max_iter < 0 or n_iter.max() < max_iter:
        steps = _direction(gradients, past, divided)
        slopes = (steps * gradients).sum(axis=0)
        astray = slopes >= 0
        if astray.any():
            steps = np.where(astray, -divided(gradients), steps)
            slopes = (steps * gradients).sum(axis=0)
        whole = losses + (weights[:-1] ** 2).sum(axis=0) / 2
        live &= -slopes > tol * whole
        if not live.any():
            break
        steps[:, ~live] = 0.0
        lengths = task.search(weights, steps, slopes, live)
        # Nothing is gained any more: rounding
        live &= lengths > 0
        moved = steps * lengths
        weights += moved
        before = gradients
        losses, gradients = task.gradients(live, weights, losses, before)
        past = [*past[1 - _MEMORY :], (moved, gradients - before)]
        n_iter[live] += 1
    else:
        warnings.warn(
            f"Support vector machines on Nystroem features have not converged in "
            f"{max_iter} steps. Scale X, with StandardScaler for example, lower C or "
            "raise max_iter.",
            ConvergenceWarning,
            stacklevel=2,
        )
    intercepts = weights[-1] - center @ weights[:-1]
    weights = weights[:-1] if basis is None else basis @ weights[:-1]
    return weights, intercepts, n_iter


def _direction(gradients, past, divided):
    """Return the steps of L-BFGS, pair by pair."""
    steps, shares = gradients.copy(), []
    inverses = []
    for moved, change in reversed(past):
        product = (moved * change).sum(axis=0)
        inverse = np.divide(1.0, product, out=np.zeros_like(product), where=product > 0)
        share = inverse * (moved * steps).sum(axis=0)
        steps -= share * change
        shares.append(share)
        inverses.append(inverse)
    steps = divided(steps)
    if past:
        moved, change = past[-1]
        product = (moved * change).sum(axis=0)
        length = (change * divided(change)).sum(axis=0)
        usable = (product > 0) & (length > 0)
        steps *= np.divide(product, length, out=np.ones_like(product), where=usable)
    for (moved, change), share, inverse in zip(
        past, reversed(shares), reversed(inverses), strict=True
    ):
        steps += moved * (share - inverse * (change * steps).sum(axis=0))
    return -steps


def _loss(margins):
    """Return the rounded hinge losses and minus their slopes."""
    slopes = np.clip((1 + _WIDTH / 2 - margins) / _WIDTH, 0.0, 1.0)
    straight = margins < 1 - _WIDTH / 2
    return np.where(straight, 1 - margins, slopes**2 * (_WIDTH / 2)), slopes


class _Task:
    """The rows, their margins so far, and sums over them.

    Margins are those of the first class of each pair that a row's class is in.
    """

    def __init__(self, values, basis, center, groups, costs):
        first, second = np.triu_indices(len(groups), 1)
        self.n_pairs = len(first)
        self.values = [values[rows] for rows in groups]
        self.costs = [costs[rows, np.newaxis] for rows in groups]
        self.pairs = [
            np.flatnonzero((first == c) | (second == c)) for c in range(len(groups))
        ]
        self.signs = [
            np.where(first[pairs] == c, 1.0, -1.0) for c, pairs in enumerate(self.pairs)
        ]
        self.basis = basis
        self.center = center
        self.mass = np.zeros(self.n_pairs)
        for cost, pairs in zip(self.costs, self.pairs, strict=True):
            self.mass[pairs] += cost.sum()
        self.margins = [
            np.zeros((len(rows), len(pairs)))
            for rows, pairs in zip(self.values, self.pairs, strict=True)
        ]

    def _parts(self, live):
        """Yield each class's rows, costs, margins, live pairs, signs and places."""
        for c, pairs in enumerate(self.pairs):
            places = np.flatnonzero(live[pairs])
            if len(places):
                yield c, pairs[places], self.signs[c][places], places

    def gradients(self, live, weights=None, losses=None, gradients=None):
        """Return losses and gradients; those of pairs that are done stay."""
        n_columns = self.values[0].shape[1]
        raw, totals = np.zeros((n_columns, self.n_pairs)), np.zeros(self.n_pairs)
        new_losses = np.zeros(self.n_pairs)
        for c, pairs, signs, places in self._parts(live):
            lost, slopes = _loss(self.margins[c][:, places] * signs)
            new_losses[pairs] += (lost * self.costs[c]).sum(axis=0)
            pull = slopes * self.costs[c] * -signs
            raw[:, pairs] += self.values[c].T @ pull
            totals[pairs] += pull.sum(axis=0)
        if self.basis is not None:
            raw = self.basis.T @ raw
        new = np.vstack([raw - np.outer(self.center, totals), totals])
        if weights is not None:
            new[:-1] += weights[:-1]
            new = np.where(live, new, gradients)
            new_losses = np.where(live, new_losses, losses)
        return new_losses, new

    def search(self, weights, steps, slopes, live):
        """Move margins along the steps to where each pair is about lowest.

        Returns
        -------
        lengths : ndarray of shape (n_pairs,)
            How far, in steps; 0 where no place is lower.
        """
        columns = steps[:-1] if self.basis is None else self.basis @ steps[:-1]
        offsets = steps[-1] - self.center @ steps[:-1]
        parts = [
            (c, pairs, signs, places, self.values[c] @ columns[:, pairs])
            for c, pairs, signs, places in self._parts(live)
        ]
        for _, pairs, _, _, move in parts:
            move += offsets[pairs]
        inner = (weights[:-1] * steps[:-1]).sum(axis=0)
        square = (steps[:-1] ** 2).sum(axis=0)
        low, high = np.zeros(self.n_pairs), np.full(self.n_pairs, np.inf)
        lengths = live.astype(np.float64)
        for _ in range(_SEARCH):
            left = inner + lengths * square
            for c, pairs, signs, places, move in parts:
                margins = self.margins[c][:, places] + lengths[pairs] * move
                pull = _loss(margins * signs)[1] * self.costs[c] * -signs
                left[pairs] += (pull * move).sum(axis=0)
            good = ~live | (np.abs(left) <= 0.1 * np.abs(slopes))
            if good.all():
                break
            low = np.where(~good & (left < 0), lengths, low)
            high = np.where(~good & (left > 0), lengths, high)
            middle = np.where(np.isinf(high), 2 * lengths, (low + high) / 2)
            lengths = np.where(good, lengths, middle)
        else:
            # The last place where it still went down
            lengths = np.where(good, lengths, low)
        for c, pairs, _, places, move in parts:
            self.margins[c][:, places] += lengths[pairs] * move
        return lengths
