"""Published systems as functions that return plain, unfitted pipelines."""

from skmer.recipes._ecmf import PARAM_GRID as ECMF_PARAM_GRID
from skmer.recipes._ecmf import make_ecmf
from skmer.recipes._mertools import PARAM_GRID as MERTOOLS_ATTENTION_PARAM_GRID
from skmer.recipes._mertools import make_mertools_attention
from skmer.recipes._mmef_net import PARAM_GRID as MMEF_NET_PARAM_GRID
from skmer.recipes._mmef_net import make_mmef_net
from skmer.recipes._registry import RECIPES, Recipe

__all__ = [
    "ECMF_PARAM_GRID",
    "MERTOOLS_ATTENTION_PARAM_GRID",
    "MMEF_NET_PARAM_GRID",
    "RECIPES",
    "Recipe",
    "make_ecmf",
    "make_mertools_attention",
    "make_mmef_net",
]
