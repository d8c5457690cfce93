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
            preset="mertools",
            **common,
        ),
        "text": TextEncoder(
            "hfl/chinese-roberta-wwm-ext-large", preset="mertools", **common
        ),
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
    if refine is None:
        return []
    if refine not in ("posterior", "majority"):
        raise ValueError(
            f"refine must be 'posterior', 'majority' or None. Got {refine!r}."
        )
    refiner = LabelRefiner(
        streams=streams, rule=refine, n_jobs=n_jobs, random_state=random_state
    )
    return [("refine", refiner)]
