"""Classifiers that fuse streams of features."""

__all__ = []
