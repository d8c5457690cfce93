"""Clips to work with: made, loaded or fetched."""

from skmer.datasets._iemocap import load_iemocap
from skmer.datasets._load_clips import load_clips
from skmer.datasets._make_clips import make_clips
from skmer.datasets._meld import load_meld
from skmer.datasets._ravdess import fetch_ravdess

__all__ = ["fetch_ravdess", "load_clips", "load_iemocap", "load_meld", "make_clips"]
