"""Fusion by one attention weight per stream."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._encoders import StreamEncoders, mlp
from skmer.modules._random import Dropout, RandomSource, linear

_KINDS = ("joint", "per_stream")


class AttentionFusion(nn.Module):
    """Encode each stream alone, weigh the codes and add them up.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    attention : {"joint", "per_stream"}, default="joint"
        Where the weights come from. ``"joint"``: one three-layer network looks at
        all codes together and gives raw weights of any sign and size.
        ``"per_stream"``: one scorer, shared by all streams, looks at one code at a
        time; a softmax over the streams makes weights that sum to one.
    hidden_size : int, default=128
        Width of every layer and of the fused code.
    dropout : float, default=0.3
        Dropout, on the input of each stream (``"joint"``) or between the two
        layers of each encoder (``"per_stream"``).
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    A stream that is masked gets the code 0 and the weight 0, so it neither counts
    itself nor is seen by the joint scorer. A clip whose streams are all masked has
    the fused code 0.
    """

    # See skmer.modules.StackedModules.
    stackable = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        attention: str = "joint",
        hidden_size: int = 128,
        dropout: float = 0.3,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        if attention not in _KINDS:
            raise ValueError(f"attention must be one of {_KINDS}. Got {attention!r}.")
        source = random_source or RandomSource()
        self.attention = attention
        n_streams = len(stream_sizes)
        if attention == "joint":
            sizes = list(stream_sizes.values())
            self.encoders = StreamEncoders(sizes, [hidden_size] * 3, dropout, source)
            self.scorer = nn.Sequential(
                Dropout(dropout, source),
                *mlp([n_streams * hidden_size, *[hidden_size] * 3], source),
                linear(hidden_size, n_streams, source),
            )
        else:
            self.encoders = nn.ModuleList(
                nn.Sequential(
                    *mlp([size, hidden_size], source),
                    Dropout(dropout, source),
                    *mlp([hidden_size, hidden_size], source),
                )
                for size in stream_sizes.values()
            )
            self.scorer = linear(hidden_size, 1, source)
        self.head = linear(hidden_size, n_classes, source)

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
        """Fuse the streams into one code a clip.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``; zeros where missing.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        codes : Tensor of shape (batch, hidden_size)
            What the head classifies.
        """
        codes, weights = self._codes_and_weights(streams, mask)
        # (batch, 1, stream) @ (batch, stream, hidden) -> (batch, hidden)
        return torch.bmm(weights.unsqueeze(1), codes).squeeze(1)

    def weights(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Weigh the streams.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``; zeros where missing.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        weights : Tensor of shape (batch, n_streams)
            0 where a stream is missing.
        """
        return self._codes_and_weights(streams, mask)[1]

    def _codes_and_weights(
        self, streams: Sequence[Tensor], mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        codes = [encode(x) for encode, x in zip(self.encoders, streams, strict=True)]
        stacked = torch.stack(codes, dim=1)  # (batch, stream, hidden)
        if mask is not None:
            stacked = stacked * mask.unsqueeze(2)
        if self.attention == "joint":
            weights = self.scorer(stacked.flatten(1))  # (batch, stream)
        else:
            scores = self.scorer(stacked).squeeze(2)  # (batch, stream)
            if mask is not None:
                # The lowest finite number, for the softmax of nothing is not a number.
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            weights = scores.softmax(dim=1)
        if mask is not None:
            weights = weights * mask
        return stacked, weights
