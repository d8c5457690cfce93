"""Clips to work with: made, loaded or fetched."""

__all__ = []
