"""Doubtful labels go to a person and back."""

import json
import re

from example_runs import run_small, scores


def test_label_refinement_goes_there_and_back(tmp_path):
    text = run_small("label_refinement.py", tmp_path, 48, "--n-folds", "2")
    planted, n_clips = map(int, re.search(r"(\d+) of (\d+) labels", text).groups())
    assert (planted, n_clips) == (10, 48)
    done = json.loads((tmp_path / "out" / "answers.json").read_text())
    n_decided, wrong = map(
        int, re.search(r"With (\d+) decisions (\d+) are wrong", text).groups()
    )
    assert 0 < n_decided == len(done) <= 8
    assert wrong < planted
    assert len(scores(text.partition("Weighted F1")[2])) == 5
