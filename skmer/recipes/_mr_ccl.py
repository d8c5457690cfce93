"""MR-CCL: over-sampling, contrast without labels, self-training and votes."""

from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skmer.encoders import SpeechEncoder, TextEncoder, VisualEncoder
from skmer.fusion import AttentionFusionClassifier, ContrastiveFusionClassifier
from skmer.over_sampling import LabeledSampler, at_least
from skmer.recipes._common import clip_steps, regions_of, stream_names
from skmer.semi_supervised import AgreementSelfTrainingClassifier

# 850 and 1,000 clips beside 1,248 of the largest class, in the first and second step.
_SHARES = (850 / 1248, 1000 / 1248)

# The paper's own variations: over-sampling (Table 3) and second step (Table 4).
PARAM_GRID = {
    "classify__n_per_class": [0.1, 0.3],
    "classify__sampler__sampler__sampling_strategy": [
        at_least(number / 1248) for number in (800, 850, 900)
    ],
    "classify__second_params": [{"lr": 1e-3}, {"lr": 5e-4}],
    "classify__estimator__contrast_weight": [0.0, 0.1],
    "classify__estimator__hidden_size": [64, 128, 256],
}


def make_mr_ccl(
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
    pretrain=True,
    noise=True,
    self_training=True,
    oversample=True,
):
    """Build MR-CCL, contrastive learning and self-training with few labels."""
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
    net = ContrastiveFusionClassifier(
        streams=streams,
        device=device,
        stream_heads=None,
        pretrain_epochs=40 if pretrain else 0,
        noise_range=(0.001, 0.1) if noise else (0.0, 0.0),
    )
    first, second = _samplers(oversample)
    classify = AgreementSelfTrainingClassifier(
        net,
        AttentionFusionClassifier(streams=streams, device=device, stream_heads=None),
        threshold=None,
        n_per_class=0.3,
        n_rounds=1 if self_training else 0,
        second_params={"lr": 5e-4},
        sampler=first,
        second_sampler=second,
        pass_unlabeled=True,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    steps += [("scale", StandardScaler()), ("classify", classify)]
    return Pipeline(steps).set_output(transform="pandas")


def _samplers(oversample):
    """Return the samplers of both steps of the training."""
    if oversample is False:
        return None, None
    wanted = _SHARES if oversample is True else (oversample, oversample)
    return tuple(
        LabeledSampler(RandomOverSampler(sampling_strategy=at_least(share)))
        for share in wanted
    )


def _paper_encoders(streams, *, device, **common):
    common["device"] = device
    return {
        "audio": SpeechEncoder(
            "TencentGameMate/chinese-hubert-large", preset="mertools", **common
        ),
        "video": VisualEncoder(
            "openai/clip-vit-large-patch14",
            regions=regions_of(streams),
            preset="mertools",
            **common,
        ),
        "text": TextEncoder("Qwen/Qwen2.5-7B", preset="mertools", **common),
    }
