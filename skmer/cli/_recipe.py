"""A recipe as the command line asks for it."""

import inspect
import os

from skmer.cli._console import UsageError, plainly
from skmer.cli._parser import near

# Parameters of recipes that have options of their own.
_OWN_OPTIONS = {
    "cache": "--cache",
    "device": "--device",
    "encoders": "--encoders",
    "n_jobs": "--n-jobs",
    "on_error": "--on-error",
    "random_state": "--seed",
    "sidecar_text": "--sidecar-text",
    "streams": "--streams",
    "verbose": "--quiet",
}


def streams_of_recipe(name):
    """Return the streams that a recipe takes by default."""
    return _parameters(name)["streams"].default


def make_model(name, args, streams, *, verbose=False):
    """Make the pipeline of a recipe, with the parameters of the command line.

    Parameters
    ----------
    name : str
        A recipe.
    args : Namespace
        With the arguments of ``add_features``.
    streams : tuple of str
        Streams to use.
    verbose : bool, default=False
        Whether encoders show progress.

    Returns
    -------
    model : Pipeline
        Unfitted.

    Raises
    ------
    UsageError
        If a parameter is unknown or its value is not possible.
    """
    from skmer.recipes import RECIPES

    check_machine(args)
    own, inner = {}, {}
    known = _parameters(name)
    for key, value in args.settings:
        if key in _OWN_OPTIONS:
            raise UsageError(f"{key} is set by {_OWN_OPTIONS[key]}, not by --set.")
        (own if key in known else inner)[key] = value
    try:
        model = RECIPES[name].make(
            encoders=args.encoders,
            streams=streams,
            sidecar_text=args.sidecar_text,
            cache=cache_of(args),
            on_error=args.on_error,
            n_jobs=args.n_jobs,
            device=args.device,
            random_state=getattr(args, "seed", None),
            verbose=verbose,
            **own,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: {error}") from error
    set_parameters(model, inner, switches=set(known) - set(_OWN_OPTIONS))
    return model


def set_parameters(model, settings, switches=()):
    """Set parameters of a pipeline by name, and check those that can be.

    Parameters
    ----------
    model : estimator
        Pipeline or the like.
    settings : dict of str to object
        Parameters.
    switches : set of str
        Names that could also have been given.

    Raises
    ------
    UsageError
        If a name is unknown, or an estimator does not take a value.
    """
    for key, value in settings.items():
        names = model.get_params(deep=True)
        if key not in names:
            raise UsageError(_unknown(key, [*names, *switches]))
        model.set_params(**{key: value})
        owner, _, _ = key.rpartition("__")
        part = model.get_params(deep=True).get(owner, model)
        if hasattr(part, "_validate_params"):
            try:
                part._validate_params()
            except (ValueError, TypeError) as error:
                raise UsageError(f"--set {key}={value!r}: {error}") from error


def check_machine(args):
    """Refuse a device that is not there, and a cache that can be none.

    Parameters
    ----------
    args : Namespace
        With the arguments of ``add_work``.

    Raises
    ------
    UsageError
        Before hours of work.
    """
    folder = args.cache
    if folder not in (None, "none") and (
        not folder.strip() or (os.path.exists(folder) and not os.path.isdir(folder))
    ):
        raise UsageError(f"--cache {folder!r} is no folder. Name one, or none.")
    if args.device in ("auto", "cpu"):
        return
    from skmer._pretrained import resolve_device

    try:
        resolve_device(args.device)
    except ValueError as error:
        raise UsageError(plainly(error)) from error


def cache_of(args):
    """Return the folder of the feature cache, as estimators take it."""
    if args.cache is None:
        return "default"
    return None if args.cache == "none" else args.cache


def _parameters(name):
    from skmer.recipes import RECIPES

    return inspect.signature(RECIPES[name].make).parameters


def _unknown(key, names):
    last = key.rpartition("__")[2]
    same = sorted(name for name in names if name.rpartition("__")[2] == last)[:3]
    hint = f" Did you mean {' or '.join(same)}?" if same else near(key, names)
    steps = sorted({name for name in names if "__" not in name} - {"memory", "steps"})
    return (
        f"--set: there is no parameter {key!r}.{hint} Parameters are named by step, "
        f"as in fuse__lr; steps and switches are {', '.join(steps)}."
    )
