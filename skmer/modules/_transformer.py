"""A transformer layer whose tokens look at themselves or at others."""

import math

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear


class TransformerLayer(nn.Module):
    """Attention and a perceptron, each normalised before and added to what came in.

    Parameters
    ----------
    size : int
        Numbers in a token; a multiple of ``n_heads``.
    n_heads : int
        Heads of the attention.
    dropout : float
        Dropout of what attention finds, and of both layers of the perceptron, which
        is four times as wide inside.
    random_source : RandomSource
        Where initial weights and dropout draw from.
    """

    def __init__(
        self, size: int, n_heads: int, dropout: float, random_source: RandomSource
    ):
        super().__init__()
        if size % n_heads:
            raise ValueError(
                f"hidden_size must be a multiple of n_heads. Got {size} and {n_heads}."
            )
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(size)
        self.query = linear(size, size, random_source)
        self.key_value = linear(size, 2 * size, random_source)
        self.out = linear(size, size, random_source)
        self.drop = Dropout(dropout, random_source)
        self.feed = nn.Sequential(
            nn.LayerNorm(size),
            linear(size, 4 * size, random_source),
            nn.ReLU(),
            Dropout(dropout, random_source),
            linear(4 * size, size, random_source),
            Dropout(dropout, random_source),
        )

    def forward(self, x: Tensor, mask: Tensor, others: Tensor | None = None) -> Tensor:
        """Let tokens look.

        Parameters
        ----------
        x : Tensor of shape (batch, n_tokens, size)
            Tokens that look.
        mask : Tensor of shape (batch, n_seen), dtype bool
            True for tokens that may be looked at. Where there is none, attention
            adds nothing.
        others : Tensor of shape (batch, n_seen, size) or None, default=None
            Tokens that are looked at; None: ``x`` itself.

        Returns
        -------
        y : Tensor of shape (batch, n_tokens, size)
        """
        normal = self.norm(x)
        seen = normal if others is None else self.norm(others)
        # (batch, head, token, part)
        keys, values = (
            self._heads(part) for part in self.key_value(seen).chunk(2, dim=2)
        )
        # The lowest finite number, for the softmax of nothing is not a number.
        hidden = torch.zeros_like(mask, dtype=keys.dtype).masked_fill(
            ~mask, torch.finfo(keys.dtype).min
        )
        found = nn.functional.scaled_dot_product_attention(
            self._heads(self.query(normal)),
            keys,
            values,
            attn_mask=hidden[:, None, None],
        )
        found = self.drop(self.out(found.transpose(1, 2).flatten(2)))
        x = x + found * mask.any(dim=1)[:, None, None]
        return x + self.feed(x)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


def positions(n_steps: int, size: int, like: Tensor) -> Tensor:
    """Return sines and cosines that tell steps apart by where they are.

    Parameters
    ----------
    n_steps : int
        Number of steps.
    size : int
        Numbers for each step.
    like : Tensor
        Gives dtype and device.

    Returns
    -------
    positions : Tensor of shape (n_steps, size)
        Sines of falling frequency, from 1 to 1/10,000 radians a step, then cosines.
    """
    half = (size + 1) // 2
    rates = torch.arange(half, dtype=torch.float64) * -(
        math.log(10000.0) / max(half - 1, 1)
    )
    angles = torch.arange(n_steps, dtype=torch.float64)[:, None] * rates.exp()
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)[:, :size]
    return waves.to(like.device, like.dtype)
