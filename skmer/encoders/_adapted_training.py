"""Training adapters on frames of clips."""

import numpy as np

from skmer.encoders._adapted_frames import load_frames
from skmer.encoders._adapted_run import BLOCK, pool_each, pool_together
from skmer.utils._folds import watched_rows


def train_adapters(
    module,
    blocks,
    clips,
    codes,
    watched,
    *,
    batch_size,
    longest,
    patience,
    **training,
):
    """Train adapters.

    Parameters
    ----------
    module : AdaptedLayers
        What to train, on its device; it draws crops and masks too.
    blocks : FrozenBlocks
        On the same device.
    clips : list of ClipFrames
        Frames that go into the first block.
    codes : ndarray of shape (n_clips,), dtype int64
        Classes, -1 where a clip has no label.
    watched : ndarray of shape (n_clips,), dtype int8
        0 for clips to learn from, 1 for those to watch, 2 for those to leave out.
    batch_size : int
        Clips of a step.
    longest : int or None
        Frames of a clip that are trained on at once.
    patience : int
        Epochs without a lower cross-entropy of the watched clips.
    **training : dict
        Further arguments of :func:`skmer.modules.train`.

    Returns
    -------
    training : Training
    """
    import torch

    from skmer.modules import bucketed_batches, train

    source = module.random_source
    device = next(module.parameters()).device
    learn, held = np.flatnonzero(watched == 0), np.flatnonzero(watched == 1)
    known = torch.from_numpy(codes).to(device)

    def loss(rows):
        numbers = learn[rows.cpu().numpy()]
        cut = _cropped([clips[i] for i in numbers], longest, source.generator("cpu"))
        pooled = pool_together(module, blocks, cut, device)
        return module.losses(pooled, known[numbers])

    def whole(rows):
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            pooled = pool_each(module, blocks, [clips[i] for i in some], device)
            for found in pooled:
                if isinstance(found, Exception):
                    raise found
            yield some, torch.from_numpy(np.stack(pooled)).to(device)

    def watch():
        total = 0.0
        for some, pooled in whole(held):
            entropy = module.losses(pooled, known[some])["cross_entropy"]
            total += float(entropy) * len(some)
        return total / len(held)

    lengths = np.array([len(clips[i]) for i in learn])
    if longest is not None:
        lengths = np.minimum(lengths, longest)
    return train(
        module,
        loss,
        bucketed_batches(lengths, batch_size),
        random_source=source,
        watch=watch if len(held) else None,
        patience=patience if len(held) else None,
        **training,
    )


def divide(codes, units, share, seed):
    """Divide clips into those to learn from and those to watch.

    Parameters
    ----------
    codes : ndarray of shape (n_clips,), dtype int64
        Classes, -1 where a clip has no label: it is never watched.
    units : ndarray of shape (n_clips,), dtype int64
        What must stay together.
    share : float or None
        Share of the labelled clips to watch; None watches none.
    seed : int
        Seed of the choice.

    Returns
    -------
    watched : ndarray of shape (n_clips,), dtype int8
        As :func:`train_adapters` takes it: an unlabelled clip of a group that is
        watched is left out.
    """
    watched = np.zeros(len(codes), dtype=np.int8)
    labelled = np.flatnonzero(codes >= 0)
    own = np.unique(units[labelled], return_inverse=True)[1]
    held = labelled[watched_rows(codes[labelled], own, share, seed)]
    watched[np.isin(units, units[held])] = 2
    watched[held] = 1
    return watched


def _cropped(clips, longest, generator):
    """Return pieces of a part of each clip."""
    import torch

    cut = []
    for clip, frames in zip(clips, load_frames(clips), strict=True):
        start, stop = 0, len(frames)
        if longest is not None and stop > longest:
            start = int(torch.randint(stop - longest + 1, (), generator=generator))
            stop = start + longest
        cut.append(clip.pieces(frames, start, stop))
    return cut
