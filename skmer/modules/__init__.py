"""Plain torch networks and what trains them."""

from skmer.modules._attention import AttentionFusion
from skmer.modules._random import Dropout, RandomSource, bernoulli, linear

__all__ = ["AttentionFusion", "Dropout", "RandomSource", "bernoulli", "linear"]
