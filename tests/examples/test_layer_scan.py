"""Every layer gets a score, and the picture shows them."""

import cv2
import pytest
from example_runs import run_small, scores


def test_layer_scan_draws_the_layers_of_a_random_model(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: skmer[plot]")
    text = run_small("layer_scan.py", tmp_path, 30, "--model", "tiny")
    assert "RANDOM" in text
    layers = [name for name in scores(text) if name.startswith("layer ")]
    assert layers == [f"layer {i}" for i in range(1, 9)]
    image = cv2.imread(str(tmp_path / "out" / "layers.png"))
    assert image is not None and image.std() > 5
