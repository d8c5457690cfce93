"""Losses that make codes alike in distribution, or different in content."""

import torch
from torch import Tensor, nn


def central_moment_discrepancy(
    first: Tensor,
    second: Tensor,
    n_moments: int = 5,
    *,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Compare two distributions by their means and central moments.

    .. math::

        \|E[X] - E[Y]\| + \sum_{k=2}^K \|E[(X - E[X])^k] - E[(Y - E[Y])^k]\|

    Parameters
    ----------
    first, second : Tensor of shape (batch, size)
        Codes between 0 and 1, such as sigmoids give: those of others are to be
        divided by the width of their range first.
    n_moments : int, default=5
        Highest moment K.
    mask : Tensor of shape (batch,), dtype bool, or None, default=None
        False for clips to leave out; None leaves none out.

    Returns
    -------
    discrepancy : Tensor of shape ()
        0 for equal moments, and where no clip is left.

    References
    ----------
    .. [1] W. Zellinger et al., "Central Moment Discrepancy (CMD) for
       Domain-Invariant Representation Learning", 2017. :arxiv:`1702.08811`.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import central_moment_discrepancy
    >>> low, high = torch.tensor([[0.0], [0.2]]), torch.tensor([[0.5], [0.7]])
    >>> round(float(central_moment_discrepancy(low, high)), 4)
    0.5
    """
    share = _shares(first, mask)
    means = [share @ codes for codes in (first, second)]
    total = torch.linalg.vector_norm(means[0] - means[1])
    rests = [first - means[0], second - means[1]]
    for power in range(2, n_moments + 1):
        one, other = (share @ rest**power for rest in rests)
        total = total + torch.linalg.vector_norm(one - other)
    return total


def orthogonality_loss(
    first: Tensor, second: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """Return how far two sets of codes of the same clips tell the same.

    The mean square of the matrix ``first.T @ second``, after the mean over the clips
    has been taken from each number and each clip's code has been brought to length 1.

    Parameters
    ----------
    first, second : Tensor of shape (batch, size)
        Codes, row by row of the same clips.
    mask : Tensor of shape (batch,), dtype bool, or None, default=None
        False for clips to leave out; None leaves none out.

    Returns
    -------
    loss : Tensor of shape ()
        0 for codes no number of which goes along with any of the other's.

    References
    ----------
    .. [1] K. Bousmalis et al., "Domain Separation Networks", 2016.
       :arxiv:`1608.06019`.
    .. [2] D. Hazarika, R. Zimmermann and S. Poria, "MISA: Modality-Invariant and
       -Specific Representations for Multimodal Sentiment Analysis", 2020, equation
       6. :arxiv:`2005.03545`. The mean of the squares, as in the authors' code, where
       the equation has their sum.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import orthogonality_loss
    >>> codes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> float(orthogonality_loss(codes, codes))
    1.0
    """
    share = _shares(first, mask)
    there = (share > 0).to(first.dtype).unsqueeze(1)
    first, second = (
        there * nn.functional.normalize(codes - share @ codes, dim=1, eps=1e-6)
        for codes in (first, second)
    )
    return (first.T @ second).square().mean()


def _shares(codes: Tensor, mask: Tensor | None) -> Tensor:
    """Return what each clip counts in a mean over those that are not left out."""
    weight = codes.new_ones(len(codes)) if mask is None else mask.to(codes.dtype)
    return weight / weight.sum().clamp(min=1)
