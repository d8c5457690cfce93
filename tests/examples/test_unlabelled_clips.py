"""Clips without labels are trained with, and the gain is shown either way."""

import re

from example_runs import run_small, scores


def test_unlabelled_clips_are_trained_with_and_without(tmp_path):
    few = ["--n-labelled", "12", "--n-draws", "1"]
    text = run_small("unlabelled_clips.py", tmp_path, 36, *few)
    assert len(scores(text)) == 6
    assert len(re.findall(r"gained [+-]\d\.\d+", text)) == 3
    assert 0 <= int(re.search(r"(\d+)% of these are right", text)[1]) <= 100
