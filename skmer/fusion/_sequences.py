"""Object columns of sequences: checked once, padded and masked batch by batch."""

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_array

from skmer.cache import CachedArray, load_arrays

# Bytes of cached arrays that one fit or prediction keeps in memory; what does not
# fit is read again for each batch.
RESIDENT_BYTES = 2**30
# Cached arrays read at once while cells are checked.
_CHUNK = 64


def sequence_columns(X):
    """Return the positions of the columns of X that hold sequences.

    Parameters
    ----------
    X : object
        Anything that may be given to ``fit``.

    Returns
    -------
    positions : list of int
        Columns of object dtype with at least one array in their cells.
    """
    if isinstance(X, pd.DataFrame):
        columns = [
            X.iloc[:, position].to_numpy()
            if pd.api.types.is_object_dtype(dtype)
            else ()
            for position, dtype in enumerate(X.dtypes)
        ]
    elif isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        columns = X.T
    else:
        return []
    kinds = (np.ndarray, CachedArray)
    return [
        position
        for position, cells in enumerate(columns)
        if any(isinstance(cell, kinds) for cell in cells)
    ]


class CellTable:
    """The columns of an X with sequences, each an array of its own.

    Parameters
    ----------
    columns : list of ndarray of shape (n_clips,)
        Of object dtype where a column holds, or may hold, sequences.
    rows : ndarray of shape (n_clips,) or None, default=None
        Numbers of the rows in X, for messages; None counts them.
    """

    def __init__(self, columns, rows=None):
        self.columns = columns
        self.rows = np.arange(len(columns[0])) if rows is None else rows
        self.shape = len(columns[0]), len(columns)

    @classmethod
    def of(cls, X):
        """Take a frame or an object array apart."""
        if isinstance(X, pd.DataFrame):
            return cls([X.iloc[:, i].to_numpy() for i in range(X.shape[1])])
        return cls(list(np.asarray(X).T))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return CellTable([column[rows] for column in self.columns], self.rows[rows])


class SequenceData:
    """The sequences of many clips, padded when a batch of them is asked for.

    Parameters
    ----------
    cells : list of ndarray
        Of each stream: an object array of shape (n_clips,), whose cells are arrays
        of shape (n_steps,) or (n_steps, size), CachedArray or None; or numbers of
        shape (n_clips, size), which count as sequences of one step.
    sizes : list of int
        Numbers in a step of each stream.
    limits : list of (int or None)
        Steps of each stream that are used, from the first.
    there : Tensor of shape (n_clips, n_streams), dtype bool
        True where a clip has the stream. Cells elsewhere are never looked at.
    weight : Tensor of shape (n_clips,), dtype float32, or None
        Weight of each clip in the loss; None for 1 each.
    """

    __slots__ = ("_padded", "cells", "limits", "sizes", "there", "weight")

    def __init__(self, cells, sizes, limits, there, weight=None):
        self.cells = cells
        self.sizes = sizes
        self.limits = limits
        self.there = there
        self.weight = weight
        self._padded = None

    def __len__(self):
        return len(self.there)

    def take(self, rows):
        """Return some of the clips, by a slice or an index tensor."""
        where = rows if isinstance(rows, slice) else rows.cpu().numpy()
        return SequenceData(
            [cells[where] for cells in self.cells],
            self.sizes,
            self.limits,
            self.there[rows],
            None if self.weight is None else self.weight[rows],
        )

    def present(self):
        """Return which clip has which stream, (n_clips, n_streams), dtype bool."""
        return self.there

    def masked(self, there):
        """Return the same clips with other streams hidden."""
        return SequenceData(self.cells, self.sizes, self.limits, there, self.weight)

    def with_streams(self, streams):
        """Return the same clips with other padded tensors in place of the cells."""
        data = self.masked(self.there)
        data._padded = streams, self.mask
        return data

    def streams(self):
        """Return one tensor per stream, (n_clips, n_steps, size), padded with 0."""
        return self._pad()[0]

    @property
    def mask(self):
        """One tensor per stream, (n_clips, n_steps), True where a step is real."""
        return self._pad()[1]

    def _pad(self):
        if self._padded is None:
            there = self.there.cpu().numpy()
            pairs = [
                _padded(cells, size, limit, there[:, i])
                for i, (cells, size, limit) in enumerate(
                    zip(self.cells, self.sizes, self.limits, strict=True)
                )
            ]
            device = self.there.device
            values, masks = (
                [torch.from_numpy(part).to(device) for part in parts]
                for parts in zip(*pairs, strict=True)
            )
            self._padded = values, masks
        return self._padded


def _padded(cells, size, limit, there):
    """Return the cells of one stream as one array and the mask of its real steps."""
    if cells.dtype != object:
        values = np.where(there[:, None], cells, np.float32(0))[:, None]
        return values, there[:, None].copy()
    rows = np.flatnonzero(there)
    arrays = [_steps(array, limit) for array in load_arrays(cells[rows])]
    longest = max(map(len, arrays), default=1)
    values = np.zeros((len(cells), longest, size), dtype=np.float32)
    mask = np.zeros((len(cells), longest), dtype=bool)
    for row, array in zip(rows, arrays, strict=True):
        values[row, : len(array)] = array
        mask[row, : len(array)] = True
    # A step without a number, such as a frame without a face, is as if padded.
    if np.isnan(values.sum(dtype=np.float64)):
        holes = np.isnan(values).any(axis=2)
        values[holes] = 0.0
        mask &= ~holes
    return values, mask


def _steps(array, limit):
    array = array[:limit]
    return array[:, None] if array.ndim == 1 else array


def to_sequence_data(table, streams, device, *, limits=None, kinds=None, names=None):
    """Check the cells of a table and put them into a SequenceData.

    Parameters
    ----------
    table : CellTable, or ndarray of shape (n_clips, n_features), dtype float32
        Numbers alone are sequences of one step each.
    streams : dict of str to ndarray of int
        Columns of each stream.
    device : torch.device
        Where batches are to live.
    limits : dict of str to int or None, default=None
        Steps of each stream to use; streams that it lacks are used whole.
    kinds : dict of str to (bool, int), or None, default=None
        Of each stream, whether it holds sequences and how many numbers a step has,
        as training found it; None finds it out.
    names : sequence of str or None, default=None
        Names of the columns, for messages.

    Returns
    -------
    data : SequenceData
    kinds : dict of str to (bool, int)

    Raises
    ------
    ValueError
        If a stream has several columns one of which holds sequences, or a cell does
        not hold what it should.
    """
    limits, found, columns, there = limits or {}, {}, [], []
    budget = _Budget(RESIDENT_BYTES)
    for stream, positions in streams.items():
        known = None if kinds is None else kinds[stream]
        if _holds_sequences(table, positions, stream, known, names):
            cells, size, has = _checked(
                table.columns[positions[0]],
                table.rows,
                _label(positions[0], names),
                limits.get(stream),
                None if known is None else known[1],
                budget,
            )
            found[stream] = True, size
        else:
            cells = _numbers(table, positions)
            has = ~np.isnan(cells).any(axis=1)
            found[stream] = False, cells.shape[1]
        columns.append(cells)
        there.append(has)
    there = torch.from_numpy(np.stack(there, axis=1)).to(device)
    sizes = [size for _, size in found.values()]
    steps = [limits.get(stream) for stream in found]
    return SequenceData(columns, sizes, steps, there), found


class _Budget:
    """Bytes that may still be kept in memory."""

    def __init__(self, left):
        self.left = left

    def allows(self, n_bytes):
        if n_bytes > self.left:
            return False
        self.left -= n_bytes
        return True


def _label(position, names):
    return f"Column {position if names is None else names[position]!r}"


def _holds_sequences(table, positions, stream, known, names):
    if not isinstance(table, CellTable):
        return False
    if known is not None:
        return known[0]
    kinds = (np.ndarray, CachedArray)
    holding = [
        position
        for position in positions
        if table.columns[position].dtype == object
        and any(isinstance(cell, kinds) for cell in table.columns[position])
    ]
    if holding and len(positions) > 1:
        raise ValueError(
            f"Stream {stream!r} has {len(positions)} columns, and {len(holding)} of "
            f"them hold sequences: {_label(holding[0], names)}, for one. A stream of "
            "sequences is one column. Name each such column in the streams parameter: "
            "{name: [column], ...}."
        )
    return bool(holding)


def _numbers(table, positions):
    if not isinstance(table, CellTable):
        return table[:, positions]
    block = np.stack([table.columns[position] for position in positions], axis=1)
    return check_array(block, dtype=np.float32, ensure_all_finite="allow-nan")


def _checked(column, numbers, label, limit, size, budget):
    """Look at every cell of a column once.

    Returns
    -------
    cells : ndarray of shape (n_clips,), dtype object
        Cached arrays are loaded as long as the budget allows.
    size : int
        Numbers in a step.
    has : ndarray of shape (n_clips,), dtype bool
        Whether there is any step.
    """
    cells = np.array(column, dtype=object)
    has = np.zeros(len(cells), dtype=bool)
    for start in range(0, len(cells), _CHUNK):
        part = [None if _is_missing(cell) else cell for cell in column[start:][:_CHUNK]]
        for row, array in enumerate(load_arrays(part), start):
            if array is None:
                cells[row] = None
                continue
            steps = _array(array, label, numbers[row], limit)
            size = steps.shape[1] if size is None else size
            if steps.shape[1] != size:
                raise ValueError(
                    f"{label} holds {steps.shape[1]} numbers a step in row "
                    f"{numbers[row]}, "
                    f"where {size} are expected, as in the other rows or those that "
                    "the net was trained on. Use features of one encoder."
                )
            has[row] = bool((~np.isnan(steps).any(axis=1)).any())
            if isinstance(column[row], CachedArray) and budget.allows(steps.nbytes):
                # Only the steps in use: a view would keep the others in memory.
                cells[row] = steps if len(steps) == len(array) else steps.copy()
    if size is None:
        # No clip has any; fitting says so, and predicting does not get here.
        size = 1
    return cells, size, has


def _is_missing(cell):
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def _array(array, label, row, limit):
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        held = (
            f"an array of {array.dtype}"
            if isinstance(array, np.ndarray)
            else f"a {type(array).__name__}"
        )
        raise ValueError(
            f"{label} holds {held} in row {row}. A cell of sequences is a float array "
            "of shape (n_steps, n_dims), a skmer.cache.CachedArray, or None where "
            "the clip lacks the stream."
        )
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{label} holds an array of shape {array.shape} in row {row}. Sequences "
            "have the shape (n_steps, n_dims), or (n_samples,) for sound."
        )
    steps = _steps(array, limit)
    with np.errstate(over="ignore"):
        steps = steps.astype(np.float32, copy=False)
    if np.isinf(steps).any():
        raise ValueError(
            f"{label} contains infinity or a value too large for float32 in row {row}."
        )
    return steps


def step_statistics(data, batch_size):
    """Return mean and standard deviation of the steps of each stream.

    Parameters
    ----------
    data : SequenceData
        Training clips.
    batch_size : int
        Clips that are padded together.

    Returns
    -------
    means, scales : list of Tensor of shape (size,), dtype float32
        A constant has the scale 1.
    """
    device = data.there.device
    sums = [
        [torch.zeros(size, dtype=torch.float64, device=device) for _ in range(2)]
        for size in data.sizes
    ]
    counts = [0] * len(sums)
    for start in range(0, len(data), batch_size):
        batch = data.take(slice(start, start + batch_size))
        for i, (x, mask) in enumerate(zip(batch.streams(), batch.mask, strict=True)):
            steps = x[mask].double()
            n = len(steps)
            if not n:
                continue
            mean, squares = sums[i]
            shift = steps.mean(dim=0) - mean
            share = n / (counts[i] + n)
            # Merged as Chan et al. do, which stays accurate far from zero.
            squares += (steps - steps.mean(dim=0)).square().sum(dim=0)
            squares += shift.square() * counts[i] * share
            mean += shift * share
            counts[i] += n
    means = [mean.float() for mean, _ in sums]
    spreads = [
        (squares / max(n, 1)).sqrt().float()
        for (_, squares), n in zip(sums, counts, strict=True)
    ]
    return means, [torch.where(scale > 0, scale, 1.0) for scale in spreads]
