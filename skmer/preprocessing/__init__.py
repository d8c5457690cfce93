"""Feature frames in, feature frames out."""

from skmer.preprocessing._imputer import ModalityImputer

__all__ = ["ModalityImputer"]
