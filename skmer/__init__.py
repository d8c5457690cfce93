"""Multimodal emotion recognition from video clips as ordinary scikit-learn."""

from skmer._config import config_context, get_config, set_config
from skmer._version import __version__

__all__ = ["__version__", "config_context", "get_config", "set_config"]
