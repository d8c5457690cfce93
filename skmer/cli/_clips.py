"""The clips of a command line: a table, or the files themselves."""

import os

from skmer.cli._console import UsageError, counted, note, plainly

# A name that no column can have
_NO_COLUMN = "\0"


def load_table(args, *, labels=True, groups=None, classes=False):
    """Read the table of clips that a command was given.

    Parameters
    ----------
    args : Namespace
        With the arguments of ``add_table``.
    labels : bool, default=True
        Whether the table must have labels.
    groups : str or None, default=None
        Column of groups.
    classes : bool, default=False
        Whether the labels must be of two classes or more.

    Returns
    -------
    clips : Bunch
        From :func:`skmer.datasets.load_clips`.

    Raises
    ------
    UsageError
        If the table cannot be used.
    """
    from skmer.datasets import load_clips
    from skmer.exceptions import DataFileError

    marks = args.unlabelled if labels else None
    try:
        clips = load_clips(
            args.csv,
            root=args.root,
            path_column=args.path_column,
            label_column=args.label_column if labels else _NO_COLUMN,
            group_column=groups,
            fold_column=getattr(args, "fold_column", None),
            text_column=args.text_column,
            id_column=args.id_column,
            unlabelled=None if marks is None else tuple(filter(None, marks)),
            require_labels=labels,
            allow_absolute=args.allow_absolute,
            delimiter=args.delimiter,
            encoding=args.encoding,
        )
    except (DataFileError, LookupError) as error:
        raise UsageError(plainly(error)) from error
    # Errors of clips name their rows
    args.table_of_clips = clips
    told = [counted(len(clips.data), "clip")]
    if classes and len(clips.target_names) < 2:
        raise UsageError(
            f"{args.csv}: all labels are {clips.target_names[0]!r}. A model tells two "
            "classes or more apart."
        )
    if labels:
        told.append(f"{len(clips.target_names)} classes")
        without = sum(label is None for label in clips.target)
        if without:
            told.append(f"{without} without a label")
    note(args, f"{args.csv}: {', '.join(told)}.")
    return clips


def tell_if_refined(args, clips):
    """Tell that labels to be judged by were changed by ``skmer refine``.

    Parameters
    ----------
    args : Namespace
        With the arguments of ``add_table``.
    clips : Bunch
        From :func:`skmer.datasets.load_clips`.
    """
    before = args.label_column.removesuffix("_refined")
    known = {before, f"{before}_changed"} & set(clips.frame.columns)
    if before != args.label_column and known:
        note(
            args,
            f"Labels of the column {args.label_column!r} were refined by what models "
            "make of these clips, so scores on them flatter. To evaluate, use "
            f"--label-column {before}.",
        )


def table_of_files(paths):
    """Return a table of clips of the files named on the command line.

    Raises
    ------
    UsageError
        If one is no file, or is named twice.
    """
    import pandas as pd

    from skmer.clips import ClipTable

    wrong = []
    for path in paths:
        if os.path.isdir(path):
            wrong.append(f"{path!r} is a folder: name the files, as in {path}/*.mp4")
        elif not os.path.isfile(path):
            wrong.append(f"there is no file {path!r}")
    if wrong:
        more = f"; and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise UsageError(f"{'; '.join(wrong[:10])}{more}.")
    doubles = sorted({path for path in paths if paths.count(path) > 1})
    if doubles:
        raise UsageError(f"{doubles[0]!r} is named twice.")
    table = ClipTable().fit_transform(list(paths))
    table.index = pd.Index(table.index, name="clip")
    return table


def streams_of(args, wanted, data):
    """Return the streams to use: those asked for, else what the clips may have.

    Parameters
    ----------
    args : Namespace
        With the arguments of ``add_features``.
    wanted : tuple of str
        Streams of the recipe.
    data : DataFrame
        Table of clips.

    Returns
    -------
    streams : tuple of str
    """
    if args.streams is not None:
        return args.streams
    has_words = data["text"].notna().any()
    beside = not has_words and _has_sidecar(data)
    there = {
        "audio": data["audio"].notna().any(),
        "video": data["video"].notna().any(),
        "text": has_words or (beside and args.sidecar_text),
    }
    streams = tuple(name for name in wanted if there.get(name.partition("__")[0], True))
    if not streams:
        raise UsageError(
            f"The recipe reads {', '.join(wanted)}, and the table has none of these. "
            "Name what it has by --streams."
        )
    if len(streams) < len(wanted):
        why = ""
        if "text" in wanted and not there["text"]:
            why = " No clip has words: add a column text"
            why += ", or read the transcripts beside the clips by --sidecar-text." * (
                beside
            )
            why += "." * (not beside)
        note(args, f"Streams: {', '.join(streams)}.{why}")
    return streams


def _has_sidecar(data):
    from skmer.media import find_transcript

    paths = data["video"].where(data["video"].notna(), data["audio"])
    return any(find_transcript(path) is not None for path in paths if path is not None)
