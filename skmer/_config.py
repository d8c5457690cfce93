"""Settings shared by all of skmer: where caches and data live, device and dtype."""

import os
import threading
from contextlib import contextmanager
from pathlib import Path

_DEFAULTS = {
    "cache_dir": None,
    "data_home": None,
    "device": "auto",
    "dtype": "auto",
}
_global = dict(_DEFAULTS)
_local = threading.local()
_lock = threading.Lock()


def _thread_config():
    # A thread starts from what the process was set to last.
    if not hasattr(_local, "config"):
        with _lock:
            _local.config = dict(_global)
    return _local.config


def _default_folder(variable, *parts):
    value = os.environ.get(variable)
    if value:
        return Path(value).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "skmer" / Path(*parts)


def get_config():
    """Return the settings in force in this thread.

    Returns
    -------
    config : dict
        ``cache_dir`` and ``data_home`` as :class:`pathlib.Path` (from
        :func:`set_config`, else the environment variables ``SKMER_CACHE_DIR``
        and ``SKMER_DATA_HOME``, else folders under ``~/.cache/skmer``),
        ``device`` (``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``...) and
        ``dtype`` (``"auto"``, ``"float32"``, ``"float16"``, ``"bfloat16"``).

    Examples
    --------
    >>> import skmer
    >>> skmer.get_config()["device"]
    'auto'
    """
    config = dict(_thread_config())
    config["cache_dir"] = (
        Path(config["cache_dir"]).expanduser()
        if config["cache_dir"] is not None
        else _default_folder("SKMER_CACHE_DIR", "features")
    )
    config["data_home"] = (
        Path(config["data_home"]).expanduser()
        if config["data_home"] is not None
        else _default_folder("SKMER_DATA_HOME", "data")
    )
    return config


def set_config(**settings):
    """Change settings for this thread and for threads started later.

    Worker processes do not see it: give ``cache=`` to the estimators or set
    ``SKMER_CACHE_DIR`` where work runs in other processes.

    Parameters
    ----------
    **settings : dict
        Any of ``cache_dir``, ``data_home`` (path, or None for the default),
        ``device`` and ``dtype`` (str), as :func:`get_config` describes them.

    Raises
    ------
    TypeError
        If a name is not a setting.
    ValueError
        If ``dtype`` is not one of the four it may be.
    """
    unknown = sorted(set(settings) - set(_DEFAULTS))
    if unknown:
        raise TypeError(
            f"Unknown setting {unknown[0]!r}. skmer's settings are "
            f"{', '.join(sorted(_DEFAULTS))}."
        )
    dtypes = ("auto", "float32", "float16", "bfloat16")
    if settings.get("dtype", "auto") not in dtypes:
        raise ValueError(
            f"dtype must be one of {', '.join(dtypes)}. Got {settings['dtype']!r}."
        )
    _thread_config().update(settings)
    with _lock:
        _global.update(settings)


@contextmanager
def config_context(**settings):
    """Change settings for the length of a ``with`` block.

    Parameters
    ----------
    **settings : dict
        As for :func:`set_config`.

    Yields
    ------
    None

    Examples
    --------
    >>> import skmer
    >>> with skmer.config_context(device="cpu"):
    ...     skmer.get_config()["device"]
    'cpu'
    """
    before = dict(_thread_config())
    with _lock:
        before_global = dict(_global)
    set_config(**settings)
    try:
        yield
    finally:
        _thread_config().update(before)
        with _lock:
            _global.update(before_global)


@contextmanager
def thread_settings(**settings):
    """Change settings of this thread alone for the length of a ``with`` block.

    For what one thread or process does on behalf of another, whose settings it has
    to have whatever other threads do meanwhile.

    Parameters
    ----------
    **settings : dict
        As :func:`get_config` returns them.

    Yields
    ------
    None
    """
    config = _thread_config()
    before = dict(config)
    config.update(settings)
    try:
        yield
    finally:
        config.update(before)
