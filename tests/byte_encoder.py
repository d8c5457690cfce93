"""A small encoder of any file, for tests of what all encoders share."""

import time
from pathlib import Path

import numpy as np

from skmer.cache import Record
from skmer.clips import ClipEncoder
from skmer.exceptions import MediaError


class ByteHistogramEncoder(ClipEncoder):
    """Encode a file by a histogram of its bytes.

    Files that begin with ``bad`` are unreadable, ``empty`` have no such modality,
    ``slow`` time out, ``bug`` break the encoder. ``log`` names a file that gets a
    line for every file encoded, ``delay`` is slept for each.
    """

    _column = "video"

    def __init__(
        self,
        n_bins=8,
        *,
        log=None,
        delay=0.0,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.n_bins = n_bins
        self.log = log
        self.delay = delay
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _key_params(self):
        return {"n_bins": self.n_bins}

    def _feature_names(self):
        return [f"bin{i}" for i in range(self.n_bins)]

    def _encode(self, cells):
        return [self._encode_one(path) for path in cells]

    def _encode_one(self, path):
        data = Path(path).read_bytes()
        time.sleep(self.delay)
        if self.log is not None:
            with open(self.log, "a") as log:
                log.write(f"{path}\n")
        if data.startswith(b"bad"):
            return MediaError(path, "video", "it begins with bad")
        if data.startswith(b"slow"):
            return TimeoutError("took too long")
        if data.startswith(b"bug"):
            raise ZeroDivisionError("a bug in the encoder")
        if data.startswith(b"empty"):
            return Record("missing")
        values = np.frombuffer(data, np.uint8)
        counts = np.histogram(values, bins=self.n_bins, range=(0, 256))[0]
        return Record("ok", {"values": counts.astype(np.float32)})
