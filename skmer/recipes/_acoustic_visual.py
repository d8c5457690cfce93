"""Zhao et al.: adapted sound, aligned face, attention over three modalities."""

from imblearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skmer.alignment import ContrastiveAligner, StreamAdapter
from skmer.encoders import (
    AdaptedSpeechEncoder,
    SpeechEncoder,
    TextEncoder,
    VisualEncoder,
)
from skmer.fusion import AttentionFusionClassifier
from skmer.recipes._common import (
    clip_steps,
    modalities_of,
    regions_of,
    stream_names,
)

# The paper gives one setting and no search space; this one is ours.
PARAM_GRID = {
    "align__hidden_size": [128, 256],
    "fuse__hidden_size": [128, 256],
    "fuse__dropout": [0.3, 0.5],
    "fuse__weight_decay": [1e-5, 1e-2, 3e-2],
    "fuse__lr": [1e-3, 1e-4],
}


def make_acoustic_visual(
    *,
    encoders="offline",
    streams=("audio", "video", "text"),
    annotators=None,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    random_state=None,
    verbose=False,
    adapt=True,
    align=True,
):
    """Build the system of Zhao et al. with acoustic adaptation and visual alignment."""
    streams = stream_names(streams)
    found = modalities_of(streams)
    paper = isinstance(encoders, str) and encoders == "paper"
    steps = clip_steps(
        encoders,
        streams,
        paper=_paper_encoders(adapt, random_state),
        annotators=annotators,
        sidecar_text=sidecar_text,
        cache=cache,
        on_error=on_error,
        n_jobs=n_jobs,
        device=device,
        verbose=verbose,
    )
    learns = {"device": device, "random_state": random_state}
    if adapt and "audio" in found and not (paper or _learns_labels(encoders)):
        steps.append(("adapt", StreamAdapter("audio", **learns)))
    if align and {"audio", "video"} <= set(found):
        steps.append(("align", ContrastiveAligner("video", "audio", **learns)))
    fuse = AttentionFusionClassifier(
        attention="per_stream",
        streams=streams,
        weight_decay=3e-2,
        stream_heads=None,
        **learns,
    )
    steps += [("scale", StandardScaler()), ("fuse", fuse)]
    return Pipeline(steps).set_output(transform="pandas")


def _learns_labels(encoders):
    """Return whether the sound's encoder is one that is trained on labels."""
    if encoders is None or isinstance(encoders, str):
        return False
    return get_tags(encoders["audio"]).target_tags.required


def _paper_encoders(adapt, random_state):
    def make(streams, *, device, **common):
        common["device"] = device
        model = "TencentGameMate/chinese-hubert-large"
        if adapt:
            audio = AdaptedSpeechEncoder(model, random_state=random_state, **common)
        else:
            audio = SpeechEncoder(model, layers=range(16, 22), **common)
        return {
            "audio": audio,
            "video": VisualEncoder(
                "openai/clip-vit-large-patch14",
                regions=regions_of(streams),
                preset="mertools",
                **common,
            ),
            "text": TextEncoder("Qwen/Qwen2.5-7B", preset="mertools", **common),
        }

    return make
