"""Methods that are there only where they can work."""

import inspect

import pytest
from sklearn.linear_model import Perceptron

from skmer.utils._available import available_if


class Door:
    def __init__(self, key=None):
        self.key = key

    def _has_key(self):
        if self.key is None:
            raise AttributeError("Door has no key. Pass key=.")
        return self.key

    @available_if(_has_key)
    def open(self, width):
        """Open it."""
        return self.key, width


def test_what_is_there_works_and_keeps_its_documentation():
    assert Door("a").open(3) == ("a", 3)
    assert Door.open(Door("a"), width=3) == ("a", 3)
    assert Door.open.__doc__ == "Open it."
    assert list(inspect.signature(Door.open).parameters) == ["self", "width"]


def test_what_is_not_says_why():
    assert not hasattr(Door(), "open")
    with pytest.raises(
        AttributeError, match=r"^This 'Door' has no attribute 'open': Door has no key"
    ):
        Door().open(3)
    with pytest.raises(AttributeError, match="^This 'Door' has no attribute 'open'$"):
        Door(0).open(3)


def test_reasons_of_what_is_inside_are_said_too():
    class Outer:
        @available_if(lambda self: Perceptron().predict_proba)
        def predict_proba(self):
            return 1

    with pytest.raises(AttributeError, match="'Outer' has no.*'Perceptron' object has"):
        Outer().predict_proba()
