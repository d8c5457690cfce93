"""Fusion of sequences whose steps attend to the steps of the other streams."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._alignment import alignment_loss, choose_negatives
from skmer.modules._cross_attention_layers import (
    CrossAttention,
    Projection,
    masked_mean,
)
from skmer.modules._losses import LearnedTemperature
from skmer.modules._random import Dropout, RandomSource, linear

_VARIANTS = ("sound", "paper", "code")
_NEGATIVES = ("hard", "sampled")
# What CLIP starts from; the published code takes the logarithm of its inverse for a
# divisor.
_TEMPERATURE = 0.07


class CrossAttentionFusion(nn.Module):
    """Let the steps of each stream attend to those of the others; pool and join.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Numbers in a step of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int or None, default=128
        Width of the steps that attend: a linear layer with GELU brings all streams
        to it. None leaves each stream as wide as it comes.
    n_heads : int, default=4
        Heads of an attention layer. Its inner width is the stream's, rounded up to a
        multiple of this.
    n_layers : int, default=2
        Attention layers of each stream. The other streams are the same in each.
    dropout : float, default=0.3
        Dropout of the steps that attend, if ``hidden_size`` is given, and of the
        fused code.
    attention_dropout : float, default=0.1
        Dropout of what a step gets from the others.
    projection_size : int, default=512
        Width of the projections whose cosines the auxiliary losses compare.
    projection_dropout : float, default=0.5
        Dropout inside them.
    variant : {"sound", "paper", "code"}, default="sound"
        Temperature and normalisation of the alignment loss. ``"sound"``: learned in
        log space from 0.07, between 0.01 and 1; divided by the number of positives.
        ``"paper"``: fixed at 0.07; not divided. ``"code"``: learned as it is from
        ln(1/0.07) = 2.66; not divided.
    negatives : {"hard", "sampled"}, default="hard"
        Negatives of the matching loss: the most similar clip of another class, or one
        drawn in proportion to the softmax of the similarities.
    backbones : mapping of str to torch.nn.Module or None, default=None
        For some streams, a network that makes steps out of what comes:
        ``backbone(x, mask)`` takes Tensors of shape (batch, n) and returns steps of
        shape (batch, n_steps, ``backbone.width``) and their mask.
    random_source : RandomSource or None, default=None
        Where initial weights, dropout and negatives draw from; None makes one with
        seed 0.

    Notes
    -----
    With two streams this is the network of Foal-Net. With more, the steps of a stream
    attend to those of all others at once, and the losses are means over all pairs. A
    stream without another to look at, be it alone or in a clip that lacks the rest,
    passes through the layer norms only. A missing stream has the code 0.
    """

    takes_sequences = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int | None = 128,
        n_heads: int = 4,
        n_layers: int = 2,
        dropout: float = 0.3,
        attention_dropout: float = 0.1,
        projection_size: int = 512,
        projection_dropout: float = 0.5,
        variant: str = "sound",
        negatives: str = "hard",
        backbones: Mapping[str, nn.Module] | None = None,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {_VARIANTS}. Got {variant!r}.")
        if negatives not in _NEGATIVES:
            raise ValueError(
                f"negatives must be one of {_NEGATIVES}. Got {negatives!r}."
            )
        source = random_source or RandomSource()
        backbones = dict(backbones or {})
        # Only what is drawn later: kept apart from the layers' shares of the source.
        self.random_source = source
        self.variant = variant
        self.negatives = negatives
        names = list(stream_sizes)
        # Streams may have names that attributes of a module may not.
        self.backbones = nn.ModuleDict(
            {str(names.index(name)): network for name, network in backbones.items()}
        )
        sizes = [
            backbones[name].width if name in backbones else size
            for name, size in stream_sizes.items()
        ]
        for index, size in enumerate(sizes):
            if str(index) not in self.backbones:
                self.register_buffer(f"mean_{index}", torch.zeros(size))
                self.register_buffer(f"scale_{index}", torch.ones(size))
        self.embed = None
        if hidden_size is not None:
            self.embed = nn.ModuleList(
                nn.Sequential(
                    linear(size, hidden_size, source),
                    nn.GELU(),
                    Dropout(dropout, source),
                )
                for size in sizes
            )
            sizes = [hidden_size] * len(sizes)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                CrossAttention(
                    size, sizes[:i] + sizes[i + 1 :], n_heads, attention_dropout, source
                )
                for _ in range(n_layers)
            )
            for i, size in enumerate(sizes)
        )
        self.widths = sizes
        self.drop = Dropout(dropout, source)
        self.head = linear(sum(sizes), n_classes, source)
        self.projections = self.matchers = None
        if len(sizes) > 1:
            self.projections = nn.ModuleList(
                Projection(size, projection_size, projection_dropout, source)
                for size in sizes
            )
            self.matchers = nn.ModuleList(linear(size, 2, source) for size in sizes)
            if variant == "sound":
                self.learned_temperature = LearnedTemperature(initial=_TEMPERATURE)
            elif variant == "paper":
                self.register_buffer("fixed_temperature", torch.tensor(_TEMPERATURE))
            else:
                self.raw_temperature = nn.Parameter(
                    torch.tensor(-math.log(_TEMPERATURE))
                )

    def set_statistics(self, means: Sequence[Tensor], scales: Sequence[Tensor]) -> None:
        """Set what is taken from each step, and what it is divided by then.

        Parameters
        ----------
        means, scales : sequence of Tensor of shape (size,)
            One a stream, such as the mean and the standard deviation of the training
            clips' steps; what a stream with a backbone gets is left out.
        """
        for index, (mean, scale) in enumerate(zip(means, scales, strict=True)):
            if str(index) not in self.backbones:
                getattr(self, f"mean_{index}").copy_(mean)
                getattr(self, f"scale_{index}").copy_(scale)

    def forward(
        self, streams: Sequence[Tensor], mask: Sequence[Tensor] | None = None
    ) -> Tensor | tuple[Tensor, dict]:
        """Return the logits; in training also what the auxiliary losses need.

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
        parts : dict
            Only in training: ``steps``, ``masks`` and ``codes``, lists with one
            tensor a stream, for :meth:`auxiliary_losses`.
        """
        steps, masks = self._steps(streams, mask)
        codes = self._codes(steps, masks)
        logits = self.head(self.drop(torch.cat(codes, dim=1)))
        if not self.training:
            return logits
        return logits, {"steps": steps, "masks": masks, "codes": codes}

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
            The streams' codes side by side; zeros for a missing one.
        """
        return torch.cat(self._codes(*self._steps(streams, mask)), dim=1)

    def weights(
        self, streams: Sequence[Tensor], mask: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Weigh the streams by what the prediction loses without each.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, n_steps, size)
            One a stream, as for :meth:`forward`.
        mask : sequence of Tensor of shape (batch, n_steps), dtype bool, or None
            As for :meth:`forward`.

        Returns
        -------
        weights : Tensor of shape (batch, n_streams)
            By how much the logit of the predicted class, less the mean of all, falls
            when the stream is hidden: raw weights of any sign, 0 for a missing
            stream. Attention mixes the streams' codes, so these do not tell.
        """
        steps, masks = self._steps(streams, mask)
        whole = self.head(torch.cat(self._codes(steps, masks), dim=1))
        top = whole.argmax(dim=1, keepdim=True)
        margins = []
        for hidden in range(len(steps)):
            kept = list(masks)
            kept[hidden] = torch.zeros_like(masks[hidden])
            rest = self.head(torch.cat(self._codes(steps, kept), dim=1))
            lost = whole - rest
            margins.append(lost.gather(1, top).squeeze(1) - lost.mean(dim=1))
        there = torch.stack([real.any(dim=1) for real in masks], dim=1)
        return torch.stack(margins, dim=1) * there

    def auxiliary_losses(self, parts: dict, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return how badly streams agree on classes, and pairs are told apart.

        Parameters
        ----------
        parts : dict
            As :meth:`forward` returns it.
        labels : Tensor of shape (batch,), dtype int64
            Classes of the clips.

        Returns
        -------
        alignment, matching : Tensor of shape (batch,)
            Of each clip; their means are the losses AVEL and MEM. A clip that lacks
            one of a pair of streams does not count for the pair; for ``matching``
            neither does one without a clip of another class in its batch.
        """
        there, similarities = self._similarities(parts)
        same = labels[:, None] == labels[None, :]
        zero = self.head.weight.new_zeros(len(labels))
        if not similarities:
            return zero, zero
        pairs = [
            (
                self._alignment(similarity, same, there[a], there[b]),
                self._matching(similarity, same, there, a, b, parts),
            )
            for (a, b), similarity in similarities.items()
        ]
        alignment, matching = (
            torch.stack(losses).mean(dim=0) for losses in zip(*pairs, strict=True)
        )
        return alignment, matching

    def _alignment(self, similarity, same, has, partners):
        losses = alignment_loss(
            similarity, same, partners[None], average=self.variant == "sound"
        )
        counted = has & (same & partners[None]).any(dim=1)
        return _spread(torch.where(counted, losses, 0.0), counted)

    def _matching(self, similarity, same, there, a, b, parts):
        """Tell clips' own pairs from those whose stream b is a negative's."""
        allowed = ~same & there[b][None] & (there[a] & there[b])[:, None]
        generator = None
        if self.negatives == "sampled":
            generator = self.random_source.generator(same.device)
        rows, chosen = choose_negatives(similarity, allowed, generator)
        counted = allowed.any(dim=1)
        losses = torch.zeros_like(similarity[:, 0])
        if not len(rows):
            return losses
        negative = self._code(a, parts, rows, swapped=b, chosen=chosen)
        scores = self.matchers[a](torch.cat([parts["codes"][a][rows], negative]))
        wanted = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
        wanted[: len(rows)] = 1
        found = nn.functional.cross_entropy(
            scores.to(losses.dtype), wanted, reduction="none"
        )
        losses = losses.index_put((rows,), found.view(2, -1).mean(dim=0))
        return _spread(losses, counted)

    def temperature(self) -> Tensor:
        """Return what cosines are divided by.

        Returns
        -------
        temperature : Tensor of shape ()
        """
        if self.variant == "sound":
            return self.learned_temperature()[0]
        if self.variant == "paper":
            return self.fixed_temperature
        return self.raw_temperature

    def _similarities(self, parts):
        """Return which clip has which stream, and the similarities of each pair."""
        there = [mask.any(dim=1) for mask in parts["masks"]]
        if self.projections is None:
            return there, {}
        device = there[0].device.type
        pairs = zip(self.projections, parts["steps"], parts["masks"], strict=True)
        points = [project(masked_mean(steps, mask)) for project, steps, mask in pairs]
        # 16 bits would leave two digits of a cosine divided by the temperature.
        with torch.autocast(device, enabled=False):
            temperature = self.temperature()
            points = [
                nn.functional.normalize(p.to(temperature.dtype), dim=1) for p in points
            ]
            return there, {
                (a, b): points[a] @ points[b].T / temperature
                for a in range(len(points))
                for b in range(len(points))
                if a != b
            }

    def _steps(self, streams, masks):
        """Return the steps that attend and their masks, one of each a stream."""
        if masks is None:
            masks = [torch.ones_like(x[..., 0], dtype=torch.bool) for x in streams]
        steps, real = [], []
        for index, (x, mask) in enumerate(zip(streams, masks, strict=True)):
            if str(index) in self.backbones:
                x, mask = self.backbones[str(index)](x.squeeze(2), mask)
            else:
                mean = getattr(self, f"mean_{index}")
                x = (x - mean) / getattr(self, f"scale_{index}")
            if self.embed is not None:
                x = self.embed[index](x)
            steps.append(x)
            real.append(mask)
        return steps, real

    def _codes(self, steps, masks):
        parts = {"steps": steps, "masks": masks}
        return [self._code(index, parts) for index in range(len(steps))]

    def _code(self, index, parts, rows=None, swapped=None, chosen=None):
        """Return the pooled steps of a stream after they have looked at the others.

        With ``rows`` only of these clips, which see in place of their own stream
        ``swapped`` that of the clips ``chosen``.
        """

        def taken(stream):
            steps, mask = parts["steps"][stream], parts["masks"][stream]
            if rows is None:
                return steps, mask
            where = chosen if stream == swapped else rows
            return steps[where], mask[where]

        x, mask = taken(index)
        others = [taken(i) for i in range(len(self.layers)) if i != index]
        for layer in self.layers[index]:
            x = layer(x, others)
        return masked_mean(x, mask)


def _spread(losses, counted):
    """Scale losses so that their mean over all clips is that over the counted."""
    return losses * (len(counted) / counted.sum().clamp(min=1))
