"""Fitting support vector machines, on shared products of rows where there are such."""

from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.svm import SVC
from tqdm.auto import tqdm

from skmer.ensemble._svm_kernels import (
    Kernel,
    Subspace,
    blocks,
    kernel_matrix,
    resolve_gamma,
)
from skmer.ensemble._svm_members import (
    DECIDING,
    NystroemMember,
    SVMMember,
    pair_intercepts,
    pair_scores,
    pair_weights,
)
from skmer.ensemble._svm_nystroem import NystroemFit, draw_landmarks


@dataclass(frozen=True)
class Training:
    """What all members learn from and how.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), dtype int64
        Classes of the training rows, which are sorted by them.
    weights : ndarray of shape (n_rows,), or None
        Their weights.
    classes : ndarray of shape (n_classes,)
        Labels.
    folds : ndarray of shape (n_rows,), dtype int64, or None
        Test fold of each row, for scores to calibrate on; None for none.
    C, gamma, degree, coef0, class_weight, scale_linear : object
        Parameters of the ensemble; ``class_weight`` by code.
    solver : dict
        Parameters of :class:`sklearn.svm.SVC` that are handed on.
    buffers : list of ndarray
        Memory that members use in turn.
    """

    codes: np.ndarray
    weights: np.ndarray | None
    classes: np.ndarray
    folds: np.ndarray | None
    C: float
    gamma: object
    degree: int
    coef0: float
    class_weight: object
    scale_linear: bool
    solver: dict
    buffers: list


def fit_draws(
    X,
    order,
    training,
    kernels,
    draws,
    *,
    approximation,
    n_components,
    max_gram_rows,
    n_jobs,
    verbose,
):
    """Fit a member of each kernel on each draw, in threads.

    Parameters
    ----------
    X : ndarray of shape (n_all, n_features)
        Rows of float32 or float64.
    order : ndarray of shape (n_rows,), dtype int64
        The rows of X to train on, sorted by class.
    training : Training
        What to learn from them.
    kernels : list of str
        Kernels.
    draws : list of tuple
        Columns of each draw, how often each row was drawn, and its seed.
    approximation : {"auto", "nystroem"} or None
        Whether to know rows by landmarks; "auto" with more than ``max_gram_rows``.
    n_components : int
        Number of landmarks.
    max_gram_rows : int
        With more rows than this no products of all with all are shared.
    n_jobs : int or None
        Threads.
    verbose : bool
        Whether to show a progress bar.

    Returns
    -------
    fitted : list of tuple
        What :func:`fit_member` gives for each member, draw by draw.
    """
    spaces, trainings = [], []
    for features, counts, seed in draws:
        rows = np.flatnonzero(counts)
        small, landmarks = len(rows) <= max_gram_rows, None
        if approximation == "nystroem" or (approximation == "auto" and not small):
            landmarks = draw_landmarks(len(rows), n_components, seed)
        spaces.append(
            Subspace(
                X,
                order,
                rows,
                features,
                len(kernels),
                with_products=small or landmarks is not None,
                landmarks=landmarks,
                buffers=training.buffers,
            )
        )
        weights = training.weights
        if counts.max() > 1:
            weights = counts * (1.0 if weights is None else weights)
        trainings.append(replace(training, weights=weights))
    # Workers start on different draws, so that none waits for the products that
    # another computes; no more draws than workers are open at a time.
    width = max(1, effective_n_jobs(n_jobs))
    seeds = range(len(draws))
    order = [
        (seed, name)
        for start in seeds[::width]
        for name in kernels
        for seed in seeds[start : start + width]
    ]
    work = (
        delayed(fit_member)(trainings[seed], name, seed, spaces[seed])
        for seed, name in order
    )
    pool = Parallel(
        n_jobs=n_jobs,
        require="sharedmem",
        pre_dispatch="n_jobs",
        return_as="generator",
    )
    bar = tqdm(
        pool(work),
        total=len(order),
        desc="SVMEnsembleClassifier",
        unit="machine",
        disable=not verbose,
    )
    fitted = dict(zip(order, bar, strict=True))
    return [fitted[seed, name] for seed in seeds for name in kernels]


def fit_member(training, name, seed, subspace):
    """Fit a member and, with folds, score its rows by fits on the others.

    Parameters
    ----------
    training : Training
        What to learn from.
    name : str
        The kernel.
    seed : int
        Number of the subspace.
    subspace : Subspace
        Rows and columns.

    Returns
    -------
    member : SVMMember
        Not settled yet.
    support : ndarray of int64
        Its support vectors, or landmarks, among the training rows.
    scores : ndarray of shape (n_rows, n_classes), or None
        Scores of the training rows from the folds, NaN where there is none. None
        without folds.
    """
    exact = subspace.landmarks is None
    fit = (_Fit if exact else NystroemFit)(training, name, subspace)
    try:
        machine, kernel, C = fit.on(None)
        member = (SVMMember if exact else NystroemMember)(
            kernel, seed, C, subspace.features, training.classes, machine
        )
        scores = None if training.folds is None else fit.out_of_fold()
    finally:
        subspace.close()
    support = machine.support_ if exact else machine.landmarks
    return member, subspace.rows[support], scores


class _Fit:
    def __init__(self, training, name, subspace):
        self.training = training
        self.name = name
        self.rows = subspace.rows
        self.codes = training.codes[subspace.rows]
        weights = training.weights
        self.weights = None if weights is None else weights[subspace.rows]
        self.columns, self.products, self.squares = subspace.open()

    def on(self, rows):
        """Return an SVC fitted on some of the rows, its kernel and its C."""
        t = self.training
        chosen = slice(None) if rows is None else rows
        columns, codes = self.columns[chosen], self.codes[chosen]
        weights = None if self.weights is None else self.weights[chosen]
        kernel = Kernel(self.name, resolve_gamma(t.gamma, columns), t.degree, t.coef0)
        C = t.C * kernel.gamma if self.name == "linear" and t.scale_linear else t.C
        class_weight = t.class_weight
        if isinstance(class_weight, dict):
            known = set(codes.tolist())
            class_weight = {k: w for k, w in class_weight.items() if k in known}
        # The seed changes nothing but that numpy's global generator is left alone
        machine = SVC(C=C, class_weight=class_weight, random_state=0, **t.solver)
        if self.products is None:
            machine.set_params(
                kernel=self.name,
                gamma=kernel.gamma,
                degree=kernel.degree,
                coef0=kernel.coef0,
            )
            return machine.fit(columns, codes, weights), kernel, C
        machine.set_params(kernel="precomputed")
        values = kernel_matrix(kernel, self.products, self.squares, rows, t.buffers)
        machine.fit(values, codes, weights)
        if values is not self.products:
            t.buffers.append(values.base)
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
            pairs = self._pairs(machine, kernel, train[machine.support_], test)
            if n_classes == 2:
                scores[self.rows[test]] = np.hstack([pairs, -pairs])
                continue
            # A class that the fold did not know has lost to all others
            whole = np.full((len(test), n_classes), -1 / 3)
            whole[:, known] = pair_scores(pairs)
            scores[self.rows[test]] = whole
        return scores

    def _pairs(self, machine, kernel, support, test):
        weights = pair_weights(machine.dual_coef_, machine.n_support_)
        pairs = np.empty((len(test), weights.shape[1]))
        for part in blocks(len(test), len(support), DECIDING):
            rows = test[part]
            if self.products is None:
                values = self.columns[rows] @ self.columns[support].T
            else:
                values = self.products[np.ix_(rows, support)]
            for few in blocks(*values.shape):
                kernel.apply(
                    values[few], self.squares[rows[few]], self.squares[support]
                )
            pairs[part] = values @ weights
        return pairs + pair_intercepts(machine.intercept_, len(machine.n_support_))
