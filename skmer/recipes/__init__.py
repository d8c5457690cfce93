"""Published systems as functions that return plain, unfitted pipelines."""

from skmer.recipes._mertools import PARAM_GRID as MERTOOLS_ATTENTION_PARAM_GRID
from skmer.recipes._mertools import make_mertools_attention

__all__ = ["MERTOOLS_ATTENTION_PARAM_GRID", "make_mertools_attention"]
