"""Classifiers that vote, and codes that do not know their labels."""

from skmer.ensemble._cross_fit import CrossFitTransformer
from skmer.ensemble._fold import FoldVotingClassifier
from skmer.ensemble._seed import SeedVotingClassifier
from skmer.ensemble._stream import StreamVotingClassifier
from skmer.ensemble._svm import SVMEnsembleClassifier
from skmer.ensemble._variant import VariantVotingClassifier

__all__ = [
    "CrossFitTransformer",
    "FoldVotingClassifier",
    "SVMEnsembleClassifier",
    "SeedVotingClassifier",
    "StreamVotingClassifier",
    "VariantVotingClassifier",
]
