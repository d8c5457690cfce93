"""``skmer fit``: a recipe fitted on a table of clips, saved as a folder."""

import os
from pathlib import Path

from skmer.cli._arguments import add_features, add_output, add_recipe, add_table
from skmer.cli._clips import load_table, streams_of
from skmer.cli._console import UsageError, counted, note, result, shows_bars
from skmer.cli._output import check_folder
from skmer.cli._parser import add_command
from skmer.cli._recipe import make_model, streams_of_recipe

_EXAMPLE = """
    example:
      $ skmer fit mertools-attention clips.csv -o model
      model: mertools-attention of 240 clips, 6 classes
      $ skmer predict model new.mp4

    clips.csv, paths starting from its own folder:
      path,label,text
      clips/a.mp4,happy,What a day!
      clips/b.mp4,sad,
      clips/c.mp4,,

    The last clip has no label: mr-ccl and other recipes that can learn from it too.
    The folder holds the whole model, without the clips, and loads without running
    code; copy it to where it is used. In Python skmer.persistence.load_model reads
    it. Needs skops: pip install "skmer[persist]"

    How good the model is on new clips says `skmer evaluate`, with the same options.
"""


def add_parser(subparsers):
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "fit",
        run,
        usage="RECIPE CSV -o FOLDER [options]",
        summary="Fit a recipe on a table of clips and save the model",
        example=_EXAMPLE,
    )
    add_recipe(parser)
    add_table(parser)
    add_output(parser, "folder of the model")
    add_features(parser)


def run(args):
    """Fit the recipe and save it."""
    from skmer.utils import import_optional

    _check_target(args)
    # Known before hours of work
    import_optional("skops.io", "skmer fit")
    clips = load_table(args, classes=True)
    streams = streams_of(args, streams_of_recipe(args.recipe), clips.data)
    model = make_model(args.recipe, args, streams, verbose=shows_bars(args))

    from skmer.persistence import save_model

    note(args, f"Fitting {args.recipe}.")
    model.fit(clips.data, clips.target)
    save_model(model, args.output, overwrite=args.overwrite)
    n_labelled = sum(label is not None for label in clips.target)
    result(
        f"{args.output}: {args.recipe} of {counted(n_labelled, 'clip')}, "
        f"{len(clips.target_names)} classes. Next: skmer predict {args.output} new.mp4"
    )


def _is_model(folder):
    from skmer.exceptions import ModelFormatError
    from skmer.persistence._folder import read_manifest

    try:
        read_manifest(Path(folder))
    except (ModelFormatError, OSError):
        return False
    return True


def _check_target(args):
    if os.path.lexists(args.output):
        if not os.path.isdir(args.output):
            raise UsageError(f"{args.output!r} is a file. Name a folder for the model.")
        if not args.overwrite:
            raise UsageError(
                f"{args.output!r} is there already. Name another folder, or replace "
                "the model in it by --overwrite."
            )
        if os.path.islink(args.output) or not _is_model(args.output):
            raise UsageError(
                f"{args.output!r} holds no model, so --overwrite does not replace it. "
                "Name another folder."
            )
    check_folder(os.path.dirname(os.path.abspath(args.output)), args.output)
