"""MMEF-Net: fused embedding, chi-square test, perceptron, and machines that vote."""

from imblearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skmer.ensemble import CrossFitTransformer, SVMEnsembleClassifier
from skmer.feature_selection import ChiSquareSelector
from skmer.fusion import ConcatFusionClassifier, DynamicWeightingFusionClassifier
from skmer.recipes._common import clip_steps, stream_names
from skmer.recipes._mer2025 import STREAMS, paper_encoders, refine_steps

# The paper gives one setting and no search space; this one is ours.
PARAM_GRID = {
    "fuse__estimator__dropout": [0.4, 0.6],
    "fuse__estimator__lr": [1e-3, 3e-4],
    "select__k": [0.25, 0.5, 1.0],
    "vote__C": [0.1, 1.0, 10.0],
}


def make_mmef_net(
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
    embeddings="cross-fit",
    variant="sound",
):
    """Build MMEF-Net, a system for MER2025-SEMI."""
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
    cv = None if embeddings == "paper" else 5
    fuse = DynamicWeightingFusionClassifier(
        variant=variant, streams=streams, stream_heads=None, device=device
    )
    project = ConcatFusionClassifier(stream_heads=None, device=device)
    steps += [
        *refine_steps(refine, streams, n_jobs=n_jobs, **seeds),
        ("scale", StandardScaler()),
        ("fuse", CrossFitTransformer(fuse, cv=cv, **seeds)),
        ("select", ChiSquareSelector(0.5)),
        ("project", CrossFitTransformer(project, cv=cv, **seeds)),
        ("standardize", StandardScaler()),
        ("vote", SVMEnsembleClassifier(voting="soft", n_jobs=n_jobs, **seeds)),
    ]
    return Pipeline(steps).set_output(transform="pandas")


def _paper_encoders(streams, **common):
    return paper_encoders(streams, layer_pooling="mean", **common)
