"""Clips to work with: made, loaded or fetched."""

from skmer.datasets._iemocap import load_iemocap
from skmer.datasets._load_clips import load_clips
from skmer.datasets._make_clips import make_clips
from skmer.datasets._meld import load_meld
from skmer.datasets._mer import load_mer2023, load_mer2024, load_mer2025
from skmer.datasets._mertools import load_mertools
from skmer.datasets._ravdess import fetch_ravdess
from skmer.datasets._submission import to_submission

__all__ = [
    "fetch_ravdess",
    "load_clips",
    "load_iemocap",
    "load_meld",
    "load_mer2023",
    "load_mer2024",
    "load_mer2025",
    "load_mertools",
    "make_clips",
    "to_submission",
]
