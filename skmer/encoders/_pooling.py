"""Sequences of frames to vectors, the same way for every encoder."""

from numbers import Integral

import numpy as np

from skmer.utils._sklearn import Interval, StrOptions

# What the pooling parameter of an encoder may be.
POOLING = [
    StrOptions({"mean", "mean_std"}),
    Interval(Integral, 1, 1000, closed="both"),
    None,
]


def pool(frames, pooling):
    """Pool a sequence over time.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, n_features)
        At least one frame.
    pooling : {"mean", "mean_std"}, int or None
        Mean; mean and standard deviation; means of so many equal parts of the
        sequence, parts of a short sequence sharing frames; or no pooling.

    Returns
    -------
    pooled : ndarray of shape (n_outputs * n_features,), dtype float32
        The sequence itself, (n_frames, n_features), for None.
    """
    if pooling is None:
        return np.ascontiguousarray(frames, dtype=np.float32)
    frames = np.asarray(frames, dtype=np.float64)
    if pooling == "mean":
        parts = [frames.mean(axis=0)]
    elif pooling == "mean_std":
        parts = [frames.mean(axis=0), frames.std(axis=0)]
    else:
        parts = [
            frames[start:stop].mean(axis=0)
            for start, stop in equal_parts(len(frames), pooling)
        ]
    return np.concatenate(parts).astype(np.float32)


def equal_parts(n_frames, count):
    """Return where each of so many equal parts of a sequence starts and stops."""
    return [
        (i * n_frames // count, -(-(i + 1) * n_frames // count)) for i in range(count)
    ]


def pooled_names(names, pooling):
    """Return the names of pooled features, "frames" for a sequence."""
    if pooling is None:
        return ["frames"]
    if pooling == "mean":
        return list(names)
    if pooling == "mean_std":
        return [f"{name}_{part}" for part in ("mean", "std") for name in names]
    return [f"{name}_s{part}" for part in range(pooling) for name in names]
