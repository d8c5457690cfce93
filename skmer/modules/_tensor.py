"""Tensor fusion: every product of numbers of different streams."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from skmer.modules._encoders import StreamEncoders, mlp
from skmer.modules._random import Dropout, RandomSource, linear


class TensorFusion(nn.Module):
    """Run a perceptron over the outer product of the streams' codes.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int, default=64
        Width of the encoders' first two layers and of the two behind the product.
    code_size : int, default=16
        Numbers in the code of a stream. The product has ``(code_size + 1)`` to the
        power of the number of streams of them.
    max_product : int, default=262144
        Most numbers that the product may have; the layer behind it has
        ``hidden_size`` weights for each.
    dropout : float, default=0.3
        Dropout of the streams and of the product.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Raises
    ------
    ValueError
        If the product would have more than ``max_product`` numbers.

    Notes
    -----
    Codes have a 1 at their end, so that the product holds the codes themselves and
    the products of some of the streams too. A missing stream has the code 0, which
    leaves the products of those that are there.
    """

    # See skmer.modules.StackedModules.
    stackable = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 64,
        code_size: int = 16,
        max_product: int = 2**18,
        dropout: float = 0.3,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        n_streams = len(stream_sizes)
        product = (code_size + 1) ** n_streams
        if product > max_product:
            raise ValueError(
                f"The outer product of {n_streams} streams with code_size={code_size} "
                f"has {code_size + 1}**{n_streams} = {product:,} numbers a clip, more "
                f"than max_product={max_product:,}. Lower code_size, raise "
                "max_product, select fewer streams, or use low-rank fusion, whose "
                "size grows with the number of streams and not as a power of it."
            )
        source = random_source or RandomSource()
        sizes = list(stream_sizes.values())
        widths = [hidden_size, hidden_size, code_size]
        self.encoders = StreamEncoders(sizes, widths, dropout, source)
        self.fuse = nn.Sequential(
            Dropout(dropout, source), *mlp([product, hidden_size, hidden_size], source)
        )
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
        return self.fuse(outer_product(self.encoders(streams, mask)))


def outer_product(codes: Tensor) -> Tensor:
    """Return all products that take one number of each code, or 1, as factors.

    Parameters
    ----------
    codes : Tensor of shape (batch, n_streams, size)
        One code per stream.

    Returns
    -------
    products : Tensor of shape (batch, (size + 1) ** n_streams)
        The last stream's numbers change fastest; each code has a 1 behind it.
    """
    codes = append_one(codes)
    product = codes[:, 0]
    for index in range(1, codes.shape[1]):
        # (batch, so far, 1) * (batch, 1, size + 1)
        product = (product.unsqueeze(2) * codes[:, index].unsqueeze(1)).flatten(1)
    return product


def append_one(codes: Tensor) -> Tensor:
    """Return codes with a 1 behind the last number of each.

    Parameters
    ----------
    codes : Tensor of shape (..., size)
        Codes.

    Returns
    -------
    longer : Tensor of shape (..., size + 1)
    """
    return nn.functional.pad(codes, (0, 1), value=1.0)
