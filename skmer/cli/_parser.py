"""argparse with advice: near names, and help texts that keep their lines."""

import argparse
import difflib
import re
import textwrap

_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser that never guesses at options, but says which may be meant."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message):
        """Print what is wrong and what may be meant, and leave with code 2."""
        found = _CHOICE.search(message)
        if found:
            choices = re.findall(r"[\w-]+", found[2])
            message += "." + near(found[1], choices)
        self.exit(
            2,
            f"{self.prog}: error: {message}\nSee `{self.prog} --help`, which shows "
            "an example.\n",
        )


def epilog(text):
    """Return a text written indented in the source, with its own lines."""
    return textwrap.dedent(text).strip()


def near(word, names):
    """Return " Did you mean ...?" with the names that are like a word, or ""."""
    likeness = {name: _likeness(word.lower(), name) for name in names}
    found = [name for name in likeness if likeness[name] >= 0.7]
    found = sorted(found, key=lambda name: -likeness[name])[:3]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _likeness(word, name):
    # The first word of a name is what is remembered of it
    parts = [name, name.partition("-")[0]] if name[0] != "-" else [name]
    return max(difflib.SequenceMatcher(None, word, part).ratio() for part in parts)


def check_unknown(parser, unknown):
    """Leave with a message about arguments that a command does not know."""
    if not unknown:
        return
    options = [name for a in parser._actions for name in a.option_strings]
    first = unknown[0]
    if first.startswith("-"):
        name = first.partition("=")[0]
        parser.error(f"unknown option {name}.{near(name, options)}")
    parser.error(
        f"{first!r} is one argument too many. Put quotes around names with blanks."
    )


def add_command(subparsers, name, run, *, usage, summary, example):
    """Add the parser of a command.

    Parameters
    ----------
    subparsers : argparse action
        What ``add_subparsers`` returned.
    name : str
        The command.
    run : callable
        Takes the parsed arguments, returns an exit code or None for 0.
    usage : str
        Its arguments, the most used ones.
    summary : str
        What it does, in a line.
    example : str
        What its help ends with: a worked example and what the files look like.

    Returns
    -------
    parser : Parser
        With ``--quiet`` and ``--debug``.
    """
    parser = subparsers.add_parser(
        name,
        usage=f"skmer {name} {usage}",
        help=summary,
        description=f"{summary}.\nValues in parentheses are taken by default.",
        epilog=epilog(example),
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print results and errors only"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show where an error comes from"
    )
    parser.set_defaults(
        run=run, parser=parser, kept="Features that were computed are in the cache"
    )
    return parser
