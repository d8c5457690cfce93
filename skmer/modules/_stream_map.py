"""A map from the features of one stream into the space of another."""

import torch
from torch import Tensor, nn

from skmer.modules._losses import LearnedTemperature, info_nce
from skmer.modules._random import Dropout, RandomSource, linear
from skmer.modules._spread import mean_and_spread

_VARIANTS = ("sound", "paper")


class StreamMap(nn.Module):
    """Map one stream into another's space, so that a clip's two codes are alike.

    The visual alignment of [1]_: a perceptron on the stream, trained by a symmetric
    contrast of each clip's pair with the other clips of the batch.

    Parameters
    ----------
    n_in : int
        Columns of the stream that is mapped.
    n_out : int
        Columns of the stream whose space it is mapped into.
    hidden_size : int or None, default=None
        Width between the two layers; None is ``n_out``.
    variant : {"sound", "paper"}, default="sound"
        ``"sound"`` compares both streams standardised and has no ReLU at the end:
        cosines with a common mean, or with nothing below zero, hardly differ between
        clips. ``"paper"`` compares them as they are, behind a last ReLU.
    dropout : float, default=0.0
        Dropout before each layer.
    temperature : float, default=0.07
        Where the learned temperature starts; it stays between 0.01 and 1.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    References
    ----------
    .. [1] Z. Zhao et al., "Improving Multimodal Emotion Recognition by Leveraging
       Acoustic Adaptation and Visual Alignment", 2024, section 2.2.
       :arxiv:`2409.05015`. Changed: the layers' shapes, which the paper has in the
       wrong order, and what ``variant`` says.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        hidden_size: int | None = None,
        variant: str = "sound",
        dropout: float = 0.0,
        temperature: float = 0.07,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        if variant not in _VARIANTS:
            raise ValueError(f"variant must be one of {_VARIANTS}. Got {variant!r}.")
        source = random_source or RandomSource()
        hidden_size = n_out if hidden_size is None else hidden_size
        self.variant = variant
        layers = [
            Dropout(dropout, source),
            linear(n_in, hidden_size, source),
            nn.ReLU(),
            Dropout(dropout, source),
            linear(hidden_size, n_out, source),
        ]
        if variant == "paper":
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)
        self.temperature = LearnedTemperature(initial=temperature)
        for name, size in (("source", n_in), ("target", n_out)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    def standardize(self, source: Tensor, target: Tensor) -> None:
        """Take the means and spreads of both streams from training clips.

        Does nothing for ``variant="paper"``.

        Parameters
        ----------
        source : Tensor of shape (n_clips, n_in)
            The stream that is mapped.
        target : Tensor of shape (n_clips, n_out)
            The other one, of the same clips.
        """
        if self.variant == "paper":
            return
        for name, values in (("source", source), ("target", target)):
            mean, spread = mean_and_spread(values)
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_scale").copy_(spread)

    def forward(self, source: Tensor) -> Tensor:
        """Map a stream.

        Parameters
        ----------
        source : Tensor of shape (batch, n_in)
            Features.

        Returns
        -------
        mapped : Tensor of shape (batch, n_out)
            Comparable with :meth:`place` of the other stream by its cosine.
        """
        return self.layers((source - self.source_mean) / self.source_scale)

    def place(self, target: Tensor) -> Tensor:
        """Return the other stream as mapped ones are compared with it.

        Parameters
        ----------
        target : Tensor of shape (batch, n_out)
            Features.

        Returns
        -------
        placed : Tensor of shape (batch, n_out)
            Standardised for ``variant="sound"``.
        """
        return (target - self.target_mean) / self.target_scale

    def contrast(
        self, source: Tensor, target: Tensor, same: Tensor | None = None
    ) -> Tensor:
        """Return the loss: the mean of the contrasts in both directions.

        Parameters
        ----------
        source : Tensor of shape (batch, n_in)
            The stream that is mapped.
        target : Tensor of shape (batch, n_out)
            The other one, of the same clips.
        same : Tensor of shape (batch, batch), dtype bool, or None
            True where two rows are of one clip; None where no clip comes twice.

        Returns
        -------
        loss : Tensor of shape ()
            About log(batch) for a map that knows nothing.
        """
        loss = info_nce(
            self(source), self.place(target), self.temperature(), positives=same
        )
        return loss / 2
