"""Arrays that stay in the store until they are used."""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from skmer.cache._store import open_store


class CachedArray(NDArrayOperatorsMixin):
    """One array of a stored record, read whenever it is used.

    It computes like an array, each time from the store: ``numpy.asarray(cell)`` or
    ``cell.load()`` keeps the values. It pickles as the store's folder and the key, so
    that a frame of sequences can be sent to other processes of this machine without
    their values; what is to outlive the store is saved as :func:`load_arrays`
    returns it.

    Parameters
    ----------
    store_path : str
        Folder of the store.
    key : bytes
        Key of the record.
    name : str
        Name of the array in the record.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skmer.cache import CachedArray, Record, open_store
    >>> store = open_store(tempfile.mkdtemp())
    >>> _ = store.put_many([(b"key", Record("ok", {"frames": np.ones((5, 2))}))])
    >>> frames = CachedArray(store.path, b"key", "frames")
    >>> frames.shape, float(np.asarray(frames).sum())
    ((5, 2), 10.0)
    >>> store.close()
    """

    __slots__ = ("_form", "key", "name", "store_path")

    def __init__(self, store_path, key, name):
        self.store_path = store_path
        self.key = key
        self.name = name
        self._form = None

    def load(self):
        """Read the array.

        Returns
        -------
        array : ndarray
            The caller's own.

        Raises
        ------
        KeyError
            If the store no longer has it.
        """
        return load_arrays([self])[0]

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError(
                "A CachedArray is read from its store at each use, so it cannot be "
                "had without a copy."
            )
        array = self.load()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if any(isinstance(out, CachedArray) for out in options.get("out", ())):
            return NotImplemented
        inputs = [x.load() if isinstance(x, CachedArray) else x for x in inputs]
        return getattr(ufunc, method)(*inputs, **options)

    def __getattr__(self, name):
        # mean, T, astype and so on; nothing special, which would be asked for by
        # whoever looks what kind of thing this is.
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            )
        return getattr(self.load(), name)

    @property
    def shape(self):
        """Shape of the array."""
        return self._known()[0]

    @property
    def dtype(self):
        """Dtype of the array."""
        return self._known()[1]

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    def _known(self):
        if self._form is None:
            self.load()
        return self._form

    def __len__(self):
        if not self.shape:
            raise TypeError("This array has no axes, so it has no length.")
        return self.shape[0]

    def __getitem__(self, index):
        return self.load()[index]

    def __iter__(self):
        return iter(self.load())

    def __eq__(self, other):
        if not isinstance(other, CachedArray):
            return NotImplemented
        return self._place() == other._place()

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self._place())

    def _place(self):
        return self.store_path, self.key, self.name

    def __reduce__(self):
        return CachedArray, self._place()

    def __repr__(self):
        return (
            f"<CachedArray {self.name!r} {self.key.hex()[-8:]} in {self.store_path}, "
            "read by numpy.asarray>"
        )


def load_arrays(cells):
    """Read many cached arrays, with one look-up for each store.

    Parameters
    ----------
    cells : sequence of CachedArray, ndarray or None
        Others than CachedArray are handed back as they are.

    Returns
    -------
    arrays : list of ndarray or None
        In the order of the cells.

    Raises
    ------
    KeyError
        If a store no longer has an array.
    """
    arrays = list(cells)
    stores = {}
    for index, cell in enumerate(arrays):
        if isinstance(cell, CachedArray):
            stores.setdefault((cell.store_path, cell.name), []).append(index)
    for (path, name), indices in stores.items():
        cells = [arrays[i] for i in indices]
        batch = open_store(path).get_many([cell.key for cell in cells], [name])
        for positions, stacked in batch.groups:
            if name not in stacked:
                continue
            for row, position in enumerate(positions.tolist()):
                array = stacked[name][row, ...]
                # A row's own memory: else one row kept would keep the whole group.
                array = array.copy() if len(positions) > 1 else array
                cells[position]._form = array.shape, array.dtype
                arrays[indices[position]] = array
        for index in indices:
            if isinstance(arrays[index], CachedArray):
                raise KeyError(
                    f"The feature cache {path} no longer has the array {name!r} of a "
                    "clip: it was cleared, dropped because of the size limit, or "
                    "lies on another machine. Run the encoder's transform again "
                    "on the clips."
                )
    return arrays
