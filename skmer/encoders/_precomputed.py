"""Features that were computed before, one NumPy file a clip."""

import heapq
import io
import math
import os
from functools import lru_cache
from numbers import Integral
from typing import NamedTuple

import numpy as np

from skmer.cache import Record
from skmer.encoders._named_files import NamedFileEncoder
from skmer.encoders._pooling import POOLING, pool, pooled_names
from skmer.exceptions import MediaError
from skmer.utils._sklearn import Interval

# A file that claims to hold more is damaged: an hour at 50 Hz x 1024 is 0.7 GB.
_MAX_BYTES = 1 << 30
# As numpy's own readers have it.
_MAX_HEAD_BYTES = 10_000
# Files looked at to learn the width, so that a damaged one does no harm.
_N_CANDIDATES = 16


class PrecomputedEncoder(NamedFileEncoder):
    """Read features that were computed before, one ``.npy`` file a clip.

    Reads the feature folders of MERTools, ``<model>-UTT`` (one vector a clip) and
    ``-FRA`` (one vector a frame), and any other folder of such files, for example
    the hidden states of a language model that ran elsewhere.

    Parameters
    ----------
    root : str or path
        Folder of the files.
    pattern : str, default="{name}.npy"
        Where below ``root`` a clip's file lies. ``{name}`` stands for the clip's
        name: the last part of its path without the suffix of a sound or video
        file, so that ``videos/dia0_utt1.mp4``, ``dia0_utt1.wav`` and ``dia0_utt1``
        are all ``dia0_utt1``.
    column : {"video", "audio", "index"}, default="video"
        What the name is taken from where X is a frame: one of its columns, or its
        index (the clip id, as :class:`~skmer.clips.ClipTable` sets it). The clips
        themselves need not exist.
    pooling : {"mean", "mean_std"}, int or None, default="mean"
        How the frames of a file become one vector: mean, mean and standard
        deviation, means over that many equal parts of the clip, or, for None, not
        at all (sequences). A file with one vector counts as one frame, so that
        ``"mean"`` returns it as it is.
    n_features : int or None, default=None
        Values in a vector. None reads it from the first file in ``root``, in order
        of names.
    n_jobs : int or None, default=None
        Worker processes. None is one unless a joblib context says otherwise.
    batch_size : int or "auto", default="auto"
        Clips that one task reads and that are stored together.
    cache : "default", path or None, default="default"
        Folder of the feature cache; None caches nothing and reads the files anew
        each time (see Notes).
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip whose file is not there or cannot be used: an error
        naming both, or a row of NaN and one warning.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    write_mertools : Writes such folders.

    Notes
    -----
    A file holds an array of real numbers, of shape (n_features,) or (n_frames,
    n_features), without NaN or infinite values. Objects are never unpickled. A file
    without a single frame gives a row of NaN. A file of another width than the
    others is an error. Two clips of one X from different folders may not have one
    name.

    Though the files are a cache of their own, the feature cache is read several
    times faster than thousands of small files, and of pooled frames it keeps the
    few values that are used. Sequences (``pooling=None``) it keeps whole, a second
    copy on disk; without it all of them are held in memory.

    References
    ----------
    Z. Lian et al. (2024). MERBench: A unified evaluation benchmark for multimodal
    emotion recognition. arXiv:2401.03429.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skmer.encoders import PrecomputedEncoder
    >>> root = tempfile.mkdtemp()
    >>> for i, name in enumerate(["a", "b"]):
    ...     np.save(f"{root}/{name}.npy", np.array([i, 10.0 * i]))
    >>> PrecomputedEncoder(root).fit_transform(["clips/b.mp4", "clips/a.mp4"])
    array([[ 1., 10.],
           [ 0.,  0.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        **NamedFileEncoder._parameter_constraints,
        "pooling": POOLING,
        "n_features": [Interval(Integral, 1, 2**24, closed="both"), None],
    }

    def __init__(
        self,
        root,
        *,
        pattern="{name}.npy",
        column="video",
        pooling="mean",
        n_features=None,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.pooling = pooling
        self.n_features = n_features
        super().__init__(
            root,
            pattern=pattern,
            column=column,
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    @property
    def _auto_batch_size(self):
        # Sequences of a batch are in memory together.
        return 16 if self.pooling is None else 256

    def _feature_names(self):
        if self.pooling is None:
            return pooled_names([], None)
        return pooled_names([str(i) for i in range(self._width())], self.pooling)

    def _sequence_columns(self):
        return ["values"] if self.pooling is None else None

    def _key_params(self):
        return {**super()._key_params(), "n_features": self._width()}

    def _width(self):
        if self.n_features is not None:
            return self.n_features
        candidates = self._first_files()
        reason = f"there is no file like {self.pattern}"
        if not os.path.isdir(self.root):
            reason = "there is no such folder"
        for path in candidates:
            try:
                with open(path, "rb") as file:
                    return _read_head(file).shape[-1]
            except (OSError, ValueError) as error:
                reason = f"{path}: {error}"
        raise ValueError(
            f"PrecomputedEncoder finds no features in {os.fspath(self.root)!r}: "
            f"{reason}. Check root and pattern, or give n_features."
        )

    def _first_files(self):
        """Return paths of the first files that fit the pattern."""
        head, tail = self.pattern.split("{name}")
        start = os.path.join(os.fspath(self.root), head)
        folder, prefix = os.path.split(start)
        # "{name}/face.npy" names a folder a clip.
        suffix, separator, rest = tail.partition("/")
        try:
            changed = os.stat(folder).st_mtime_ns
            names = _first_names(folder, prefix, suffix, changed)
        except OSError:
            return []
        return [os.path.join(folder, name) + separator + rest for name in names]

    def _encode(self, cells):
        width = self._width()
        paths = self._sources(cells)
        return [
            self._encode_one(clip, path, width)
            for clip, path in zip(cells, paths, strict=True)
        ]

    def _encode_one(self, clip, path, width):
        try:
            frames = _read_frames(path)
        except ValueError as error:
            return MediaError(clip, "features", str(error))
        except (MemoryError, OSError) as error:
            return error
        if frames.shape[1] != width:
            return MediaError(
                clip,
                "features",
                f"it holds vectors of {frames.shape[1]} values, not of {width} "
                "as n_features or the first file of the folder says",
            )
        if len(frames) == 0:
            return Record("missing")
        if not np.isfinite(frames).all():
            return MediaError(
                clip, "features", "it holds NaN, infinite or too large values"
            )
        return Record("ok", {"values": pool(frames, self.pooling)})


# Listing a folder of 100,000 files takes longer than to read what a batch needs.
@lru_cache(maxsize=32)
def _first_names(folder, prefix, suffix, changed):
    with os.scandir(folder) as entries:
        return heapq.nsmallest(
            _N_CANDIDATES,
            (
                entry.name
                for entry in entries
                if entry.name.startswith(prefix)
                and entry.name.endswith(suffix)
                and len(entry.name) > len(prefix) + len(suffix)
            ),
        )


def _read_head(file):
    """Read the head of an array file.

    Parameters
    ----------
    file : binary file
        Open at its start; left where the values begin.

    Returns
    -------
    head : _Head
        Of an array that the file holds in full.
    """
    start = file.read(12)
    if start[:6] != np.lib.format.MAGIC_PREFIX or len(start) < 12:
        raise ValueError("it is no .npy file")
    # The length of what follows has 2 bytes in version 1, then 4.
    n_prefix = 10 if start[6] == 1 else 12
    n_head = int.from_bytes(start[8:n_prefix], "little")
    if n_head > _MAX_HEAD_BYTES:
        raise ValueError("its head is damaged")
    file.seek(0)
    head = _parse_head(file.read(n_prefix + n_head))
    if os.fstat(file.fileno()).st_size < file.tell() + head.n_bytes:
        raise ValueError("it was cut short")
    return head


class _Head(NamedTuple):
    shape: tuple
    fortran: bool
    dtype: np.dtype
    n_bytes: int


# Most files of a folder have the same head, and to parse it takes longer than to
# read a vector.
@lru_cache(maxsize=1024)
def _parse_head(raw):
    parse = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }
    # Version 3 is written for named fields alone.
    if raw[6] not in parse:
        raise ValueError("it holds no plain array of numbers")
    try:
        shape, fortran, dtype = parse[raw[6]](io.BytesIO(raw[8:]))
    except ValueError as error:
        raise ValueError("its head is damaged") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype} in place of real numbers")
    if len(shape) not in (1, 2) or shape[-1] < 1 or min(shape) < 0:
        raise ValueError(
            f"it holds an array of shape {shape}, not (n_features,) or (n_frames, "
            "n_features)"
        )
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes > _MAX_BYTES:
        raise ValueError(f"it claims to hold {n_bytes} bytes, more than {_MAX_BYTES}")
    return _Head(shape, fortran, dtype, n_bytes)


def _read_frames(path):
    """Read a file of features.

    Parameters
    ----------
    path : str
        A ``.npy`` file.

    Returns
    -------
    frames : ndarray of shape (n_frames, n_features), dtype float32
        Infinite where a value is too large.
    """
    with open(path, "rb") as file:
        head = _read_head(file)
        # Never numpy.load, which could be made to unpickle.
        values = np.frombuffer(file.read(head.n_bytes), dtype=head.dtype)
    values = values.reshape(head.shape, order="F" if head.fortran else "C")
    with np.errstate(over="ignore"):
        return np.atleast_2d(values).astype(np.float32, copy=False)
