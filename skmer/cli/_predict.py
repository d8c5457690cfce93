"""``skmer predict``: labels and probabilities of new clips."""

import csv
import io
import json
import os

from skmer.cli._arguments import add_output, add_table_options, add_work
from skmer.cli._clips import load_table, table_of_files
from skmer.cli._console import UsageError, counted, note, plainly, result, shows_bars
from skmer.cli._output import check_apart, check_target, replacing
from skmer.cli._parser import add_command
from skmer.cli._recipe import cache_of, check_machine

_TABLES = (".csv", ".tsv", ".tab")
_FORMATS = (".csv", ".jsonl")
_EXAMPLE = """
    example:
      $ skmer predict model new.mp4 other.mov
      clip,label,p_happy,p_sad,error
      new.mp4,happy,0.91,0.09,
      other.mov,sad,0.22,0.78,

      $ skmer predict model clips.csv -o predicted.csv
      $ skmer predict model clips/*.mp4 -o predicted.jsonl --on-error nan

    model is a folder that `skmer fit` made. Clips are files, or one table whose
    column path names them (and text the words, if the model reads words). A line of
    .jsonl is {"clip": ..., "label": ..., "probabilities": {...}, "error": null}.

    A file that cannot be read is an error. With --on-error nan its line says what
    is wrong, with the label that the rest of the clip suggests, or none. A clip in
    which there is neither sound, nor face, nor words that the model reads gets no
    label.
"""


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "predict",
        run,
        usage="MODEL CLIP [CLIP ...] [-o PATH] [options]",
        summary="Predict the labels of clips by a saved model",
        example=_EXAMPLE,
    )
    parser.add_argument("model", metavar="MODEL", help="folder that skmer fit made")
    parser.add_argument(
        "clips", metavar="CLIP", nargs="+", help="video or sound files, or one table"
    )
    add_output(parser, "predictions, .csv or .jsonl (stdout, as .csv)", required=False)
    parser.add_argument(
        "--trust",
        metavar="NAME",
        action="append",
        default=[],
        help="what else the model may be made of, my_package.MyEncoder; only if you "
        "know who made the model. May be repeated",
    )
    add_table_options(parser.add_argument_group("how a table is read"), labels=False)
    add_work(parser, seed=False)


def run(args):
    """Predict and write."""
    form = ".csv"
    if args.output is not None:
        form = os.path.splitext(args.output)[1].lower()
        if form not in _FORMATS:
            raise UsageError(
                f"Predictions are written as .csv or .jsonl, not as {form or 'folder'}."
            )
        check_target(args.output, args.overwrite)
        check_apart([args.output], args.clips)
    if not os.path.isdir(args.model):
        raise UsageError(
            f"There is no folder {args.model!r}. The model comes first, a folder that "
            "skmer fit made: skmer predict MODEL CLIP..."
        )
    check_machine(args)
    clips = _clips(args)
    model = _load(args)
    _adjust(args, model)
    rows = _predict(args, model, clips)
    code = _tell_failures(args, rows)
    write = _write_csv if form == ".csv" else _write_jsonl
    if args.output is None:
        text = io.StringIO(newline="")
        write(text, model, rows)
        result(text.getvalue().rstrip("\n"))
        return code
    with replacing(args.output) as file:
        write(file, model, rows)
    note(args, f"{args.output}: {counted(len(rows), 'clip')}")
    return code


def _load(args):
    from skmer.exceptions import ModelFormatError
    from skmer.persistence import load_model

    device = None if args.device == "auto" else args.device
    try:
        return load_model(args.model, trusted=args.trust, device=device)
    except (ModelFormatError, OSError) as error:
        raise UsageError(plainly(error)) from error


def _tell_failures(args, rows):
    """Tell how many clips have errors; return 1 if none has a label."""
    n_failed = sum(row["error"] is not None for row in rows)
    n_without = sum(row["label"] is None for row in rows)
    if n_failed:
        note(
            args,
            f"{n_failed} of {counted(len(rows), 'clip')} could not be read, or not "
            f"wholly, {n_without} of them have no label: see the column error.",
        )
    return 1 if n_without == len(rows) else 0


def _clips(args):
    tables = [c for c in args.clips if os.path.splitext(c)[1].lower() in _TABLES]
    if not tables:
        return table_of_files(args.clips)
    if len(args.clips) > 1:
        raise UsageError(
            f"{tables[0]!r} is a table, which stands alone: {len(args.clips) - 1} more "
            "are given. Predict from each by itself."
        )
    args.csv = tables[0]
    return load_table(args, labels=False).data


def _adjust(args, model):
    """Set how the encoders of a fitted model are run."""
    wanted = {
        "on_error": args.on_error,
        "n_jobs": args.n_jobs,
        "cache": cache_of(args),
        "verbose": shows_bars(args),
    }
    steps = getattr(model, "named_steps", {})
    union = steps.get("encode")
    # A fitted union reads by its fitted encoders
    encoders = [part[1] for part in getattr(union, "transformers_", [])]
    for part in [steps.get("clips"), *encoders]:
        if hasattr(part, "get_params"):
            known = part.get_params(deep=False)
            part.set_params(**{n: v for n, v in wanted.items() if n in known})


def _predict(args, model, clips):
    """Return clip, label, probabilities and error of each clip, as dicts."""
    import numpy as np

    features, failed = _features(args, model, clips)
    rows = [
        {"clip": str(clip), "label": None, "probabilities": None, "error": None}
        for clip in clips.index
    ]
    for clip, reasons in _reasons(failed).items():
        rows[clips.index.get_loc(clip)]["error"] = reasons
    there = np.ones(len(clips), dtype=bool)
    rest, X = model, clips
    if features is not None:
        there = features.notna().any(axis=1).to_numpy()
        cut = list(model.named_steps).index("encode") + 1
        rest, X = model[cut:], features[there]
    for row in np.flatnonzero(~there):
        if rows[row]["error"] is None:
            rows[row]["error"] = "nothing in it that the model reads"
    if there.any():
        names = [str(name) for name in getattr(model, "classes_", ())]
        labels, chances = rest.predict(X), None
        if hasattr(rest, "predict_proba"):
            chances = rest.predict_proba(X)
        for number, row in enumerate(np.flatnonzero(there)):
            rows[row]["label"] = _plain(labels[number])
            if chances is not None:
                values = map(float, chances[number])
                rows[row]["probabilities"] = dict(zip(names, values, strict=True))
    return rows


def _reasons(failed):
    """Return why streams of a clip could not be read, a sentence for each clip."""
    reasons = {}
    for _, failure in failed.iterrows():
        streams = reasons.setdefault(failure["clip"], {})
        streams.setdefault(failure["error"], []).append(failure["stream"])
    return {
        clip: "; ".join(f"{', '.join(s)}: {error}" for error, s in streams.items())
        for clip, streams in reasons.items()
    }


def _tell_of_words(args, model, table):
    """Tell that the model reads words, and clips have none."""
    columns = [column for _, _, column in model.named_steps["encode"].transformers_]
    if "text" not in columns or "text" not in table:
        return
    n_with = int(table["text"].notna().sum())
    if n_with == len(table):
        return
    beside = getattr(model.named_steps.get("clips"), "sidecar_text", False)
    other = ".txt, .srt or .vtt files beside the clips"
    if not beside:
        other += ", for a model that was fitted with --sidecar-text"
    some = f"only {n_with}" if n_with else "none"
    note(
        args,
        f"The model reads words, and {some} of {counted(len(table), 'clip')} "
        f"{'has' if n_with == 1 else 'have'} any. They come from a table with a column "
        f"text, or from {other}.",
    )


def _features(args, model, clips):
    """Return the features that a recipe's first steps give, and what failed."""
    import warnings

    import pandas as pd

    from skmer.cli._features import failures_of
    from skmer.exceptions import ExtractionWarning

    steps = list(getattr(model, "named_steps", {}))
    if "encode" not in steps:
        return None, pd.DataFrame()
    table = clips
    with warnings.catch_warnings():
        # The errors of single clips are told in their lines
        warnings.simplefilter("ignore", ExtractionWarning)
        for name in steps[: steps.index("encode")]:
            table = model.named_steps[name].transform(table)
        _tell_of_words(args, model, table)
        features = model.named_steps["encode"].transform(table)
    return features, failures_of(model.named_steps["encode"], table, features)


def _plain(label):
    return label.item() if hasattr(label, "item") else label


def _write_csv(file, model, rows):
    names = [str(name) for name in getattr(model, "classes_", ())]
    if all(row["probabilities"] is None for row in rows):
        names = []
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["clip", "label", *(f"p_{name}" for name in names), "error"])
    for row in rows:
        chances = row["probabilities"] or dict.fromkeys(names)
        cells = [None if v is None else f"{v:.6g}" for v in chances.values()]
        writer.writerow([row["clip"], row["label"], *cells, row["error"]])


def _write_jsonl(file, model, rows):
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
