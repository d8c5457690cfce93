"""What one call of an encoder does with its model."""

import math
from abc import ABC, abstractmethod

import numpy as np

from skmer.cache import Record
from skmer.encoders._layers import combine
from skmer.encoders._stretches import describe, like_lengths, put_together

_NOT_FINITE = (
    "the model gives infinite values. In float16 large values overflow: set "
    "dtype='bfloat16' or 'float32'"
)


class Job(ABC):
    """Read clips, cut them into stretches, run these, put clips together again.

    Parameters
    ----------
    pooling : {"mean", "mean_std"}, int or None
        Over the steps of a clip.
    batch_size : int or "auto"
        Stretches that go through the model at once.
    layer_pooling : {"mean", "sum", "concat"}, default="mean"
        How sequences of several states become one.

    Attributes
    ----------
    reader : callable or None
        Takes a cell and returns what is read of it, None if there is nothing, or
        the error that it could not be read for. It goes to other processes. None
        where cells are ready as they are.
    gpu_budget, cpu_budget : int
        Length of a batch, padding included.
    longest : float
        Length of the longest stretch of a batch by that of the shortest.
    """

    reader = None
    gpu_budget = 1
    # One stretch at a time: batches with padding are slower there.
    cpu_budget = 0
    longest = 1.5

    def __init__(self, pooling, batch_size, layer_pooling="mean"):
        self.pooling = pooling
        self.batch_size = batch_size
        self.layer_pooling = layer_pooling

    @abstractmethod
    def stretches(self, found):
        """Cut what was read of a clip into stretches, a list of Stretch."""

    @abstractmethod
    def load(self, device):
        """Return the model on a device, a Backbone."""

    @abstractmethod
    def forward(self, backbone, stretches):
        """Run the model.

        Parameters
        ----------
        backbone : Backbone
            As :meth:`load` returns it.
        stretches : list of Stretch
            A batch.

        Returns
        -------
        parts : list of Tensor
            For each stretch what :meth:`keep` keeps of its states.
        """

    @abstractmethod
    def arrays(self, name, values):
        """Return what a record holds, a dict of str to ndarray.

        Parameters
        ----------
        name : str
            Of the stretches.
        values : ndarray of shape (n_states, n_outputs * width), dtype float32
            Of one clip.
        """

    def limits(self, device):
        """Return the budget of a batch, and how many stretches it has at most."""
        if self.batch_size != "auto":
            return math.inf, self.batch_size
        return (self.cpu_budget if device == "cpu" else self.gpu_budget), None

    def cost(self, stretches):
        """Return what a batch takes of a device's memory, in units of its own."""
        return len(stretches) * max(map(len, stretches))

    def batches(self, stretches, device):
        """Return batches, lists of the numbers of stretches."""
        budget, at_most = self.limits(device)
        return like_lengths(
            stretches, budget=budget, at_most=at_most, longest=self.longest
        )

    def keep(self, states, stretch, taken):
        """Return what a clip needs of the states of one of its stretches."""
        return describe(states, stretch, self.pooling, taken)

    def record(self, stretches, parts):
        """Return the record of a clip, or the error that there is none for.

        Parameters
        ----------
        stretches : list of Stretch
            Of the clip.
        parts : list of ndarray
            What the forward pass gave for each.
        """
        arrays = {}
        for name in dict.fromkeys(stretch.name for stretch in stretches):
            own = [i for i, stretch in enumerate(stretches) if stretch.name == name]
            values = put_together(
                [parts[i] for i in own], [stretches[i] for i in own], self.pooling
            )
            if not np.isfinite(values).all():
                # Not remembered: another number format or device may do.
                return OverflowError(_NOT_FINITE)
            if self.pooling is None:
                order = range(values.shape[1])
                frames = combine({"states": values}, order, self.layer_pooling, 1)
                arrays[name or "values"] = frames
            else:
                arrays |= self.arrays(name, values)
        return Record("ok", arrays)
