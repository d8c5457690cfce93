"""Transformers from clips to features."""

__all__ = []
