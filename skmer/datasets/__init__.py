"""Clips to work with: made, loaded or fetched."""

from skmer.datasets._make_clips import make_clips

__all__ = ["make_clips"]
