"""Pictures to what an image model takes, as its processor would have it.

Pillow resizes them, so that models see the very bytes they would see elsewhere (the
order of its passes, and with it the bytes, depends on the picture's proportions and
is not documented); the rest is done on the model's device.
"""

import math
from dataclasses import dataclass

import numpy as np

# Numbers of Pillow's filters by torchvision's names.
_BY_NAME = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize, crop at the centre, rescale, normalise.

    Parameters
    ----------
    size : int, (int, int) or None
        Shorter edge, or height and width, that pictures are resized to.
    resample : int
        Number of Pillow's filter.
    crop : (int, int) or None
        Height and width of the centre that is kept; what a smaller picture lacks
        is black.
    scale : float
        Factor of the values.
    mean, std : tuple of float, or None
        By channel; subtracted from, and dividing, the scaled values.
    """

    size: int | tuple | None
    resample: int
    crop: tuple | None
    scale: float
    mean: tuple | None
    std: tuple | None

    @classmethod
    def of(cls, processor):
        """Return what an image processor of transformers does.

        Parameters
        ----------
        processor : transformers.BaseImageProcessor
            Of CLIP, SigLIP, ViT, DINOv2 and those that have the same steps.

        Raises
        ------
        ValueError
            If it does something else to the size of pictures.
        """
        size = crop = None
        if processor.do_resize:
            found = dict(processor.size)
            given = {name for name, value in found.items() if value}
            if given == {"shortest_edge"}:
                size = int(found["shortest_edge"])
            elif given == {"height", "width"}:
                size = int(found["height"]), int(found["width"])
            else:
                raise ValueError(
                    f"{type(processor).__name__} resizes pictures to {found}. Only a "
                    "shortest edge, or a height and width, are supported."
                )
        if getattr(processor, "do_center_crop", False):
            crop = int(processor.crop_size["height"]), int(processor.crop_size["width"])
        normalise = processor.do_normalize
        resample = getattr(processor.resample, "value", processor.resample)
        return cls(
            size=size,
            resample=int(_BY_NAME.get(resample, resample)),
            crop=crop,
            scale=float(processor.rescale_factor) if processor.do_rescale else 1.0,
            mean=tuple(map(float, processor.image_mean)) if normalise else None,
            std=tuple(map(float, processor.image_std)) if normalise else None,
        )

    @property
    def side(self):
        """Side of the square that a crop of a face is best made in, pixels."""
        if self.size is None:
            return 224 if self.crop is None else max(self.crop)
        return self.size if isinstance(self.size, int) else max(self.size)

    def resized_shape(self, height, width):
        """Return height and width of resized pictures."""
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        long = int(self.size * max(height, width) / min(height, width))
        return (self.size, long) if height <= width else (long, self.size)

    def shrink(self, images):
        """Resize and crop.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, 3), dtype uint8
            RGB.

        Returns
        -------
        pictures : ndarray of shape (n, 3, out_height, out_width), dtype uint8
        """
        shape = self.resized_shape(*images.shape[1:3])
        if shape != images.shape[1:3]:
            images = _resize(images, shape, self.resample)
        return np.ascontiguousarray(_centre(images.transpose(0, 3, 1, 2), self.crop))

    def normalise(self, pictures):
        """Rescale and normalise.

        Parameters
        ----------
        pictures : Tensor of shape (n, 3, height, width), dtype uint8
            As :meth:`shrink` returns them.

        Returns
        -------
        values : Tensor of shape (n, 3, height, width), dtype float32
        """
        values = pictures.float() * self.scale
        if self.mean is not None:
            mean, std = values.new_tensor([self.mean, self.std])[:, :, None, None]
            values = (values - mean) / std
        return values


def _resize(images, shape, resample):
    from PIL import Image

    height, width = shape
    out = np.empty((len(images), height, width, 3), dtype=np.uint8)
    for place, image in zip(out, images, strict=True):
        place[:] = Image.fromarray(image).resize((width, height), resample)
    return out


def _centre(pictures, crop):
    if crop is None:
        return pictures
    height, width = pictures.shape[2:]
    lack = max(crop[0] - height, 0), max(crop[1] - width, 0)
    if any(lack):
        room = [(math.ceil(n / 2), n // 2) for n in lack]
        pictures = np.pad(pictures, [(0, 0), (0, 0), *room])
        height, width = pictures.shape[2:]
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return pictures[:, :, top : top + crop[0], left : left + crop[1]]
