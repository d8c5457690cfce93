"""The command: its parser, and what becomes of errors."""

import importlib
import sys
import traceback

from skmer._version import __version__
from skmer.cli._console import (
    ReaderGone,
    UsageError,
    close_stdout,
    plain_warnings,
    words_of,
)
from skmer.cli._parser import Parser, check_unknown, epilog

# One module each, with add_parser(subparsers); its parser's default ``run`` is a
# function of the parsed arguments that returns an exit code, or None for 0.
COMMANDS = ("ablation", "doctor", "evaluate", "extract", "fit", "predict", "refine")

_TOUR = """
    Three commands, from a table of clips to a judged and a saved model:

        skmer doctor
        skmer evaluate mertools-attention clips.csv -o report
        skmer fit mertools-attention clips.csv -o model

    then `skmer predict model new.mp4`. clips.csv has a line for each clip:

        path,label,speaker
        clips/a.mp4,happy,anna
        clips/b.mp4,sad,ben

    Paths start from the folder of the table. speaker is optional, as is a column
    text with the words; a clip with an empty label counts as unlabelled. Without
    `--encoders paper` nothing is downloaded.

    Results go to stdout, all else to stderr. Exit codes: 0 done, 1 the work failed,
    2 wrong usage or input, 130 stopped by Ctrl-C. `skmer COMMAND --help` explains a
    command by an example.
"""


def make_parser():
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="skmer",
        description="Multimodal emotion recognition from video clips.",
        epilog=epilog(_TOUR),
    )
    parser.add_argument("--version", action="version", version=f"skmer {__version__}")
    subparsers = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    for name in COMMANDS:
        importlib.import_module(f"skmer.cli._{name}").add_parser(subparsers)
    return parser


def main(argv=None):
    """Run the command ``skmer``.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None takes those of the process.

    Returns
    -------
    code : int
        0 if all went well, 1 if the work failed, 2 for wrong usage or input, 130
        after Ctrl-C, 141 if whoever read the results has gone.

    Examples
    --------
    >>> from skmer.cli import main
    >>> main(["--version"])
    skmer ...
    0
    """
    try:
        args = _parse(argv)
    except SystemExit as stop:
        return close_stdout(stop.code)
    with plain_warnings(args):
        code = _run(args)
    return close_stdout(code)


def _parse(argv):
    parser = make_parser()
    args, unknown = parser.parse_known_args(argv)
    check_unknown(args.parser, unknown)
    return args


def _run(args):
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        _say(args, f"stopped. {args.kept}: the same command goes on from there.")
        return 130
    except UsageError as error:
        return _fail(args, error, 2)
    except ReaderGone:
        return 141
    except Exception as error:
        return _fail(args, error, 1)


def _fail(args, error, code):
    if args.debug:
        traceback.print_exception(error, file=sys.stderr)
    _say(args, f"error: {words_of(error, args)}")
    return code


def _say(args, text):
    print(f"skmer {args.command}: {text}", file=sys.stderr)
