"""The arithmetic of votes, against values worked out by hand."""

import numpy as np
import pytest
from scipy.special import softmax

from skmer.label_refinement._votes import (
    disagreed,
    evidence_of_labels,
    leave_some,
    majority,
    posterior,
)


def test_majority_by_hand():
    votes = np.array([[1, 1], [1, 2], [1, 1], [0, 1], [-1, 1], [-1, -1], [2, 2]])
    given = np.array([0, 0, 1, 0, 0, 0, 1])
    winners, shares = majority(votes, given, 3, min_votes=2)
    assert winners.tolist() == [1, 0, 1, 0, 0, 0, 2]
    np.testing.assert_allclose(shares[0], [1 / 3, 2 / 3, 0])
    np.testing.assert_allclose(shares[5], [1, 0, 0])
    more, _ = majority(votes, given, 3, min_votes=3)
    assert more.tolist() == given.tolist()


def test_two_parties_of_equal_size_change_nothing():
    votes = np.array([[1, 1, 2, 2]])
    assert majority(votes, np.array([0]), 3, min_votes=2)[0].tolist() == [0]


def test_flagged_where_nobody_agrees():
    votes = np.array([[1, 2], [0, 1], [-1, -1], [1, -1]])
    given = np.zeros(4, dtype=int)
    assert disagreed(votes, given).tolist() == [True, False, False, True]


def test_a_label_counts_as_the_other_rows_with_the_same_are_annotated():
    votes = np.array([0, 0, 0, 1, -1])
    given = np.array([0, 0, 1, 1, 0])
    proba = evidence_of_labels(votes, given, 2)
    np.testing.assert_allclose(
        proba,
        [[2 / 4, 2 / 4], [2 / 4, 2 / 4], [3 / 4, 1 / 4], [1 / 2, 1 / 2], [0.5, 0.5]],
    )


def _planted(n=3000, seed=0):
    """Annotations that confuse class 0 with 1 in 30 %, and what two sources say."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=n)
    given = np.where((truth == 0) & (rng.random(n) < 0.3), 1, truth)
    logits = rng.normal(size=(2, n, 3))
    logits[0, np.arange(n), truth] += 3.0
    logits[1] *= 3  # knows nothing
    proba = softmax(logits, axis=2)
    return truth, given, proba, np.ones((2, n), dtype=bool)


def test_the_model_finds_confusions_and_whom_to_trust():
    truth, given, proba, present = _planted()
    chances, trust, noise = posterior(proba, present, given)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(noise.sum(axis=1), 1)
    assert noise[0, 1] == pytest.approx(0.3, abs=0.06)
    assert noise[1, 0] < 0.05 and noise[2, 0] < 0.05
    assert trust[0] > 0.5 and trust[1] < 0.1
    wrong_before = (given != truth).mean()
    assert (chances.argmax(axis=1) != truth).mean() < 0.5 * wrong_before


def test_a_source_that_abstains_has_no_say():
    _, given, proba, present = _planted(400)
    present[1] = False
    first = posterior(proba, present, given)[0]
    proba[1] = np.roll(proba[1], 1, axis=1)
    second = posterior(proba, present, given)[0]
    np.testing.assert_array_equal(first, second)
    present[:, :10] = False
    chances = posterior(proba, present, given)[0]
    assert np.isnan(chances[:10]).all() and np.isfinite(chances[10:]).all()


def test_nobody_votes():
    given = np.array([0, 1, 0])
    proba = np.full((1, 3, 2), 0.5)
    chances, _, noise = posterior(proba, np.zeros((1, 3), dtype=bool), given)
    assert np.isnan(chances).all() and np.isfinite(noise).all()


def test_a_class_keeps_its_most_probable_labels():
    given = np.array([0, 0, 0, 0, 1, 1, 2])
    winners = np.array([1, 1, 0, 1, 0, 0, 2])
    believed = np.array([0.1, 0.4, 0.9, 0.2, 0.3, 0.2, 0.9])
    left = leave_some(given, winners, believed, 2)
    assert left.tolist() == [1, 0, 0, 1, 1, 1, 2]
    assert leave_some(given, winners, believed, 1).tolist() == [1, 1, 0, 1, 1, 0, 2]
    assert winners.tolist() == [1, 1, 0, 1, 0, 0, 2]


def test_sources_that_know_little_are_no_evidence_of_noise():
    rng = np.random.default_rng(0)
    n = 160
    for seen in (0.5, 4.0):
        given = rng.integers(8, size=n)
        logits = rng.normal(size=(2, n, 8))
        logits[:, np.arange(n), given] += seen
        result, _, _ = posterior(
            softmax(logits, axis=2), np.ones((2, n), dtype=bool), given
        )
        assert (result.argmax(axis=1) != given).mean() < 0.1
