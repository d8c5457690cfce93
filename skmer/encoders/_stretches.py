"""Stretches of clips: what goes through a model at once, and what becomes of it."""

from dataclasses import dataclass

import numpy as np

from skmer.encoders._pooling import equal_parts


@dataclass(frozen=True, eq=False)
class Stretch:
    """A part of one clip that goes through a model in one piece.

    Attributes
    ----------
    values : ndarray
        What the model reads: samples, tokens or pictures; what is padded to the
        longest of a batch is the first axis.
    start, n_steps : int
        Which of the clip's steps (frames of sound, tokens, pictures) it gives.
    n_total : int
        Steps of the whole clip.
    name : str
        Which of several things a clip shows.
    """

    values: np.ndarray
    start: int
    n_steps: int
    n_total: int
    name: str = ""

    def __len__(self):
        return len(self.values)


def like_lengths(stretches, *, budget, at_most=None, longest=1.5):
    """Put stretches of like length into batches, the longest first.

    Parameters
    ----------
    stretches : list of Stretch
        Of any clips.
    budget : int
        Length of a batch at most, padding included; a longer stretch goes alone.
    at_most : int or None, default=None
        Stretches of a batch at most.
    longest : float, default=1.5
        Length of the longest of a batch by that of the shortest: the rest is padding.

    Returns
    -------
    batches : list of list of int
        Numbers of stretches.
    """
    order = sorted(range(len(stretches)), key=lambda i: (-len(stretches[i]), i))
    batches = []
    for i in order:
        if batches:
            first, size = len(stretches[batches[-1][0]]), len(batches[-1]) + 1
            fits = size * first <= budget and (at_most is None or size <= at_most)
            if fits and first <= longest * len(stretches[i]):
                batches[-1].append(i)
                continue
        batches.append([i])
    return batches


def describe(states, stretch, pooling, taken):
    """Keep of a stretch's states what its clip needs of them, where they are.

    Parameters
    ----------
    states : list of (Tensor of shape (n_steps, width))
        Padding left out.
    stretch : Stretch
        Where in the clip they belong.
    pooling : {"mean", "mean_std"}, int or None
        As :func:`skmer.encoders._pooling.pool` has it.
    taken : list of int
        For ``pooling=None``, the states to keep.

    Returns
    -------
    part : Tensor
        For :func:`put_together`: means, and for "mean_std" sums of squares about
        them, of shape (1 or 2, n_states, n_outputs, width), dtype float64; for None
        of shape (n_steps, n_taken, width), dtype float32.
    """
    import torch

    if pooling is None:
        device = states[0].device
        return torch.stack([states[i].float().to(device) for i in taken], dim=1)
    if states[0].device.type == "mps":  # which has no float64
        states = [state.cpu() for state in states]
    device = states[0].device
    inside = [part for part in _parts(stretch, pooling) if part.start < part.stop]
    found = []
    for state in states:
        state = state.to(device).double()
        means = torch.stack([state[part].mean(0) for part in inside])
        if pooling == "mean_std":
            means = torch.stack([means, ((state - means) ** 2).sum(0, keepdim=True)])
        found.append(means if pooling == "mean_std" else means[None])
    return torch.stack(found, dim=1)


def put_together(parts, stretches, pooling):
    """Return what all stretches of a clip give together.

    Parameters
    ----------
    parts : list of ndarray
        As :func:`describe` returns them.
    stretches : list of Stretch
        All of them, in any order.
    pooling : {"mean", "mean_std"}, int or None
        As for :func:`describe`.

    Returns
    -------
    values : ndarray, dtype float32
        Of shape (n_states, n_outputs * width); for ``pooling=None`` of shape
        (n_steps, n_states, width).
    """
    order = sorted(range(len(stretches)), key=lambda i: stretches[i].start)
    if pooling is None:
        return np.concatenate([parts[i] for i in order])
    n_outputs = 1 if isinstance(pooling, str) else pooling
    n_states, width = parts[0].shape[1], parts[0].shape[3]
    means = np.zeros((n_states, n_outputs, width))
    counts = np.zeros((n_outputs, 1))
    shares = []
    for i in order:
        sizes = [max(0, p.stop - p.start) for p in _parts(stretches[i], pooling)]
        inside = np.flatnonzero(sizes)
        share = np.asarray(sizes, dtype=np.float64)[inside, None]
        means[:, inside] += parts[i][0] * share
        counts[inside] += share
        shares.append(share)
    means /= counts
    if pooling == "mean_std":
        squares = sum(
            parts[i][1] + share * (parts[i][0] - means) ** 2
            for i, share in zip(order, shares, strict=True)
        )
        means = np.concatenate([means, np.sqrt(squares / counts)], axis=1)
    return means.reshape(n_states, -1).astype(np.float32)


def _parts(stretch, pooling):
    """Return the part of a stretch that each output is a mean over."""
    count = 1 if isinstance(pooling, str) else pooling
    return [
        slice(max(0, first - stretch.start), min(stretch.n_steps, stop - stretch.start))
        for first, stop in equal_parts(stretch.n_total, count)
    ]
