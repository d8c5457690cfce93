"""What every forward pass of a pretrained model shares."""

import math

import numpy as np


class Room:
    """Run batches, in parts where a device's memory does not hold them whole.

    What did not fit once is not tried again: later batches of that cost are cut
    beforehand.

    Parameters
    ----------
    cost : callable
        Tells what a list of stretches takes.
    """

    def __init__(self, cost):
        self.cost = cost
        self.budget = math.inf

    def run(self, forward, stretches):
        """Call a forward pass, on half the stretches where memory runs out.

        Parameters
        ----------
        forward : callable
            Takes a list of stretches, returns a list of results, one each.
        stretches : list of Stretch
            At least one.

        Returns
        -------
        results : list
            In place of a result, a MemoryError where a single stretch does not fit.
        """
        import torch

        size = self.cost(stretches)
        if size <= self.budget or len(stretches) == 1:
            try:
                return forward(stretches)
            except (RuntimeError, MemoryError) as error:
                if not _is_of_memory(error):
                    raise
                reason = str(error).partition("\n")[0]
            # Outside the except clause, whose traceback keeps the tensors alive.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(stretches) == 1:
                return [MemoryError(_NO_ROOM.format(reason=reason))]
            self.budget = min(self.budget, size // 2)
        half = len(stretches) // 2
        return self.run(forward, stretches[:half]) + self.run(forward, stretches[half:])


def _is_of_memory(error):
    """Tell whether an error says that there is no memory, of whatever device."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower()
    return any(words in said for words in _MEMORY)


_MEMORY = ("out of memory", "can't allocate memory", "status_alloc_failed")
_NO_ROOM = (
    "the device has no memory for a single stretch of it ({reason}). Use "
    "dtype='float16', shorter stretches (window_seconds, max_length) or another device"
)


def to_device(array, device, dtype=None):
    """Copy an array to a device, beside what the device is doing.

    Parameters
    ----------
    array : ndarray
        Not to be changed before the copy is used.
    device : str
        Where to.
    dtype : torch.dtype or None, default=None
        What to convert to, there.

    Returns
    -------
    tensor : Tensor
    """
    import torch

    tensor = torch.from_numpy(array)
    if str(device).startswith("cuda"):
        # From pinned memory only is the copy made beside other work.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).to(dtype or tensor.dtype)


class Fetch:
    """Copies of tensors to the host, under way.

    Parameters
    ----------
    tensors : list of (Tensor or Exception)
        Exceptions stay what they are.
    """

    def __init__(self, tensors):
        import torch

        self.copies = [
            t.detach().to("cpu", non_blocking=t.is_cuda) if torch.is_tensor(t) else t
            for t in tensors
        ]
        self.events = []
        devices = {t.device for t in tensors if torch.is_tensor(t) and t.is_cuda}
        for device in devices:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(device))
            self.events.append(event)

    def wait(self):
        """Return the copies, ndarrays of their own, when they are there."""
        for event in self.events:
            event.synchronize()
        return [
            copy if isinstance(copy, Exception) else np.array(copy.numpy(), order="C")
            for copy in self.copies
        ]
