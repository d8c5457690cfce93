"""Foal-Net: cross-attention over sequences, aligned and matched by emotion."""

from imblearn.pipeline import Pipeline

from skmer.encoders import AcousticEncoder, SpeechEncoder, TextEncoder, VisualEncoder
from skmer.fusion import CrossAttentionFusionClassifier
from skmer.recipes._common import clip_steps, regions_of, stream_names

# The paper gives one setting and no search space; this one is ours.
PARAM_GRID = {
    "fuse__hidden_size": [64, 128],
    "fuse__n_layers": [1, 2],
    "fuse__alignment_weight": [0.0, 0.1, 1.0],
    "fuse__matching_weight": [0.0, 0.01, 0.1],
    "fuse__lr": [1e-3, 3e-4],
}


def make_foal_net(
    *,
    encoders="offline",
    streams=("audio", "video"),
    annotators=None,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    random_state=None,
    verbose=False,
    align=True,
    match=True,
):
    """Build Foal-Net, cross-attention over sequences of sound and face."""
    streams = stream_names(streams)
    steps = clip_steps(
        encoders,
        streams,
        paper=_paper_encoders,
        offline=_offline_encoders,
        annotators=annotators,
        sidecar_text=sidecar_text,
        cache=cache,
        on_error=on_error,
        n_jobs=n_jobs,
        device=device,
        verbose=verbose,
    )
    fuse = CrossAttentionFusionClassifier(
        streams=streams,
        alignment_weight=1.0 if align else 0.0,
        matching_weight=None if match else 0.0,
        device=device,
        random_state=random_state,
    )
    return Pipeline([*steps, ("fuse", fuse)]).set_output(transform="pandas")


def _offline_encoders(streams, **common):
    return {
        "audio": AcousticEncoder(pooling=None, **common),
        "video": VisualEncoder(regions=regions_of(streams), pooling=None, **common),
        "text": TextEncoder(**common),
    }


def _paper_encoders(streams, *, device, **common):
    common["device"] = device
    return {
        "audio": SpeechEncoder("microsoft/wavlm-large", pooling=None, **common),
        "video": VisualEncoder(
            "openai/clip-vit-large-patch14",
            regions=regions_of(streams),
            n_frames=32,
            pooling=None,
            **common,
        ),
        "text": TextEncoder("FacebookAI/roberta-large", pooling=None, **common),
    }
