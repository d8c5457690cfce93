"""Dynamic weighting of modalities, as in MMEF-Net."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear
from skmer.modules._self_attention import SelfAttention

_VARIANTS = ("sound", "paper")


class DynamicWeightingFusion(nn.Module):
    """Project each stream to a token and let the tokens attend to each other.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    variant : {"sound", "paper"}, default="sound"
        What attends. ``"sound"``: each stream is a token. ``"paper"``: all streams
        together are one vector, hence one token, as the paper's first equation has
        it; the softmax over one token is 1 whatever the queries and keys, which
        leaves one linear map of the vector.
    gate : bool, default=False
        Multiply each token by its share of a softmax that a linear layer computes
        from the mean of the tokens. Only with ``variant="sound"``.
    hidden_size : int, default=128
        Size of a token.
    n_heads : int, default=2
        Heads of the attention; ``hidden_size`` is a multiple of it.
    dropout : float, default=0.6
        Dropout on the input of each stream.
    attention_dropout : float, default=0.0
        Dropout of the attention matrix.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    A masked stream's token is zero before and after attention and no other token
    looks at it.
    """

    # See skmer.modules.StackedModules.
    stackable = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        variant: str = "sound",
        gate: bool = False,
        hidden_size: int = 128,
        n_heads: int = 2,
        dropout: float = 0.6,
        attention_dropout: float = 0.0,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {_VARIANTS}. Got {variant!r}.")
        if gate and variant == "paper":
            raise ValueError("gate=True needs variant='sound', which has tokens.")
        source = random_source or RandomSource()
        n_streams = len(stream_sizes)
        self.variant = variant
        self.projections = nn.ModuleList(
            nn.Sequential(
                Dropout(dropout, source),
                linear(size, hidden_size, source),
                nn.ReLU(),
                linear(hidden_size, hidden_size, source),
            )
            for size in stream_sizes.values()
        )
        width = n_streams * hidden_size
        if variant == "sound":
            self.attention = SelfAttention(
                hidden_size, n_heads, attention_dropout, source
            )
            self.norm = nn.LayerNorm(hidden_size)
        else:
            self.value = linear(width, width, source, bias=False)
            self.norm = nn.LayerNorm(width)
        self.gate = linear(hidden_size, n_streams, source) if gate else None
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
        """Return the tokens after attention, side by side.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        codes : Tensor of shape (batch, n_streams * hidden_size)
            What the head classifies.
        """
        return self._codes_and_weights(streams, mask)[0]

    def weights(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Weigh the streams: the salience of each modality.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        weights : Tensor of shape (batch, n_streams)
            The gate, or without one how much the tokens of the clip look at each
            token, their mean over tokens and heads; they sum to one, and are 0 where
            a stream is missing. With ``variant="paper"`` 1 for every stream there.
        """
        return self._codes_and_weights(streams, mask)[1]

    def _codes_and_weights(
        self, streams: Sequence[Tensor], mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        projected = [p(x) for p, x in zip(self.projections, streams, strict=True)]
        tokens = torch.stack(projected, dim=1)  # (batch, stream, hidden)
        if mask is None:
            present = tokens.new_ones(tokens.shape[:2])
        else:
            present = mask.to(tokens.dtype)
            tokens = tokens * present.unsqueeze(2)
        if self.variant == "paper":
            joint = tokens.flatten(1)
            return self.norm(joint + self.value(joint)), present
        attended, attention = self.attention(tokens, mask)
        tokens = self.norm(tokens + attended) * present.unsqueeze(2)
        count = present.sum(dim=1, keepdim=True).clamp(min=1)
        if self.gate is None:
            looks = attention.mean(dim=1) * present.unsqueeze(2)
            weights = looks.sum(dim=1) / count * present
        else:
            scores = self.gate(tokens.sum(dim=1) / count)
            if mask is not None:
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            weights = scores.softmax(dim=1) * present
            tokens = tokens * weights.unsqueeze(2)
        return tokens.flatten(1), weights
