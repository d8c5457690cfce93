"""A CSV ends in a report and a model."""

import re

import pytest
from example_runs import EMOTIONS, run_small


def test_own_csv_ends_in_a_report_and_a_model(tmp_path):
    pytest.importorskip("skops", reason="skops is not installed: skmer[persist]")
    text = run_small("own_csv.py", tmp_path, 24)
    assert "2 problems" in text and "row 5" in text and "row 9" in text
    assert (tmp_path / "out" / "model" / "manifest.json").is_file()
    assert (tmp_path / "out" / "report" / "report.html").stat().st_size > 10_000
    said = re.findall(rf"^\d +{EMOTIONS} +{EMOTIONS} +(\d\.\d+)$", text, re.MULTILINE)
    assert len(said) == 4 and all(1 / 6 < float(sure) <= 1 for sure in said)
