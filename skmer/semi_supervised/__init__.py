"""Learning from clips without labels."""

from skmer.semi_supervised._agreement import AgreementSelfTrainingClassifier

__all__ = ["AgreementSelfTrainingClassifier"]
