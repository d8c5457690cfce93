"""Self-attention over a handful of tokens, some of which may be missing."""

import math

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear


class SelfAttention(nn.Module):
    """Let tokens look at each other, through several heads.

    Parameters
    ----------
    hidden_size : int
        Size of a token; a multiple of ``n_heads``.
    n_heads : int
        Number of heads; each sees ``hidden_size / n_heads`` numbers of a token.
    dropout : float
        Dropout of the attention matrix.
    random_source : RandomSource
        Where initial weights and dropout draw from.
    """

    def __init__(
        self,
        hidden_size: int,
        n_heads: int,
        dropout: float,
        random_source: RandomSource,
    ):
        super().__init__()
        if hidden_size % n_heads:
            raise ValueError(
                f"hidden_size must be a multiple of n_heads. Got {hidden_size} and "
                f"{n_heads}."
            )
        self.n_heads = n_heads
        self.project = linear(hidden_size, 3 * hidden_size, random_source)
        self.drop = Dropout(dropout, random_source)
        self.out = linear(hidden_size, hidden_size, random_source)

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Parameters
        ----------
        tokens : Tensor of shape (batch, n_tokens, hidden_size)
            What looks and is looked at.
        mask : Tensor of shape (batch, n_tokens), dtype bool, or None
            False where a token is missing; it is then not looked at.

        Returns
        -------
        attended : Tensor of shape (batch, n_tokens, hidden_size)
            Of missing tokens too: the caller discards it.
        attention : Tensor of shape (batch, n_heads, n_tokens, n_tokens)
            Rows sum to one; before dropout.
        """
        batch, n_tokens, hidden = tokens.shape
        size = hidden // self.n_heads
        parts = self.project(tokens).view(batch, n_tokens, 3, self.n_heads, size)
        # each (batch, head, token, size)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) / math.sqrt(size)
        if mask is not None:
            # The lowest finite number, for the softmax of nothing is not a number.
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~mask[:, None, None, :], lowest)
        attention = scores.softmax(dim=3)
        attended = self.drop(attention) @ value
        return self.out(attended.transpose(1, 2).flatten(2)), attention
