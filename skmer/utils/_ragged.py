"""Object columns whose cells are arrays of unequal length."""

import numpy as np


def as_object_column(cells):
    """Put arrays into a one-dimensional object array, one array a cell.

    ``numpy.array(list, dtype=object)`` makes a 3-D array when all sequences happen
    to have the same length; this never does.

    Parameters
    ----------
    cells : sequence of length n
        Arrays, None, or any other objects.

    Returns
    -------
    column : ndarray of shape (n,), dtype object

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.utils import as_object_column
    >>> as_object_column([np.zeros((3, 2)), np.zeros((3, 2))]).shape
    (2,)
    """
    column = np.empty(len(cells), dtype=object)
    for index, cell in enumerate(cells):
        column[index] = cell
    return column
