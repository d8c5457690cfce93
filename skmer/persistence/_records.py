"""What stands in the stored tree for what skops does not store."""


class Record:
    """A stand-in: what kind of thing it is, and plain facts about it.

    Parameters
    ----------
    kind : str
        How the thing is made again; see :mod:`skmer.persistence._rebuild`.
    **facts : object
        What it is made of: values that skops stores, and other records.
    """

    def __init__(self, kind, **facts):
        self.kind = kind
        self.facts = facts


class TensorTable:
    """The tensors of a model, each stored once, by number.

    Parameters
    ----------
    tensors : dict of str to Tensor, default=None
        Those of a stored model.
    """

    def __init__(self, tensors=None):
        self.tensors = {} if tensors is None else tensors
        self._numbers = {}
        self._kept = []

    def add(self, tensor):
        """Keep a tensor; return the number under which it is stored, a str."""
        number = self._numbers.get(id(tensor))
        if number is None:
            number = self._numbers[id(tensor)] = str(len(self.tensors))
            # An id is only unique among things that live.
            self._kept.append(tensor)
            self.tensors[number] = tensor.detach().cpu().contiguous().clone()
        return number
