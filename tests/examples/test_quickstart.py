"""The first example leaves scores, pictures and a model."""

import re

import cv2
import pytest
from example_runs import EMOTIONS, run


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: skmer[plot]")
    folder = tmp_path_factory.mktemp("quickstart")
    small = ["--n-clips", "36", "--n-jobs", "1", "--output", str(folder / "out")]
    return folder / "out", run("quickstart.py", folder, *small)


def test_quickstart_prints_scores_between_chance_and_one(quickstart):
    _, text = quickstart
    scores = dict(re.findall(r"^   (\w+(?: \w+)?) +(\d\.\d+) \+-", text, re.MULTILINE))
    assert set(scores) == {"all modalities", "audio", "video", "text"}
    assert all(0 < float(value) <= 1 for value in scores.values())
    assert float(scores["all modalities"]) > 1 / 6


def test_quickstart_is_faster_warm(quickstart):
    _, text = quickstart
    cold, warm = re.findall(r"(?:cold|warm) .*? ([\d.]+) s", text)
    assert float(warm) < float(cold)


def test_quickstart_leaves_pictures_and_a_model(quickstart):
    folder, _ = quickstart
    for name in ("confusion_matrix.png", "modality_weights.png"):
        image = cv2.imread(str(folder / name))
        assert image is not None and image.std() > 5, name
    assert (folder / "model.joblib").stat().st_size > 1000
    assert len(list((folder / "clips").rglob("*.mp4"))) == 36


def test_quickstart_judges_a_new_clip(quickstart):
    _, text = quickstart
    found = re.findall(rf"^   {EMOTIONS} +(\d\.\d\d)$", text, re.MULTILINE)
    assert len(found) == 6
    assert sum(map(float, found)) == pytest.approx(1, abs=0.04)
