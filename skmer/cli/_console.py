"""What the command prints besides results: warnings, notes and errors, in lines."""

import os
import re
import shlex
import sys
import warnings
from contextlib import contextmanager

# Of no use to who runs a command; developers see them through Python's -W.
_FOR_DEVELOPERS = (
    DeprecationWarning,
    FutureWarning,
    ImportWarning,
    PendingDeprecationWarning,
    ResourceWarning,
)
# How messages of the library name parameters, and the options that set them; what
# is given for them, if anything, is the group.
_OPTIONS = [
    (r"\ballow_absolute=True", "--allow-absolute"),
    (r"\bdelimiter='([^']*)'", "--delimiter"),
    (r"\bencoders='paper'(?:, or one in encoders=)?", "--encoders paper"),
    (r"\bencoding='([^']*)'", "--encoding"),
    (r"\bfold_column(?:='([^']*)'|=)?", "--fold-column"),
    (r"\bgroup_column(?:='([^']*)'|=)?", "--groups"),
    (r"\bid_column(?:='([^']*)'|=)?", "--id-column"),
    (r"\blabel_column(?:='([^']*)'|=)?", "--label-column"),
    (r"\bon_error='nan'", "--on-error nan"),
    (r"\boverwrite=True", "--overwrite"),
    (r"\bpath_column(?:='([^']*)'|=)?", "--path-column"),
    (r"\broot='([^']*)'|(?<=\bas )root\b", "--root"),
    (r"\bClipTable\(sidecar_text=True\)", "--sidecar-text"),
    (r"\bits streams parameter|\bstreams parameter", "--streams"),
    (r"\btext_column(?:='([^']*)'|=)?", "--text-column"),
    (r"\btrusted=\[?'?([\w.]*)'?\]?", "--trust"),
    (r"\bunlabelled=\(('[^']*',)?\)", "--unlabelled"),
]
# What messages say that is done in Python alone, and what is said here.
_WORDS = [
    (r"\bfailures\(X\)(?: of the encoder)? lists", "`skmer extract` lists"),
    (r" \(clips to be predicted need none: require_labels=False\)", ""),
    (r", or pass require_labels=False for clips to be predicted", ""),
    (r": annotators=\\?\[ChatAnnotator\(\.\.\.\)\\?\]", ", from Python alone"),
]


class UsageError(Exception):
    """What the user gave cannot be used; the message says what to change."""


class ReaderGone(Exception):
    """Whoever read the results has gone, as ``head`` does when it has enough."""


def result(text):
    """Print a result on stdout."""
    # Names of files may be no text in the encoding of the screen
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text)
    except BrokenPipeError as error:
        raise ReaderGone from error


def note(args, text):
    """Tell the user something on stderr, unless asked to be quiet."""
    if not args.quiet:
        print(text, file=sys.stderr)


def shows_bars(args):
    """Tell whether there is somebody to look at progress bars."""
    return not args.quiet and sys.stderr.isatty()


def counted(number, thing):
    """Return a number with its noun, such as "1 clip" or "3 clips"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def plainly(error):
    """Return the message of an error; one not made for users keeps its class's name."""
    text = str(error).strip()
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"There is no file {os.fspath(error.filename)!r}."
    made_for_users = (UsageError, ValueError, TypeError, OSError, ImportError)
    if not isinstance(error, made_for_users) or not text:
        return f"{type(error).__name__}: {text}".rstrip(": ")
    return text


def words_of(error, args):
    """Return what is told of an error, with options in place of parameters."""
    parts = [plainly(error), *getattr(error, "__notes__", ())]
    row = _row_of(error, args)
    text = row + as_options("\n".join(parts), args)
    if not args.debug and not isinstance(error, UsageError):
        text += "\n(--debug shows where.)"
    return text


def as_options(text, args):
    """Return what the library says, with options in place of parameters."""
    for said, instead in _WORDS:
        text = re.sub(said, lambda _, i=instead: i, text)
    for said, option in _OPTIONS:
        if _has(args, option):
            text = re.sub(said, lambda found, o=option: _as_option(o, found), text)
    return text


def _row_of(error, args):
    """Return where the clip of an error stands in the table; "" for no clip of it."""
    table = getattr(args, "table_of_clips", None)
    clip = getattr(error, "clip", None)
    if table is None or not isinstance(clip, str):
        return ""
    files = table.data[["video", "audio"]]
    rows = table.rows[(files == clip).any(axis=1).to_numpy()].tolist()
    return f"{table.filename}, row {rows[0]}: " if rows else ""


def _as_option(option, found):
    value = found[1] if found.re.groups else None
    if option == "--unlabelled":
        value = (value or "").strip(",'")
    elif value is None:
        return option
    return f"{option} {shlex.quote(value)}"


def _has(args, option):
    return option.split()[0] in {
        name for action in args.parser._actions for name in action.option_strings
    }


@contextmanager
def plain_warnings(args):
    """Show each warning once, in one line, without the code that gave it."""
    shown = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = as_options(" ".join(str(message).split()), args)
        if text not in shown:
            shown.add(text)
            _print_beside_bars(f"skmer {args.command}: warning: {text}")

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("default")
            for category in _FOR_DEVELOPERS:
                warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield


def _print_beside_bars(text):
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def close_stdout(code):
    """Write out what is printed, and return the exit code.

    It is 141 if whoever read it has gone, and 1 if it cannot be written.
    """
    try:
        sys.stdout.flush()
        return code
    except OSError as error:
        # Python writes what is left at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"skmer: error: results cannot be printed: {error}", file=sys.stderr)
        return 1
