"""Samplers that know unlabelled rows, clip ids and missing streams."""

from skmer.over_sampling._drop import DropUnlabeled
from skmer.over_sampling._labeled import LabeledSampler
from skmer.over_sampling._noise import NoiseEmbeddingSampler
from skmer.over_sampling._strategy import at_least

__all__ = ["DropUnlabeled", "LabeledSampler", "NoiseEmbeddingSampler", "at_least"]
