"""Fitted models as folders that load without running code."""

from skmer.persistence._model import load_model, save_model

__all__ = ["load_model", "save_model"]
