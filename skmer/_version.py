"""The one place that holds skmer's version."""

__version__ = "0.1.0.dev0"
