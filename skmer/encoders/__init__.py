"""Transformers from clips to features."""

from skmer.encoders._acoustic import AcousticEncoder
from skmer.encoders._text import TextEncoder
from skmer.encoders._visual import VisualEncoder

__all__ = ["AcousticEncoder", "TextEncoder", "VisualEncoder"]
