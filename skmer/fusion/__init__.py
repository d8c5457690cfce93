"""Classifiers that fuse streams of features."""

from skmer.fusion._attention import AttentionFusionClassifier
from skmer.fusion._base import FusionClassifier
from skmer.fusion._callbacks import SaliencyLog
from skmer.fusion._concat import ConcatFusionClassifier
from skmer.fusion._contrastive import ContrastiveFusionClassifier
from skmer.fusion._cross_attention import CrossAttentionFusionClassifier
from skmer.fusion._dynamic import DynamicWeightingFusionClassifier
from skmer.fusion._late import LateFusionClassifier
from skmer.fusion._low_rank import LowRankFusionClassifier
from skmer.fusion._misa import MisaFusionClassifier
from skmer.fusion._mmim import MmimFusionClassifier
from skmer.fusion._mult import MultFusionClassifier
from skmer.fusion._pretraining import ContrastivePretraining
from skmer.fusion._tensor import TensorFusionClassifier
from skmer.fusion._tokens import ModalTokenFusionClassifier

__all__ = [
    "AttentionFusionClassifier",
    "ConcatFusionClassifier",
    "ContrastiveFusionClassifier",
    "ContrastivePretraining",
    "CrossAttentionFusionClassifier",
    "DynamicWeightingFusionClassifier",
    "FusionClassifier",
    "LateFusionClassifier",
    "LowRankFusionClassifier",
    "MisaFusionClassifier",
    "MmimFusionClassifier",
    "ModalTokenFusionClassifier",
    "MultFusionClassifier",
    "SaliencyLog",
    "TensorFusionClassifier",
]
