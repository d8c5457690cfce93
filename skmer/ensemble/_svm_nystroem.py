"""Support vector machines that know rows by their likeness to a few landmarks."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import compute_class_weight

from skmer.ensemble._svm_kernels import Kernel, blocks, taken
from skmer.ensemble._svm_members import DECIDING, pair_scores
from skmer.ensemble._svm_primal import Curvature, fit_pairs


class Machine(NamedTuple):
    """What was fitted on some rows of a draw.

    Parameters
    ----------
    landmarks : ndarray of int64
        Rows of the draw that are landmarks; none with the linear kernel.
    codes : ndarray of int64
        Their classes.
    weights : ndarray of shape (n_landmarks or n_columns, n_pairs)
        Weights of kernel values with them, or of columns with the linear kernel;
        positive for the first class of a pair.
    intercepts : ndarray of shape (n_pairs,)
    n_iter : ndarray of shape (n_pairs,), dtype int32
    """

    landmarks: np.ndarray
    codes: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    n_iter: np.ndarray


def draw_landmarks(n_rows, n_components, seed):
    """Return rows that are landmarks, sorted.

    Parameters
    ----------
    n_rows : int
        Rows of the draw.
    n_components : int
        How many are wanted; all rows where there are fewer.
    seed : int
        Seed of the draw.

    Returns
    -------
    landmarks : ndarray of int64
    """
    # Another generator than the one that draws columns with this seed
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n_rows, min(n_components, n_rows), replace=False))


class NystroemFit:
    """Fits of one kernel on one draw.

    Parameters
    ----------
    training : Training
        What to learn from.
    name : str
        The kernel.
    subspace : Subspace
        Rows and columns, with landmarks.
    """

    def __init__(self, training, name, subspace):
        self.training = training
        self.name = name
        self.rows = subspace.rows
        self.landmarks = subspace.landmarks
        self.codes = training.codes[subspace.rows]
        weights = training.weights
        self.weights = None if weights is None else weights[subspace.rows]
        self.columns, self.products, self.squares = subspace.open()

    def on(self, rows):
        """Return a machine fitted on some of the rows, its kernel and its C."""
        t = self.training
        chosen = np.zeros(len(self.codes), dtype=bool)
        chosen[slice(None) if rows is None else rows] = True
        kernel = Kernel(self.name, self._gamma(chosen), t.degree, t.coef0)
        C = t.C * kernel.gamma if self.name == "linear" and t.scale_linear else t.C
        known = np.unique(self.codes[chosen])
        edges = np.searchsorted(self.codes, known)
        ends = np.searchsorted(self.codes, known, side="right")
        groups = [slice(*pair) for pair in zip(edges, ends, strict=True)]
        near = chosen[self.landmarks]
        if self.name == "linear":
            values, basis = self.columns, None
            center, curvature = _spread(self.columns[self.landmarks[near]])
        else:
            values = self._kernel_values(kernel)
            basis, center, variance = _basis(values[self.landmarks], near)
            curvature = Curvature(variance)
        weights, intercepts, n_iter = fit_pairs(
            values,
            basis,
            center,
            curvature,
            groups,
            self._costs(C, chosen, known),
            tol=t.solver["tol"] / 10,
            max_iter=t.solver["max_iter"],
        )
        if self.name == "linear":
            landmarks = np.empty(0, dtype=np.int64)
        else:
            t.buffers.append(values.base)
            landmarks, weights = self.landmarks[near], weights[near]
        machine = Machine(landmarks, self.codes[landmarks], weights, intercepts, n_iter)
        return machine, kernel, C

    def out_of_fold(self):
        """Return scores of the rows by machines that have not seen them."""
        n_classes = len(self.training.classes)
        scores = np.full((len(self.training.codes), n_classes), np.nan)
        folds = self.training.folds[self.rows]
        for fold in np.unique(folds):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            known = np.unique(self.codes[train])
            if len(known) < 2:
                continue
            machine, kernel, _ = self.on(train)
            pairs = self._pairs(machine, kernel, test)
            if n_classes == 2:
                scores[self.rows[test]] = np.hstack([pairs, -pairs])
                continue
            # A class that the fold did not know has lost to all others
            whole = np.full((len(test), n_classes), -1 / 3)
            whole[:, known] = pair_scores(pairs)
            scores[self.rows[test]] = whole
        return scores

    def _pairs(self, machine, kernel, test):
        if kernel.name == "linear":
            return self.columns[test] @ machine.weights + machine.intercepts
        places = np.searchsorted(self.landmarks, machine.landmarks)
        pairs = np.empty((len(test), machine.weights.shape[1]))
        right = self.squares[machine.landmarks]
        for part in blocks(len(test), len(places), DECIDING):
            values = self.products[np.ix_(test[part], places)]
            for few in blocks(*values.shape):
                kernel.apply(values[few], self.squares[test[part][few]], right)
            pairs[part] = values @ machine.weights
        return pairs + machine.intercepts

    def _gamma(self, chosen):
        """Return gamma as a number, without a copy of the columns."""
        gamma, n_columns = self.training.gamma, self.columns.shape[1]
        if gamma == "auto":
            return 1.0 / n_columns
        if gamma != "scale":
            return float(gamma)
        total, n_rows = np.zeros(n_columns), int(chosen.sum())
        parts = list(blocks(len(chosen), n_columns, DECIDING))
        for part in parts:
            total += chosen[part] @ self.columns[part]
        mean, square = total.sum() / (n_rows * n_columns), 0.0
        for part in parts:
            square += chosen[part] @ np.square(self.columns[part] - mean).sum(axis=1)
        variance = square / (n_rows * n_columns)
        return 1.0 / (n_columns * variance) if variance != 0 else 1.0

    def _costs(self, C, chosen, known):
        """Return the penalty of each row, 0 of rows not to be learnt from."""
        given = self.training.class_weight
        if isinstance(given, dict):
            factors = [given.get(code, 1.0) for code in known.tolist()]
        else:
            factors = compute_class_weight(given, classes=known, y=self.codes[chosen])
        by_code = np.zeros(len(self.training.classes))
        by_code[known] = factors
        costs = C * by_code[self.codes]
        if self.weights is not None:
            costs *= self.weights
        return np.where(chosen, costs, 0.0)

    def _kernel_values(self, kernel):
        """Return the kernel of all rows with the landmarks, in memory used in turn."""
        shape = self.products.shape
        values = taken(self.training.buffers, self.products.size).reshape(shape)
        right = self.squares[self.landmarks]
        for part in blocks(*shape):
            np.copyto(values[part], self.products[part])
            kernel.apply(values[part], self.squares[part], right)
        return values


def _basis(values, near):
    """Return what makes features of kernel values, their mean and their variance.

    Parameters
    ----------
    values : ndarray of shape (n_landmarks, n_landmarks)
        The kernel of the landmarks with each other.
    near : ndarray of shape (n_landmarks,), dtype bool
        Landmarks to be used.

    Returns
    -------
    basis : ndarray of shape (n_landmarks, n_features)
        0 for landmarks that are not used.
    mean, variance : ndarray of shape (n_features,)
        Of the landmarks' features.
    """
    values = values[np.ix_(near, near)]
    sizes, axes = np.linalg.eigh((values + values.T) / 2)
    # Of a kernel that is not positive, as the sigmoid, sizes count as for
    # sklearn.kernel_approximation.Nystroem
    bulk = np.abs(sizes)
    kept = bulk > bulk.max(initial=0.0) * len(bulk) * np.finfo(np.float64).eps
    axes, root = axes[:, kept], np.sqrt(bulk[kept])
    basis = np.zeros((len(near), len(root)))
    basis[near] = axes / root
    features = axes * root
    if not len(features):
        return basis, np.zeros(len(root)), np.zeros(len(root))
    return basis, features.mean(axis=0), features.var(axis=0)


def _spread(sample):
    """Return the mean of some rows and the directions in which they differ."""
    if not len(sample):
        n_columns = sample.shape[1]
        return np.zeros(n_columns), Curvature(np.zeros(n_columns))
    center = sample.mean(axis=0)
    rest = sample - center
    few = len(rest) < rest.shape[1]
    products = rest @ rest.T if few else rest.T @ rest
    sizes, axes = np.linalg.eigh(products)
    kept = sizes > sizes.max() * len(sizes) * np.finfo(np.float64).eps
    sizes, axes = sizes[kept], axes[:, kept]
    if few:
        axes = rest.T @ (axes / np.sqrt(sizes))
    return center, Curvature(sizes / len(sample), axes)
