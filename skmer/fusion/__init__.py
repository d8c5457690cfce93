"""Classifiers that fuse streams of features."""

from skmer.fusion._attention import AttentionFusionClassifier
from skmer.fusion._base import FusionClassifier

__all__ = ["AttentionFusionClassifier", "FusionClassifier"]
