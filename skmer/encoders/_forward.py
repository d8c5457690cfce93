"""What every forward pass of a pretrained model shares."""

import numpy as np


def in_parts(forward, items):
    """Call a forward pass, on half the items at a time where memory runs out.

    Parameters
    ----------
    forward : callable
        Takes a list of items, returns a list of results, one each.
    items : list
        At least one.

    Returns
    -------
    results : list

    Raises
    ------
    torch.OutOfMemoryError
        If a single item does not fit.
    """
    import torch

    try:
        return forward(items)
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    # Outside the except clause, whose traceback keeps the tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(items) // 2
    return in_parts(forward, items[:half]) + in_parts(forward, items[half:])


def pool_states(states, pooling):
    """Pool hidden states over time where they are; bring the result to the host.

    Parameters
    ----------
    states : torch.Tensor of shape (n_states, n_steps, width)
        At least one step.
    pooling : {"mean", "mean_std"}, int or None
        As for :func:`skmer.encoders._pooling.pool`.

    Returns
    -------
    pooled : ndarray of shape (n_states, n_outputs * width), dtype float32
        The states themselves, (n_states, n_steps, width), for None.
    """
    import torch

    states = states.float()
    if pooling is None:
        parts = [states]
    elif pooling == "mean":
        parts = [states.mean(1)]
    elif pooling == "mean_std":
        parts = [states.mean(1), states.std(1, correction=0)]
    else:
        n_steps = states.shape[1]
        parts = [
            states[:, i * n_steps // pooling : -(-(i + 1) * n_steps // pooling)].mean(1)
            for i in range(pooling)
        ]
    # A copy of its own: a view would keep all tokens in memory.
    return np.array(torch.cat(parts, -1).cpu().numpy(), order="C")
