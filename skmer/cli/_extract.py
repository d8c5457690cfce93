"""``skmer extract``: clips to features."""

import os

from skmer.cli._arguments import add_features, add_output, add_table
from skmer.cli._clips import load_table, streams_of
from skmer.cli._console import UsageError, counted, note, result
from skmer.cli._features import (
    add_encoders,
    encode,
    encoding_steps,
    refuse_sequences,
)
from skmer.cli._output import (
    check_apart,
    check_folder,
    check_target,
    replacing,
    write_table,
)
from skmer.cli._parser import add_command
from skmer.cli._recipe import streams_of_recipe

_FORMATS = {".csv": "csv", ".npz": "npz", ".parquet": "parquet", "": "folder"}
_EXAMPLE = """
    example:
      $ skmer extract clips.csv -o features.parquet
      features.parquet: 20 clips, 2,530 features of audio, video, text

      $ skmer extract clips.csv -o features.csv --audio-model microsoft/wavlm-large \\
            --set audio__layers=[16,17,18] --streams audio

    A row is a clip, known by its id (in the table's column id, else its path), a
    column a feature, such as audio__mfcc_0_mean. Python reads them by
    pandas.read_parquet("features.parquet"), and recipes take such a frame with
    encoders=None. By the suffix of -o:

      .parquet   needs pyarrow (pip install pyarrow)
      .csv       the first column, clip, is the id
      .npz       arrays features, names, clips; numpy.load reads it
      none       a folder with a .npy file a clip for each stream, as MERTools has
                 them and PrecomputedEncoder reads them; takes sequences, too
                 (--set audio__pooling=null)

    A clip without sound, face or words has empty cells there. So has a file that
    cannot be read: its name and what is wrong with it go to a table beside the
    output, features.failures.csv. Everything computed stays in the cache, where
    evaluate and fit find it.
"""


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "extract",
        run,
        usage="CSV -o PATH [options]",
        summary="Compute the features of clips and write them to a file",
        example=_EXAMPLE,
    )
    add_table(parser, labels=False)
    add_output(parser, "features: .parquet, .csv, .npz or a folder")
    add_encoders(parser)
    add_features(parser, sets="--set audio__layers=[16,17]", on_error="nan")


def run(args):
    """Encode the clips and write their features."""
    suffix = os.path.splitext(args.output)[1].lower()
    form = _FORMATS.get(suffix)
    _check_output(args, form, suffix)
    clips = load_table(args, labels=False)
    streams = streams_of(args, streams_of_recipe(args.recipe), clips.data)
    steps = encoding_steps(args, streams)
    if form != "folder":
        refuse_sequences(
            steps.named_steps["encode"],
            "go to a folder: name -o without a suffix",
        )
    else:
        _refuse_names(clips)
    features, failures = encode(steps, clips.data)
    _write(args, form, features)
    path = _failures_path(args)
    if not len(failures) and os.path.isfile(path):
        # Of an earlier run, which --overwrite replaces
        os.unlink(path)
    if len(failures):
        write_table(failures, path, index=False)
        note(
            args,
            f"{counted(len(failures), 'file')} could not be read, listed in {path}. "
            f"The first: {failures.iloc[0]['clip']}: {failures.iloc[0]['error']}",
        )
    what = ", ".join(streams)
    result(
        f"{args.output}: {counted(len(features), 'clip')}, "
        f"{counted(features.shape[1], 'feature')} of {what}"
    )
    return 0 if features.notna().any(axis=None) else 1


def _check_output(args, form, suffix):
    if form is None:
        raise UsageError(
            f"Features are written as .parquet, .csv, .npz or to a folder (no suffix), "
            f"not as {suffix}."
        )
    if form == "parquet":
        from importlib.util import find_spec

        if find_spec("pyarrow") is None:
            raise UsageError(
                "Parquet needs pyarrow. Run: pip install pyarrow, or write .csv or "
                ".npz."
            )
    if form != "folder":
        check_target(args.output, args.overwrite)
    elif os.path.isfile(args.output):
        raise UsageError(
            f"{args.output!r} is a file. A folder is written where -o has no suffix; "
            "for a file name it .parquet, .csv or .npz."
        )
    elif os.path.isdir(args.output) and os.listdir(args.output) and not args.overwrite:
        raise UsageError(
            f"The folder {args.output!r} is not empty. Name another, or write into it "
            "by --overwrite."
        )
    else:
        check_folder(args.output, args.output)
    check_target(_failures_path(args), args.overwrite)
    check_apart([args.output, _failures_path(args)], [args.csv])


def _refuse_names(clips):
    """Refuse, before hours of work, clips whose files would have one name or none."""
    from skmer.encoders._named_files import clip_name

    seen = {}
    for clip in map(str, clips.data.index):
        if clip_name(clip) in ("", ".", ".."):
            raise UsageError(f"The clip {clip!r} cannot name a file. Give it an id.")
        other = seen.setdefault(clip_name(clip), clip)
        if other != clip:
            raise UsageError(
                f"{other!r} and {clip!r} would be one file in a folder, "
                f"{clip_name(clip)}.npy. Give clips other ids in a column id, or name "
                "-o .parquet, .csv or .npz."
            )


def _failures_path(args):
    return os.path.splitext(args.output.rstrip("/\\"))[0] + ".failures.csv"


def _write(args, form, features):
    import numpy as np
    import pandas as pd

    if form == "folder":
        _write_folder(args, features)
        return
    features.index = pd.Index(features.index, name="clip")
    if form == "csv":
        write_table(features, args.output)
        return
    with replacing(args.output, "wb") as file:
        if form == "parquet":
            features.to_parquet(file)
        else:
            np.savez(
                file,
                features=features.to_numpy(dtype=np.float32),
                names=np.array(features.columns.tolist(), dtype=str),
                clips=np.array(features.index.tolist(), dtype=str),
            )


def _write_folder(args, features):
    from skmer._streams import stream_groups
    from skmer.encoders import write_mertools

    for stream, columns in stream_groups(features.columns).items():
        block = features.iloc[:, columns]
        level = "FRA" if block.dtypes.iloc[0].kind == "O" else "UTT"
        write_mertools(
            block, args.output, stream, level=level, overwrite=args.overwrite
        )
