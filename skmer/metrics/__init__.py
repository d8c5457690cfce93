"""Scores of the field and their plots."""

from skmer.metrics._layer_scan import layer_scan
from skmer.metrics._layer_scan_display import LayerScanDisplay
from skmer.metrics._modality_weights import ModalityWeightsDisplay
from skmer.metrics._scores import (
    unweighted_accuracy_score,
    weighted_accuracy_score,
    weighted_f1_score,
)
from skmer.metrics._training_history import TrainingHistoryDisplay

__all__ = [
    "LayerScanDisplay",
    "ModalityWeightsDisplay",
    "TrainingHistoryDisplay",
    "layer_scan",
    "unweighted_accuracy_score",
    "weighted_accuracy_score",
    "weighted_f1_score",
]
