"""Scores of the field and their plots."""

__all__ = []
