"""The ``skmer`` command, a thin shell over the public API."""

from skmer.cli._main import main

__all__ = ["main"]
