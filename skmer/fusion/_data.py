"""Feature frames as whole tensors on one device, and batches that slice them."""

import numpy as np
import torch
from skorch.dataset import Dataset


class StreamData:
    """The streams of many clips, side by side in one tensor.

    Parameters
    ----------
    values : Tensor of shape (n_clips, n_columns), dtype float32
        The streams' columns next to each other, 0 where a stream is missing.
    sizes : list of int
        Number of columns of each stream.
    mask : Tensor of shape (n_clips, n_streams), dtype bool, or None
        True where a clip has the stream; None where all have all.
    weight : Tensor of shape (n_clips,), dtype float32, or None
        Weight of each clip in the loss; None for 1 each.
    group : Tensor of shape (n_clips,), dtype int64, or None
        Number of each clip's group, where groups are to be mixed.
    """

    __slots__ = ("group", "mask", "sizes", "values", "weight")

    def __init__(self, values, sizes, mask=None, weight=None, group=None):
        self.values = values
        self.sizes = sizes
        self.mask = mask
        self.weight = weight
        self.group = group

    def __len__(self):
        return self.values.shape[0]

    def streams(self):
        """Return one tensor per stream, views of the whole."""
        return self.values.split(self.sizes, dim=1)

    def take(self, rows):
        """Return some of the clips: a slice gives views, an index tensor copies."""
        tensors = (self.values, self.mask, self.weight, self.group)
        if isinstance(rows, slice):
            parts = [None if tensor is None else tensor[rows] for tensor in tensors]
        else:
            parts = [
                None if tensor is None else tensor.index_select(0, rows)
                for tensor in tensors
            ]
        return StreamData(parts[0], self.sizes, *parts[1:])

    def masked(self, mask):
        """Return the same clips with other streams hidden."""
        return StreamData(self.values, self.sizes, mask, self.weight, self.group)

    def with_streams(self, streams):
        """Return the same clips with other tensors for their streams."""
        values = torch.cat(list(streams), dim=1)
        return StreamData(values, self.sizes, self.mask, self.weight, self.group)

    def present(self):
        """Return the mask, with True for every stream where there is none."""
        if self.mask is not None:
            return self.mask
        shape = (len(self), len(self.sizes))
        return torch.ones(shape, dtype=torch.bool, device=self.values.device)


def to_stream_data(X, streams, device):
    """Put the columns of X that streams name into a StreamData.

    Parameters
    ----------
    X : ndarray of shape (n_clips, n_features), dtype float32
        NaN anywhere in the block of a stream means that the clip lacks the stream.
    streams : dict of str to ndarray of int
        Columns of each stream.
    device : torch.device
        Where the tensors are to live.

    Returns
    -------
    data : StreamData
    """
    columns = np.concatenate(list(streams.values()))
    copied = not np.array_equal(columns, np.arange(X.shape[1]))
    if copied:
        # Unlike X[:, columns] it comes out row by row, as the tensor has to be.
        X = np.take(X, columns, axis=1)
    sizes = [len(part) for part in streams.values()]
    # One sum tells whether any NaN is there without a table of booleans.
    mask = None
    if np.isnan(X.sum(dtype=np.float64)):
        X = X if copied else X.copy()
        mask = np.ones((len(X), len(sizes)), dtype=bool)
        start = 0
        for index, size in enumerate(sizes):
            block = X[:, start : start + size]
            missing = np.isnan(block).any(axis=1)
            block[missing] = 0.0
            mask[:, index] = ~missing
            start += size
        mask = torch.from_numpy(mask).to(device)
    # torch warns about memory that it could write through to the caller's array.
    values = torch.from_numpy(np.require(X, np.float32, ["C", "W"])).to(device)
    return StreamData(values, sizes, mask)


class StreamDataset(Dataset):
    """Clips with their classes, as skorch's callbacks expect them.

    Parameters
    ----------
    X : StreamData or SequenceData
        The clips.
    y : Tensor of shape (n_clips,), dtype int64, or None
        Positions of the clips' labels in ``classes_``.
    """

    def __init__(self, X, y=None):
        super().__init__(X, y, length=len(X))

    def __getitem__(self, rows):
        y = 0 if self.y is None else self.y[rows]
        return self.X.take(rows), y


class Batches:
    """Iterate over a dataset in slices of its tensors.

    Parameters
    ----------
    dataset : StreamDataset
        What to iterate over.
    batch_size : int
        Clips in a batch; the last may hold fewer.
    order : callable or None
        Called at the start of each round for the rows to visit, a Tensor of int64
        on the dataset's device. None visits all rows as they come.
    """

    def __init__(self, dataset, batch_size, order=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.order = order

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        if self.order is None:
            for start in range(0, len(self.dataset), self.batch_size):
                yield self.dataset[start : start + self.batch_size]
        else:
            for rows in self.order().split(self.batch_size):
                yield self.dataset[rows]
