"""Published systems as functions that return plain, unfitted pipelines."""

from skmer.recipes._acoustic_visual import PARAM_GRID as ACOUSTIC_VISUAL_PARAM_GRID
from skmer.recipes._acoustic_visual import make_acoustic_visual
from skmer.recipes._ecmf import PARAM_GRID as ECMF_PARAM_GRID
from skmer.recipes._ecmf import make_ecmf
from skmer.recipes._foal_net import PARAM_GRID as FOAL_NET_PARAM_GRID
from skmer.recipes._foal_net import make_foal_net
from skmer.recipes._mertools import PARAM_GRID as MERTOOLS_ATTENTION_PARAM_GRID
from skmer.recipes._mertools import make_mertools_attention
from skmer.recipes._mmef_net import PARAM_GRID as MMEF_NET_PARAM_GRID
from skmer.recipes._mmef_net import make_mmef_net
from skmer.recipes._mr_ccl import PARAM_GRID as MR_CCL_PARAM_GRID
from skmer.recipes._mr_ccl import make_mr_ccl
from skmer.recipes._registry import RECIPES, Recipe

__all__ = [
    "ACOUSTIC_VISUAL_PARAM_GRID",
    "ECMF_PARAM_GRID",
    "FOAL_NET_PARAM_GRID",
    "MERTOOLS_ATTENTION_PARAM_GRID",
    "MMEF_NET_PARAM_GRID",
    "MR_CCL_PARAM_GRID",
    "RECIPES",
    "Recipe",
    "make_acoustic_visual",
    "make_ecmf",
    "make_foal_net",
    "make_mertools_attention",
    "make_mmef_net",
    "make_mr_ccl",
]
