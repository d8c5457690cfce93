"""ECMF: modal tokens over two visual branches, and variants that vote."""

from imblearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skmer.ensemble import VariantVotingClassifier
from skmer.fusion import ModalTokenFusionClassifier
from skmer.preprocessing import SplitStandardScaler
from skmer.recipes._common import clip_steps, stream_names
from skmer.recipes._mer2025 import STREAMS, paper_encoders, refine_steps

# The paper gives one setting and no search space; this one is ours.
PARAM_GRID = {
    "fuse__estimator__dropout": [0.4, 0.6],
    "fuse__estimator__attention_dropout": [0.1, None],
    "fuse__estimator__lr": [1e-3, 3e-4],
    "fuse__estimator__layers": ["weighted", "tokens"],
}


def make_ecmf(
    *,
    encoders="offline",
    streams=STREAMS,
    annotators=None,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    random_state=None,
    verbose=False,
    refine="posterior",
    norm="train",
    variant="sound",
):
    """Build ECMF, a system for MER2025-SEMI."""
    streams = stream_names(streams)
    steps = clip_steps(
        encoders,
        streams,
        paper=_paper_encoders,
        annotators=annotators,
        sidecar_text=sidecar_text,
        cache=cache,
        on_error=on_error,
        n_jobs=n_jobs,
        device=device,
        verbose=verbose,
    )
    seeds = {"random_state": random_state}
    scale = SplitStandardScaler() if norm == "split" else StandardScaler()
    net = ModalTokenFusionClassifier(streams=streams, device=device)
    steps += [
        *refine_steps(refine, streams, n_jobs=n_jobs, **seeds),
        ("scale", scale),
        ("fuse", VariantVotingClassifier(net, voting="soft", n_jobs=n_jobs, **seeds)),
    ]
    return Pipeline(steps).set_output(transform="pandas")


def _paper_encoders(streams, **common):
    return paper_encoders(streams, layer_pooling="concat", **common)
