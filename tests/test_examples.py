"""Every example runs, and says and leaves behind what it promises."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[1]
_SMALL = ["--n-jobs", "1", "--output", "out", "--n-clips"]
EXAMPLES = {
    "custom_encoder.py": [*_SMALL, "18", "--n-folds", "2"],
    "distributed_extraction.py": [*_SMALL, "9"],
    "grid_search.py": [*_SMALL, "48", "--n-folds", "2"],
    "inside_the_fold.py": [],
    "label_refinement.py": [*_SMALL, "72", "--n-folds", "2"],
    "layer_scan.py": [*_SMALL, "30", "--model", "tiny"],
    "own_csv.py": [*_SMALL, "24"],
    "quickstart.py": ["--n-clips", "36", "--n-jobs", "1"],
    "unlabelled_clips.py": [*_SMALL, "48", "--n-labelled", "12", "--n-draws", "1"],
}


def test_every_example_is_run():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


def _run(name, folder, *arguments):
    """Return what an example prints; a warning is an error, so is a stray file."""
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / name, *EXAMPLES[name]]
        + list(arguments),
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "SKMER_CACHE_DIR": str(folder / "default_cache"),
        },
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} <= {"out", "matplotlib"}
    return done.stdout


def _scores(text):
    """Return the scores of a table, by the names in front of them."""
    found = re.findall(r"^ +(\S.*?) +(\d\.\d{3})(?= |$)", text, re.MULTILINE)
    assert all(0 <= float(score) <= 1 for _, score in found)
    return {name: float(score) for name, score in found}


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


def test_custom_encoder_takes_twenty_lines(tmp_path):
    tree = ast.parse((ROOT / "examples" / "custom_encoder.py").read_text())
    (body,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    assert body.end_lineno - body.lineno <= 20
    text = _run("custom_encoder.py", tmp_path)
    assert "passes all checks" in text
    assert "18 clips, 16 numbers each; 1 have no sound" in text
    assert set(_scores(text)) == {"OctaveEncoder", "AcousticEncoder", "both"}


def test_cluster_gives_the_same_rows(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: skmer[dask]")
    text = _run("distributed_extraction.py", tmp_path)
    assert "are the same: True" in text
    # A record a clip and encoder
    assert "18 records" in text


def test_grid_search_shows_both_scores(tmp_path):
    text = _run("grid_search.py", tmp_path)
    winners = re.findall(r"^\d +(?:functionals|mean_std) ", text, re.MULTILINE)
    assert len(winners) == 2
    scores = re.findall(r"^(?:winner,|the recipe's) .* (\d\.\d{3})\b", text, re.M)
    own, nested, default = map(float, scores)
    gained = float(re.search(r"by searching ([+-]\d\.\d+)", text)[1])
    assert gained == pytest.approx(nested - default, abs=0.0011)
    assert own > 1 / 6


def test_label_refinement_goes_there_and_back(tmp_path):
    text = _run("label_refinement.py", tmp_path)
    planted, n_clips = map(int, re.search(r"(\d+) of (\d+) labels", text).groups())
    assert (planted, n_clips) == (14, 72)
    done = json.loads((tmp_path / "out" / "answers.json").read_text())
    n_decided, wrong = map(
        int, re.search(r"With (\d+) decisions (\d+) are wrong", text).groups()
    )
    assert 0 < n_decided == len(done) <= 12
    assert wrong < planted
    assert len(_scores(text.partition("Weighted F1")[2])) == 5


def test_layer_scan_draws_the_layers_of_a_random_model(tmp_path):
    text = _run("layer_scan.py", tmp_path)
    assert "RANDOM" in text
    layers = [name for name in _scores(text) if name.startswith("layer ")]
    assert layers == [f"layer {i}" for i in range(1, 9)]
    image = cv2.imread(str(tmp_path / "out" / "layers.png"))
    assert image is not None and image.std() > 5


def test_own_csv_ends_in_a_report_and_a_model(tmp_path):
    pytest.importorskip("skops", reason="skops is not installed: skmer[persist]")
    text = _run("own_csv.py", tmp_path)
    assert "2 problems" in text and "row 5" in text and "row 9" in text
    assert (tmp_path / "out" / "model" / "manifest.json").is_file()
    assert (tmp_path / "out" / "report" / "report.html").stat().st_size > 10_000
    emotion = "(?:angry|happy|neutral|sad|surprise|worried)"
    said = re.findall(rf"^\d +{emotion} +{emotion} +(\d\.\d+)$", text, re.MULTILINE)
    assert len(said) == 4 and all(1 / 6 < float(sure) <= 1 for sure in said)


def test_unlabelled_clips_are_trained_with_and_without(tmp_path):
    text = _run("unlabelled_clips.py", tmp_path)
    assert len(_scores(text)) == 6
    assert len(re.findall(r"gained [+-]\d\.\d+", text)) == 3
    assert 0 <= int(re.search(r"(\d+)% of these are right", text)[1]) <= 100
