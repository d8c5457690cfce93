"""Finding and correcting wrong labels, in the rows that a model learns from."""

from skmer.label_refinement._classifier import RefinedClassifier
from skmer.label_refinement._decisions import read_decisions, write_decisions
from skmer.label_refinement._label_studio import import_label_studio
from skmer.label_refinement._refiner import LabelRefiner

__all__ = [
    "LabelRefiner",
    "RefinedClassifier",
    "import_label_studio",
    "read_decisions",
    "write_decisions",
]
