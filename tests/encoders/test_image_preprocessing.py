"""Preparation of pictures, against transformers' own processors."""

import numpy as np
import pytest
import torch
import transformers

from skmer.encoders._image_preprocessing import ImagePreprocessing

PROCESSORS = {
    "clip": lambda: transformers.CLIPImageProcessorPil(),
    "clip-336": lambda: transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
    ),
    "siglip": lambda: transformers.SiglipImageProcessorPil(),
    "vit": lambda: transformers.ViTImageProcessorPil(),
    "dinov2": lambda: transformers.BitImageProcessorPil(size={"shortest_edge": 256}),
    "crop only": lambda: transformers.CLIPImageProcessorPil(do_resize=False),
    "no crop": lambda: transformers.CLIPImageProcessorPil(do_center_crop=False),
    "plain": lambda: transformers.ViTImageProcessorPil(
        do_rescale=False, do_normalize=False
    ),
}
SHAPES = [(360, 640), (640, 360), (224, 224), (97, 131), (301, 224)]


def pictures(shape, n=2):
    """Return pictures with smooth parts, edges and noise."""
    rng = np.random.default_rng(sum(shape))
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = 127 + 120 * np.sin(x / 17)[..., None] * np.cos(y / 11)[..., None]
    noise = rng.integers(0, 256, (n, *shape, 3))
    mixed = np.where((x // 40 % 2)[..., None], smooth, noise)
    return mixed.astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_the_processor_of_transformers(name, shape):
    processor = PROCESSORS[name]()
    images = pictures(shape)
    expected = processor(images=list(images), return_tensors="pt").pixel_values
    preprocessing = ImagePreprocessing.of(processor)
    found = preprocessing.normalise(torch.from_numpy(preprocessing.shrink(images)))
    assert found.shape == expected.shape and found.dtype == torch.float32
    scale = 1 if name != "plain" else 255
    assert (found - expected).abs().max() <= 1e-5 * scale


def test_other_sizes_are_refused():
    processor = transformers.ViTImageProcessorPil(
        size={"shortest_edge": 100, "longest_edge": 200}
    )
    with pytest.raises(ValueError, match="longest_edge"):
        ImagePreprocessing.of(processor)
