"""Honest reports of what a model is worth."""

from skmer.evaluation._ablation import ablation
from skmer.evaluation._ablation_report import AblationReport
from skmer.evaluation._evaluate import evaluate
from skmer.evaluation._report import EvaluationReport

__all__ = ["AblationReport", "EvaluationReport", "ablation", "evaluate"]
