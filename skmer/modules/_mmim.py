"""Bounds of mutual information between streams and with their fusion, as in MMIM."""

from collections.abc import Mapping, Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from skmer.modules._encoders import StreamEncoders
from skmer.modules._losses import info_nce
from skmer.modules._random import Dropout, RandomSource, linear

# Variance of the noise that codes of variance 1 are thought to have when what others
# tell of them is measured: without any, it would be infinite.
_NOISE = 0.01


class MmimFusion(nn.Module):
    """Fuse codes that are trained to tell of each other, and be told by the fusion.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits.
    hidden_size : int, default=128
        Width of every layer.
    dropout : float, default=0.2
        Dropout of the streams and of their codes before they are fused.
    contrast_weight : float, default=0.1
        Weight of the contrast between the fused code and each stream's.
    information_weight : float, default=0.1
        Weight of the bound of what the streams' codes tell of each other.
    predictor_layers : int, default=1
        Layers that predict a stream's code from the fused one.
    temperature : float, default=1.0
        What cosines are divided by in the contrast; above 0.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    Two losses are added in training; their weighted sum is ``auxiliary``.

    ``information``: for each ordered pair of streams a network predicts mean and
    variance of the second's code from the first's. The log-likelihood of the code
    plus its entropy is a lower bound of what the two tell of each other (Barber and
    Agakov); the loss is minus this, the mean over the numbers of a code. Entropy is
    that of a Gaussian with the variance that the number has in the batch, the most
    that there can be: the bound holds as far as numbers are Gaussian. Codes are
    brought to variance 1 over their numbers and thought to have noise of variance
    0.01, so that those that shrink or become all alike have the bound 0, and the
    predicting networks and both encoders raise one quantity, by one optimiser.

    ``contrast``: from the fused code a network predicts each stream's; the clip's
    own code is to be more like it than those of other clips, by contrastive
    predictive coding.

    Clips that lack a stream count in neither loss for it. Its code is 0.
    """

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 128,
        dropout: float = 0.2,
        contrast_weight: float = 0.1,
        information_weight: float = 0.1,
        predictor_layers: int = 1,
        temperature: float = 1.0,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        self.contrast_weight = contrast_weight
        self.information_weight = information_weight
        self.temperature = temperature
        sizes = list(stream_sizes.values())
        self.encoders = StreamEncoders(sizes, [hidden_size] * 3, dropout, source)
        self.fuse = nn.Sequential(
            Dropout(dropout, source),
            linear(len(sizes) * hidden_size, hidden_size, source),
            nn.Tanh(),
            linear(hidden_size, hidden_size, source),
            nn.Tanh(),
        )
        self.head = linear(hidden_size, n_classes, source)
        # Which code each of the likelihood's networks sees and predicts.
        self.directions = list(permutations(range(len(sizes)), 2))
        self.gaussians = nn.ModuleList(
            nn.Sequential(
                linear(hidden_size, hidden_size, source),
                nn.ReLU(),
                linear(hidden_size, 2 * hidden_size, source),
            )
            for _ in self.directions
        )
        self.predictors = nn.ModuleList(
            _predictor(hidden_size, predictor_layers, source) for _ in sizes
        )

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
            Only in training: ``information``, ``contrast``, and ``auxiliary``, their
            weighted sum.
        """
        codes = self.encoders(streams, mask)
        fused = self.fuse(codes.flatten(1))
        logits = self.head(fused)
        if not self.training:
            return logits
        if mask is None:
            mask = torch.ones_like(codes[..., 0], dtype=torch.bool)
        has = mask.unbind(dim=1)
        # 16 bits would leave two digits of a variance.
        with torch.autocast(codes.device.type, enabled=False):
            parts = codes.to(self.head.weight.dtype).unbind(dim=1)
            fused = fused.to(self.head.weight.dtype)
            losses = {
                "information": self._information(parts, has),
                "contrast": self._contrast(parts, has, fused),
            }
            losses["auxiliary"] = (
                self.information_weight * losses["information"]
                + self.contrast_weight * losses["contrast"]
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
        codes : Tensor of shape (batch, hidden_size)
            What the head classifies.
        """
        return self.fuse(self.encoders(streams, mask).flatten(1))

    def _information(self, codes, has):
        """Return minus the bound for a number, the mean over all pairs."""
        normal = [nn.functional.layer_norm(code, code.shape[1:]) for code in codes]
        losses = []
        for (seen, told), network in zip(self.directions, self.gaussians, strict=True):
            mean, spread = network(normal[seen]).chunk(2, dim=1)
            variance = nn.functional.softplus(spread) + _NOISE
            both = has[seen] & has[told]
            losses.append(-information_bound(normal[told], mean, variance, both))
        return _mean(losses, codes[0])

    def _contrast(self, codes, has, fused):
        losses = [
            info_nce(
                predict(fused), code, self.temperature, mask=there, symmetric=False
            )
            for predict, code, there in zip(self.predictors, codes, has, strict=True)
        ]
        return _mean(losses, fused)


def information_bound(
    values: Tensor, mean: Tensor, variance: Tensor, mask: Tensor
) -> Tensor:
    """Return a lower bound of what predictions tell of the numbers of a code.

    Parameters
    ----------
    values : Tensor of shape (batch, size)
        Codes.
    mean, variance : Tensor of shape (batch, size)
        What is predicted of each number, noise included.
    mask : Tensor of shape (batch,), dtype bool
        False for clips to leave out.

    Returns
    -------
    bound : Tensor of shape ()
        In nats, the mean over the numbers; 0 where no clip is left. At most half the
        logarithm of the variance with noise over that of the noise.
    """
    share = mask.to(values.dtype) / mask.sum().clamp(min=1)
    spread = share @ (values - share @ values).square()
    # The logarithm of 2 pi is in both and falls out; the noise adds to both squares.
    entropy = 0.5 * (1.0 + (spread + _NOISE).log())
    squares = (values - mean).square() + _NOISE
    likelihood = share @ (-0.5 * (squares / variance + variance.log()))
    return (entropy + likelihood).mean() * mask.any()


def _predictor(width: int, depth: int, source: RandomSource) -> nn.Sequential:
    """Linear layers with tanh between them."""
    layers: list[nn.Module] = [linear(width, width, source)]
    for _ in range(depth - 1):
        layers += [nn.Tanh(), linear(width, width, source)]
    return nn.Sequential(*layers)


def _mean(losses: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(losses).mean() if losses else like.new_zeros(())
