"""The one list of estimators that the common checks run on."""

from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from tiny_image_models import image_model
from tiny_models import speech_model
from tiny_text_models import text_model

from skmer.alignment import ContrastiveAligner, StreamAdapter
from skmer.clips import ClipTable
from skmer.encoders import (
    AcousticEncoder,
    AdaptedSpeechEncoder,
    OpenFaceEncoder,
    PrecomputedEncoder,
    SpeechEncoder,
    TextEncoder,
    VisualEncoder,
)
from skmer.enrichment import (
    ChatAnnotator,
    ContextEnricher,
    OmniAnnotator,
    Transcriber,
)
from skmer.ensemble import (
    CrossFitTransformer,
    FoldVotingClassifier,
    SeedVotingClassifier,
    StreamVotingClassifier,
    SVMEnsembleClassifier,
    VariantVotingClassifier,
)
from skmer.feature_selection import ChiSquareSelector
from skmer.fusion import (
    AttentionFusionClassifier,
    ConcatFusionClassifier,
    ContrastiveFusionClassifier,
    CrossAttentionFusionClassifier,
    DynamicWeightingFusionClassifier,
    FusionClassifier,
    LateFusionClassifier,
    LowRankFusionClassifier,
    MisaFusionClassifier,
    MmimFusionClassifier,
    ModalTokenFusionClassifier,
    MultFusionClassifier,
    TensorFusionClassifier,
)
from skmer.label_refinement import LabelRefiner, RefinedClassifier
from skmer.modules import AttentionFusion
from skmer.over_sampling import (
    DropUnlabeled,
    LabeledSampler,
    NoiseEmbeddingSampler,
)
from skmer.preprocessing import (
    GroupStandardScaler,
    ModalityImputer,
    SplitStandardScaler,
)
from skmer.semi_supervised import AgreementSelfTrainingClassifier

# The checks fit each net about a hundred times, so it is small and learns fast.
SMALL = {"max_epochs": 3, "lr": 1e-2, "hidden_size": 16}

# Estimators of numbers: scikit-learn's common checks run on each.
NUMERIC = [
    AttentionFusionClassifier(**SMALL),
    AttentionFusionClassifier(attention="per_stream", **SMALL),
    ConcatFusionClassifier(max_epochs=3, lr=1e-2, dropout=0.2),
    ContrastiveFusionClassifier(pretrain_epochs=1, **SMALL),
    CrossAttentionFusionClassifier(**SMALL),
    DynamicWeightingFusionClassifier(dropout=0.2, **SMALL),
    FusionClassifier(AttentionFusion, max_epochs=8),
    LateFusionClassifier(**SMALL),
    LowRankFusionClassifier(**SMALL),
    MisaFusionClassifier(**SMALL),
    MmimFusionClassifier(**SMALL),
    ModalTokenFusionClassifier(dropout=0.1, **SMALL),
    MultFusionClassifier(n_layers=1, **SMALL),
    TensorFusionClassifier(**SMALL),
    CrossFitTransformer(AttentionFusionClassifier(max_epochs=20, lr=0.05), cv=2),
    FoldVotingClassifier(AttentionFusionClassifier(**SMALL), cv=2),
    SeedVotingClassifier(AttentionFusionClassifier(**SMALL), n_seeds=2),
    StreamVotingClassifier(LogisticRegression(), streams={"all": slice(None)}),
    StreamVotingClassifier(
        LogisticRegression(),
        streams={"all": slice(None)},
        fused=LogisticRegression(),
        combine="mean",
    ),
    SVMEnsembleClassifier(n_seeds=2),
    SVMEnsembleClassifier(n_seeds=2, voting="soft", bootstrap=True),
    SVMEnsembleClassifier(n_seeds=2, approximation="nystroem", n_components=30),
    VariantVotingClassifier(LogisticRegression(), variants=[{}, {"C": 0.1}]),
    VariantVotingClassifier(
        LogisticRegression(), variants=[{}, {"C": 0.1}], voting="logit"
    ),
    ContrastiveAligner(
        streams={"video": slice(0, 1), "audio": slice(1, None)}, max_epochs=2
    ),
    StreamAdapter(streams={"audio": slice(None)}, max_epochs=2),
    ChiSquareSelector(),
    ChiSquareSelector(score_func="minmax"),
    ChiSquareSelector(score_func="mutual_info", random_state=0),
    GroupStandardScaler(),
    ModalityImputer(),
    ModalityImputer(add_indicator=True),
    SplitStandardScaler(),
    AgreementSelfTrainingClassifier(LogisticRegression(), GaussianNB()),
    AgreementSelfTrainingClassifier(
        LogisticRegression(), calibrate="temperature", random_state=0
    ),
    RefinedClassifier(LogisticRegression(), random_state=0),
]

# Samplers: scikit-learn's and imbalanced-learn's common checks run on each.
SAMPLERS = [
    DropUnlabeled(),
    LabelRefiner(random_state=0),
    LabeledSampler(RandomOverSampler(random_state=0)),
    NoiseEmbeddingSampler(random_state=0),
]
# One more, which takes no clips: imbalanced-learn's checks run on it.
MADE_UP_ROWS = [LabeledSampler(SMOTE(k_neighbors=2, random_state=0))]

# Encoders of clips: skmer's own checks run on each.
CLIP_ENCODERS = [
    AcousticEncoder(),
    AcousticEncoder(pooling="mean_std"),
    AcousticEncoder(pooling=None),
    AcousticEncoder(pooling="windows", window_seconds=0.5, hop_seconds=0.25),
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
    # Learns from labels, which the common checks of clips do not have
    AdaptedSpeechEncoder: "tests/encoders/test_adapted.py",
    # Checked on files of features, which the common clips do not have
    OpenFaceEncoder: "tests/encoders/test_openface.py",
    PrecomputedEncoder: "tests/encoders/test_precomputed.py",
    # These give a table of clips, where the common checks want features
    ChatAnnotator: "tests/enrichment/test_chat.py",
    ContextEnricher: "tests/enrichment/test_context.py",
    OmniAnnotator: "tests/enrichment/test_omni.py",
    Transcriber: "tests/enrichment/test_transcriber.py",
}

# Checks that must fail, each with its reason; strict, so that a check that starts
# to pass has to be taken off.
_BATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "rows fall into other batches when one is repeated than when it weighs more"
    )
}
_SOLVER = {
    "check_sample_weight_equivalence_on_dense_data": (
        "gamma='scale' counts a row once, and the solver stops within a tolerance"
    )
}
_COMPLEX = {
    "check_complex_data": "y is looked at first, and refused in words of its own"
}
_CLIPS = {
    **_COMPLEX,
    "check_fit1d": "a 1-D X is a list of clips, which it is there to take",
    "check_estimators_empty_data_messages": (
        "X is not validated: columns, or none, are what the next step looks at"
    ),
}
_HELD_OUT = "fit_transform gives codes of rows not learnt from, as it is there to do"
EXPECTED_FAILURES = {
    DropUnlabeled: _CLIPS,
    LabeledSampler: _CLIPS,
    NoiseEmbeddingSampler: _COMPLEX,
    AttentionFusionClassifier: _BATCHES,
    ConcatFusionClassifier: _BATCHES,
    ContrastiveFusionClassifier: _BATCHES,
    CrossAttentionFusionClassifier: _BATCHES,
    DynamicWeightingFusionClassifier: _BATCHES,
    FusionClassifier: _BATCHES,
    CrossFitTransformer: {
        **_BATCHES,
        "check_transformer_data_not_an_array": _HELD_OUT,
        "check_transformer_general": _HELD_OUT,
    },
    FoldVotingClassifier: _BATCHES,
    SeedVotingClassifier: _BATCHES,
    SVMEnsembleClassifier: _SOLVER,
    LateFusionClassifier: _BATCHES,
    LowRankFusionClassifier: _BATCHES,
    MisaFusionClassifier: _BATCHES,
    MmimFusionClassifier: _BATCHES,
    ModalTokenFusionClassifier: _BATCHES,
    MultFusionClassifier: _BATCHES,
    TensorFusionClassifier: _BATCHES,
    RefinedClassifier: {
        "check_sample_weight_equivalence_on_dense_data": (
            "labels are judged in folds, which divide repeated rows otherwise"
        )
    },
}

# The same for imbalanced-learn's checks.
_ONE_HOT = {
    "check_samplers_multiclass_ova": (
        "labels are one a row in all of skmer; one column a class is refused"
    )
}
EXPECTED_SAMPLER_FAILURES = {
    DropUnlabeled: {
        **_ONE_HOT,
        "check_samplers_one_label": "rows of a single class can be kept as well",
        "check_samplers_fit": "it has no sampling_strategy, so none is fitted",
    },
    LabelRefiner: _ONE_HOT,
    LabeledSampler: _ONE_HOT,
    NoiseEmbeddingSampler: {
        **_ONE_HOT,
        "check_samplers_pandas_sparse": (
            "noise is dense: sparse frames are refused, as sparse matrices are"
        ),
    },
}
