"""A cluster gives the same rows."""

import pytest
from example_runs import run_small


def test_cluster_gives_the_same_rows(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: skmer[dask]")
    text = run_small("distributed_extraction.py", tmp_path, 9)
    assert "are the same: True" in text
    # A record a clip and encoder
    assert "18 records" in text
