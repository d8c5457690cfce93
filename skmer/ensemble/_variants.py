"""What the members of an ensemble of variants differ in."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from skmer._streams import NAMELESS, stream_of
from skmer.ensemble._names import did_you_mean
from skmer.utils._pipelines import last_prefix


class Variant(NamedTuple):
    """One way to change an estimator."""

    name: str
    dropped: tuple  # streams
    params: dict  # as given, without those that name streams
    estimator: object  # a changed clone
    columns: np.ndarray | None  # of X that it gets to see; None for all


def read_variants(variants, estimator, names):
    """Turn the parameter ``variants`` into changed clones of an estimator.

    Parameters
    ----------
    variants : "drop_streams" or sequence of dict
        As :class:`skmer.ensemble.VariantVotingClassifier` has it.
    estimator : estimator
        What to change.
    names : sequence of str, or None
        Column names of X; None for an X without names.

    Returns
    -------
    found : list of Variant

    Raises
    ------
    ValueError
        If a variant cannot be made.
    """
    names = [] if names is None else list(names)
    if isinstance(variants, str):
        streams = _droppable(estimator, names)
        variants = [{}, *({"drop": stream} for stream in streams)]
    if not len(variants):
        raise ValueError("variants is empty. Give at least one dict; {} is the whole.")
    return [_read(variant, estimator, names) for variant in variants]


def _read(variant, estimator, names):
    if not isinstance(variant, Mapping):
        raise ValueError(
            "Each of variants is a dict of parameters to set, perhaps with streams to "
            f"leave out as 'drop'. Got {variant!r}."
        )
    params = dict(variant)
    drop = params.pop("drop", ())
    drop = (drop,) if isinstance(drop, str) else tuple(drop)
    changed = _with_params(estimator, params)
    columns = None
    if drop:
        changed, columns = _without(changed, drop, names)
    said = [f"without {', '.join(drop)}"] if drop else []
    said += [f"{key}={_short(value)}" for key, value in params.items()]
    return Variant("; ".join(said) or "whole", drop, params, changed, columns)


def _with_params(estimator, params):
    try:
        return clone(estimator).set_params(**params)
    except (ValueError, AttributeError) as error:
        known = list(estimator.get_params(deep=True))
        # A network's parts have parameters that it does not list.
        unknown = [name for name in params if name not in known]
        wrong = [name for name in unknown if not _takes(estimator, name)]
        if not wrong:
            raise
        raise ValueError(
            f"variants set {wrong[0]!r}, which {type(estimator).__name__} does not "
            f"have.{did_you_mean(wrong[0], known)} Streams to leave out go under "
            "'drop'."
        ) from error


def _takes(estimator, name):
    try:
        clone(estimator).set_params(**{name: None})
    except (ValueError, AttributeError):
        return False
    return True


def _short(value):
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _stream_params(estimator):
    """Return the parameters that name streams, with what they hold, as a dict."""
    found = {}
    for name, value in estimator.get_params(deep=True).items():
        if f"__{name}".endswith("__streams") and value is not None:
            found[name] = (value,) if isinstance(value, str) else value
    return found


def _told(estimator):
    """Return the streams that the last step was told to use, or None."""
    prefix = last_prefix(estimator)
    own = [name for name in _stream_params(estimator) if name.startswith(prefix)]
    if not own:
        return None
    return list(_stream_params(estimator)[min(own, key=len)])


def _in_names(names):
    """Return the streams in column names."""
    return [s for s in dict.fromkeys(map(stream_of, names)) if s != NAMELESS]


def _droppable(estimator, names):
    told = _told(estimator)
    streams = _in_names(names) if told is None else told
    if not streams:
        raise ValueError(
            "variants='drop_streams' needs to know the streams. X has no column names "
            "of the form stream__feature, and the classifier was not told: pass "
            f"{last_prefix(estimator)}streams=(...) to it, or list the variants, "
            "such as variants=[{}, {'drop': 'video'}]."
        )
    if len(streams) == 1:
        raise ValueError(
            "variants='drop_streams' needs two streams or more: without "
            f"{streams[0]!r}, the only one, nothing is left. Use "
            "SeedVotingClassifier, or list variants of the parameters."
        )
    return streams


def _matches(stream, dropped):
    return any(stream == name or stream.startswith(f"{name}__") for name in dropped)


def _without(estimator, drop, names):
    """Return a clone that is not given some streams, and the columns it sees."""
    params = _stream_params(estimator)
    told = _told(estimator)
    has = list(dict.fromkeys([*(told or []), *_in_names(names)]))
    for name in drop:
        if not any(_matches(stream, [name]) for stream in has):
            _raise_unknown(name, has, estimator)
    kept = {}
    for name, streams in params.items():
        rest = [stream for stream in streams if not _matches(stream, drop)]
        if not rest:
            _raise_nothing_left(drop, list(streams))
        whole = isinstance(streams, Mapping)
        kept[name] = {key: streams[key] for key in rest} if whole else rest
    changed = clone(estimator).set_params(**kept)
    stays = np.array([not _matches(stream_of(name), drop) for name in names], bool)
    # Columns given by number must keep their numbers.
    numbered = any(isinstance(streams, Mapping) for streams in params.values())
    if numbered or stays.all():
        return changed, None
    if not stays.any():
        _raise_nothing_left(drop, has)
    return changed, np.flatnonzero(stays)


def _raise_unknown(name, has, estimator):
    if not has:
        raise ValueError(
            f"variants leave out the stream {name!r}, but X has no column names of the "
            "form stream__feature, and the classifier was not told its streams. Pass "
            f"{last_prefix(estimator)}streams=(...) to it: then they are left out "
            "there, also where X holds clips and the streams are made by the "
            "pipeline's steps."
        )
    raise ValueError(
        f"variants leave out the stream {name!r}. There are {', '.join(has)}."
        f"{did_you_mean(name, has)}"
    )


def _raise_nothing_left(drop, has):
    raise ValueError(
        f"variants leave out {', '.join(drop)}, and no stream is left of "
        f"{', '.join(has)}."
    )
