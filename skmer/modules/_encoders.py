"""Perceptrons that make one code of each stream."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear


class StreamEncoders(nn.ModuleList):
    """One perceptron per stream, with dropout on its input, as in MERTools.

    Parameters
    ----------
    sizes : sequence of int
        Number of columns of each stream.
    widths : sequence of int
        Width of each layer; all have ReLU behind them.
    dropout : float
        Dropout of the streams.
    random_source : RandomSource
        Where initial weights and dropout draw from.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        widths: Sequence[int],
        dropout: float,
        random_source: RandomSource,
    ):
        super().__init__(
            nn.Sequential(
                Dropout(dropout, random_source), *mlp([size, *widths], random_source)
            )
            for size in sizes
        )

    def forward(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Encode each stream.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size of the stream)
            One tensor per stream; masked rows may hold any finite number.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        codes : Tensor of shape (batch, n_streams, widths[-1])
            0 where a stream is missing.
        """
        codes = [encode(x) for encode, x in zip(self, streams, strict=True)]
        stacked = torch.stack(codes, dim=1)
        return stacked if mask is None else stacked * mask.unsqueeze(2)


def mlp(widths: Sequence[int], random_source: RandomSource) -> list[nn.Module]:
    """Return linear layers, each with ReLU behind it.

    Parameters
    ----------
    widths : sequence of int
        Numbers that come in, then those that each layer gives.
    random_source : RandomSource
        Where the initial weights come from.

    Returns
    -------
    layers : list of torch.nn.Module
    """
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [linear(n_in, n_out, random_source), nn.ReLU()]
    return layers
