"""Low-rank fusion: tensor fusion whose weights are products of factors."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._encoders import StreamEncoders
from skmer.modules._random import Dropout, RandomSource, linear
from skmer.modules._tensor import append_one


class LowRankFusion(nn.Module):
    r"""Multiply linear maps of the streams' codes, and add up several such products.

    With :math:`z_m` the code of stream m with a 1 behind it, factors :math:`W_m^r`
    and weights :math:`v_r`, the fused code is

    .. math::

        h = b + \sum_r v_r \prod_m z_m W_m^r

    which is a linear map of the outer product of :class:`TensorFusion` whose tensor
    of weights has at most the rank given.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int, default=128
        Width of the encoders' three layers and of the fused code.
    rank : int, default=4
        Number of products that are added up.
    dropout : float, default=0.3
        Dropout of the streams and of the fused code.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    A missing stream has the code 0 with a 1 behind it, as in :class:`TensorFusion`.
    The 1 counts 1 at first: products of many small numbers, which would hardly
    learn, are then products of numbers near 1.
    """

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 128,
        rank: int = 4,
        dropout: float = 0.3,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        sizes = list(stream_sizes.values())
        self.encoders = StreamEncoders(sizes, [hidden_size] * 3, dropout, source)
        generator = source.generator("cpu")

        def drawn(shape, std):
            return nn.init.normal_(torch.empty(shape), std=std, generator=generator)

        shape = (rank, hidden_size + 1, hidden_size)
        factors = [drawn(shape, hidden_size**-0.5) for _ in sizes]
        for factor in factors:
            factor[:, -1] = 1.0
        self.factors = nn.ParameterList(factors)
        self.rank_weights = nn.Parameter(drawn((rank,), rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.drop = Dropout(dropout, source)
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
        return self.head(self.drop(self.encode(streams, mask)))

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
        codes = append_one(self.encoders(streams, mask)).unbind(dim=1)
        products = None
        for code, factor in zip(codes, self.factors, strict=True):
            part = torch.einsum("bi,rio->bro", code, factor)
            products = part if products is None else products * part
        return torch.einsum("bro,r->bo", products, self.rank_weights) + self.bias
