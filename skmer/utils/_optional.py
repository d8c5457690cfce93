"""Imports of optional packages, with a hint when one is missing."""

import importlib

from skmer.exceptions import MissingDependencyError

# Import name -> extra of skmer that brings it.
EXTRAS = {
    "accelerate": "llm",
    "distributed": "dask",
    "dlib": "face",
    "matplotlib": "plot",
    "matplotlib.pyplot": "plot",
    "openai": "llm",
    "opensmile": "opensmile",
    "skops.io": "persist",
}


def import_optional(module, purpose):
    """Import an optional package.

    Parameters
    ----------
    module : str
        Import name, one of :data:`EXTRAS`.
    purpose : str
        What needs it, as the subject of a sentence.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    MissingDependencyError
        If it is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the optional package {module.partition('.')[0]!r}, "
            f'which is not installed. Run: pip install "skmer[{EXTRAS[module]}]"',
            name=module,
        ) from error
