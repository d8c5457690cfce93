"""Plain torch networks and what trains them."""

from skmer.modules._adapted_stream import AdaptedStream
from skmer.modules._adapters import (
    AdaptedLayers,
    BottleneckAdapter,
    FrozenBlocks,
    bucketed_batches,
)
from skmer.modules._attention import AttentionFusion
from skmer.modules._concat import ConcatFusion
from skmer.modules._contrastive import ContrastiveFusion
from skmer.modules._cross_attention import CrossAttentionFusion
from skmer.modules._dynamic import DynamicWeightingFusion
from skmer.modules._late import LateFusion
from skmer.modules._losses import (
    LearnedTemperature,
    add_noise,
    info_nce,
    noise_schedule,
    supervised_contrast,
)
from skmer.modules._low_rank import LowRankFusion
from skmer.modules._misa import MisaFusion
from skmer.modules._mmim import MmimFusion
from skmer.modules._mult import MultFusion
from skmer.modules._random import Dropout, RandomSource, bernoulli, linear
from skmer.modules._speech import SpeechBackbone
from skmer.modules._stacked import StackedModules, StackedParameter
from skmer.modules._stream_heads import StreamHeads
from skmer.modules._stream_map import StreamMap
from skmer.modules._subspaces import central_moment_discrepancy, orthogonality_loss
from skmer.modules._tensor import TensorFusion
from skmer.modules._tokens import ModalTokenFusion
from skmer.modules._training import Training, limited_threads, shuffled_batches, train

__all__ = [
    "AdaptedLayers",
    "AdaptedStream",
    "AttentionFusion",
    "BottleneckAdapter",
    "ConcatFusion",
    "ContrastiveFusion",
    "CrossAttentionFusion",
    "Dropout",
    "DynamicWeightingFusion",
    "FrozenBlocks",
    "LateFusion",
    "LearnedTemperature",
    "LowRankFusion",
    "MisaFusion",
    "MmimFusion",
    "ModalTokenFusion",
    "MultFusion",
    "RandomSource",
    "SpeechBackbone",
    "StackedModules",
    "StackedParameter",
    "StreamHeads",
    "StreamMap",
    "TensorFusion",
    "Training",
    "add_noise",
    "bernoulli",
    "bucketed_batches",
    "central_moment_discrepancy",
    "info_nce",
    "limited_threads",
    "linear",
    "noise_schedule",
    "orthogonality_loss",
    "shuffled_batches",
    "supervised_contrast",
    "train",
]
