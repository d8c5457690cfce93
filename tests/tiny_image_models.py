"""Small random image models with processors, saved where real ones would be."""

import atexit
import tempfile
from functools import cache
from pathlib import Path

_folder = tempfile.TemporaryDirectory(prefix="skmer-image-models-")
atexit.register(_folder.cleanup)

N_LAYERS = 4
WIDTH = 16
PROJECTION = 12
_BODY = {
    "hidden_size": WIDTH,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
_VISION = {**_BODY, "image_size": 32, "patch_size": 8}
_TEXT = {
    **_BODY,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_SQUARE = {"size": {"height": 32, "width": 32}}
_EDGE = {"crop_size": {"height": 32, "width": 32}}
# Name -> configuration class, settings, processor class, settings, class tokens and
# registers before the patches, length of the embedding.
FAMILIES = {
    "clip": (
        "CLIPConfig",
        {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": PROJECTION},
        "CLIPImageProcessorPil",
        {**_EDGE, "size": {"shortest_edge": 32}},
        1,
        PROJECTION,
    ),
    "siglip": (
        "SiglipConfig",
        {"text_config": _TEXT, "vision_config": _VISION},
        "SiglipImageProcessorPil",
        _SQUARE,
        0,
        WIDTH,
    ),
    "dinov2": (
        "Dinov2Config",
        {**_VISION, "mlp_ratio": 2},
        "BitImageProcessorPil",
        {**_EDGE, "size": {"shortest_edge": 40}},
        1,
        WIDTH,
    ),
    "dinov2-registers": (
        "Dinov2WithRegistersConfig",
        {**_VISION, "mlp_ratio": 2, "num_register_tokens": 3},
        "BitImageProcessorPil",
        {**_EDGE, "size": {"shortest_edge": 40}},
        4,
        WIDTH,
    ),
    "vit": ("ViTConfig", _VISION, "ViTImageProcessorPil", _SQUARE, 1, WIDTH),
}


@cache
def image_model(name):
    """Return the folder of a tiny image model, made at first use.

    Weights are drawn wider than models start with, so that layers differ as those
    of trained models do.
    """
    import torch
    import transformers

    config, settings, processor, sizes, *_ = FAMILIES[name]
    config = getattr(transformers, config)(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(sum(name.encode()))
        model = transformers.AutoModel.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
    folder = Path(_folder.name) / name
    model.save_pretrained(folder)
    getattr(transformers, processor)(**sizes).save_pretrained(folder)
    return str(folder)
