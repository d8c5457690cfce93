"""Tables of clips, and the template of what turns clips into features."""

__all__ = []
