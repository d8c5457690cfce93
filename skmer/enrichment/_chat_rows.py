"""Rows of a table of clips: what goes out about each, what came back, where."""

import json
from numbers import Integral, Real

import numpy as np
import pandas as pd

from skmer.cache import Record
from skmer.clips._cells import is_missing
from skmer.utils._clip_ids import look_up

# Answers looked up at a time.
LOOKUP = 4096
# Where scripts begin that tokenizers cut into single characters.
_FIRST_WIDE = 0x2E80


class Answers:
    """Answers of the model, None where none was received.

    Parameters
    ----------
    n_clips : int
        Number of rows.
    """

    def __init__(self, n_clips):
        self.values = [None] * n_clips

    def lookup(self, in_place):
        """Return how many keys to look up at a time."""
        return LOOKUP

    def places(self, start, stop):
        """Return None: answers are read one by one."""
        return None

    def receive(self, rows, arrays, keys):
        """Take in answers as JSON."""
        for row, answer in zip(rows, arrays["answer"], strict=True):
            self.values[row] = json.loads(answer.tobytes())

    def finish(self):
        """Return the answers, a list of dict or None."""
        return self.values


def as_record(reply):
    """Return what is stored of a Reply; an exception as it is."""
    if isinstance(reply, Exception):
        return reply
    # Whatever the model wrote, ASCII can hold.
    answer = json.dumps(vars(reply)).encode()
    return Record("ok", {"answer": np.frombuffer(answer, dtype=np.uint8)})


def row_index(X):
    """Return the index of a table or Series, or the numbers of rows."""
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return X.index
    return pd.RangeIndex(len(X))


def first_rows(cells):
    """Return the rows whose cell stands in no row above, None left out."""
    rows = {}
    for i, cell in enumerate(cells):
        if cell is not None:
            rows.setdefault(cell, i)
    return list(rows.values())


def clip_contexts(context, ids, n_clips):
    """Return what else is known of each clip.

    Parameters
    ----------
    context : Series or DataFrame indexed by clip id, or None
        As a user gives it.
    ids : Index of length n_clips, or None
        Clip ids of the rows.
    n_clips : int
        Number of rows.

    Returns
    -------
    contexts : list of length n_clips
        What JSON can hold: a value for a Series without a name, else a dict of
        name to value; lists become texts. None where nothing is known.

    Raises
    ------
    ValueError
        If there are no ids, or a clip has two different values.
    """
    if context is None:
        return [None] * n_clips
    if isinstance(context, pd.Series) and context.name is None:
        values = look_up(context, ids, "context", required=False)
        return [None if is_missing(value) else _plain(value) for value in values]
    frame = pd.DataFrame(context)
    contexts = [{} for _ in range(n_clips)]
    for name in frame:
        values = look_up(frame[name], ids, f"context[{name!r}]", required=False)
        for known, value in zip(contexts, values, strict=True):
            if not is_missing(value):
                known[str(name)] = _plain(value)
    return [known or None for known in contexts]


def _plain(value):
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and np.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(str(word) for word in value if not is_missing(word))
    return str(value)


def as_number(value, kind):
    """Return a number as plain Python's, None as it is."""
    return None if value is None else kind(value)


def estimate_tokens(text):
    """Return about how many tokens a text is.

    One for each Chinese, Japanese or Korean character, one for four others.
    """
    n_wide = sum(ord(c) >= _FIRST_WIDE for c in text)
    return n_wide + -(-(len(text) - n_wide) // 4)


def price_pair(prices):
    """Return what a million tokens of input and of output cost, NaN for unknown."""
    if prices is None:
        return np.array([np.nan, np.nan])
    known = [
        isinstance(p, Real) and not isinstance(p, bool) and 0 <= p < np.inf
        for p in prices
    ]
    if len(known) != 2 or not all(known):
        raise ValueError(
            "prices must be two numbers, what a million tokens of input and of "
            f"output cost. Got {prices!r}."
        )
    return np.array(prices, dtype=float)
