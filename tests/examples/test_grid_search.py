"""A search shows its own score and the nested one."""

import re

import pytest
from example_runs import run_small


def test_grid_search_shows_both_scores(tmp_path):
    text = run_small("grid_search.py", tmp_path, 36, "--n-folds", "2")
    winners = re.findall(r"^\d +(?:functionals|mean_std) ", text, re.MULTILINE)
    assert len(winners) == 2
    scores = re.findall(r"^(?:winner,|the recipe's) .* (\d\.\d{3})\b", text, re.M)
    own, nested, default = map(float, scores)
    gained = float(re.search(r"by searching ([+-]\d\.\d+)", text)[1])
    assert gained == pytest.approx(nested - default, abs=0.0011)
    assert own > 1 / 6
