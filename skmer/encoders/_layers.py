"""Which hidden states of a model are asked for, and rows made of them.

A record of a clip holds the pooled vectors of all states that were computed:
``states`` of shape (n_states, n_values), row i being the raw output of block i (0:
what goes into the first block), and ``last``, the model's last hidden state, which
some models normalise, where the model was run to its end.
"""

from numbers import Integral

import numpy as np

from skmer.encoders._pooling import pooled_names
from skmer.utils._sklearn import StrOptions

LAYERS = [Integral, "array-like", StrOptions({"all", "last"})]
LAYER_POOLING = [StrOptions({"mean", "sum", "concat"})]
CACHE_LAYERS = [StrOptions({"asked", "all"})]


def resolve_layers(layers, n_layers):
    """Return the states that are asked for.

    Parameters
    ----------
    layers : int, "last", "all" or sequence of these but "all"
        As a user gives them.
    n_layers : int
        Blocks that the model has.

    Returns
    -------
    states : list of (int or "last")
        Indices of hidden states from 0 to ``n_layers``, in the order given.

    Raises
    ------
    ValueError
        If there is none, one twice, or one that the model does not have.
    """
    if isinstance(layers, str) and layers == "all":
        return list(range(1, n_layers + 1))
    single = isinstance(layers, (str, Integral))
    asked = [layers] if single else list(layers)
    states = [_state(layer, n_layers) for layer in asked]
    if not states or len(set(states)) < len(states):
        raise ValueError(
            f"layers must name at least one layer and none twice. Got {layers!r}."
        )
    return states


def last_four(model, n_layers):
    """Return the states that MERTools sums, the very last as the model gives it.

    Parameters
    ----------
    model : str or path
        The model, for the message.
    n_layers : int
        Blocks that it has.

    Returns
    -------
    states : list of (int or "last")
        As :func:`resolve_layers` returns them.

    Raises
    ------
    ValueError
        If the model has fewer than four blocks.
    """
    if n_layers < 4:
        raise ValueError(
            f"preset='mertools' sums the last four layers; {model} has {n_layers}."
        )
    return [n_layers - 3, n_layers - 2, n_layers - 1, "last"]


def _state(layer, n_layers):
    if isinstance(layer, str) and layer == "last":
        return "last"
    whole = isinstance(layer, Integral) and not isinstance(layer, (bool, np.bool_))
    if whole and -n_layers - 1 <= layer <= n_layers:
        return int(layer) % (n_layers + 1)
    raise ValueError(
        f"layers must be 'all', 'last', whole numbers from 0 (the input of the first "
        f"block) to {n_layers} (the last block of this model), or a sequence of "
        f"numbers and 'last'; -1 is block {n_layers}. Got {layer!r}."
    )


def depth_needed(states, n_layers, cache_layers):
    """Return how many blocks have to be run, None for all."""
    if cache_layers == "all" or "last" in states:
        return None
    depth = max(1, *states)
    return None if depth == n_layers else depth


def holds(arrays, states):
    """Tell whether stacked records hold all states that are asked for."""
    found = arrays["states"].shape[1]
    return all(s in arrays if s == "last" else s < found for s in states)


def combine(arrays, states, layer_pooling, n_parts):
    """Make rows of stacked records.

    Parameters
    ----------
    arrays : dict of str to ndarray
        ``states`` of shape (n_clips, n_states, n_parts * width) and ``last`` of
        shape (n_clips, n_parts * width).
    states : list of (int or "last")
        As :func:`resolve_layers` returns them.
    layer_pooling : {"mean", "sum", "concat"}
        How the states become one vector.
    n_parts : int
        Vectors that pooling over time gives of each state.

    Returns
    -------
    rows : ndarray of shape (n_clips, n_features), dtype float32
    """
    taken = [
        arrays["last"] if s == "last" else arrays["states"][:, s]  #
        for s in states
    ]
    if layer_pooling == "concat":
        # Statistics first, as pooled_names has them.
        parts = [np.split(values, n_parts, axis=1) for values in taken]
        return np.concatenate([p[i] for i in range(n_parts) for p in parts], axis=1)
    total = np.sum(taken, axis=0, dtype=np.float64)
    if layer_pooling == "mean":
        total /= len(taken)
    return total.astype(np.float32)


def layered_names(width, states, layer_pooling, pooling):
    """Return the names of all features."""
    if layer_pooling == "concat":
        tags = ["last" if s == "last" else f"layer{s}" for s in states]
        names = [f"{tag}_{i}" for tag in tags for i in range(width)]
    else:
        names = [f"h{i}" for i in range(width)]
    return pooled_names(names, pooling)


def n_pooled(pooling):
    """Return how many vectors pooling over time gives."""
    return {"mean": 1, "mean_std": 2, None: 1}.get(pooling, pooling)
