"""The layers of which fusion by cross-attention is made."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear


class CrossAttention(nn.Module):
    """One layer of attention from the steps of a stream to those of others.

    Parameters
    ----------
    size : int
        Numbers in a step that attends.
    other_sizes : sequence of int
        Numbers in a step of each of the others.
    n_heads : int
        Number of heads.
    dropout : float
        Dropout of what a step gets.
    random_source : RandomSource
        Where initial weights and dropout draw from.
    """

    def __init__(
        self,
        size: int,
        other_sizes: Sequence[int],
        n_heads: int,
        dropout: float,
        random_source: RandomSource,
    ):
        super().__init__()
        inner = -(-size // n_heads) * n_heads
        self.n_heads = n_heads
        self.query = self.out = None
        if other_sizes:
            self.query = linear(size, inner, random_source)
            self.out = linear(inner, size, random_source)
        self.keys = nn.ModuleList(linear(n, inner, random_source) for n in other_sizes)
        self.values = nn.ModuleList(
            linear(n, inner, random_source) for n in other_sizes
        )
        self.drop = Dropout(dropout, random_source)
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Tensor, others: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Add to each step what it finds in the others, and normalise it.

        Parameters
        ----------
        x : Tensor of shape (batch, n_steps, size)
            Steps that attend.
        others : sequence of (Tensor, Tensor)
            Steps of each other stream, (batch, n_other, size of it), and their mask,
            (batch, n_other), True where a step is real.

        Returns
        -------
        y : Tensor of shape (batch, n_steps, size)
            Just normalised where no step of the others is real.
        """
        if not others:
            return self.norm(x)
        pairs = [
            (key(steps), value(steps))
            for key, value, (steps, _) in zip(
                self.keys, self.values, others, strict=True
            )
        ]
        keys, values = (
            self._heads(torch.cat(part, dim=1)) for part in zip(*pairs, strict=True)
        )
        real = torch.cat([mask for _, mask in others], dim=1)  # (batch, n_other)
        # The lowest finite number, for the softmax of nothing is not a number.
        hidden = torch.zeros_like(real, dtype=keys.dtype).masked_fill(
            ~real, torch.finfo(keys.dtype).min
        )
        found = nn.functional.scaled_dot_product_attention(
            self._heads(self.query(x)), keys, values, attn_mask=hidden[:, None, None]
        )
        found = self.drop(self.out(found.transpose(1, 2).flatten(2)))
        return self.norm(x + found * real.any(dim=1)[:, None, None])

    def _heads(self, x):
        # (batch, step, inner) -> (batch, head, step, part)
        return x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


class Projection(nn.Module):
    """Two linear layers with a shortcut, into the space where streams compare.

    Parameters
    ----------
    size, width : int
        Numbers that come in and go out.
    dropout : float
        Dropout of the second layer's output.
    random_source : RandomSource
        Where initial weights and dropout draw from.
    """

    def __init__(
        self, size: int, width: int, dropout: float, random_source: RandomSource
    ):
        super().__init__()
        self.first = linear(size, width, random_source, bias=False)
        self.second = linear(width, width, random_source, bias=False)
        self.drop = Dropout(dropout, random_source)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Project.

        Parameters
        ----------
        x : Tensor of shape (batch, size)
            Pooled steps.

        Returns
        -------
        y : Tensor of shape (batch, width)
        """
        first = self.first(x)
        second = self.second(nn.functional.gelu(first))
        return self.norm(first + self.drop(second))


def masked_mean(steps: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the real steps, 0 where there is none.

    Parameters
    ----------
    steps : Tensor of shape (batch, n_steps, size)
        Steps.
    mask : Tensor of shape (batch, n_steps), dtype bool
        True where a step is real.

    Returns
    -------
    mean : Tensor of shape (batch, size)
    """
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    return (steps * mask[..., None]).sum(dim=1) / count
