"""``skmer evaluate``: cross-validated scores of a recipe, in a report."""

import os
from pathlib import Path

from skmer.cli._arguments import (
    add_features,
    add_groups,
    add_output,
    add_recipe,
    add_seeds,
    add_table,
    number_from,
)
from skmer.cli._clips import load_table, streams_of, tell_if_refined
from skmer.cli._console import UsageError, note, plainly, result, shows_bars
from skmer.cli._folds import folds_of, groups_of
from skmer.cli._output import check_folder
from skmer.cli._parser import add_command
from skmer.cli._recipe import make_model, streams_of_recipe

_EXAMPLE = """
    example:
      $ skmer evaluate mertools-attention clips.csv -o report --cv 5

    clips.csv, paths starting from its own folder:
      path,label,speaker,text
      clips/a.mp4,happy,anna,What a day!
      clips/b.mp4,sad,ben,

    Prints weighted F1 (WAF), unweighted (UA) and weighted accuracy (WA), each with
    its bootstrap interval, beside two plain references on the same folds: one
    logistic regression on all features, and the product of one a modality.
    report/report.html shows the rest (classes, modalities, missing modalities,
    confusions, calibration); report.md, report.json, predictions.csv and folds.csv
    hold it for other uses.

    Folds are stratified and keep a speaker together where the table has a column
    speaker or group. With a column fold, or --fold-file, they are those, whoever
    speaks; --cv wins over a column fold. Clips without a label are trained on by
    recipes that can, and never scored.

    More:
      skmer evaluate ecmf clips.csv -o r2 --fold-file report/folds.csv   same folds
      skmer evaluate mmef-net clips.csv -o r3 --encoders paper --sidecar-text
      skmer evaluate mertools-attention clips.csv -o r4 --seeds 5 \\
          --set fuse__hidden_size=64 --set fuse__lr=0.001

    A run that was stopped goes on where it was when it is started again. With other
    clips or settings it takes --overwrite, which removes files of skmer alone.
"""


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "evaluate",
        run,
        usage="RECIPE CSV -o FOLDER [options]",
        summary="Cross-validate a recipe on a table of clips and write a report",
        example=_EXAMPLE,
    )
    add_recipe(parser)
    add_table(parser)
    add_output(parser, "folder of the report")
    group = parser.add_argument_group("how it is scored")
    group.add_argument(
        "--cv",
        metavar="N",
        type=number_from(2),
        help="number of folds, also where there is a column fold (5, or fewer where a "
        "class has fewer clips)",
    )
    group.add_argument(
        "--fold-file",
        metavar="CSV",
        help="folds by clip id, as a report's folds.csv has them",
    )
    group.add_argument(
        "--fold-column",
        metavar="NAME",
        help="column with the fold that a clip is tested in (fold, if it is there and "
        "--cv is not given)",
    )
    add_groups(group)
    add_seeds(group)
    for name, what in (
        ("references", "without the two plain references"),
        ("literature", "without the score of the best epoch, as papers report it"),
        ("robustness", "without scores when a modality is missing"),
    ):
        group.add_argument(f"--no-{name}", action="store_true", help=what)
    group.add_argument(
        "--fit-alone",
        action="store_true",
        help="also fit the recipe on each modality alone",
    )
    add_features(parser)
    parser.set_defaults(
        kept="Features are in the cache, finished folds in the report's folder"
    )


def run(args):
    """Evaluate the recipe, write the report, print its scores."""
    _check_target(args)
    clips = load_table(args, groups=groups_of(args), classes=True)
    tell_if_refined(args, clips)
    streams = streams_of(args, streams_of_recipe(args.recipe), clips.data)
    model = make_model(args.recipe, args, streams, verbose=shows_bars(args))
    folds = folds_of(args, clips)

    note(args, f"Fitting {args.recipe}.")
    report = _evaluate(args, model, clips, folds)
    result("\n".join(_lines(report)))
    result(f"\nThe report is {Path(args.output, 'report.html')}")


def _evaluate(args, model, clips, folds):
    from skmer.evaluation import evaluate
    from skmer.evaluation._resume import AnotherEvaluationError

    try:
        return evaluate(
            model,
            clips.data,
            clips.target,
            cv=folds,
            groups=clips.groups,
            n_repeats=args.seeds,
            references=not args.no_references,
            literature=not args.no_literature,
            robustness=not args.no_robustness,
            fit_alone=args.fit_alone,
            n_jobs=args.n_jobs,
            random_state=args.seed,
            verbose=shows_bars(args),
            name=args.recipe,
            folder=args.output,
            overwrite=args.overwrite,
        )
    except AnotherEvaluationError as error:
        raise UsageError(plainly(error)) from error


def _check_target(args):
    folder = Path(args.output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{args.output!r} is a file. Name a folder for the report.")
    if (folder / "report.json").exists() and not args.overwrite:
        raise UsageError(
            f"{args.output!r} holds a report. Name another folder, or replace it by "
            "--overwrite."
        )
    known = {"finished", "report.json"}
    if folder.is_dir() and os.listdir(folder) and not known & {*os.listdir(folder)}:
        raise UsageError(
            f"The folder {args.output!r} holds other files. Name a new one for the "
            "report."
        )
    check_folder(folder, args.output)


def _lines(report):
    """Return the scores of the model and the references as lines of a table."""
    measures = report.scores.index.tolist()
    rows = [["", *(f"{measure}, %" for measure in measures)]]
    if report.references is None:
        scores = report.scores
        cells = (_cell(*scores.loc[m, ["score", "low", "high"]]) for m in measures)
        rows.append([report.facts["name"], *cells])
    else:
        for system, row in report.references.iterrows():
            cells = (
                _cell(row[m], row.get(f"{m}_low"), row.get(f"{m}_high"))
                for m in measures
            )
            rows.append([system, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cell(score, low, high):
    known = low is not None and low == low
    interval = f" ({100 * low:.1f} to {100 * high:.1f})" if known else ""
    return f"{100 * score:.1f}{interval}"
