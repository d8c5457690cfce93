"""Codes that streams share and codes of their own, as in MISA."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear
from skmer.modules._subspaces import central_moment_discrepancy, orthogonality_loss
from skmer.modules._transformer import TransformerLayer

_MOMENTS = 5


class MisaFusion(nn.Module):
    """Split each stream into what it shares with the others and what is its own.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int, default=128
        Width of a stream's code, shared or private; a multiple of ``n_heads``.
    n_heads : int, default=2
        Heads of the transformer layer over all codes of a clip.
    dropout : float, default=0.3
        Dropout of the streams, in the transformer layer and before the head.
    similarity_weight, difference_weight, reconstruction_weight : float, default=0.1
        Weights of the three losses that are added in training.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    ``similarity`` is the central moment discrepancy between the shared codes of two
    streams, the mean over all pairs; ``difference`` the orthogonality loss of each
    stream's shared and private codes and of the private codes of each pair, their
    sum; ``reconstruction`` the mean square of what a linear layer makes of shared
    plus private code less what the stream was projected to. Clips that lack a stream
    do not count in its losses, nor in those of its pairs. No token looks at those of
    a missing stream, whose codes are 0.
    """

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 128,
        n_heads: int = 2,
        dropout: float = 0.3,
        similarity_weight: float = 0.1,
        difference_weight: float = 0.1,
        reconstruction_weight: float = 0.1,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        self.loss_weights = {
            "similarity": similarity_weight,
            "difference": difference_weight,
            "reconstruction": reconstruction_weight,
        }
        sizes = list(stream_sizes.values())
        n_streams = len(sizes)
        self.project = nn.ModuleList(
            nn.Sequential(
                Dropout(dropout, source),
                linear(size, hidden_size, source),
                nn.ReLU(),
                nn.LayerNorm(hidden_size),
            )
            for size in sizes
        )

        def square() -> nn.Linear:
            return linear(hidden_size, hidden_size, source)

        self.private = nn.ModuleList(square() for _ in sizes)
        self.shared = square()
        self.reconstruct = nn.ModuleList(square() for _ in sizes)
        self.attend = TransformerLayer(hidden_size, n_heads, dropout, source)
        self.fuse = nn.Sequential(
            linear(2 * n_streams * hidden_size, n_streams * hidden_size, source),
            nn.ReLU(),
        )
        self.drop = Dropout(dropout, source)
        self.head = linear(n_streams * hidden_size, n_classes, source)

    def forward(
        self, streams: Sequence[Tensor], mask: Tensor | None = None
    ) -> Tensor | tuple[Tensor, dict]:
        """Return the logits; in training the losses too.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size of the stream)
            One tensor per stream; masked rows may hold any finite number.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        logits : Tensor of shape (batch, n_classes)
        losses : dict of str to Tensor of shape ()
            Only in training: ``similarity``, ``difference``, ``reconstruction``, and
            ``auxiliary``, their weighted sum.
        """
        parts = self._parts(streams, mask)
        logits = self.head(self.drop(self._fused(*parts)))
        if not self.training:
            return logits
        losses = self._losses(*parts)
        losses["auxiliary"] = sum(
            weight * losses[name] for name, weight in self.loss_weights.items()
        )
        return logits, losses

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
        codes : Tensor of shape (batch, n_streams * hidden_size)
            What the head classifies.
        """
        return self._fused(*self._parts(streams, mask))

    def _parts(self, streams, mask):
        """Return projected, private and shared codes, and the mask."""
        if mask is None:
            first = streams[0]
            mask = first.new_ones(len(first), len(streams), dtype=torch.bool)
        projected = torch.stack(
            [project(x) for project, x in zip(self.project, streams, strict=True)],
            dim=1,
        )  # (batch, stream, hidden), as the following
        pairs = zip(self.private, projected.unbind(dim=1), strict=True)
        private = torch.stack([encode(x) for encode, x in pairs], dim=1).sigmoid()
        shared = self.shared(projected).sigmoid()
        return projected, private, shared, mask

    def _fused(self, projected, private, shared, mask):
        there = mask.repeat(1, 2)
        tokens = torch.cat([private, shared], dim=1) * there.unsqueeze(2)
        tokens = self.attend(tokens, there) * there.unsqueeze(2)
        return self.fuse(tokens.flatten(1))

    def _losses(self, projected, private, shared, mask):
        # 16 bits would leave two digits of a difference of moments.
        with torch.autocast(projected.device.type, enabled=False):
            dtype = self.head.weight.dtype
            parts = (part.to(dtype) for part in (projected, private, shared))
            projected, private, shared = (part.unbind(dim=1) for part in parts)
            has = mask.unbind(dim=1)
            streams = range(len(has))
            pairs = list(combinations(streams, 2))
            similarities = [
                central_moment_discrepancy(
                    shared[a], shared[b], _MOMENTS, mask=has[a] & has[b]
                )
                for a, b in pairs
            ]
            differences = [
                orthogonality_loss(private[i], shared[i], mask=has[i]) for i in streams
            ] + [
                orthogonality_loss(private[a], private[b], mask=has[a] & has[b])
                for a, b in pairs
            ]
            rebuilt = [
                layer(private[i] + shared[i])
                for i, layer in enumerate(self.reconstruct)
            ]
            reconstructions = [
                _mean((rebuilt[i] - projected[i]).square().mean(dim=1), has[i])
                for i in streams
            ]
            # Of one stream there are no pairs.
            similarity = sum(similarities, projected[0].new_zeros(()))
            return {
                "similarity": similarity / max(len(pairs), 1),
                "difference": sum(differences),
                "reconstruction": sum(reconstructions) / len(has),
            }


def _mean(values: Tensor, there: Tensor) -> Tensor:
    return (values * there).sum() / there.sum().clamp(min=1)
