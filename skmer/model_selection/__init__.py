"""Splitters for partly labelled clips, and folds that are kept in a file."""

from skmer.model_selection._reference import ReferenceFolds
from skmer.model_selection._unlabeled import UnlabeledInTrain

__all__ = ["ReferenceFolds", "UnlabeledInTrain"]
