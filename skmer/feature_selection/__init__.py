"""Which columns of a feature frame tell the classes apart."""

from skmer.feature_selection._chi2 import chi2_binned
from skmer.feature_selection._selector import ChiSquareSelector

__all__ = ["ChiSquareSelector", "chi2_binned"]
