"""Published systems as functions that return plain, unfitted pipelines."""

__all__ = []
