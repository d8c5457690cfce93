"""Classifiers that vote."""

from skmer.ensemble._fold import FoldVotingClassifier
from skmer.ensemble._seed import SeedVotingClassifier
from skmer.ensemble._stream import StreamVotingClassifier

__all__ = ["FoldVotingClassifier", "SeedVotingClassifier", "StreamVotingClassifier"]
