"""The one list of estimators that the common checks run on."""

from tiny_image_models import image_model
from tiny_models import speech_model
from tiny_text_models import text_model

from skmer.clips import ClipTable
from skmer.encoders import (
    AcousticEncoder,
    OpenFaceEncoder,
    PrecomputedEncoder,
    SpeechEncoder,
    TextEncoder,
    VisualEncoder,
)
from skmer.enrichment import Transcriber
from skmer.fusion import AttentionFusionClassifier, FusionClassifier
from skmer.modules import AttentionFusion
from skmer.preprocessing import ModalityImputer

# Estimators of numbers: scikit-learn's common checks run on each.
NUMERIC = [
    AttentionFusionClassifier(max_epochs=8, hidden_size=32),
    AttentionFusionClassifier(max_epochs=8, hidden_size=32, attention="per_stream"),
    FusionClassifier(AttentionFusion, max_epochs=8),
    ModalityImputer(),
    ModalityImputer(add_indicator=True),
]

# Encoders of clips: skmer's own checks run on each.
CLIP_ENCODERS = [
    AcousticEncoder(),
    AcousticEncoder(pooling="mean_std"),
    AcousticEncoder(pooling=None),
    SpeechEncoder(speech_model("wavlm-large"), layers=[1, 3], layer_pooling="concat"),
    SpeechEncoder(speech_model("data2vec"), layers=2, pooling=None),
    TextEncoder(n_features=64),
    TextEncoder(text_model("qwen2"), layers=[2, 3], pooling="mean_std"),
    VisualEncoder(n_frames=3),
    VisualEncoder(n_frames=3, regions=["frame"], pooling=None),
    VisualEncoder(image_model("dinov2"), regions=["frame"], n_frames=2, layers=[1, 3]),
]

# Public estimators that are neither, each with where it is tested.
ELSEWHERE = {
    ClipTable: "tests/clips/test_table.py",
    # Checked on files of features, which the common clips do not have
    OpenFaceEncoder: "tests/encoders/test_openface.py",
    PrecomputedEncoder: "tests/encoders/test_precomputed.py",
    # Gives a table of clips, where the common checks want features
    Transcriber: "tests/enrichment/test_transcriber.py",
}

# Checks that must fail, each with its reason; strict, so that a check that starts
# to pass has to be taken off.
_BATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "rows fall into other batches when one is repeated than when it weighs more"
    )
}
EXPECTED_FAILURES = {
    AttentionFusionClassifier: _BATCHES,
    FusionClassifier: _BATCHES,
}
