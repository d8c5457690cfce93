"""Fusion whose encoders learn from unlabelled clips by contrast (MR-CCL)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from skmer.modules._contrastive_parts import (
    PlainTemperature,
    head_votes,
    self_contrast,
    stream_encoder,
    voting_head,
)
from skmer.modules._losses import (
    LearnedTemperature,
    add_noise,
    info_nce,
    noise_schedule,
)
from skmer.modules._random import Dropout, RandomSource, linear

_VARIANTS = ("sound", "paper", "code")
_LABEL_FREE = ("encoders", "invariant", "expansions", "temperature")
_TEMPERATURE = {"sound": 0.1, "paper": 1.0, "code": 1.0}
_CONTRAST_WEIGHT = {"sound": 0.1, "paper": 0.0, "code": 1.0}
_SCHEDULE = {"sound": "scaled_linear", "paper": "linear", "code": "scaled_linear"}


class ContrastiveFusion(nn.Module):
    """Encode streams so that views of one clip agree; let one head a stream vote.

    Each stream has an encoder of its own, which makes its specific code; one
    encoder shared by all streams makes invariant codes of those. Heads on each
    specific code and on all of them together vote.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    variant : {"sound", "paper", "code"}, default="sound"
        Which description of the system to follow; see
        :class:`skmer.fusion.ContrastiveFusionClassifier`.
    hidden_size : int, default=128
        Width of the codes.
    n_layers : int, default=1
        Transformer layers of each stream's encoder.
    dropout : float, default=0.3
        Dropout in encoders and heads.
    temperature : float or None, default=None
        Temperature of the contrasts, at the start where it is learned. None: 0.1, or
        1 with the other variants.
    contrast_weight : float or None, default=None
        Weight of the contrast between streams while labels are learnt. None: 0.1, 0
        (``"paper"``) or 1 (``"code"``).
    noise_steps : int, default=100
        Steps of the noise.
    noise_range : tuple of two floats, default=(0.001, 0.1)
        Share of noise that the first and the last step add.
    vote_weights : mapping of str to float or None, default=None
        Votes by stream, modality, or ``"fused"``; others as published.
    random_source : RandomSource or None, default=None
        Where initial weights, dropout and noise draw from; None makes one with
        seed 0.

    Notes
    -----
    A masked stream has the code 0 and no vote, and takes part in no contrast that
    needs it.
    """

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        variant: str = "sound",
        hidden_size: int = 128,
        n_layers: int = 1,
        dropout: float = 0.3,
        temperature: float | None = None,
        contrast_weight: float | None = None,
        noise_steps: int = 100,
        noise_range: tuple[float, float] = (0.001, 0.1),
        vote_weights: Mapping[str, float] | None = None,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {_VARIANTS}. Got {variant!r}.")
        source = random_source or RandomSource()
        self.variant = variant
        self.random_source = source
        self.contrast_weight = (
            _CONTRAST_WEIGHT[variant] if contrast_weight is None else contrast_weight
        )
        n = len(stream_sizes)
        self.encoders = nn.ModuleList(
            stream_encoder(size, hidden_size, n_layers, dropout, source, variant)
            for size in stream_sizes.values()
        )
        self.invariant = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (
                    linear(hidden_size, hidden_size, source),
                    Dropout(dropout, source),
                    nn.LeakyReLU(),
                )
            )
        )
        # One stream is compared with all others side by side; of two streams that
        # would be the comparison of the pair once more.
        self.expansions = nn.ModuleList(
            linear(hidden_size, (n - 1) * hidden_size, source)
            for _ in range(n if n > 2 else 0)
        )
        self.pairs = list(combinations(range(n), 2))
        n_contrasts = n + len(self.pairs) + len(self.expansions)
        if temperature is None:
            temperature = _TEMPERATURE[variant]
        if variant == "sound":
            self.temperature = LearnedTemperature(n_contrasts, initial=temperature)
        else:
            self.temperature = PlainTemperature(
                n_contrasts, temperature, learned=variant == "code"
            )
        self.heads = nn.ModuleList(
            voting_head(width, n_classes, dropout, source)
            for width in [hidden_size] * n + [n * hidden_size]
        )
        first, last = noise_range
        signal = noise_schedule(noise_steps, first, last, _SCHEDULE[variant])
        self.register_buffer("signal", signal.float(), persistent=False)
        votes = head_votes(stream_sizes, vote_weights, variant)
        self.register_buffer("votes", votes, persistent=False)

    def forward(
        self, streams: Sequence[Tensor], mask: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of the vote, and what it came from.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size of the stream)
            One tensor per stream; masked rows may hold any finite number.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        logits : Tensor of shape (batch, n_classes)
            Logarithms of the weighted mean of the heads' probabilities; with
            ``"code"`` the weighted sum of their logits.
        parts : dict of str to Tensor
            ``heads``, the logits of the heads, of shape (batch, n_streams + 1,
            n_classes), the fused head last; and, in training, ``contrast``, of
            shape ().
        """
        specific = self._specific(streams, mask)
        heads = self._heads(specific)
        votes = self._votes(heads, mask)
        if self.variant == "code":
            logits = (votes.unsqueeze(2) * heads).sum(dim=1)
        else:
            shares = votes / votes.sum(dim=1, keepdim=True)
            # Not log(0): a clip without streams may have no head that votes.
            shares = shares.nan_to_num().clamp(min=torch.finfo(shares.dtype).tiny)
            logits = heads.log_softmax(dim=2) + shares.log().unsqueeze(2)
            logits = logits.logsumexp(dim=1)
        parts = {"heads": heads}
        if self.training and self.contrast_weight > 0:
            parts["contrast"] = self._between_streams(specific, mask)
        return logits, parts

    def encode(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return the specific codes of the streams side by side.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        codes : Tensor of shape (batch, n_streams * hidden_size)
            What the fused head classifies; 0 where a stream is missing.
        """
        return self._specific(streams, mask).flatten(1)

    def weights(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return each stream's share of the votes for the predicted class.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        weights : Tensor of shape (batch, n_streams)
            Vote times probability that the stream's head gives to the class, as a
            share of the sum over all heads; what a row lacks to 1 is the fused
            head's. 0 where a stream is missing.
        """
        logits, parts = self(streams, mask)
        top = logits.argmax(dim=1)
        proba = parts["heads"].softmax(dim=2)
        support = proba[torch.arange(len(top), device=top.device), :, top]
        support = support * self._votes(proba, mask)
        total = support.sum(dim=1, keepdim=True)
        return (support / total).nan_to_num()[:, :-1]

    def losses(
        self,
        y_pred: tuple[Tensor, dict[str, Tensor]],
        y_true: Tensor,
        mask: Tensor | None,
        criterion: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Return the loss of each clip's label: the fused head's and the streams'.

        Parameters
        ----------
        y_pred : tuple
            What :meth:`forward` returned.
        y_true : Tensor of shape (batch,), dtype int64
            Positions of the labels.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream; the stream's head learns nothing from
            the clip then.
        criterion : callable
            ``criterion(logits, y_true)`` returns the losses, of shape (batch,).

        Returns
        -------
        losses : Tensor of shape (batch,)
            The fused head's loss and the mean of those of the streams that are
            there. With ``"code"`` the loss of the weighted sum and the mean of all
            heads' losses, each on logits times vote.
        """
        logits, heads = y_pred[0], y_pred[1]["heads"]
        code = self.variant == "code"
        if code:
            heads = heads * self.votes.to(heads.dtype).unsqueeze(1)
        each = torch.stack(
            [criterion(heads[:, m], y_true) for m in range(heads.shape[1])], dim=1
        )
        there = torch.ones_like(each)
        if mask is not None:
            there[:, :-1] = mask
        if not code:
            there = there[:, :-1]
            whole = each[:, -1]
            each = each[:, :-1]
        else:
            whole = criterion(logits, y_true)
        return whole + (each * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)

    def pretraining_losses(
        self, streams: Sequence[Tensor], mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the losses that need no label.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, standardised, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        losses : dict of str to Tensor of shape ()
            ``intra``: each stream's codes with and without noise are contrasted;
            ``inter``: each two streams, and each one and all others together. Each
            the mean of its contrasts.
        """
        specific = self._specific(streams, mask)
        noisy = self._specific([self._noisy(x) for x in streams], mask)
        temperatures = self.temperature()
        contrasts = [
            self._contrast(
                specific[:, m],
                noisy[:, m],
                temperatures[m],
                None if mask is None else mask[:, m],
            )
            for m in range(len(self.encoders))
        ]
        return {
            "intra": torch.stack(contrasts).mean(),
            "inter": self._between_streams(specific, mask),
        }

    def label_free_state(self) -> dict[str, Tensor]:
        """Return the weights that pre-training learns: all but the heads'.

        Returns
        -------
        state : dict of str to Tensor
            Copies on the CPU, by the names of :meth:`state_dict`.
        """
        # By name, for a classifier may hang heads of its own on the module.
        return {
            name: value.detach().to("cpu", copy=True)
            for name, value in self.state_dict().items()
            if name.partition(".")[0] in _LABEL_FREE
        }

    # Parts

    def _specific(self, streams: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        codes = [encode(x) for encode, x in zip(self.encoders, streams, strict=True)]
        stacked = torch.stack(codes, dim=1)  # (batch, stream, hidden)
        return stacked if mask is None else stacked * mask.unsqueeze(2)

    def _heads(self, specific: Tensor) -> Tensor:
        inputs = [*specific.unbind(dim=1), specific.flatten(1)]
        logits = [head(x) for head, x in zip(self.heads, inputs, strict=True)]
        return torch.stack(logits, dim=1)  # (batch, stream + 1, class)

    def _votes(self, heads: Tensor, mask: Tensor | None) -> Tensor:
        votes = self.votes.to(heads.dtype).expand(len(heads), -1)
        if mask is None:
            return votes
        # The fused head has a vote wherever there is something to fuse.
        return votes * torch.cat([mask, mask.any(dim=1, keepdim=True)], dim=1)

    def _noisy(self, x: Tensor) -> Tensor:
        generator = self.random_source.generator(x.device)
        n_steps = len(self.signal)
        if self.variant == "paper":
            signal = self.signal[-1]
        else:
            shape = (len(x), 1) if self.variant == "sound" else ()
            steps = torch.randint(n_steps, shape, generator=generator, device=x.device)
            signal = self.signal[steps]
        return add_noise(x, signal, generator)

    def _between_streams(self, specific: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mean of the contrasts between streams, 0 for one stream."""
        n = specific.shape[1]
        if n == 1:
            return specific.new_zeros(())
        codes = specific if self.variant == "code" else self.invariant(specific)
        temperatures = self.temperature()[n:]
        contrasts = []
        for index, (i, j) in enumerate(self.pairs):
            there = None if mask is None else mask[:, i] & mask[:, j]
            contrasts.append(
                self._contrast(codes[:, i], codes[:, j], temperatures[index], there)
            )
        whole = None if mask is None else mask.all(dim=1)
        for i, expand in enumerate(self.expansions):
            others = [codes[:, j] for j in range(n) if j != i]
            contrasts.append(
                self._contrast(
                    expand(codes[:, i]),
                    torch.cat(others, dim=1),
                    temperatures[len(self.pairs) + i],
                    whole,
                )
            )
        return torch.stack(contrasts).mean()

    def _contrast(
        self, first: Tensor, second: Tensor, temperature: Tensor, there: Tensor | None
    ) -> Tensor:
        if self.variant == "code":
            return self_contrast(first, second, temperature, there)
        return info_nce(
            first,
            second,
            temperature,
            mask=there,
            normalize=self.variant == "sound",
        )
