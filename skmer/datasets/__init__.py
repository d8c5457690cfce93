"""Clips to work with: made, loaded or fetched."""

from skmer.datasets._load_clips import load_clips
from skmer.datasets._make_clips import make_clips

__all__ = ["load_clips", "make_clips"]
