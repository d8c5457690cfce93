"""Scores of the field and their plots."""

from skmer.metrics._modality_weights import ModalityWeightsDisplay
from skmer.metrics._scores import (
    unweighted_accuracy_score,
    weighted_accuracy_score,
    weighted_f1_score,
)
from skmer.metrics._training_history import TrainingHistoryDisplay

__all__ = [
    "ModalityWeightsDisplay",
    "TrainingHistoryDisplay",
    "unweighted_accuracy_score",
    "weighted_accuracy_score",
    "weighted_f1_score",
]
