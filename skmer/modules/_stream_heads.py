"""One small classifier per stream, and how they join a net that fuses all."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer.modules._random import Dropout, RandomSource, linear


class StreamHeads(nn.Module):
    """Classify each stream alone.

    Each head is a layer of ``hidden_size`` units with ReLU and dropout, and a linear
    layer. Streams whose evidence is independent given the class are best combined
    by the product of what each says alone, which a net that sees them together has
    to learn from few clips; :meth:`join` gives it that product to begin with.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`.
    n_classes : int
        Number of logits of each head.
    hidden_size : int, default=128
        Width of the layer.
    dropout : float, default=0.3
        Dropout behind it.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Attributes
    ----------
    log_prior : Tensor of shape (n_classes,)
        Logarithm of the classes' shares, see :meth:`set_prior`; equal at first.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import StreamHeads
    >>> heads = StreamHeads({"audio": 5, "text": 3}, n_classes=4)
    >>> scores = heads([torch.randn(2, 5), torch.randn(2, 3)])
    >>> scores.shape
    torch.Size([2, 2, 4])
    """

    # See skmer.modules.StackedModules.
    stackable = True

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        hidden_size: int = 128,
        dropout: float = 0.3,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        source = random_source or RandomSource()
        self.heads = nn.ModuleList(
            nn.Sequential(
                linear(size, hidden_size, source),
                nn.ReLU(),
                Dropout(dropout, source),
                linear(hidden_size, n_classes, source),
            )
            for size in stream_sizes.values()
        )
        even = torch.full((n_classes,), -math.log(n_classes))
        self.register_buffer("log_prior", even)

    def set_prior(self, prior: Tensor) -> None:
        """Set the shares of the classes that the heads are trained with.

        Parameters
        ----------
        prior : Tensor of shape (n_classes,)
            Shares that sum to 1, 0 for a class that no training clip has.
        """
        self.log_prior.copy_(prior.log())

    def forward(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return the logits of each stream alone.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size of the stream)
            One tensor per stream; masked rows may hold any finite number.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        logits : Tensor of shape (batch, n_streams, n_classes)
            0 where a stream is missing.
        """
        parts = [head(x) for head, x in zip(self.heads, streams, strict=True)]
        logits = torch.stack(parts, dim=1)  # (batch, stream, class)
        return logits if mask is None else logits * mask.unsqueeze(2)

    def join(self, fused: Tensor, alone: Tensor, mask: Tensor | None = None) -> Tensor:
        """Join what a net says of all streams with what the heads say of each.

        The streams' product is the prior times each stream's probability over the
        prior, as Bayes' rule has it for streams that are independent given the
        class. The result is the geometric mean of it and the net's probabilities.

        Parameters
        ----------
        fused : Tensor of shape (batch, n_classes)
            Logits of the net.
        alone : Tensor of shape (batch, n_streams, n_classes)
            Logits of the heads.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        joined : Tensor of shape (batch, n_classes)
            Logits, up to a constant per clip.
        """
        seen = self.log_prior.isfinite()
        log_prior = self.log_prior.masked_fill(~seen, 0.0)
        evidence = alone.log_softmax(dim=2) - log_prior
        if mask is not None:
            evidence = evidence * mask.unsqueeze(2)
        product = log_prior + evidence.sum(dim=1)
        # Heads know nothing of a class that was never there: no clip is likelier to
        # be of it than of the least likely one they know.
        lowest = product.masked_fill(~seen, math.inf).amin(dim=1, keepdim=True)
        product = torch.where(seen, product, lowest)
        return 0.5 * (fused.log_softmax(dim=1) + product)
