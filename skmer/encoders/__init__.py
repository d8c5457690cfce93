"""Transformers from clips to features."""

from skmer.encoders._acoustic import AcousticEncoder
from skmer.encoders._adapted import AdaptedSpeechEncoder
from skmer.encoders._mertools_io import write_mertools
from skmer.encoders._openface import OpenFaceEncoder
from skmer.encoders._precomputed import PrecomputedEncoder
from skmer.encoders._speech import SpeechEncoder
from skmer.encoders._text import TextEncoder
from skmer.encoders._visual import VisualEncoder

__all__ = [
    "AcousticEncoder",
    "AdaptedSpeechEncoder",
    "OpenFaceEncoder",
    "PrecomputedEncoder",
    "SpeechEncoder",
    "TextEncoder",
    "VisualEncoder",
    "write_mertools",
]
