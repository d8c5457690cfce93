"""Scores of the field and their plots."""

from skmer.metrics._modality_weights import ModalityWeightsDisplay
from skmer.metrics._scores import (
    unweighted_accuracy_score,
    weighted_accuracy_score,
    weighted_f1_score,
)

__all__ = [
    "ModalityWeightsDisplay",
    "unweighted_accuracy_score",
    "weighted_accuracy_score",
    "weighted_f1_score",
]
