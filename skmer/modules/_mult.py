"""Directional cross-modal transformers between each two streams, as in MulT."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear
from skmer.modules._transformer import TransformerLayer, positions


class MultFusion(nn.Module):
    """Let each stream be rewritten by each other one, and by itself then.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Numbers in a step of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int, default=64
        Width of a step; a multiple of ``n_heads``.
    n_heads : int, default=8
        Heads of each attention.
    n_layers : int, default=2
        Layers of each transformer: one for each ordered pair of streams, one that
        joins them for each stream.
    kernel_size : int, default=1
        Steps that the first layer, a convolution over time, sees together; odd.
    dropout : float, default=0.2
        Dropout of the steps that come into a transformer, within its layers, and
        before the head.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    The transformer of stream a and other stream b lets the steps of a look at those
    of b. What comes out for each b, side by side, goes through the transformer of a,
    where the steps look at each other, and the last real step of it is the code of
    a. Codes go through two layers with a shortcut to the head.

    Where a clip lacks b, or X has one stream only, nothing is looked at: the steps
    of a pass through the perceptrons of the layers. A missing stream has the code 0.
    """

    takes_sequences = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 64,
        n_heads: int = 8,
        n_layers: int = 2,
        kernel_size: int = 1,
        dropout: float = 0.2,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be odd, so that a step is in the middle of what is "
                f"seen. Got {kernel_size}."
            )
        source = random_source or RandomSource()
        n_streams = len(stream_sizes)
        self.kernel_size = kernel_size
        self.embed = nn.ModuleList(
            _Embedding(size, hidden_size, kernel_size, source)
            for size in stream_sizes.values()
        )

        def transformer(width: int) -> _Transformer:
            return _Transformer(width, n_heads, n_layers, dropout, source)

        # Of each stream, one for each other stream, in order.
        self.pairs = nn.ModuleList(
            nn.ModuleList(transformer(hidden_size) for _ in range(n_streams - 1))
            for _ in range(n_streams)
        )
        width = hidden_size * max(n_streams - 1, 1)
        self.joined = nn.ModuleList(transformer(width) for _ in range(n_streams))
        total = width * n_streams
        self.residual = nn.Sequential(
            linear(total, total, source),
            nn.ReLU(),
            Dropout(dropout, source),
            linear(total, total, source),
        )
        self.head = linear(total, n_classes, source)

    def set_statistics(self, means: Sequence[Tensor], scales: Sequence[Tensor]) -> None:
        """Set what is taken from each step, and what it is divided by then.

        Parameters
        ----------
        means, scales : sequence of Tensor of shape (size,)
            One a stream, such as the mean and the standard deviation of the training
            clips' steps.
        """
        for embed, mean, scale in zip(self.embed, means, scales, strict=True):
            embed.mean.copy_(mean)
            embed.scale.copy_(scale)

    def forward(
        self, streams: Sequence[Tensor], mask: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, n_steps, size)
            One a stream; padding may hold any finite number.
        mask : sequence of Tensor of shape (batch, n_steps), dtype bool, or None
            True where a step is real; none is where a clip lacks the stream. None:
            all are.

        Returns
        -------
        logits : Tensor of shape (batch, n_classes)
        """
        return self.head(self.encode(streams, mask))

    def encode(
        self, streams: Sequence[Tensor], mask: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Fuse the streams into one code a clip.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, n_steps, size)
            One a stream, as for :meth:`forward`.
        mask : sequence of Tensor of shape (batch, n_steps), dtype bool, or None
            As for :meth:`forward`.

        Returns
        -------
        codes : Tensor of shape (batch, n_codes)
            What the head classifies; ``hidden_size`` numbers for each ordered pair
            of streams.
        """
        if mask is None:
            mask = [torch.ones_like(x[..., 0], dtype=torch.bool) for x in streams]
        steps = [
            embed(x, real)
            for embed, x, real in zip(self.embed, streams, mask, strict=True)
        ]
        codes = []
        for index, x in enumerate(steps):
            others = [i for i in range(len(steps)) if i != index]
            found = [
                pair(x, mask[i], steps[i])
                for pair, i in zip(self.pairs[index], others, strict=True)
            ]
            joined = torch.cat(found, dim=2) if found else x
            codes.append(_last(self.joined[index](joined, mask[index]), mask[index]))
        code = torch.cat(codes, dim=1)
        return code + self.residual(code)


class _Embedding(nn.Module):
    """Standardise the steps of a stream and convolve them over time."""

    def __init__(self, size: int, width: int, kernel: int, source: RandomSource):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.reach = kernel // 2
        self.convolve = linear(kernel * size, width, source, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = torch.where(mask[..., None], (x - self.mean) / self.scale, 0.0)
        around = nn.functional.pad(x, (0, 0, self.reach, self.reach))
        # (batch, step, size, kernel)
        seen = around.unfold(1, 2 * self.reach + 1, 1)
        return self.convolve(seen.flatten(2))


class _Transformer(nn.Module):
    """Layers over steps that know where they are."""

    def __init__(
        self,
        width: int,
        n_heads: int,
        n_layers: int,
        dropout: float,
        source: RandomSource,
    ):
        super().__init__()
        self.drop = Dropout(dropout, source)
        self.layers = nn.ModuleList(
            TransformerLayer(width, n_heads, dropout, source) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor, others: Tensor | None = None) -> Tensor:
        x = self._placed(x)
        if others is not None:
            others = self._placed(others)
        for layer in self.layers:
            x = layer(x, mask, others)
        return self.norm(x)

    def _placed(self, x: Tensor) -> Tensor:
        _, n_steps, width = x.shape
        return self.drop(math.sqrt(width) * x + positions(n_steps, width, x))


def _last(x: Tensor, mask: Tensor) -> Tensor:
    """Return the last real step of each clip, 0 where there is none."""
    order = torch.arange(x.shape[1], device=x.device)
    last = (mask * order).argmax(dim=1)
    step = x.take_along_dim(last[:, None, None], dim=1).squeeze(1)
    return step * mask.any(dim=1, keepdim=True)
