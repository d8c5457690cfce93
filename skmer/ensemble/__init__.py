"""Classifiers that vote."""

from skmer.ensemble._fold import FoldVotingClassifier
from skmer.ensemble._seed import SeedVotingClassifier
from skmer.ensemble._stream import StreamVotingClassifier
from skmer.ensemble._svm import SVMEnsembleClassifier
from skmer.ensemble._variant import VariantVotingClassifier

__all__ = [
    "FoldVotingClassifier",
    "SVMEnsembleClassifier",
    "SeedVotingClassifier",
    "StreamVotingClassifier",
    "VariantVotingClassifier",
]
