"""The grammar of feature names: which columns belong to which stream.

Everything before the last ``__`` of a name is the stream, the part before the
first ``__`` its modality: ``video__face__511`` is a column of the stream
``video__face``, whose modality is ``video``.
"""

import numpy as np

from skmer.exceptions import MissingStreamError

# The one stream of an X whose names say nothing.
NAMELESS = "all"


def stream_of(name):
    """Return the stream that a column belongs to."""
    head, separator, _ = str(name).rpartition("__")
    return head if separator else NAMELESS


def modality_of(stream):
    """Return the modality of a stream: the first part of its name."""
    return stream.partition("__")[0]


def stream_groups(names, by="stream"):
    """Group columns by stream or by modality, in order of first appearance.

    Parameters
    ----------
    names : sequence of str of length n_features
        Column names as FeatureUnion and ColumnTransformer make them.
    by : {"stream", "modality"}, default="stream"
        What to group by.

    Returns
    -------
    groups : dict of str to ndarray of int64
        Column indices of each group. Names without ``__`` form the group
        ``"all"``.
    """
    if by not in ("stream", "modality"):
        raise ValueError(f"by must be 'stream' or 'modality'. Got {by!r}.")
    groups = {}
    for index, name in enumerate(names):
        stream = stream_of(name)
        key = stream if by == "stream" else modality_of(stream)
        groups.setdefault(key, []).append(index)
    return {key: np.asarray(value, dtype=np.int64) for key, value in groups.items()}


def resolve_streams(streams, names, n_features):
    """Turn an estimator's ``streams`` parameter into column indices.

    Parameters
    ----------
    streams : None, str, sequence of str, or dict of str to (slice, names or indices)
        None reads the streams from ``names``. A sequence selects streams by
        name; a name also stands for every stream below it, so ``"video"``
        takes the columns of ``video__face`` and ``video__frame`` together.
    names : sequence of str of length n_features, or None
        Column names; None for an X without names.
    n_features : int
        Number of columns.

    Returns
    -------
    groups : dict of str to ndarray of int64
        Column indices of each stream, in the order asked for.

    Raises
    ------
    MissingStreamError
        If a stream is asked for that X does not have, or X has no names.
    ValueError
        If two streams share a column, or ``streams`` is empty.
    """
    if streams is None:
        if names is None:
            return {NAMELESS: np.arange(n_features, dtype=np.int64)}
        return stream_groups(names)
    if isinstance(streams, str):
        streams = (streams,)
    if len(streams) == 0:
        raise ValueError("streams is empty. Name at least one stream, or pass None.")
    if isinstance(streams, dict):
        groups = {
            key: _columns(key, value, names, n_features)
            for key, value in streams.items()
        }
    else:
        groups = _select(list(streams), names, n_features)
    taken = {}
    for key, columns in groups.items():
        for column in columns.tolist():
            if column in taken:
                raise ValueError(
                    f"Streams {taken[column]!r} and {key!r} share column "
                    f"{column if names is None else names[column]!r}. "
                    "Every column may belong to one stream only."
                )
            taken[column] = key
    return groups


def _select(wanted, names, n_features):
    if names is None:
        raise MissingStreamError(
            f"Streams {wanted} were asked for, but X ({n_features} columns) has no "
            "column names. Call set_output(transform='pandas') on the steps before, "
            "or pass streams={name: slice(start, stop)}."
        )
    has = [stream_of(name) for name in names]
    groups = {}
    for want in wanted:
        columns = [
            i
            for i, stream in enumerate(has)
            if stream == want or stream.startswith(want + "__")
        ]
        if not columns:
            only = set(has) == {NAMELESS}
            its = "its column names have no '__'" if only else "its streams are "
            raise MissingStreamError(
                f"X has no stream {want!r}: {its}"
                f"{'' if only else ', '.join(dict.fromkeys(has))}. Name its columns "
                f"'{want}__...' (a FeatureUnion or ColumnTransformer does so after its "
                "steps' names), or change the streams parameter, which also takes "
                "{name: columns}."
            )
        groups[want] = np.asarray(columns, dtype=np.int64)
    return groups


def _columns(key, value, names, n_features):
    if isinstance(value, slice):
        beyond = [
            end
            for end in (value.start, value.stop)
            if end is not None and not -n_features <= end <= n_features
        ]
        if beyond:
            raise MissingStreamError(
                f"Stream {key!r} asks for columns {value.start} to {value.stop}, but X "
                f"has {n_features} columns."
            )
        columns = np.arange(n_features, dtype=np.int64)[value]
    else:
        items = list(value)
        if items and all(isinstance(item, str) for item in items):
            lookup = {} if names is None else {n: i for i, n in enumerate(names)}
            absent = [item for item in items if item not in lookup]
            if absent:
                raise MissingStreamError(
                    f"Stream {key!r} names column {absent[0]!r}, which X does not "
                    "have" + (" (X has no names)." if names is None else ".")
                )
            columns = np.asarray([lookup[item] for item in items], dtype=np.int64)
        else:
            columns = np.asarray(items, dtype=np.int64)
            if columns.size and (columns.min() < 0 or columns.max() >= n_features):
                wrong = columns.min() if columns.min() < 0 else columns.max()
                raise MissingStreamError(
                    f"Stream {key!r} asks for column {wrong}, but X has {n_features} "
                    "columns, numbered from 0."
                )
    if columns.size == 0:
        raise MissingStreamError(
            f"Stream {key!r} has no columns in an X of {n_features} columns."
        )
    return columns
