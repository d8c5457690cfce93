"""Bringing the streams of a clip into one space."""

from skmer.alignment._contrastive import ContrastiveAligner

__all__ = ["ContrastiveAligner"]
