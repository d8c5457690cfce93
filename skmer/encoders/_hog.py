"""Histograms of oriented gradients of whole pictures."""

from functools import lru_cache

import cv2
import numpy as np

# 8 x 8 pixels a cell, 2 x 2 cells a block, 9 orientations: the descriptor of Dalal
# and Triggs (2005).
_CELL = 8
_BLOCK = 16
_BINS = 9


def hog_length(size):
    """Return how many values :func:`hog` gives for pictures of a size."""
    blocks = size // _CELL - 1
    return blocks * blocks * 4 * _BINS


def hog(images, size):
    """Describe pictures by their gradients.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3), dtype uint8
        RGB pictures.
    size : int
        Side the pictures are resized to first, a multiple of 8, pixels.

    Returns
    -------
    features : ndarray of shape (n, hog_length(size)), dtype float32
        Block-normalised (L2-Hys) histograms.
    """
    descriptor = _descriptor(size)
    rows = np.empty((len(images), hog_length(size)), dtype=np.float32)
    for row, image in zip(rows, images, strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        # INTER_AREA where it shrinks: every pixel counts, no aliasing.
        shrinks = min(grey.shape) >= size
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        row[:] = descriptor.compute(
            cv2.resize(grey, (size, size), interpolation=way)
        ).ravel()
    return rows


@lru_cache(maxsize=4)
def _descriptor(size):
    return cv2.HOGDescriptor(
        (size, size), (_BLOCK, _BLOCK), (_CELL, _CELL), (_CELL, _CELL), _BINS
    )
