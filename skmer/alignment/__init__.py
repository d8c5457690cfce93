"""Adapting streams of a clip, and bringing them into one space."""

from skmer.alignment._contrastive import ContrastiveAligner
from skmer.alignment._stream_adapter import StreamAdapter

__all__ = ["ContrastiveAligner", "StreamAdapter"]
