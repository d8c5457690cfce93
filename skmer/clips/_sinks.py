"""Where the values of records go: rows of numbers, or columns of sequences."""

import numpy as np

from skmer.cache import CachedArray
from skmer.utils import as_object_column

# Keys looked up at a time. Values that go straight to their place need no memory
# besides; others are held twice for so many clips, records of all layers of a model
# are a hundred times a row, and sequences are large.
_LOOKUP_IN_PLACE = 65536
_LOOKUP = 4096
_LOOKUP_REDUCED = 512
_LOOKUP_SEQUENCES = 64


class Matrix:
    """Rows of float32, NaN where nothing was received.

    Parameters
    ----------
    n_rows, n_features : int
        Shape of the result.
    parts : dict of str to slice
        The columns that each array of a record fills.
    """

    def __init__(self, n_rows, n_features, parts):
        self.values = np.empty((n_rows, n_features), dtype=np.float32)
        self.views = {name: self.values[:, part] for name, part in parts.items()}
        self.received = {name: np.zeros(n_rows, dtype=bool) for name in parts}

    def lookup(self, in_place):
        """Return how many keys to look up at a time."""
        return _LOOKUP_IN_PLACE if in_place else _LOOKUP

    def places(self, start, stop):
        """Return where the values of consecutive rows belong."""
        return {name: view[start:stop] for name, view in self.views.items()}

    def mark(self, rows, names):
        """Note that values were written to their places."""
        for name in names:
            self.received[name][rows] = True

    def receive(self, rows, arrays, keys):
        """Take in stacked values of rows."""
        for name, array in arrays.items():
            view = self.views.get(name)
            if view is None or array.shape[1:] != view.shape[1:]:
                raise ValueError(
                    f"An encoder gave an array {name!r} of shape {array.shape[1:]} for "
                    f"a clip, but its _parts() and _feature_names() have room for "
                    + ", ".join(f"{k!r} {v.shape[1:]}" for k, v in self.views.items())
                    + "."
                )
            view[rows] = array
        self.mark(rows, arrays)

    def finish(self):
        """Return the rows."""
        for name, received in self.received.items():
            if not received.all():
                self.views[name][~received] = np.nan
        return self.values


class Reduced:
    """Rows of float32 that are made of what records hold.

    Parameters
    ----------
    n_rows, n_features : int
        Shape of the result.
    reduce : callable
        Makes rows out of the stacked arrays of records of one layout.
    """

    def __init__(self, n_rows, n_features, reduce):
        self.values = np.full((n_rows, n_features), np.nan, dtype=np.float32)
        self.reduce = reduce

    def lookup(self, in_place):
        """Return how many keys to look up at a time."""
        return _LOOKUP_REDUCED

    def places(self, start, stop):
        """Return None: no array of a record is a row."""
        return None

    def receive(self, rows, arrays, keys):
        """Take in stacked values of rows."""
        self.values[rows] = self.reduce(arrays)

    def finish(self):
        """Return the rows."""
        return self.values


class Columns:
    """Object columns with a sequence in each cell, None where none was received.

    Parameters
    ----------
    n_rows : int
        Length of the columns.
    names : sequence of str
        The array of a record that fills each column.
    store : FeatureStore
        Holds the sequences that it can; cells are then handles, which pickle small.
    """

    def __init__(self, n_rows, names, store):
        self.columns = {name: as_object_column([None] * n_rows) for name in names}
        self.store = store

    def lookup(self, in_place):
        """Return how many keys to look up at a time."""
        return _LOOKUP_SEQUENCES

    def places(self, start, stop):
        """Return None: cells are made one by one."""
        return None

    def receive(self, rows, arrays, keys):
        """Take in sequences; a key of None is of a record that is not stored."""
        for name, array in arrays.items():
            column = self.columns[name]
            for row, key, sequence in zip(rows, keys, array, strict=True):
                held = key is not None and self.store.writable
                column[row] = (
                    CachedArray(self.store.path, key, name)
                    if held
                    else np.array(sequence)
                )

    def finish(self):
        """Return the columns side by side, an object array."""
        columns = list(self.columns.values())
        values = np.empty((len(columns[0]), len(columns)), dtype=object)
        for i, column in enumerate(columns):
            values[:, i] = column
        return values
