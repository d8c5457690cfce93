"""Classifiers that fuse streams of features."""

from skmer.fusion._attention import AttentionFusionClassifier
from skmer.fusion._base import FusionClassifier
from skmer.fusion._contrastive import ContrastiveFusionClassifier
from skmer.fusion._cross_attention import CrossAttentionFusionClassifier
from skmer.fusion._pretraining import ContrastivePretraining

__all__ = [
    "AttentionFusionClassifier",
    "ContrastiveFusionClassifier",
    "ContrastivePretraining",
    "CrossAttentionFusionClassifier",
    "FusionClassifier",
]
