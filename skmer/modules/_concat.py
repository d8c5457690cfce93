"""Early fusion: one network on all streams side by side."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear


class ConcatFusion(nn.Module):
    """Put the streams side by side and run a multilayer perceptron over them.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_sizes : sequence of int, default=(128,)
        Width of each layer before the head; each has ReLU and dropout behind it.
    dropout : float, default=0.6
        Dropout behind each layer.
    input_dropout : float, default=0.0
        Dropout on the streams.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    The first layer also sees one number a stream, 1 where the clip has it and 0
    where not, so that a stream that is missing, whose columns are zero, is told from
    one whose columns happen to be zero, their mean after standardising.
    """

    # See skmer.modules.StackedModules.
    stackable = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_sizes: Sequence[int] = (128,),
        dropout: float = 0.6,
        input_dropout: float = 0.0,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        self.input_drop = Dropout(input_dropout, source)
        layers: list[nn.Module] = []
        width = sum(stream_sizes.values()) + len(stream_sizes)
        for hidden in hidden_sizes:
            layers += [linear(width, hidden, source), nn.ReLU()]
            layers.append(Dropout(dropout, source))
            width = hidden
        self.layers = nn.Sequential(*layers)
        self.head = linear(width, n_classes, source)

    def forward(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size of the stream)
            One tensor per stream; masked rows may hold any finite number.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        logits : Tensor of shape (batch, n_classes)
        """
        return self.head(self.encode(streams, mask))

    def encode(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return what the head classifies.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        codes : Tensor of shape (batch, hidden_sizes[-1])
            The last hidden layer.
        """
        first = streams[0]
        if mask is None:
            present = first.new_ones(first.shape[0], len(streams))
        else:
            present = mask.to(first.dtype)
            streams = [x * present[:, m : m + 1] for m, x in enumerate(streams)]
        values = self.input_drop(torch.cat(list(streams), dim=1))
        return self.layers(torch.cat([values, present], dim=1))
