"""How long a server wants to be left alone."""

import math
import re
import time
from email.utils import parsedate_to_datetime

# Seconds. What asks for more is a quota of the day rather than of the minute.
LONGEST_WAIT = 600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_RESET, _REMAINING = "x-ratelimit-reset-", "x-ratelimit-remaining-"
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PIECE = r"(\d+(?:\.\d+)?)(ms|[smhd])"


def parse_duration(text):
    """Return the seconds that a text such as ``"6m0s"``, ``"20ms"`` or ``"1.5"`` says.

    Parameters
    ----------
    text : str
        A number of seconds, or numbers with units.

    Returns
    -------
    seconds : float or None
        None where it says nothing of the kind.
    """
    text = text.strip().lower()
    if re.fullmatch(f"(?:{_PIECE})+", text):
        return sum(float(n) * _UNITS[unit] for n, unit in re.findall(_PIECE, text))
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def stated_wait(headers):
    """Return how long a refused request has to wait.

    Parameters
    ----------
    headers : mapping of str to str
        Of the answer; names in lower case or regardless of it.

    Returns
    -------
    seconds : float or None
        Of ``retry-after-ms``, ``retry-after`` (seconds or a date), or of
        ``x-ratelimit-reset-*``; None where none of them says.
    """
    milliseconds = parse_duration(headers.get("retry-after-ms") or "")
    if milliseconds is not None:
        return milliseconds / 1e3
    text = headers.get("retry-after")
    if text:
        seconds = parse_duration(text)
        if seconds is not None:
            return seconds
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):
            pass
    resets = _resets(headers)
    used_up = [wait for wait, left in resets if left == "0"]
    waits = used_up or [wait for wait, _ in resets]
    return max(waits, default=None)


def reset_wait(headers):
    """Return how long nothing may be asked after a request that was answered.

    Parameters
    ----------
    headers : mapping of str to str
        Of the answer.

    Returns
    -------
    seconds : float
        Until the last quota of which nothing remains is filled again; 0 where
        something remains of all.
    """
    return max((wait for wait, left in _resets(headers) if left == "0"), default=0.0)


def _resets(headers):
    """List the wait for each quota, and what remains of it."""
    found = []
    for name in headers:
        if name.lower().startswith(_RESET):
            wait = parse_duration(headers[name])
            # Some servers send a point in time, which is no wait.
            if wait is not None and wait <= LONGEST_WAIT:
                left = headers.get(_REMAINING + name.lower().removeprefix(_RESET))
                found.append((wait, left and left.strip()))
    return found


def backoff(n_failed, rng):
    """Return a pause that doubles with each failure, shortened by chance.

    Parameters
    ----------
    n_failed : int
        Failures so far, from 1 on.
    rng : random.Random
        Source of chance.

    Returns
    -------
    seconds : float
        Between half of the pause and all of it.
    """
    # Beyond 2 ** 30 all is one; further on the power overflows.
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(n_failed - 1, 30))
    return pause * rng.uniform(0.5, 1.0)
