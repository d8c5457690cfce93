"""Multimodal emotion recognition from video clips as ordinary scikit-learn."""

import importlib
import pkgutil

from skmer._config import config_context, get_config, set_config
from skmer._version import __version__

__all__ = ["__version__", "config_context", "get_config", "set_config"]

_PACKAGES = frozenset(
    module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"
)


# Packages are imported when first used: importing all would bring torch.
def __getattr__(name):
    if name in _PACKAGES:
        return importlib.import_module(f"skmer.{name}")
    raise AttributeError(f"module 'skmer' has no attribute {name!r}")


def __dir__():
    return sorted({*__all__, *_PACKAGES})
