"""The recipes by the names that users type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Recipe:
    """A published system.

    Parameters
    ----------
    make : callable
        Function that returns the unfitted pipeline.
    param_grid : dict of str to list
        What to search over, in the names of the pipeline.
    title : str
        What it is, in a line.
    needs : {"features", "sequences"}
        Whether its classifier takes a row of numbers a clip or sequences of them.
    """

    make: Callable
    param_grid: Mapping
    title: str
    needs: str


RECIPES = {
    "mertools-attention": Recipe(
        make=make_mertools_attention,
        param_grid=MERTOOLS_ATTENTION_PARAM_GRID,
        title="MERTools baseline: one vector a modality, fused by attention",
        needs="features",
    ),
    "mmef-net": Recipe(
        make=make_mmef_net,
        param_grid=MMEF_NET_PARAM_GRID,
        title="MMEF-Net: fused embedding, chi-square test, perceptron, SVMs that vote",
        needs="features",
    ),
    "ecmf": Recipe(
        make=make_ecmf,
        param_grid=ECMF_PARAM_GRID,
        title="ECMF: modal tokens over two visual branches, variants that vote",
        needs="features",
    ),
    "acoustic-visual": Recipe(
        make=make_acoustic_visual,
        param_grid=ACOUSTIC_VISUAL_PARAM_GRID,
        title="Zhao et al.: adapted sound, face aligned with it, attention",
        needs="features",
    ),
    "foal-net": Recipe(
        make=make_foal_net,
        param_grid=FOAL_NET_PARAM_GRID,
        title="Foal-Net: cross-attention over sequences, aligned and matched",
        needs="sequences",
    ),
    "mr-ccl": Recipe(
        make=make_mr_ccl,
        param_grid=MR_CCL_PARAM_GRID,
        title="MR-CCL: over-sampling, contrast without labels, self-training, votes",
        needs="features",
    ),
}
