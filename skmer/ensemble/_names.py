"""What to say about names that do not match."""

from difflib import get_close_matches


def did_you_mean(name, known):
    """Return a sentence that offers the known name most like a given one.

    Parameters
    ----------
    name : str
        What was given.
    known : sequence of str
        What could have been meant.

    Returns
    -------
    sentence : str
        Begins with a space; empty if nothing is alike.
    """
    close = get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_keys(parameter, given, names):
    """Raise if the keys of a mapping are not exactly the names of the members.

    Parameters
    ----------
    parameter : str
        What the mapping is called in messages.
    given : mapping
        What was given.
    names : iterable of str
        Names of the members.

    Raises
    ------
    ValueError
        If a key is no name, or a name no key.
    """
    names = list(names)
    for key in given:
        if key not in names:
            raise ValueError(
                f"{parameter} names {key!r}, which is no stream here. There are "
                f"{', '.join(names)}.{did_you_mean(key, names)}"
            )
    lacking = [name for name in names if name not in given]
    if lacking:
        raise ValueError(
            f"{parameter} has nothing for {lacking[0]!r}. Give one for each of "
            f"{', '.join(names)}."
        )
