"""What the two systems of MER2025 have in common."""

from skmer.encoders import SpeechEncoder, TextEncoder, VisualEncoder
from skmer.label_refinement import LabelRefiner
from skmer.recipes._common import regions_of

STREAMS = ("audio", "video__face", "video__frame", "text")
# Both papers take the outputs of the 16th to the 21st block of HuBERT.
LAYERS = tuple(range(16, 22))


def paper_encoders(streams, *, device, layer_pooling, **common):
    """Make the encoders that both papers name, one a modality."""
    common["device"] = device
    return {
        "audio": SpeechEncoder(
            "TencentGameMate/chinese-hubert-large",
            layers=LAYERS,
            layer_pooling=layer_pooling,
            **common,
        ),
        "video": VisualEncoder(
            "openai/clip-vit-large-patch14",
            regions=regions_of(streams),
            **common,
        ),
        "text": TextEncoder(
            "hfl/chinese-roberta-wwm-ext-large", preset="mertools", **common
        ),
    }


def check_option(name, value, options):
    """Raise if a switch of a recipe is none of its options.

    Parameters
    ----------
    name : str
        What it is called.
    value : object
        What was given.
    options : sequence of str or None
        What there is.

    Raises
    ------
    ValueError
        If it is not there.
    """
    if value is not None and not isinstance(value, str) or value not in options:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, options))}. Got {value!r}."
        )


def paper_training():
    """Return how both papers train, as far as they say, as parameters of networks."""
    return {
        "lr": 5e-5,
        "max_epochs": 200,
        "gradient_clip_norm": 1.0,
        "modality_dropout": 0.0,
    }


def refine_steps(refine, streams, *, n_jobs, random_state):
    """Make the step that corrects labels, or none.

    Parameters
    ----------
    refine : {"posterior", "majority"} or None
        How sources' votes decide.
    streams : tuple of str
        Each is judged by a weak classifier of its own.
    n_jobs, random_state
        As recipes take them.

    Returns
    -------
    steps : list of (str, sampler)
    """
    check_option("refine", refine, ("posterior", "majority", None))
    if refine is None:
        return []
    refiner = LabelRefiner(
        streams=streams, rule=refine, n_jobs=n_jobs, random_state=random_state
    )
    return [("refine", refiner)]
