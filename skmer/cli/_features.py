"""From clips to features, and why some clips have none."""

from skmer.cli._arguments import RECIPES, recipe_name
from skmer.cli._console import UsageError, shows_bars
from skmer.cli._recipe import cache_of, make_model, set_parameters

_MODELS = {
    "audio": "HuBERT, WavLM, wav2vec 2.0, data2vec, Whisper",
    "video": "CLIP, SigLIP, DINOv2, ViT",
    "text": "BERT-like or decoder LLM",
}


def add_encoders(parser):
    """Add the choice of encoders, where no recipe is fitted."""
    group = parser.add_argument_group("which encoders")
    group.add_argument(
        "--recipe",
        metavar="RECIPE",
        type=recipe_name,
        default="mertools-attention",
        help=f"those of a recipe: {', '.join(RECIPES)} (mertools-attention)",
    )
    for modality, kinds in _MODELS.items():
        group.add_argument(
            f"--{modality}-model",
            metavar="MODEL",
            help=f"{kinds}: a hub id or a folder",
        )


def encoding_steps(args, streams):
    """Return the steps of a recipe that make features, with other models if asked.

    Parameters
    ----------
    args : Namespace
        With the arguments of ``add_encoders`` and ``add_features``.
    streams : tuple of str
        Streams to use.

    Returns
    -------
    steps : Pipeline
        ``clips`` and ``encode``.

    Raises
    ------
    UsageError
        If they do not fit together.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.utils import get_tags

    settings, args.settings = args.settings, []
    model = make_model(args.recipe, args, streams, verbose=shows_bars(args))
    union = model.named_steps["encode"]
    _refuse_unused(args, union, streams)
    for number, (name, encoder, column) in enumerate(union.transformers):
        chosen = getattr(args, f"{name}_model")
        if chosen is not None:
            encoder = _with_model(args, name, chosen)
            union.transformers[number] = (name, encoder, column)
        elif get_tags(encoder).target_tags.required:
            raise UsageError(
                f"The {name} encoder of {args.recipe} learns from labels, anew in each "
                "training part, so it has no features of its own. Choose a model by "
                f"--{name}-model, or another recipe."
            )
    set_parameters(union, dict(settings))
    steps = [("clips", model.named_steps["clips"]), ("encode", union)]
    return Pipeline(steps).set_output(transform="pandas")


def _refuse_unused(args, union, streams):
    used = {name for name, _, _ in union.transformers}
    for name in _MODELS:
        if getattr(args, f"{name}_model") is not None and name not in used:
            raise UsageError(
                f"--{name}-model is given, but the streams are {', '.join(streams)}. "
                f"Add {name} to --streams."
            )


def _with_model(args, name, chosen):
    from skmer.encoders import SpeechEncoder, TextEncoder, VisualEncoder

    kind = {"audio": SpeechEncoder, "video": VisualEncoder, "text": TextEncoder}[name]
    return kind(
        chosen,
        device=args.device,
        n_jobs=args.n_jobs,
        cache=cache_of(args),
        on_error=args.on_error,
        verbose=shows_bars(args),
    )


def refuse_sequences(union, instead):
    """Refuse encoders that give sequences where there must be numbers.

    Parameters
    ----------
    union : ColumnTransformer
        Unfitted, with an encoder a modality.
    instead : str
        What becomes of sequences, and how.

    Raises
    ------
    UsageError
        With the setting that makes numbers of them.
    """
    for name, encoder, _ in union.transformers:
        for key, value in encoder.get_params(deep=True).items():
            if key.rpartition("__")[2] == "pooling" and value in (None, "windows"):
                raise UsageError(
                    f"The {name} encoder gives sequences (pooling={value!r}), which "
                    f"{instead}, or --set {name}__{key}=mean."
                )


def encode(steps, clips):
    """Return the features of clips, and what could not be read.

    Parameters
    ----------
    steps : Pipeline
        From :func:`encoding_steps`.
    clips : DataFrame
        Table of clips.

    Returns
    -------
    features : DataFrame of shape (n_clips, n_features)
    failures : DataFrame of shape (n_failures, 4)
        Columns ``clip``, ``stream``, ``stage`` and ``error``.
    """
    import warnings

    from skmer.exceptions import ExtractionWarning

    with warnings.catch_warnings():
        # The table of failures tells more
        warnings.simplefilter("ignore", ExtractionWarning)
        table = steps.named_steps["clips"].fit_transform(clips)
        features = steps.named_steps["encode"].fit_transform(table)
    return features, failures_of(steps.named_steps["encode"], table, features)


def failures_of(union, table, features):
    """Return what could not be read of clips, as a table.

    Parameters
    ----------
    union : ColumnTransformer
        Fitted, with an encoder a modality.
    table : DataFrame
        What it read.
    features : DataFrame
        What it gave.

    Returns
    -------
    failures : DataFrame of shape (n_failures, 4)
        Columns ``clip``, ``stream``, ``stage`` and ``error``.
    """
    import pandas as pd

    columns = ["clip", "stream", "stage", "error"]
    found = [pd.DataFrame(columns=columns, dtype=object)]
    for name, encoder, column in union.transformers_:
        if not hasattr(encoder, "failures"):
            continue
        block = features.loc[:, [c.partition("__")[0] == name for c in features]]
        empty = block.isna().all(axis=1) & table[column].notna()
        if empty.any():
            failed = encoder.failures(table.loc[empty, column])
            failed = failed.assign(clip=failed.index, stream=name)
            found.append(failed[columns].astype(object))
    return pd.concat(found, ignore_index=True)
