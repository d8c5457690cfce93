"""Histograms of oriented gradients against a plain loop."""

import numpy as np
import pytest

from skmer.encoders._hog import hog, hog_length


def _picture(angle, size=64):
    """Stripes whose gradient points along an angle, degrees."""
    rows, columns = np.mgrid[:size, :size]
    wave = np.cos(np.deg2rad(angle)) * columns + np.sin(np.deg2rad(angle)) * rows
    grey = (127 + 120 * np.sin(wave / 2)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_length(size):
    images = np.stack([_picture(30, 50)] * 2)
    assert hog(images, size).shape == (2, hog_length(size))


@pytest.mark.parametrize("angle", [10, 50, 90, 130, 170])
def test_strongest_bin_is_the_direction_of_the_gradient(angle):
    features = hog(_picture(angle)[None], 64).reshape(-1, 9)
    centres = np.arange(9) * 20 + 10
    distance = np.abs((centres - angle + 90) % 180 - 90)
    assert features.sum(axis=0).argmax() == distance.argmin()


def test_blocks_are_normalised():
    features = hog(_picture(40)[None], 64).reshape(-1, 36)
    norms = np.linalg.norm(features, axis=1)
    np.testing.assert_allclose(norms, 1, atol=0.01)


def test_brightness_does_not_matter_but_content_does():
    one = hog(_picture(40)[None], 64)
    darker = hog((_picture(40) // 2)[None], 64)
    other = hog(_picture(70)[None], 64)
    assert np.abs(one - darker).mean() < 0.1 * np.abs(one - other).mean()


def test_pictures_do_not_influence_each_other():
    images = np.stack([_picture(a) for a in (0, 45, 90)])
    together = hog(images, 64)
    for image, row in zip(images, together, strict=True):
        np.testing.assert_array_equal(hog(image[None], 64)[0], row)
