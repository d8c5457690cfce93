"""Versions and device that an evaluation ran on."""

import platform
from importlib.metadata import PackageNotFoundError, version

from skmer._version import __version__

_PACKAGES = (
    "scikit-learn",
    "imbalanced-learn",
    "skorch",
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "pandas",
    "joblib",
    "av",
)


def versions():
    """Return the versions of Python, skmer and what it computes with.

    Returns
    -------
    versions : dict of str to str
        Packages that are not installed are left out.
    """
    found = {"python": platform.python_version(), "skmer": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine():
    """Return the system and the kind of processor, without the machine's name.

    Returns
    -------
    machine : str
    """
    return f"{platform.system()} {platform.machine()}"
