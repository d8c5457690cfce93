"""``skmer ablation``: a paper's ablation table on a table of clips."""

import argparse
from pathlib import Path

from skmer.cli._arguments import (
    add_groups,
    add_output,
    add_reading,
    add_seeds,
    add_table,
    add_work,
    names,
    number_from,
)
from skmer.cli._clips import load_table, tell_if_refined
from skmer.cli._console import (
    UsageError,
    as_options,
    note,
    plainly,
    result,
    shows_bars,
)
from skmer.cli._folds import check_number, groups_of
from skmer.cli._output import check_folder
from skmer.cli._parser import add_command, near
from skmer.cli._recipe import cache_of, check_machine

TABLES = (
    "mmef-net",
    "ecmf",
    "acoustic-visual",
    "foal-net",
    "mr-ccl",
    "mr-ccl-oversampling",
    "mr-ccl-learning-rate",
)
_EXAMPLE = """
    example:
      $ skmer ablation mr-ccl clips.csv -o ablation --seeds 3

    Runs the rows of the paper's table on your clips, all on the same folds, and
    prints weighted F1 (WAF), unweighted (UA) and weighted accuracy (WA) of each, the
    score of the best epoch as papers report it (optimistic), the paper's own figures,
    and which parameters the row changes. ablation/ablation.md, .csv and .json hold the
    table, and a folder for each row its report.

    A row that lacks something is listed with what it needs: clips without a label, a
    stream, or a model of the Hugging Face hub (--encoders paper). Rows with labels of
    language models run from Python: skmer.evaluation.ablation(annotators=[...]).

    --protocol mertools adds a column by that toolkit's own protocol: the best of 50
    random settings, judged by its best epochs on the folds that are reported, run six
    times again. It takes more than 50 times as long.

    A run that was stopped goes on where it was when it is started again. With other
    clips or settings it takes --overwrite, which removes files of skmer alone.
"""


def table_name(text):
    """Return the name of a table, or say which it may be."""
    name = text.strip().lower().replace("_", "-")
    if name in TABLES:
        return name
    known = ", ".join(TABLES)
    if name == "mertools-attention":
        raise argparse.ArgumentTypeError(
            f"{text!r} has no table, as it is the baseline of the others. Tables are "
            f"{known}."
        )
    raise argparse.ArgumentTypeError(
        f"there is no table {text!r}, only {known}.{near(name, TABLES)}"
    )


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "ablation",
        run,
        usage="PAPER CSV -o FOLDER [options]",
        summary="Run a paper's ablation table on a table of clips",
        example=_EXAMPLE,
    )
    parser.add_argument(
        "table",
        metavar="PAPER",
        type=table_name,
        help=f"the table: {', '.join(TABLES)}",
    )
    add_table(parser)
    add_output(parser, "folder of the table and the reports of its rows")
    group = parser.add_argument_group("how it is scored")
    group.add_argument(
        "--rows", metavar="A,B", type=names, help="only these rows of the table"
    )
    group.add_argument(
        "--cv", metavar="N", type=number_from(2), default=5, help="number of folds (5)"
    )
    add_groups(group)
    add_seeds(group)
    group.add_argument(
        "--protocol",
        choices=("honest", "mertools"),
        default="honest",
        help="mertools: also that toolkit's protocol, which flatters (honest)",
    )
    for name, least, usual, what in (
        ("draws", 1, 50, "random settings of that protocol"),
        ("reruns", 1, 6, "runs of the best of them"),
    ):
        group.add_argument(
            f"--{name}",
            metavar="N",
            type=number_from(least),
            default=usual,
            help=f"{what} ({usual})",
        )
    group = parser.add_argument_group("how clips are read")
    add_reading(group)
    add_work(parser)
    parser.set_defaults(
        kept="Features are in the cache, finished folds in the folder of the table"
    )


def run(args):
    """Run the table, write it, print it."""
    folder = Path(args.output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{args.output!r} is a file. Name a folder for the table.")
    if (folder / "ablation.json").exists() and not args.overwrite:
        raise UsageError(
            f"{args.output!r} holds a table. Name another folder, or replace it by "
            "--overwrite."
        )
    if folder.is_dir() and any(map(_is_foreign, folder.iterdir())):
        raise UsageError(
            f"The folder {args.output!r} holds other files. Name a new one."
        )
    check_folder(folder, args.output)
    more = _check_rows(args)
    check_machine(args)
    clips = load_table(args, groups=groups_of(args), classes=True)
    tell_if_refined(args, clips)
    check_number(args, clips, more=more)
    note(args, f"Running the table of {args.table}.")
    report = _ablation(args, clips)
    result(as_options(report.to_markdown().rstrip("\n"), args))
    result(f"\nThe table is {folder / 'ablation.md'}")


def _is_foreign(path):
    return not (path.name.startswith("ablation.") or path.name[:2].isdigit())


def _check_rows(args):
    """Refuse rows that are not there; return how many folds more some have."""
    from skmer.evaluation._ladders import LADDERS

    rows = LADDERS[args.table].rows
    known = [row.name for row in rows]
    unknown = [name for name in args.rows or () if name not in known]
    if unknown:
        raise UsageError(
            f"--rows: the table has no row {unknown[0]!r}, but {', '.join(known)}."
        )
    return max(row.more_folds for row in rows if row.name in (args.rows or known))


def _ablation(args, clips):
    from skmer.evaluation import ablation
    from skmer.evaluation._resume import AnotherEvaluationError

    data = clips.data
    there = {
        "audio": data["audio"].notna().any(),
        "video": data["video"].notna().any(),
        "text": args.sidecar_text or data["text"].notna().any(),
    }
    try:
        return ablation(
            args.table,
            data,
            clips.target,
            encoders=args.encoders,
            streams=tuple(name for name, known in there.items() if known),
            cv=args.cv,
            groups=clips.groups,
            n_repeats=args.seeds,
            rows=args.rows,
            protocol=args.protocol,
            n_draws=args.draws,
            n_reruns=args.reruns,
            sidecar_text=args.sidecar_text,
            cache=cache_of(args),
            on_error=args.on_error,
            device=args.device,
            n_jobs=args.n_jobs,
            random_state=args.seed,
            verbose=shows_bars(args),
            folder=args.output,
            overwrite=args.overwrite,
        )
    except AnotherEvaluationError as error:
        raise UsageError(plainly(error)) from error
