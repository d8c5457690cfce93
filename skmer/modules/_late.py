"""Late fusion: the streams meet after each has been encoded alone."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from skmer.modules._encoders import StreamEncoders, mlp
from skmer.modules._random import Dropout, RandomSource, linear


class LateFusion(nn.Module):
    """Encode each stream alone, then run a perceptron over all codes.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int, default=128
        Width of every layer: three of each encoder and two behind them.
    dropout : float, default=0.3
        Dropout of the streams and of the codes side by side.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    A missing stream has the code 0.
    """

    # See skmer.modules.StackedModules.
    stackable = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 128,
        dropout: float = 0.3,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        sizes = list(stream_sizes.values())
        self.encoders = StreamEncoders(sizes, [hidden_size] * 3, dropout, source)
        widths = [len(sizes) * hidden_size, hidden_size, hidden_size]
        self.fuse = nn.Sequential(Dropout(dropout, source), *mlp(widths, source))
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
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        codes : Tensor of shape (batch, hidden_size)
            What the head classifies.
        """
        return self.fuse(self.encoders(streams, mask).flatten(1))
