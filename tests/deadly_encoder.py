"""Encoders that their processes die of."""

import os
import signal
from pathlib import Path

from byte_encoder import ByteHistogramEncoder


class DeadlyEncoder(ByteHistogramEncoder):
    """Die of files beside which one ends in ``.deadly``, as of a decoder's crash.

    Of one that ends in ``.once`` only one process dies.
    """

    def _encode_one(self, path):
        once = Path(path).with_suffix(".once")
        if once.exists():
            once.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if Path(path).with_suffix(".deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._encode_one(path)
