"""Frames of clips through frozen blocks and adapters."""

from functools import partial

import numpy as np

from skmer.encoders._adapted_frames import load_frames
from skmer.encoders._forward import Room
from skmer.encoders._stretches import like_lengths

# Clips whose frames are read at a time.
BLOCK = 64
# Frames of a batch, padding included: on a GPU 160 seconds.
_BUDGET = 8000


def padded(pieces, device):
    """Put pieces of frames into one tensor.

    Parameters
    ----------
    pieces : list of ndarray of shape (n_frames, width)
        In any number format.
    device : str or torch.device
        Where to.

    Returns
    -------
    steps : Tensor of shape (n_pieces, longest, width), dtype float32
        Zeros behind the end of a piece.
    real : Tensor of shape (n_pieces, longest), dtype bool
        True where a frame is real.
    """
    import torch

    sizes = np.array([len(piece) for piece in pieces])
    steps = np.zeros((len(pieces), sizes.max(), pieces[0].shape[1]), np.float32)
    for row, piece in zip(steps, pieces, strict=True):
        row[: len(piece)] = piece
    real = np.arange(sizes.max()) < sizes[:, None]
    return torch.from_numpy(steps).to(device), torch.from_numpy(real).to(device)


def pool_together(module, blocks, cut, device):
    """Pool clips as one batch, with gradients.

    Parameters
    ----------
    module : AdaptedLayers
        On the device.
    blocks : FrozenBlocks
        On the device.
    cut : list of list of ndarray
        The pieces of each clip.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    pooled : Tensor of shape (n_clips, n_layers, width)
        Every frame of a clip counts alike.
    """
    import torch

    pieces = [piece for clip in cut for piece in clip]
    pooled = module.pool(blocks, *padded(pieces, device))
    if len(pieces) == len(cut):
        return pooled
    shares = np.zeros((len(cut), len(pieces)), dtype=np.float32)
    at = 0
    for row, clip in zip(shares, cut, strict=True):
        sizes = np.array([len(piece) for piece in clip], dtype=np.float64)
        row[at : at + len(clip)] = sizes / sizes.sum()
        at += len(clip)
    shares = torch.from_numpy(shares).to(device)
    return torch.einsum("cp,plw->clw", shares, pooled)


def pool_each(module, blocks, clips, device):
    """Pool clips in batches of like length, without gradients.

    Parameters
    ----------
    module, blocks, device
        As for :func:`pool_together`.
    clips : list of ClipFrames
        So many that their frames fit into memory together.

    Returns
    -------
    pooled : list of (ndarray of shape (n_layers, width) or MemoryError)
        One a clip, float32.
    """
    import torch

    def forward(pieces):
        with torch.inference_mode():
            return list(module.pool(blocks, *padded(pieces, device)).cpu().numpy())

    cut = [
        clip.pieces(frames)
        for clip, frames in zip(clips, load_frames(clips), strict=True)
    ]
    places = [(i, j) for i, pieces in enumerate(cut) for j in range(len(pieces))]
    pieces = [piece for clip in cut for piece in clip]
    # On the CPU, batches with padding are slower than pieces one by one.
    budget = 0 if str(device) == "cpu" else _BUDGET
    room = Room(lambda batch: len(batch) * max(map(len, batch)))
    found = [[None] * len(clip) for clip in cut]
    for batch in like_lengths(pieces, budget=budget):
        parts = room.run(partial(forward), [pieces[i] for i in batch])
        for number, part in zip(batch, parts, strict=True):
            i, j = places[number]
            found[i][j] = part
    return [_whole(clip, parts) for clip, parts in zip(cut, found, strict=True)]


def _whole(pieces, parts):
    """Return the average of a clip out of those of its pieces."""
    for part in parts:
        if isinstance(part, Exception):
            return part
    if len(parts) == 1:
        return parts[0]
    sizes = [len(piece) for piece in pieces]
    return np.average(parts, axis=0, weights=sizes).astype(np.float32)
