"""Support vector machines that were fitted as members of an ensemble."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils.validation import check_array

from skmer.ensemble._svm_kernels import blocks

# Numbers in a block of kernel values when deciding (32 MiB).
DECIDING = 2**22


class Pool:
    """Training rows that the members of an ensemble keep together.

    An object of its own around the array: joblib writes an array anew wherever it
    meets it, and an object once.

    Parameters
    ----------
    rows : ndarray of shape (n_kept, n_features), dtype float64
        The rows.
    """

    def __init__(self, rows):
        self.rows = rows


class SVMMember:
    """One fitted support vector machine of an ensemble.

    It takes the same X as the ensemble and reads its own columns of it.

    Parameters
    ----------
    kernel : Kernel
        The kernel, with gamma as a number.
    seed : int
        Which of the ensemble's subspaces it has, from 0 on.
    C : float
        The penalty it was fitted with.
    features : ndarray of int64
        Its columns.
    classes : ndarray of shape (n_classes,)
        Labels.
    fitted : SVC
        Fitted on the kernel matrix or the columns, its classes coded 0, 1, ...

    Attributes
    ----------
    features_ : ndarray of shape (n_columns,), dtype int64
        The columns it reads.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    support_ : ndarray of shape (n_support,), dtype int64
        Rows, of those passed to the ensemble's ``fit``, that are support vectors.
    n_support_ : ndarray of shape (n_classes,), dtype int32
        How many of them each class has.
    dual_coef_, intercept_ : ndarray
        As those of :class:`sklearn.svm.SVC`.
    n_iter_ : ndarray of shape (n_classes * (n_classes - 1) // 2,)
        Steps of the solver.
    coef_ : ndarray of shape (n_pairs, n_columns)
        Weights of the columns; with the linear kernel only.
    """

    def __init__(self, kernel, seed, C, features, classes, fitted):
        self._name(kernel, seed, C, features, classes)
        self.n_support_ = fitted.n_support_.copy()
        self.dual_coef_ = np.array(fitted.dual_coef_)
        self.intercept_ = fitted.intercept_.copy()
        self.n_iter_ = np.array(fitted.n_iter_)

    def _name(self, kernel, seed, C, features, classes):
        self.kernel = kernel.name
        self.gamma = kernel.gamma
        self.degree = kernel.degree
        self.coef0 = kernel.coef0
        self.C = C
        self.seed = seed
        self.features_ = features
        self.classes_ = classes
        self._kernel = kernel

    # What the rows that are kept are to the member
    _kept = "support vectors"

    def __repr__(self):
        return (
            f"{type(self).__name__}(kernel={self.kernel!r}, C={self.C:.4g}, "
            f"gamma={self.gamma:.4g}, {len(self.features_)} features, "
            f"{int(self.n_support_.sum())} {self._kept})"
        )

    def settle(self, X, rows, support, pool, where):
        """Say where the support vectors are kept.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            The X passed to the ensemble's ``fit``.
        rows : ndarray of int64
            The rows of it that were trained on, in the ensemble's order.
        support : ndarray of int64
            The support vectors among these.
        pool : Pool
            The rows that are kept.
        where : ndarray of int64
            The support vectors among these; empty with the linear kernel, which
            needs none.
        """
        self.support_ = rows[support]
        if self.kernel == "linear":
            vectors = X[np.ix_(self.support_, self.features_)].astype(np.float64)
            self.coef_ = np.ascontiguousarray((vectors.T @ self._weights()).T)
        self._pool, self._where = pool, where

    def pairs(self, columns, products, squares, where):
        """Return the decisions between pairs of classes.

        Parameters
        ----------
        columns : ndarray of shape (n_rows, n_columns)
            Columns of the rows to be decided on.
        products : ndarray of shape (n_rows, n_vectors)
            Their products with training rows; left as they are.
        squares : ndarray of shape (n_vectors,)
            Squared lengths of these training rows.
        where : ndarray of int64
            The support vectors among them.

        Returns
        -------
        pairs : ndarray of shape (n_rows, n_pairs)
            Positive for the first class of a pair.
        """
        intercept = self._intercepts()
        if self.kernel == "linear":
            return columns @ self.coef_.T + intercept
        weights = np.zeros((len(squares), len(intercept)))
        weights[where] = self._weights()
        values = products.copy()
        lengths = np.einsum("ij,ij->i", columns, columns)
        for part in blocks(*values.shape):
            self._kernel.apply(values[part], lengths[part], squares)
        return values @ weights + intercept

    def _weights(self):
        """Return the weight of each support vector in the decision of each pair."""
        return pair_weights(self.dual_coef_, self.n_support_)

    def _intercepts(self):
        return pair_intercepts(self.intercept_, len(self.classes_))

    def decision_function(self, X):
        """Return the decision scores, as :class:`sklearn.svm.SVC` gives them.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features, all columns of the ensemble.

        Returns
        -------
        scores : ndarray of shape (n_clips,) or (n_clips, n_classes)
            One column for two classes, else the "ovr" shape.
        """
        scores = score_members([self], check_array(X, dtype=np.float64))[:, 0]
        return scores[:, 1] if scores.shape[1] == 2 else scores

    def predict(self, X):
        """Return the label with the highest score.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features, all columns of the ensemble.

        Returns
        -------
        labels : ndarray of shape (n_clips,)
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return self.classes_[(scores > 0).astype(np.int64)]
        return self.classes_[scores.argmax(axis=1)]


class NystroemMember(SVMMember):
    """One machine of an ensemble that knows rows by their likeness to landmarks.

    It decides as one whose support vectors are the landmarks. The linear kernel needs
    none.

    Parameters
    ----------
    kernel : Kernel
        The kernel, with gamma as a number.
    seed : int
        Which of the ensemble's subspaces it has, from 0 on.
    C : float
        The penalty it was fitted with.
    features : ndarray of int64
        Its columns.
    classes : ndarray of shape (n_classes,)
        Labels.
    fitted : Machine
        From :class:`skmer.ensemble._svm_nystroem.NystroemFit`.

    Attributes
    ----------
    features_ : ndarray of shape (n_columns,), dtype int64
        The columns it reads.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    support_ : ndarray of shape (n_landmarks,), dtype int64
        Rows, of those passed to the ensemble's ``fit``, that are landmarks.
    n_support_ : ndarray of shape (n_classes,), dtype int32
        How many of them each class has.
    dual_coef_ : ndarray of shape (n_pairs, n_landmarks)
        Weight of each landmark in the decision of each pair of classes, positive for
        the first class of the pair.
    intercept_ : ndarray of shape (n_pairs,)
        What is added.
    n_iter_ : ndarray of shape (n_pairs,)
        Steps of the solver.
    coef_ : ndarray of shape (n_pairs, n_columns)
        Weights of the columns; with the linear kernel only.
    """

    _kept = "landmarks"

    def __init__(self, kernel, seed, C, features, classes, fitted):
        self._name(kernel, seed, C, features, classes)
        counts = np.bincount(fitted.codes, minlength=len(classes))
        self.n_support_ = counts.astype(np.int32)
        self.intercept_ = fitted.intercepts
        self.n_iter_ = fitted.n_iter
        weights = np.ascontiguousarray(fitted.weights.T)
        if self.kernel == "linear":
            self.coef_ = weights
            self.dual_coef_ = np.empty((len(weights), 0))
        else:
            self.dual_coef_ = weights

    def settle(self, X, rows, support, pool, where):
        """Say where the landmarks are kept.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            The X passed to the ensemble's ``fit``; not needed.
        rows : ndarray of int64
            The rows of it that were trained on, in the ensemble's order.
        support : ndarray of int64
            The landmarks among these.
        pool : Pool
            The rows that are kept.
        where : ndarray of int64
            The landmarks among these.
        """
        self.support_ = rows[support]
        self._pool, self._where = pool, where

    def _weights(self):
        return self.dual_coef_.T

    def _intercepts(self):
        return self.intercept_


def pair_weights(dual_coef, n_support):
    """Return the weight of each support vector in the decision of each pair.

    Parameters
    ----------
    dual_coef : ndarray of shape (n_classes - 1, n_support)
        As of :class:`sklearn.svm.SVC`.
    n_support : ndarray of shape (n_classes,)
        Support vectors of each class.

    Returns
    -------
    weights : ndarray of shape (n_support, n_pairs)
        Pairs in the order 01, 02, ..., 12, ...; positive for the first class.
    """
    n_classes = len(n_support)
    if n_classes == 2:
        # scikit-learn turns the sign of two classes round
        return -dual_coef.T
    edges = np.concatenate([[0], np.cumsum(n_support)])
    first, second = np.triu_indices(n_classes, 1)
    weights = np.zeros((dual_coef.shape[1], len(first)))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        of_i, of_j = slice(*edges[i : i + 2]), slice(*edges[j : j + 2])
        weights[of_i, pair] = dual_coef[j - 1, of_i]
        weights[of_j, pair] = dual_coef[i, of_j]
    return weights


def pair_intercepts(intercept, n_classes):
    """Return the intercepts with the signs of :func:`pair_weights`.

    Parameters
    ----------
    intercept : ndarray of shape (n_pairs,)
        As of :class:`sklearn.svm.SVC`.
    n_classes : int
        Number of classes.

    Returns
    -------
    intercepts : ndarray of shape (n_pairs,)
    """
    return -intercept if n_classes == 2 else intercept


def pair_scores(pairs):
    """Return a score per class: pairs won, and below one by how much in all.

    Parameters
    ----------
    pairs : ndarray of shape (n_rows, n_pairs)
        Decisions between pairs of classes, positive for the first.

    Returns
    -------
    scores : ndarray of shape (n_rows, n_classes)
        As SVC's ``decision_function_shape="ovr"``: between -1/3 and
        ``n_classes - 2/3``.
    """
    n_classes = int((1 + np.sqrt(1 + 8 * pairs.shape[1])) / 2)
    first, second = np.triu_indices(n_classes, 1)
    votes = np.zeros((len(pairs), n_classes))
    margins = np.zeros((len(pairs), n_classes))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        lost = pairs[:, pair] < 0
        votes[:, i] += ~lost
        votes[:, j] += lost
        margins[:, i] += pairs[:, pair]
        margins[:, j] -= pairs[:, pair]
    return votes + squash(margins)


def squash(values):
    """Map numbers to between -1/3 and 1/3 and keep their order.

    Parameters
    ----------
    values : ndarray
        Numbers.

    Returns
    -------
    squashed : ndarray
    """
    return values / (3 * (np.abs(values) + 1))


def score_members(members, X, n_jobs=None):
    """Return the decision scores of several members of one ensemble.

    Parameters
    ----------
    members : list of SVMMember
        The members.
    X : ndarray of shape (n_rows, n_features)
        Rows, of float32 or float64.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    scores : ndarray of shape (n_rows, n_members, n_classes)
        Of two classes minus and plus the one score.
    """
    scores = np.empty((len(X), len(members), len(members[0].classes_)))
    for seed in sorted({member.seed for member in members}):
        _score_draw([m if m.seed == seed else None for m in members], X, scores, n_jobs)
    return scores


def _score_draw(members, X, scores, n_jobs):
    """Fill in the scores of the members of one draw; None is one of another draw."""
    mine = [(i, member) for i, member in enumerate(members) if member is not None]
    features = mine[0][1].features_
    kept = np.unique(np.concatenate([member._where for _, member in mine]))
    vectors = mine[0][1]._pool.rows[np.ix_(kept, features)]
    squares = np.einsum("ij,ij->i", vectors, vectors)
    places = [np.searchsorted(kept, member._where) for _, member in mine]

    def score(part):
        columns = np.ascontiguousarray(X[part][:, features], dtype=np.float64)
        products = columns @ vectors.T
        for (i, member), place in zip(mine, places, strict=True):
            pairs = member.pairs(columns, products, squares, place)
            if pairs.shape[1] == 1:
                scores[part, i] = np.hstack([pairs, -pairs])
            else:
                scores[part, i] = pair_scores(pairs)

    # The width of the blocks must not depend on n_jobs: rounding would
    parts = blocks(len(X), max(kept.size, features.size), DECIDING)
    Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(score)(p) for p in parts)
