"""WAF, UA and WA by hand."""

import numpy as np
import pytest

from skmer.metrics import (
    unweighted_accuracy_score,
    weighted_accuracy_score,
    weighted_f1_score,
)

TRUE = ["a", "a", "a", "b", "b", "c"]
PRED = ["a", "a", "b", "b", "a", "b"]


def test_by_hand():
    # a: precision 2/3, recall 2/3; b: precision 1/3, recall 1/2; c: never predicted
    f1 = {"a": 2 / 3, "b": 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2), "c": 0.0}
    expected = (3 * f1["a"] + 2 * f1["b"] + 1 * f1["c"]) / 6
    assert weighted_f1_score(TRUE, PRED) == pytest.approx(expected)
    assert unweighted_accuracy_score(TRUE, PRED) == pytest.approx(
        (2 / 3 + 1 / 2 + 0) / 3
    )
    assert weighted_accuracy_score(TRUE, PRED) == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    "score", [weighted_f1_score, unweighted_accuracy_score, weighted_accuracy_score]
)
def test_weights_count_like_copies(score):
    weight = np.array([1, 2, 1, 3, 1, 2])
    expected = score(np.repeat(TRUE, weight), np.repeat(PRED, weight))
    got = score(TRUE, PRED, sample_weight=weight)
    assert isinstance(got, float) and got == pytest.approx(expected)
