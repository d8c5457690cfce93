"""Losses that align two streams by emotion, and the choice of negatives for them."""

import torch
from torch import Tensor


def alignment_loss(
    similarity: Tensor, positive: Tensor, allowed: Tensor, *, average: bool = True
) -> Tensor:
    """Return the contrastive loss of each clip with every clip of its class.

    For anchor i, with the softmax over the allowed candidates j, the sum over the
    positives of -log softmax(similarity[i])[j]: the loss AVEL of Foal-Net.

    Parameters
    ----------
    similarity : Tensor of shape (n_anchors, n_candidates)
        Divided by the temperature.
    positive : Tensor of shape (n_anchors, n_candidates), dtype bool
        True where the two have the same label.
    allowed : Tensor of shape (n_anchors, n_candidates), dtype bool
        False leaves a candidate out.
    average : bool, default=True
        Divide by the number of positives. Without it, as published, the loss grows
        with the batch and with how frequent the anchor's class is.

    Returns
    -------
    losses : Tensor of shape (n_anchors,)
        0 for an anchor without positives.
    """
    positive = positive & allowed
    lowest = torch.finfo(similarity.dtype).min
    log_share = similarity.masked_fill(~allowed, lowest).log_softmax(dim=1)
    losses = -torch.where(positive, log_share, 0.0).sum(dim=1)
    if average:
        losses = losses / positive.sum(dim=1).clamp(min=1)
    return losses


def choose_negatives(
    similarity: Tensor, allowed: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Choose a negative for each anchor, one that looks like a positive.

    Parameters
    ----------
    similarity : Tensor of shape (n_anchors, n_candidates)
        Of any scale if the most similar is taken; else its softmax is drawn from.
    allowed : Tensor of shape (n_anchors, n_candidates), dtype bool
        True where the candidate is a negative of the anchor.
    generator : torch.Generator or None, default=None
        Draws the negatives in proportion to the softmax of their similarities.
        None takes the most similar one.

    Returns
    -------
    anchors : Tensor of shape (n_found,), dtype int64
        Anchors that have a negative.
    negatives : Tensor of shape (n_found,), dtype int64
        The candidate chosen for each of them.
    """
    anchors = allowed.any(dim=1).nonzero().squeeze(1)
    similarity, allowed = similarity.detach()[anchors], allowed[anchors]
    lowest = torch.finfo(similarity.dtype).min
    scores = similarity.masked_fill(~allowed, lowest)
    if generator is None or not len(anchors):
        return anchors, scores.argmax(dim=1)
    drawn = torch.multinomial(scores.softmax(dim=1), 1, generator=generator)
    return anchors, drawn.squeeze(1)
