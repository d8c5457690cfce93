"""Feature frames in, feature frames out."""

from skmer.preprocessing._group_scaler import GroupStandardScaler
from skmer.preprocessing._imputer import ModalityImputer
from skmer.preprocessing._split_scaler import SplitStandardScaler

__all__ = ["GroupStandardScaler", "ModalityImputer", "SplitStandardScaler"]
