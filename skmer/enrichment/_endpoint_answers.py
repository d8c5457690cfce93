"""What servers and the models behind them write, which may be anything."""

import json
import re

# Characters of an answer that are looked at, and objects that are tried in them.
_LONGEST = 65536
_MOST_OBJECTS = 256
# What counts more than this is no count.
_MOST_TOKENS = 2**53
_TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL | re.IGNORECASE)
# A string, closed or not, or a comma after the last of a list or object.
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+"?)|,\s*(?=[}\]])', re.DOTALL)


def without_thoughts(text):
    """Return an answer without what a reasoning model thinks aloud.

    Parameters
    ----------
    text : str
        The answer.

    Returns
    -------
    text : str
        Without ``<think>`` blocks, whether the first tag was left out (it may stand
        in the prompt) or the last was cut off.
    """
    kept, start, thinking = [], 0, False
    for tag in _TAG.finditer(text):
        if tag[1]:
            if not thinking:
                kept.clear()
            start, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[start : tag.start()])
            thinking = True
    if not thinking:
        kept.append(text[start:])
    return "".join(kept)


def json_objects(text):
    """Return the JSON objects in an answer, fenced or amid other words.

    Parameters
    ----------
    text : str
        The answer.

    Returns
    -------
    objects : list of dict
        The outermost ones, in their order. Names of fields are in lower case; where
        two have one name and other values, it has the list of these. Line breaks in
        strings and commas at the end, which JSON does not have, are no harm.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        # As a rule the thoughts are what is long.
        text = without_thoughts(text).strip()[:_LONGEST]
    fenced = _FENCE.fullmatch(text)
    try:
        # Tags of thoughts inside of its strings are quotations.
        whole = _decoder.decode(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return _scattered(without_thoughts(text))
    return [whole] if isinstance(whole, dict) else _scattered(text)


def _scattered(text):
    # Quotes before the first brace are none of its strings.
    text = text[max(text.find("{"), 0) :]
    text = _LAST_COMMA.sub(lambda found: found[1] or "", text)
    found, place, n_tried = [], text.find("{"), 0
    while place >= 0 and n_tried < _MOST_OBJECTS:
        end = place + 1
        n_tried += 1
        try:
            value, end = _decoder.raw_decode(text, place)
        except ValueError:
            pass
        except RecursionError:
            break
        else:
            found.append(value)
        place = text.find("{", end)
    return found


def _as_object(pairs):
    values = {}
    for name, value in pairs:
        values.setdefault(name.strip().casefold(), []).append(value)
    return {
        name: said[0] if all(value == said[0] for value in said[1:]) else said
        for name, said in values.items()
    }


# Models leave line breaks in strings as they are.
_decoder = json.JSONDecoder(object_pairs_hook=_as_object, strict=False)


def as_count(value):
    """Return a number of tokens as a server gives it, None where it is none."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 <= value < _MOST_TOKENS else None


def error_message(body):
    """Return what the body of an error says, empty where that is nothing."""
    if isinstance(body, dict):
        found = [body.get(name) for name in ("message", "error", "detail")]
        return next((text for text in found if isinstance(text, str)), "")
    return body if isinstance(body, str) else ""
