"""Pretrained models: where they lie, and one of each per process."""

from skmer._pretrained._backbones import (
    DTYPES,
    Backbone,
    depth_name,
    load_backbone,
    load_config,
    load_processor,
    resolve_device,
    resolve_dtype,
    unload_backbones,
)
from skmer._pretrained._models import is_downloaded, model_identity

__all__ = [
    "Backbone",
    "DTYPES",
    "depth_name",
    "is_downloaded",
    "load_backbone",
    "load_config",
    "load_processor",
    "model_identity",
    "resolve_device",
    "resolve_dtype",
    "unload_backbones",
]
