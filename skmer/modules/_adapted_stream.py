"""A bottleneck adapter on one stream of features, and what trains it."""

import torch
from torch import Tensor, nn

from skmer.modules._adapters import BottleneckAdapter
from skmer.modules._random import RandomSource, bernoulli, linear
from skmer.modules._spread import mean_and_spread


class AdaptedStream(nn.Module):
    """Adapt features of one stream to labels.

    What the acoustic adaptation of [1]_ does to the blocks of a speech model, done to
    features that are there already: a bottleneck with a residual changes them, a
    perceptron rebuilds the result from a part of it, and a linear layer tells the
    class from what it rebuilt.

    Parameters
    ----------
    width : int
        Columns of the stream.
    n_classes : int
        Number of classes.
    adapter_size : int, default=32
        Width of the bottleneck.
    hidden_size : int, default=128
        Width between the perceptron's two layers.
    outer_relu : bool, default=True
        As for :class:`BottleneckAdapter`.
    mask_share : float, default=0.15
        Share of the numbers that are hidden from the perceptron in training.
    reconstruction_weight : float, default=1.0
        What the error of rebuilding counts beside the cross-entropy.
    random_source : RandomSource or None, default=None
        Where initial weights and masks come from; None makes one with seed 0.

    References
    ----------
    .. [1] Z. Zhao et al., "Improving Multimodal Emotion Recognition by Leveraging
       Acoustic Adaptation and Visual Alignment", 2024, section 2.1.
       :arxiv:`2409.05015`.
    """

    def __init__(
        self,
        width: int,
        n_classes: int,
        *,
        adapter_size: int = 32,
        hidden_size: int = 128,
        outer_relu: bool = True,
        mask_share: float = 0.15,
        reconstruction_weight: float = 1.0,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        self.random_source = source = random_source or RandomSource()
        self.mask_share = mask_share
        self.reconstruction_weight = reconstruction_weight
        self.adapter = BottleneckAdapter(
            width, adapter_size, outer_relu=outer_relu, random_source=source
        )
        self.rebuild = nn.Sequential(
            linear(width, hidden_size, source),
            nn.ReLU(),
            linear(hidden_size, width, source),
        )
        self.head = linear(width, n_classes, source)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def standardize(self, values: Tensor) -> None:
        """Take mean and spread of the features from training clips.

        Parameters
        ----------
        values : Tensor of shape (n_clips, width)
            Their features.
        """
        mean, spread = mean_and_spread(values)
        self.mean.copy_(mean)
        self.scale.copy_(spread)

    def forward(self, values: Tensor) -> Tensor:
        """Adapt features.

        Parameters
        ----------
        values : Tensor of shape (batch, width)
            Features as they come.

        Returns
        -------
        adapted : Tensor of shape (batch, width)
            Standardised by the training clips, and adapted.
        """
        return self.adapter((values - self.mean) / self.scale)

    def losses(self, values: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return what training makes small.

        Parameters
        ----------
        values : Tensor of shape (batch, width)
            Features as they come.
        codes : Tensor of shape (batch,), dtype int64
            Classes.

        Returns
        -------
        losses : dict of str to Tensor of shape ()
            ``cross_entropy``, and ``reconstruction``, the mean squared error times its
            weight; what is to be rebuilt counts as given.
        """
        adapted = seen = self(values)
        if self.training and self.mask_share > 0:
            generator = self.random_source.generator(adapted.device)
            seen = adapted * bernoulli(adapted.shape, 1.0 - self.mask_share, generator)
        rebuilt = self.rebuild(seen)
        error = nn.functional.mse_loss(rebuilt, adapted.detach())
        return {
            "cross_entropy": nn.functional.cross_entropy(self.head(rebuilt), codes),
            "reconstruction": self.reconstruction_weight * error,
        }
