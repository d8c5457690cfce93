"""Parts of :class:`skmer.modules.ContrastiveFusion`."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear

FUSED = "fused"
_HEAD_SIZES = (256, 128)
# Votes of the heads by modality, and of those of other modalities.
_VOTES = {
    "sound": {"audio": 0.7, "video": 0.5, "text": 0.4, FUSED: 0.7},
    "paper": {"audio": 0.7, "video": 0.5, "text": 0.4, FUSED: 0.7},
    "code": {"audio": 0.7, "video": 0.4, "text": 0.3, FUSED: 0.7},
}
_OTHER_VOTE = 0.5


def self_contrast(
    first: Tensor, second: Tensor, temperature: Tensor, there: Tensor | None
) -> Tensor:
    """Return the loss of the authors' code, whose positive is the code itself."""
    if there is not None:
        first, second = first[there], second[there]
    if not len(first):
        return first.sum()
    views = torch.cat([first, second])
    logits = views @ views.T / temperature / temperature
    return nn.functional.cross_entropy(
        logits, torch.arange(len(views), device=views.device)
    )


class PlainTemperature(nn.Module):
    """Temperatures as they are: constant, or learned without limits."""

    def __init__(self, n: int, initial: float, *, learned: bool):
        super().__init__()
        self.values = nn.Parameter(torch.full((n,), float(initial)), learned)

    def forward(self) -> Tensor:
        return self.values


class _Block(nn.Module):
    """A transformer layer for sequences of one step.

    Attention over one step gives that step whatever queries and keys say, so that
    only values and outputs are left of it.
    """

    def __init__(self, size: int, width: int, dropout: float, source: RandomSource):
        super().__init__()
        self.value = linear(size, size, source)
        self.output = linear(size, size, source)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.feedforward = nn.Sequential(
            linear(size, width, source),
            nn.ReLU(),
            Dropout(dropout, source),
            linear(width, size, source),
        )
        self.dropout = Dropout(dropout, source)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](x + self.dropout(self.output(self.value(x))))
        return self.norms[1](x + self.dropout(self.feedforward(x)))


def stream_encoder(
    size: int,
    hidden: int,
    n_layers: int,
    dropout: float,
    source: RandomSource,
    variant: str,
) -> nn.Sequential:
    """Make a stream's encoder; ``"sound"`` brings it to the hidden width first."""
    if variant == "sound":
        return nn.Sequential(
            Dropout(dropout, source),
            linear(size, hidden, source),
            *(_Block(hidden, 2 * hidden, dropout, source) for _ in range(n_layers)),
        )
    return nn.Sequential(
        *(_Block(size, 2048, dropout, source) for _ in range(n_layers)),
        linear(size, hidden, source),
    )


def voting_head(
    size: int, n_classes: int, dropout: float, source: RandomSource
) -> nn.Sequential:
    """Make a classifier of codes."""
    layers: list[nn.Module] = []
    for width in _HEAD_SIZES:
        layers += [linear(size, width, source), nn.ReLU(), Dropout(dropout, source)]
        size = width
    return nn.Sequential(*layers, linear(size, n_classes, source))


def head_votes(
    stream_sizes: Mapping[str, int],
    given: Mapping[str, float] | None,
    variant: str,
) -> Tensor:
    """Return the votes of the streams' heads and of the fused one."""
    given = {} if given is None else dict(given)
    published = _VOTES[variant]
    modalities = [name.partition("__")[0] for name in stream_sizes]
    unknown = set(given) - {*stream_sizes, *modalities, FUSED}
    if unknown:
        raise ValueError(
            f"vote_weights names {sorted(unknown)[0]!r}, but the heads are those of "
            f"{', '.join(stream_sizes)} and {FUSED}."
        )
    votes = [
        given.get(name, given.get(modality, published.get(modality, _OTHER_VOTE)))
        for name, modality in zip(stream_sizes, modalities, strict=True)
    ]
    votes.append(given.get(FUSED, published[FUSED]))
    if min(votes) < 0 or max(votes) == 0:
        raise ValueError(
            f"vote_weights must be 0 or more, and not all 0. Got {votes} for "
            f"{', '.join([*stream_sizes, FUSED])}."
        )
    return torch.tensor(votes, dtype=torch.float32)
