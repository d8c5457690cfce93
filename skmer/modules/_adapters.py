"""Bottleneck adapters between the frozen blocks of a speech model."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skmer.modules._random import RandomSource, bernoulli, linear

# Of one shuffled epoch, so many batches are put in order of length at a time.
_BUCKET = 8


class BottleneckAdapter(nn.Module):
    """Add to each step what a narrow perceptron makes of it.

    ``y = x + ReLU(W_up ReLU(W_down x + b_down) + b_up)``. Starts next to nothing, but
    not at nothing: behind the outer ReLU, weights of zero would never move.

    Parameters
    ----------
    width : int
        Numbers in a step.
    size : int, default=128
        Width of the bottleneck.
    outer_relu : bool, default=True
        Whether the last ReLU is there. With it, numbers can only grow.
    random_source : RandomSource or None, default=None
        Where initial weights come from; None makes one with seed 0.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import BottleneckAdapter
    >>> x = torch.ones(1, 3, 4)
    >>> bool((BottleneckAdapter(4, 2)(x) - x).abs().max() < 0.05)
    True
    """

    def __init__(
        self,
        width: int,
        size: int = 128,
        *,
        outer_relu: bool = True,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        self.outer_relu = outer_relu
        self.down = linear(width, size, source)
        self.up = linear(size, width, source)
        nn.init.normal_(self.up.weight, std=1e-3, generator=source.generator("cpu"))
        nn.init.constant_(self.up.bias, 1e-2 if outer_relu else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt steps.

        Parameters
        ----------
        x : Tensor of shape (..., width)
            Output of a block.

        Returns
        -------
        y : Tensor of shape (..., width)
            What the next block is to see.
        """
        change = self.up(torch.relu(self.down(x)))
        return x + (torch.relu(change) if self.outer_relu else change)


class FrozenBlocks:
    """Consecutive blocks of a speech model, used where they are and as they are.

    No module of torch, so that the weights are neither trained, nor copied, nor
    pickled with what runs through them.

    Parameters
    ----------
    model : torch.nn.Module
        HuBERT, WavLM, wav2vec 2.0 or data2vec-audio model of transformers, in
        evaluation mode and without gradients.
    first, last : int
        Blocks from 1 on, both included.

    Raises
    ------
    ValueError
        If the model learns, or has fewer blocks.
    """

    def __init__(self, model: Any, first: int, last: int):
        blocks = model.encoder.layers
        if not 1 <= first <= last <= len(blocks):
            raise ValueError(
                f"Blocks from 1 to {len(blocks)} are there. Got {first} to {last}."
            )
        if model.training or any(p.requires_grad for p in model.parameters()):
            raise ValueError(
                "The model must be frozen: call eval() and requires_grad_(False) on it."
            )
        self.first = first
        self.blocks = list(blocks[first - 1 : last])
        # WavLM computes the bias of its attention in the first block, for all.
        attention = blocks[0].attention
        self.biased = attention if hasattr(attention, "compute_bias") else None

    def __call__(
        self, steps: Tensor, real: Tensor, adapters: Mapping[int, Callable]
    ) -> list[Tensor]:
        """Run steps through the blocks, each behind its adapter.

        Parameters
        ----------
        steps : Tensor of shape (batch, n_steps, width)
            What goes into the first block.
        real : Tensor of shape (batch, n_steps), dtype bool
            False for padding, which no real step sees.
        adapters : mapping of int to callable
            By number of the block whose output they change.

        Returns
        -------
        outputs : list of Tensor of shape (batch, n_steps, width)
            Of the blocks that have an adapter, behind it, in order of the blocks.
        """
        options = self._options(steps, real)
        outputs = []
        for number, block in enumerate(self.blocks, start=self.first):
            found = block(steps, **options)
            steps = found[0] if isinstance(found, tuple) else found
            if number in adapters:
                steps = adapters[number](steps)
                outputs.append(steps)
        return outputs

    def _options(self, steps, real):
        padded = not bool(real.all())
        if self.biased is not None:
            if padded:
                # WavLM gives torch masks of two kinds, which works; for good, since
                # the list of filters belongs to all threads.
                warnings.filterwarnings(
                    "ignore", "Support for mismatched key_padding_mask"
                )
            n = steps.shape[1]
            bias = self.biased.compute_bias(n, n).repeat(len(steps), 1, 1)
            mask = real.long() if padded else None
            return {"attention_mask": mask, "position_bias": bias}
        if not padded:
            return {"attention_mask": None}
        barred = torch.zeros(real.shape, dtype=steps.dtype, device=steps.device)
        barred.masked_fill_(~real, torch.finfo(steps.dtype).min)
        return {"attention_mask": barred[:, None, None, :]}


class AdaptedLayers(nn.Module):
    """Adapters, the weights of their layers, and what trains them.

    The acoustic adaptation of Zhao et al. [1]_. Each adapted block's output is
    averaged over time; the averages, each times its weight, sum to the clip's vector
    ``f``. A perceptron rebuilds ``f`` from what masking leaves of it, and a linear
    layer tells the class from what it rebuilt.

    Parameters
    ----------
    width : int
        Numbers in a step.
    layers : sequence of int
        Blocks that have an adapter, ascending.
    n_classes : int
        Number of classes.
    adapter_size : int, default=128
        Width of the bottlenecks.
    outer_relu : bool, default=True
        As for :class:`BottleneckAdapter`.
    read_layer : int or "all", default="all"
        Layer whose weight starts at one, the others at zero; ``"all"`` starts from
        the mean of all.
    standardize : bool, default=True
        Bring each number of ``f`` to mean 0 and variance 1 before the perceptron, by
        the batch in training and by running averages of batches otherwise. Outputs of
        blocks differ between clips by little of their size, and have a few channels
        of large values, which rebuilding would be mostly about.
    mask_share : float, default=0.15
        Share of the numbers of ``f`` that are hidden from the perceptron in training.
    frozen_target : bool, default=True
        Whether what is to be rebuilt counts as given. If not, the loss also falls
        where ``f`` shrinks.
    reconstruction_weight : float, default=1.0
        What the error of rebuilding counts beside the cross-entropy.
    random_source : RandomSource or None, default=None
        Where initial weights and masks come from; None makes one with seed 0.

    References
    ----------
    .. [1] Z. Zhao et al., "Improving Multimodal Emotion Recognition by Leveraging
       Acoustic Adaptation and Visual Alignment", 2024. :arxiv:`2409.05015`.
    """

    def __init__(
        self,
        width: int,
        layers: Sequence[int],
        n_classes: int,
        *,
        adapter_size: int = 128,
        outer_relu: bool = True,
        read_layer: int | str = "all",
        standardize: bool = True,
        mask_share: float = 0.15,
        frozen_target: bool = True,
        reconstruction_weight: float = 1.0,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        self.random_source = source = random_source or RandomSource()
        self.layers = [int(layer) for layer in layers]
        self.outer_relu = outer_relu
        self.mask_share = mask_share
        self.frozen_target = frozen_target
        self.reconstruction_weight = reconstruction_weight
        self.adapters = nn.ModuleDict(
            {
                str(layer): BottleneckAdapter(
                    width, adapter_size, outer_relu=outer_relu, random_source=source
                )
                for layer in self.layers
            }
        )
        n_layers = len(self.layers)
        weights = torch.full((n_layers,), 1.0 / n_layers)
        if read_layer != "all":
            weights = torch.zeros(n_layers)
            weights[self.layers.index(read_layer)] = 1.0
        self.layer_weights = nn.Parameter(weights)
        self.rebuild = nn.Sequential(
            linear(width, width, source), nn.ReLU(), linear(width, width, source)
        )
        self.head = linear(width, n_classes, source)
        self.normalize = _RunningNorm(width) if standardize else nn.Identity()

    def pool(self, blocks: FrozenBlocks, steps: Tensor, real: Tensor) -> Tensor:
        """Average the adapted layers over time.

        Parameters
        ----------
        blocks : FrozenBlocks
            Blocks that hold all layers; what goes into the first is ``steps``.
        steps : Tensor of shape (batch, n_steps, width)
            Padded at the end.
        real : Tensor of shape (batch, n_steps), dtype bool
            True where a step is real; at least one of each row.

        Returns
        -------
        pooled : Tensor of shape (batch, n_layers, width)
            Averages without padding.
        """
        adapters = {layer: self.adapters[str(layer)] for layer in self.layers}
        shares = (real / real.sum(dim=1, keepdim=True)).to(steps.dtype).unsqueeze(1)
        outputs = blocks(steps, real, adapters)
        return torch.cat([shares @ output for output in outputs], dim=1)

    def fuse(self, pooled: Tensor) -> Tensor:
        """Sum the layers by their weights.

        Parameters
        ----------
        pooled : Tensor of shape (batch, n_layers, width)
            Averages of the adapted layers over time.

        Returns
        -------
        fused : Tensor of shape (batch, width)
            The clips' vectors ``f``.
        """
        return torch.einsum("l,blw->bw", self.layer_weights, pooled)

    def forward(self, pooled: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Tell the class from pooled layers.

        Parameters
        ----------
        pooled : Tensor of shape (batch, n_layers, width)
            Averages of the adapted layers over time.

        Returns
        -------
        logits : Tensor of shape (batch, n_classes)
            Scores of the classes.
        parts : dict of str to Tensor of shape (batch, width)
            ``fused``; ``target``, what is to be rebuilt of it; and ``rebuilt``, what
            the perceptron makes of it.
        """
        fused = self.fuse(pooled)
        seen = target = self.normalize(fused)
        if self.training and self.mask_share > 0:
            generator = self.random_source.generator(fused.device)
            seen = target * bernoulli(fused.shape, 1.0 - self.mask_share, generator)
        rebuilt = self.rebuild(seen)
        parts = {"fused": fused, "target": target, "rebuilt": rebuilt}
        return self.head(rebuilt), parts

    def losses(self, pooled: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return what training makes small.

        Parameters
        ----------
        pooled : Tensor of shape (batch, n_layers, width)
            Averages of the adapted layers over time.
        codes : Tensor of shape (batch,), dtype int64
            Classes, -1 where a clip has no label.

        Returns
        -------
        losses : dict of str to Tensor of shape ()
            ``cross_entropy``, the mean over labelled clips, zero without any; and
            ``reconstruction``, the mean squared error times its weight.
        """
        logits, parts = self(pooled)
        target = parts["target"]
        target = target.detach() if self.frozen_target else target
        entropy = nn.functional.cross_entropy(
            logits, codes, ignore_index=-1, reduction="sum"
        )
        error = nn.functional.mse_loss(parts["rebuilt"], target)
        return {
            "cross_entropy": entropy / (codes >= 0).sum().clamp(min=1),
            "reconstruction": self.reconstruction_weight * error,
        }


class _RunningNorm(nn.Module):
    """Standardise by the batch in training, by running averages otherwise.

    Unlike torch's, from the first batch on, and for batches of one clip too.
    """

    momentum = 0.1

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("n_batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training and len(x) > 1:
            mean, variance = x.mean(dim=0), x.var(dim=0, correction=0)
            with torch.no_grad():
                share = self.momentum if self.n_batches else 1.0
                self.mean.lerp_(mean, share)
                self.variance.lerp_(x.var(dim=0), share)
                self.n_batches += 1
        return (x - mean) / (variance + 1e-12 * mean.square() + 1e-12).sqrt()


def bucketed_batches(
    lengths: Sequence[int], batch_size: int
) -> Callable[[torch.Generator], list[Tensor]]:
    """Make batches for :func:`train`, in random order, of rows of like length.

    Parameters
    ----------
    lengths : sequence of int
        Length of each row.
    batch_size : int
        Rows in a batch at most. Batches of an epoch differ by one row at most.

    Returns
    -------
    batches : callable
        ``batches(generator)`` returns a list of Tensor of int64. Of every eight
        batches that follow each other in a shuffled order, rows go to batches by
        their length; then batches are shuffled.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import bucketed_batches
    >>> batches = bucketed_batches([9, 1, 8, 2], 2)(torch.Generator().manual_seed(0))
    >>> sorted(sorted(rows.tolist()) for rows in batches)
    [[0, 2], [1, 3]]
    """
    lengths = torch.as_tensor(lengths)
    n_batches = -(-len(lengths) // batch_size)

    def batches(generator: torch.Generator) -> list[Tensor]:
        if not n_batches:
            return []
        order = torch.randperm(len(lengths), generator=generator)
        drawn = order.tensor_split(n_batches)
        found = []
        for start in range(0, n_batches, _BUCKET):
            parts = drawn[start : start + _BUCKET]
            some = torch.cat(parts)
            some = some[torch.argsort(lengths[some], stable=True)]
            found += some.split([len(part) for part in parts])
        turn = torch.randperm(len(found), generator=generator)
        return [found[i] for i in turn.tolist()]

    return batches
