"""What all recipes share: the steps from clips to features."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import isclass
from numbers import Integral

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from skmer._streams import modality_of
from skmer.clips import ClipTable
from skmer.encoders import AcousticEncoder, TextEncoder, VisualEncoder
from skmer.enrichment import ContextEnricher, Transcriber
from skmer.ensemble import SeedVotingClassifier
from skmer.recipes._scaler import FeatureScaler

# The columns of a clip table, each of which one encoder reads.
MODALITIES = ("audio", "video", "text")
REGIONS = ("face", "frame")


def stream_names(streams):
    """Return a recipe's ``streams`` as a tuple of names, checked.

    Parameters
    ----------
    streams : str or sequence of str
        Names that begin with ``audio``, ``video`` or ``text``.

    Returns
    -------
    streams : tuple of str

    Raises
    ------
    ValueError
        If there is none, one comes twice, or one is of no such modality.
    """
    if not isinstance(streams, (str, Iterable)):
        raise ValueError(
            "streams must be a name, or a sequence of names, of audio, video, text or "
            f"streams below them. Got {streams!r}."
        )
    names = (streams,) if isinstance(streams, str) else tuple(streams)
    if not names:
        raise ValueError(
            "streams is empty. Name at least one of audio, video and text, or a "
            "stream below them such as video__face."
        )
    for name in names:
        if modality_of(str(name)) not in MODALITIES:
            raise ValueError(
                f"streams has {name!r}, which belongs to none of {MODALITIES}. Name "
                "a modality, or a stream below one such as video__face."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"streams names a stream twice. Got {names!r}.")
    return names


def check_switches(**switches):
    """Refuse what is neither True nor False, such as the word no.

    Parameters
    ----------
    **switches : object
        What was given, by the name of the parameter.

    Raises
    ------
    ValueError
        If one is no boolean.
    """
    for name, value in switches.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} must be True or False. Got {value!r}.")


def regions_of(streams):
    """Return the picture regions that the streams ask a visual encoder for.

    ``video`` alone stands for the face; ``video__face`` and ``video__frame`` name
    them.
    """
    asked = tuple(name for name in REGIONS if f"video__{name}" in streams)
    return asked or ("face",)


def modalities_of(streams):
    """Return the modalities of streams, each once, in order."""
    return tuple(dict.fromkeys(map(modality_of, streams)))


def offline_encoders(streams, **common):
    """Make the encoders that need nothing downloaded, one a modality."""
    return {
        "audio": AcousticEncoder(**common),
        "video": VisualEncoder(regions=regions_of(streams), **common),
        "text": TextEncoder(**common),
    }


def clip_steps(
    encoders,
    streams,
    *,
    paper,
    offline=offline_encoders,
    annotators=None,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    verbose=False,
):
    """Make the steps from clips to a feature frame.

    Parameters
    ----------
    encoders : "offline", "paper", dict of str to transformer, or None
        As recipes take it.
    streams : tuple of str
        From :func:`stream_names`.
    paper, offline : callable
        ``paper(streams, device=..., **common)`` and ``offline(streams, **common)``
        return one encoder a modality; ``common`` is cache, on_error, n_jobs and
        verbose.
    annotators : sequence of transformers, default=None
        Steps from clip table to clip table.
    sidecar_text, cache, on_error, n_jobs, device, verbose
        As recipes take them.

    Returns
    -------
    steps : list of (str, transformer)
        ``clips``, the annotators, ``context`` where one of them annotates, and
        ``encode``. Empty for ``encoders=None``.
    """
    if encoders is None:
        if annotators:
            raise ValueError(
                "annotators work on clips, but encoders=None says that X holds "
                "features. Leave one of them out."
            )
        return []
    common = {
        "cache": cache,
        "on_error": on_error,
        "n_jobs": n_jobs,
        "verbose": verbose,
    }
    if isinstance(encoders, Mapping):
        chosen = _checked(dict(encoders))
    elif isinstance(encoders, str) and encoders == "offline":
        chosen = offline(streams, **common)
    elif isinstance(encoders, str) and encoders == "paper":
        chosen = paper(streams, device=device, **common)
    else:
        raise ValueError(
            "encoders must be 'offline', 'paper', None, or a dict of transformers for "
            f"audio, video and text. Got {encoders!r}."
        )
    wanted = modalities_of(streams)
    absent = [name for name in wanted if name not in chosen]
    if absent:
        raise ValueError(
            f"No encoder for the modality {absent[0]!r}. encoders has "
            f"{', '.join(map(str, chosen)) or 'none'}; streams asks for "
            f"{', '.join(streams)}."
        )
    union = ColumnTransformer([(name, chosen[name], name) for name in wanted])
    return [
        ("clips", ClipTable(sidecar_text=sidecar_text, on_error=on_error)),
        *_annotation_steps(annotators),
        ("encode", union),
    ]


def feature_scaler(encoders):
    """Return a scaler, which refuses clips where a recipe starts with features.

    Parameters
    ----------
    encoders : "offline", "paper", dict of str to transformer, or None
        As recipes take it.

    Returns
    -------
    scaler : StandardScaler
        Unfitted.
    """
    return FeatureScaler() if encoders is None else StandardScaler()


def _checked(encoders):
    """Return encoders of one's own if each is one, and of a modality."""
    for name, encoder in encoders.items():
        if name not in MODALITIES:
            raise ValueError(
                f"encoders has {name!r}, which is no column of a clip table: its keys "
                "are among audio, video and text. One encoder of video makes the "
                "streams video__face and video__frame, as its regions say."
            )
        if isclass(encoder) or not hasattr(encoder, "transform"):
            raise ValueError(
                f"encoders[{name!r}] must be a transformer of clips, such as "
                f"AcousticEncoder(). Got {encoder!r}. A modality that is not wanted "
                "is left out of streams."
            )
    return encoders


def _annotation_steps(annotators):
    if annotators is None:
        return []
    if isinstance(annotators, str) or not isinstance(annotators, Sequence):
        raise ValueError(
            "annotators must be a list of transformers of clip tables, such as "
            f"[ChatAnnotator(...)]. Got {annotators!r}."
        )
    names = [type(annotator).__name__.lower() for annotator in annotators]
    steps = [
        (name if names.count(name) == 1 else f"{name}_{number}", annotator)
        for number, (name, annotator) in enumerate(
            zip(names, annotators, strict=True), start=1
        )
    ]
    if any(not isinstance(annotator, Transcriber) for annotator in annotators):
        steps.append(("context", ContextEnricher()))
    return steps


def several(network, n_seeds):
    """Return a network, or the vote of several where a recipe asks for them.

    Parameters
    ----------
    network : fusion classifier
        Its ``random_state`` is also where the members' seeds come from.
    n_seeds : int
        How many vote.

    Returns
    -------
    classifier : classifier
        The network itself for one.

    Raises
    ------
    ValueError
        If ``n_seeds`` is no positive integer.
    """
    if isinstance(n_seeds, bool) or not isinstance(n_seeds, Integral) or n_seeds < 1:
        raise ValueError(
            f"n_seeds must be an integer of at least 1, the number of networks that "
            f"vote. Got {n_seeds!r}."
        )
    if n_seeds == 1:
        return network
    return SeedVotingClassifier(
        network, n_seeds=int(n_seeds), random_state=network.random_state
    )
