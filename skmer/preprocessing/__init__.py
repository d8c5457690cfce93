"""Feature frames in, feature frames out."""

__all__ = []
