"""Kernels of support vector machines as functions of one matrix of products."""

import threading
from dataclasses import dataclass

import numpy as np

# Numbers worked on at a time: they stay in the processor's cache (512 KiB).
_BLOCK = 2**16


@dataclass(frozen=True)
class Kernel:
    """A kernel that needs no more than the products of rows with rows.

    Parameters
    ----------
    name : {"linear", "rbf", "poly", "sigmoid"}
        As for :class:`sklearn.svm.SVC`.
    gamma, degree, coef0 : float
        Numbers, as for :class:`sklearn.svm.SVC`.
    """

    name: str
    gamma: float
    degree: int
    coef0: float

    def apply(self, products, left, right):
        """Turn products of rows into kernel values, in place.

        Parameters
        ----------
        products : ndarray of shape (n_left, n_right), dtype float64
            Products of the rows; the kernel values afterwards.
        left : ndarray of shape (n_left,)
            Squared lengths of the rows on the left.
        right : ndarray of shape (n_right,)
            Squared lengths of the rows on the right.
        """
        if self.name == "linear":
            return
        if self.name == "rbf":
            products *= 2 * self.gamma
            products -= self.gamma * left[:, np.newaxis]
            products -= self.gamma * right
            np.exp(products, out=products)
            return
        products *= self.gamma
        products += self.coef0
        if self.name == "sigmoid":
            np.tanh(products, out=products)
        else:
            _power(products, self.degree)


def _power(values, exponent):
    """Raise to a whole power in place; far quicker than numpy's general power."""
    base = values.copy()
    values.fill(1.0)
    while exponent:
        if exponent % 2:
            values *= base
        exponent //= 2
        if exponent:
            base *= base


def resolve_gamma(gamma, columns):
    """Return gamma as a number, as :class:`sklearn.svm.SVC` finds it.

    Parameters
    ----------
    gamma : {"scale", "auto"} or float
        The parameter.
    columns : ndarray of shape (n_rows, n_columns)
        Training rows.

    Returns
    -------
    gamma : float
    """
    if gamma == "auto":
        return 1.0 / columns.shape[1]
    if gamma == "scale":
        variance = columns.var()
        return 1.0 / (columns.shape[1] * variance) if variance != 0 else 1.0
    return float(gamma)


def blocks(n_rows, n_columns, size=_BLOCK):
    """Yield slices of rows that hold about ``size`` numbers each.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the matrix.
    size : int, default=2**16
        Numbers in a slice.

    Yields
    ------
    rows : slice
    """
    step = max(1, size // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


class Subspace:
    """Rows and columns that several members learn from, and their products.

    Who needs the products first computes them; after the last one they are dropped.

    Parameters
    ----------
    X : ndarray of shape (n_all, n_features)
        Rows of float32 or float64.
    order : ndarray of int64
        The rows of X that are trained on, in their order there.
    rows : ndarray of int64
        The rows among these that the members learn from.
    features : ndarray of int64
        The columns.
    n_users : int
        How many members there are.
    with_products : bool
        Whether to compute products at all.
    landmarks : ndarray of int64, or None
        Compute products with these of the rows alone; None for all.
    buffers : list of ndarray
        Memory to be used again, as for :func:`kernel_matrix`.
    """

    def __init__(
        self, X, order, rows, features, n_users, *, with_products, landmarks, buffers
    ):
        self.rows = rows
        self.features = features
        self.landmarks = landmarks
        self._order = order
        self._X = X
        self._left = n_users
        self._with_products = with_products
        self._buffers = buffers
        self._lock = threading.Lock()
        self._columns = self._products = self._squares = None

    def open(self):
        """Return the columns, the products and the squared lengths of the rows.

        Returns
        -------
        columns : ndarray of shape (n_rows, n_columns)
        products : ndarray of shape (n_rows, n_rows or n_landmarks), or None
            None without products.
        squares : ndarray of shape (n_rows,)
        """
        with self._lock:
            if self._columns is None:
                chosen = np.ix_(self._order[self.rows], self.features)
                columns = np.ascontiguousarray(self._X[chosen], dtype=np.float64)
                if self._with_products:
                    right = columns
                    if self.landmarks is not None:
                        right = columns[self.landmarks]
                    shape = len(columns), len(right)
                    values = taken(self._buffers, shape[0] * shape[1]).reshape(shape)
                    self._products = np.matmul(columns, right.T, out=values)
                self._squares = np.einsum("ij,ij->i", columns, columns)
                self._columns = columns
            return self._columns, self._products, self._squares

    def close(self):
        """Say that one member is done."""
        with self._lock:
            self._left -= 1
            if not self._left:
                if self._products is not None:
                    self._buffers.append(self._products.base)
                self._columns = self._products = self._squares = None


def taken(buffers, size):
    """Take memory that is there, or new memory where that is too small.

    Fresh memory costs as much as the arithmetic, so members use it in turn.

    Parameters
    ----------
    buffers : list of ndarray
        Memory to be used again.
    size : int
        Numbers wanted.

    Returns
    -------
    values : ndarray of shape (size,), dtype float64
        Part of an array (its ``base``) that may be put into ``buffers`` afterwards.
    """
    try:
        buffer = buffers.pop()
    except IndexError:
        buffer = np.empty(0)
    if buffer.size < size:
        buffer = np.empty(size)
    return buffer[:size]


def kernel_matrix(kernel, products, squares, rows, buffers):
    """Return the kernel of some rows with each other.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    products : ndarray of shape (n_rows, n_rows)
        Products of all rows; left as they are.
    squares : ndarray of shape (n_rows,)
        Squared lengths of all rows.
    rows : ndarray of int64, or None
        Which rows; None for all.
    buffers : list of ndarray
        Memory to be used again; what is returned may be put back in it.

    Returns
    -------
    values : ndarray of shape (n_chosen, n_chosen)
        ``products`` itself where nothing is to be done.
    """
    if rows is None and kernel.name == "linear":
        return products
    chosen = slice(None) if rows is None else rows
    squares = squares[chosen]
    n = len(squares)
    values = taken(buffers, n * n).reshape(n, n)
    for part in blocks(n, n):
        if rows is None:
            np.copyto(values[part], products[part])
        else:
            np.take(products[rows[part]], rows, axis=1, out=values[part])
        kernel.apply(values[part], squares[part], squares)
    return values
