"""What StreamVotingClassifier is told: streams, weights, and which cells lack."""

import warnings
from collections.abc import Mapping

import numpy as np

from skmer._streams import NAMELESS, resolve_streams, stream_groups
from skmer.ensemble._blocks import has_values, take_block
from skmer.ensemble._names import check_keys


def read_streams(streams, by, names, n_features):
    """Return the columns of each stream.

    Parameters
    ----------
    streams : None, sequence of str or dict
        As :class:`skmer.ensemble.StreamVotingClassifier` has it.
    by : {"modality", "stream"}
        What makes a stream where ``streams`` is None.
    names : sequence of str of length n_features, or None
        Column names; None for an X without names.
    n_features : int
        Number of columns.

    Returns
    -------
    groups : dict of str to ndarray of int64
    """
    if streams is not None or names is None:
        streams = dict(streams) if isinstance(streams, Mapping) else streams
        return resolve_streams(streams, names, n_features)
    return stream_groups(names, by=by)


def read_weights(weights, names):
    """Return the weight of each member.

    Parameters
    ----------
    weights : None, mapping of str to float, or array-like
        As :class:`skmer.ensemble.StreamVotingClassifier` has it.
    names : list of str
        The members.

    Returns
    -------
    found : dict of str to float

    Raises
    ------
    ValueError
        If they are not one number for each, none below zero and one above.
    """
    if weights is None:
        return dict.fromkeys(names, 1.0)
    if isinstance(weights, Mapping):
        check_keys("weights", weights, names)
        values = [weights[name] for name in names]
    else:
        values = list(weights)
    if len(values) != len(names):
        raise ValueError(
            f"weights has {len(values)} numbers, but there are {len(names)} members: "
            f"{', '.join(names)}."
        )
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all() or found.min() < 0 or not found.any():
        raise ValueError(
            "weights must be finite, none below zero and one above it. Got "
            f"{dict(zip(names, values, strict=True))}."
        )
    return dict(zip(names, found.tolist(), strict=True))


def check_named(given, groups, names):
    """Raise if members are given by name, and names of columns tell no streams.

    Parameters
    ----------
    given : mapping
        Members by stream.
    groups : dict of str to ndarray of int64
        The streams.
    names : sequence of str, or None
        Column names of X.

    Raises
    ------
    ValueError
        If X is one stream without a name and a member is of another.
    """
    foreign = [name for name in given if name not in groups]
    if list(groups) != [NAMELESS] or not foreign:
        return
    names = [] if names is None else list(names)
    if all(name in names for name in given):
        columns = {name: [name] for name in given}
        way = f"pass streams={columns}, if these are the columns of X that you mean"
    else:
        way = "pass streams={name: columns}"
    raise ValueError(
        f"estimator has a member for {foreign[0]!r}, but no column of X is of a stream "
        "of that name: streams are read from column names of the form "
        f"stream__feature, and X has none. Name the columns so, or {way}."
    )


def warn_of_names(groups, names, stacklevel):
    """Warn where columns have no stream in their names.

    Parameters
    ----------
    groups : dict of str to ndarray of int64
        The streams, as read from the names.
    names : sequence of str, or None
        Column names of X.
    stacklevel : int
        As :func:`warnings.warn` has it, from the caller.
    """
    if list(groups) == [NAMELESS]:
        warnings.warn(
            f"All {len(groups[NAMELESS])} columns of X are one stream, {NAMELESS!r}, "
            "and one member sees them all: no column has a name of the form "
            "stream__feature. Call set_output(transform='pandas') on the steps "
            "before, whose columns a FeatureUnion or ColumnTransformer names so, or "
            "pass streams={name: columns}.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
    elif NAMELESS in groups:
        nameless = [names[i] for i in groups[NAMELESS]]
        warnings.warn(
            f"{len(nameless)} columns have no '__' in their names and get a "
            f"member of their own, {NAMELESS!r}: {', '.join(nameless[:5])}. "
            "Name them stream__feature, leave them out, or say by streams= "
            "which streams there are.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def warn_of_holes(X, groups, stacklevel):
    """Warn where clips count as without a stream for some missing cells.

    Parameters
    ----------
    X : DataFrame, ndarray or sparse array of shape (n_clips, n_features)
        Features.
    groups : dict of str to ndarray of int64
        The streams.
    stacklevel : int
        As :func:`warnings.warn` has it, from the caller.
    """
    told = []
    for name, columns in groups.items():
        block = take_block(X, columns)
        whole = has_values(block, "any")
        if whole.all():
            continue
        holes = int(np.sum(has_values(block, "all") & ~whole))
        if holes:
            told.append(f"{holes} of {X.shape[0]} in {name!r}")
    if told:
        warnings.warn(
            f"Rows lack some values of a stream, but not all: {', '.join(told)}. With "
            "missing='any' its member does not learn from them and has no say about "
            "them. Fill them with skmer.preprocessing.ModalityImputer, or pass "
            "missing='all' and members that cope with missing values, such as "
            "make_pipeline(SimpleImputer(), ...).",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
