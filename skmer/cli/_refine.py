"""``skmer refine``: labels that other evidence contradicts, corrected or shown."""

import os
import tempfile

from skmer.cli._arguments import (
    add_features,
    add_groups,
    add_output,
    add_table,
    number_from,
    place,
)
from skmer.cli._clips import load_table, streams_of
from skmer.cli._console import UsageError, counted, note, plainly, result
from skmer.cli._features import (
    add_encoders,
    encode,
    encoding_steps,
    refuse_sequences,
)
from skmer.cli._folds import groups_of
from skmer.cli._output import check_apart, check_target, write_table
from skmer.cli._parser import add_command
from skmer.cli._recipe import streams_of_recipe

_EXAMPLE = """
    example:
      $ skmer refine clips.csv -o refined.csv --report report.csv
      Changed 14 of 240 labels (5.8 %), flagged 9 more.
      refined.csv: to fit: --label-column label_refined; to evaluate, keep the
      column label

    Weak classifiers of each modality judge clips that they have not learnt from;
    where they and how annotators err speak against a label, it is changed. All
    columns of clips.csv stay as they are. refined.csv has two more, label_refined
    and label_changed; fit recipes on it by --label-column label_refined. report.csv
    has the clips that were changed or flagged, the least credible first:

      clip,from,to,probability,agreement,quality,sources,...
      clips/a.mp4,sad,happy,0.93,1.0,0.02,"audio, text",...

    Refining helps where many labels are wrong, and costs a little where few are. To
    judge a recipe, evaluate it on the labels as they were: mmef-net and ecmf refine
    inside of each training fold by themselves.

    People decide about doubtful clips, in Label Studio or in any editor:
      skmer refine clips.csv -o refined.csv --label-studio tasks.json
      skmer refine clips.csv -o refined.csv --decisions export.json --overwrite

    --decisions takes Label Studio's export (JSON), or a CSV file with the columns
    clip and decision: a class, keep, or drop, which leaves the clip out.
"""


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "refine",
        run,
        usage="CSV -o PATH [options]",
        summary="Correct labels that other evidence contradicts",
        example=_EXAMPLE,
    )
    add_table(parser)
    add_output(parser, "table with the refined labels, .csv")
    parser.add_argument(
        "--report",
        metavar="CSV",
        type=place,
        help="what was changed or flagged, and why",
    )
    parser.add_argument(
        "--label-studio",
        metavar="JSON",
        type=place,
        help="tasks to import into Label Studio",
    )
    group = parser.add_argument_group("how labels are refined")
    group.add_argument(
        "--decisions", metavar="FILE", help="what people decided: .csv or .json"
    )
    group.add_argument(
        "--rule",
        choices=("posterior", "majority"),
        default="posterior",
        help="weigh sources by how far they are to be trusted (posterior), or count",
    )
    group.add_argument(
        "--extra-labels",
        metavar="NAME",
        action="append",
        default=[],
        help="column with labels from elsewhere, a language model's; may be repeated",
    )
    group.add_argument(
        "--tasks",
        choices=("flagged", "changed", "report", "all"),
        default="report",
        help="clips for --label-studio (report: those changed or flagged)",
    )
    group.add_argument(
        "--cv", metavar="N", type=number_from(2), default=5, help="folds (5)"
    )
    add_groups(group)
    group.set_defaults(groups="none")
    add_encoders(parser)
    add_features(parser, sets="--set audio__feature_set=eGeMAPSv02")


def run(args):
    """Refine labels and write the table, the report and the tasks."""
    _check_outputs(args)
    clips = load_table(args, groups=groups_of(args), classes=True)
    new = f"{args.label_column}_refined", f"{args.label_column}_changed"
    for name in new:
        if name in clips.frame:
            raise UsageError(
                f"{args.csv} has a column {name!r} already. Refine the table that it "
                f"was made of, or rename the column."
            )
    extra = {name: _column(clips, name) for name in args.extra_labels}
    decisions = _decisions(args)
    streams = streams_of(args, streams_of_recipe(args.recipe), clips.data)
    steps = encoding_steps(args, streams)
    refuse_sequences(
        steps.named_steps["encode"],
        "refine does not judge by. Choose another recipe by --recipe",
    )
    features, failures = encode(steps, clips.data)
    if len(failures):
        note(args, f"{counted(len(failures), 'file')} could not be read.")

    from skmer.label_refinement import LabelRefiner

    refiner = LabelRefiner(
        extra_labels=extra or None,
        rule=args.rule,
        cv=args.cv,
        groups=None if args.groups == "none" else clips.groups,
        decisions=decisions,
        random_state=args.seed,
        n_jobs=args.n_jobs,
    )
    try:
        refiner.fit_resample(features, clips.target)
    except ValueError as error:
        # Of decisions and clips that do not fit each other
        raise UsageError(plainly(error)) from error
    _write(args, clips, refiner, new)


def _check_outputs(args):
    tables = [path for path in (args.output, args.report) if path is not None]
    for path in tables:
        if os.path.splitext(path)[1].lower() != ".csv":
            raise UsageError(f"Tables are written as .csv, so name {path!r} such.")
    tasks = [] if args.label_studio is None else _task_files(args)
    if tasks and os.path.splitext(tasks[0])[1].lower() != ".json":
        raise UsageError(f"Tasks are written as .json, so name {tasks[0]!r} such.")
    for path in (*tables, *tasks):
        check_target(path, args.overwrite)
    check_apart([*tables, *tasks], [args.decisions])
    check_apart([args.report, *tasks], [args.csv])


def _column(clips, name):
    if name not in clips.frame:
        raise UsageError(
            f"{clips.filename} has no column {name!r} (--extra-labels), only "
            f"{', '.join(clips.frame.columns)}."
        )
    return clips.frame[name].replace("", None)


def _decisions(args):
    from skmer.label_refinement import import_label_studio, read_decisions

    if args.decisions is None:
        return None
    read = read_decisions
    if args.decisions.lower().endswith(".json"):
        read = import_label_studio
    try:
        return read(args.decisions)
    except (ValueError, OSError) as error:
        raise UsageError(plainly(error)) from error


def _write(args, clips, refiner, names):
    kept = refiner.sample_indices_
    frame = clips.frame.copy()
    frame[names[0]] = [label or "" for label in refiner.labels_]
    frame[names[1]] = ["yes" if one else "" for one in refiner.changed_]
    write_table(frame.iloc[kept], args.output, index=False)
    if args.report is not None:
        write_table(refiner.report(), args.report, index=False)
    if args.label_studio is not None:
        _write_tasks(args, clips, refiner)
    n_labels = int(refiner.annotations_.notna().sum())
    n_changed = int(refiner.changed_.sum())
    n_flagged = int((refiner.flagged_ & ~refiner.changed_).sum())
    result(
        f"Changed {n_changed} of {counted(n_labels, 'label')} "
        f"({100 * n_changed / n_labels:.1f} %), flagged {n_flagged} more."
    )
    n_dropped = len(frame) - len(kept)
    if n_dropped:
        result(f"Left out {counted(n_dropped, 'clip')}, as was decided.")
    root = ""
    if os.path.dirname(os.path.abspath(args.output)) != os.path.abspath(clips.root):
        root = f" and --root {clips.root}, where its paths start"
    result(
        f"{args.output}: to fit: --label-column {names[0]}{root}; to evaluate, keep "
        f"the column {args.label_column}"
    )


def _task_files(args):
    return args.label_studio, os.path.splitext(args.label_studio)[0] + ".xml"


def _write_tasks(args, clips, refiner):
    shown = clips.data.dropna(axis="columns", how="all")
    if "video" in shown and (shown["video"] == shown.get("audio")).all():
        # The player of the video plays its sound
        shown = shown.drop(columns="audio")
    targets = _task_files(args)
    folder = os.path.dirname(os.path.abspath(args.label_studio))
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tasks-") as part:
        path = os.path.join(part, os.path.basename(args.label_studio))
        refiner.export_label_studio(path, shown, which=args.tasks, root=clips.root)
        for target in targets:
            os.replace(os.path.join(part, os.path.basename(target)), target)
    result(
        f"{targets[0]}: tasks; labeling configuration in {targets[1]}. Label Studio "
        f"needs LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={clips.root}"
    )
