"""Learning before splitting finds what is not there."""

import re

from example_runs import run


def test_learning_before_splitting_finds_what_is_not_there(tmp_path):
    text = run("inside_the_fold.py", tmp_path)
    chance = float(re.search(r"frequency scores (\d\.\d+)", text)[1])
    table = re.findall(r"^([a-z -]+?) +(\d\.\d+) +(\d\.\d+)$", text, re.MULTILINE)
    assert len(table) == 4
    for name, before, inside in table:
        assert abs(float(inside) - chance) < 0.06, name
        assert float(before) > chance + 0.07, name
