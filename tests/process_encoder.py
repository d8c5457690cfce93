"""An encoder that tells in which process it worked."""

import os
import time
from pathlib import Path

import numpy as np
import psutil

from skmer.clips import ClipEncoder


class ProcessEncoder(ClipEncoder):
    """Encode a file by its size and by where that happened.

    Features are the size, the id of the process and the number of feature stores
    that the process has open. ``delay`` is slept for each file.
    """

    _column = "video"

    def __init__(
        self,
        delay=0.0,
        *,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.delay = delay
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _feature_names(self):
        return ["size", "process", "n_stores"]

    def _encode(self, cells):
        return [self._encode_one(path) for path in cells]

    def _encode_one(self, path):
        time.sleep(self.delay)
        open_files = [Path(file.path).name for file in psutil.Process().open_files()]
        # A float32 is exact up to 2**24; ids of processes end below 2**22.
        return np.array(
            [Path(path).stat().st_size, os.getpid(), open_files.count("data.mdb")]
        )
