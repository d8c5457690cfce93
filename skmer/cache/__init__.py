"""Content-addressed store of extracted features."""

__all__ = []
