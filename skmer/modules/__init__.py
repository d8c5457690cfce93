"""Plain torch networks and what trains them."""

__all__ = []
