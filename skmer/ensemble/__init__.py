"""Classifiers that vote."""

from skmer.ensemble._fold import FoldVotingClassifier
from skmer.ensemble._seed import SeedVotingClassifier

__all__ = ["FoldVotingClassifier", "SeedVotingClassifier"]
