"""Optional imports and object columns."""

import sys

import numpy as np
import pytest

from skmer.exceptions import MissingDependencyError
from skmer.utils import as_object_column, import_optional


def test_object_column_never_becomes_three_dimensional():
    column = as_object_column([np.zeros((2, 3)), np.ones((2, 3)), None])
    assert column.shape == (3,) and column.dtype == object
    assert column[1].shape == (2, 3) and column[2] is None


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(
        MissingDependencyError, match=r'pip install "skmer\[opensmile]"'
    ):
        import_optional("opensmile", "AcousticEncoder(feature_set='eGeMAPSv02')")


def test_present_package_is_returned():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: skmer[plot]")
    assert import_optional("matplotlib", "A plot").__name__ == "matplotlib"
