"""Arguments that several commands have, and what their words mean."""

import argparse
import ast
import codecs
import json

from skmer.cli._parser import near

# Known without importing the recipes, which would bring torch.
RECIPES = (
    "acoustic-visual",
    "ecmf",
    "foal-net",
    "mertools-attention",
    "mmef-net",
    "mr-ccl",
)


def recipe_name(text):
    """Return the name of a recipe, or say which it may be."""
    name = text.strip().lower().replace("_", "-").removeprefix("make-")
    if name in RECIPES:
        return name
    if name.endswith((".csv", ".tsv", ".txt")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no recipe but looks like a table: the recipe comes first, "
            f"one of {', '.join(RECIPES)}."
        )
    raise argparse.ArgumentTypeError(
        f"there is no recipe {text!r}, only {', '.join(RECIPES)}.{near(name, RECIPES)}"
    )


def setting(text):
    """Return name and value of ``name=value``; values are JSON, Python or words."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be name=value, such as fuse__hidden_size=64."
        )
    for read in (json.loads, ast.literal_eval):
        try:
            return name, read(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return name, value


def names(text):
    """Return the names of a list with commas between."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing.")
    return found


def number_from(least, most=None):
    """Return a function that reads a whole number from ``least`` on."""
    until = "on" if most is None else f"to {most}"

    def read(text):
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(
                f"{text!r} must be a whole number from {least} {until}."
            )
        return number

    return read


def jobs(text):
    """Return a number of processes: from 1 on, or -1 for all processors."""
    return -1 if text.strip() == "-1" else number_from(1)(text)


def place(text):
    """Return a path to write to; an empty one, of a variable not set, is none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty.")
    return text


def character(text):
    """Return the one character that divides cells."""
    text = "\t" if text == "\\t" else text
    if len(text) != 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be one character, such as ';' or '\\t'."
        )
    return text


def encoding(text):
    """Return the name of an encoding that Python knows."""
    try:
        codecs.lookup(text)
    except (LookupError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"there is no encoding {text!r}; utf-8, gb18030 and cp1252 are some."
        ) from error
    return text


def add_recipe(parser):
    """Add the name of a recipe."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        type=recipe_name,
        help=f"a published system: {', '.join(RECIPES)}",
    )


def add_table(parser, *, labels=True):
    """Add the table of clips and how it is read."""
    parser.add_argument(
        "csv",
        metavar="CSV",
        help="table of clips: a line for each, the first names the columns "
        "(path, label; also speaker, text, fold)",
    )
    group = parser.add_argument_group("how the table is read")
    add_table_options(group, labels=labels)


def add_table_options(group, *, labels=True):
    """Add how a table of clips is read."""
    group.add_argument(
        "--root", metavar="FOLDER", help="paths start there (the table's folder)"
    )
    group.add_argument(
        "--path-column", metavar="NAME", default="path", help="the files (path)"
    )
    if labels:
        group.add_argument(
            "--label-column", metavar="NAME", default="label", help="classes (label)"
        )
        group.add_argument(
            "--unlabelled",
            metavar="LABEL",
            action="append",
            help="a label that means none, besides an empty cell; may be repeated",
        )
    group.add_argument(
        "--text-column", metavar="NAME", help="the words (text, if it is there)"
    )
    group.add_argument(
        "--id-column",
        metavar="NAME",
        help="the clips' ids (id if it is there, else the path)",
    )
    group.add_argument(
        "--allow-absolute",
        action="store_true",
        help="clips may lie outside of the folder that paths start from",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        type=encoding,
        help="such as gb18030 or cp1252 (UTF-8)",
    )
    group.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        type=character,
        help="between cells (seen from the header)",
    )


def add_groups(group):
    """Add what is kept together in folds."""
    group.add_argument(
        "--groups",
        metavar="NAME",
        help="column with what folds keep together (speaker or group, if it is "
        "there); none for nothing",
    )


def add_seeds(group):
    """Add how often folds are fitted."""
    group.add_argument(
        "--seeds",
        metavar="N",
        type=number_from(1),
        default=1,
        help="how often each fold is fitted, with other seeds (1)",
    )


def add_reading(group):
    """Add how clips are read, whatever is done with them."""
    group.add_argument(
        "--encoders",
        choices=("offline", "paper"),
        default="offline",
        help="offline: nothing to download (offline); paper: the models of the paper, "
        "from the Hugging Face hub",
    )
    group.add_argument(
        "--sidecar-text",
        action="store_true",
        help="read words from .txt, .srt or .vtt files beside the clips",
    )


def add_features(parser, *, sets="--set fuse__hidden_size=64", on_error="raise"):
    """Add how clips become features, and what all work has."""
    group = parser.add_argument_group("how clips are read")
    add_reading(group)
    group.add_argument(
        "--streams",
        metavar="A,B",
        type=names,
        help="such as audio,video,text or video__face (those of the recipe that the "
        "table has)",
    )
    group.add_argument(
        "--set",
        metavar="NAME=VALUE",
        dest="settings",
        type=setting,
        action="append",
        default=[],
        help=f"a parameter, as in {sets}; may be repeated",
    )
    add_work(parser, on_error=on_error)


def add_work(parser, *, on_error="raise", seed=True):
    """Add what all work has: device, processes, cache, seed."""
    group = parser.add_argument_group("how it is run")
    group.add_argument(
        "--on-error",
        choices=("raise", "nan"),
        default=on_error,
        help="what becomes of files that cannot be read: stop, or a missing stream "
        f"({on_error})",
    )
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1 (auto: a GPU if there is)"
    )
    group.add_argument(
        "--n-jobs", metavar="N", type=jobs, help="processes; -1: all processors (1)"
    )
    group.add_argument(
        "--cache",
        metavar="FOLDER",
        help="where features are kept (`skmer doctor` shows it); none for nowhere",
    )
    if seed:
        group.add_argument(
            "--seed",
            metavar="N",
            type=number_from(0, 2**32 - 1),
            default=0,
            help="of all that is drawn: the same one gives the same results (0)",
        )


def add_output(parser, what, *, required=True):
    """Add where results are written."""
    parser.add_argument(
        "-o", "--output", metavar="PATH", type=place, required=required, help=what
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is there"
    )
