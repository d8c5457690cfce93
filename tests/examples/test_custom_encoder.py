"""An encoder of one's own is short, and passes all checks."""

import ast

from example_runs import EXAMPLES, run_small, scores


def test_custom_encoder_takes_twenty_lines(tmp_path):
    tree = ast.parse((EXAMPLES / "custom_encoder.py").read_text())
    (body,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    assert body.end_lineno - body.lineno <= 20
    text = run_small("custom_encoder.py", tmp_path, 18, "--n-folds", "2")
    assert "passes all checks" in text
    assert "18 clips, 16 numbers each; 1 have no sound" in text
    assert set(scores(text)) == {"OctaveEncoder", "AcousticEncoder", "both"}
