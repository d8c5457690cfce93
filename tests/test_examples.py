"""Every example runs, and says and leaves behind what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    "inside_the_fold.py": [],
    "quickstart.py": ["--n-clips", "36", "--n-jobs", "1"],
}


def test_every_example_is_run():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


def _run(name, folder, *arguments):
    """Return what an example prints; a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / name, *EXAMPLES[name]]
        + list(arguments),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MPLCONFIGDIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_learning_before_splitting_finds_what_is_not_there(tmp_path):
    text = _run("inside_the_fold.py", tmp_path)
    chance = float(re.search(r"frequency scores (\d\.\d+)", text)[1])
    table = re.findall(r"^([a-z -]+?) +(\d\.\d+) +(\d\.\d+)$", text, re.MULTILINE)
    assert len(table) == 4
    for name, before, inside in table:
        assert abs(float(inside) - chance) < 0.06, name
        assert float(before) > chance + 0.07, name


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    text = _run("quickstart.py", folder, "--output", str(folder / "out"))
    return folder / "out", text


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
    emotions = r"(?:angry|happy|neutral|sad|surprise|worried)"
    found = re.findall(rf"^   {emotions} +(\d\.\d\d)$", text, re.MULTILINE)
    assert len(found) == 6
    assert sum(map(float, found)) == pytest.approx(1, abs=0.04)
