"""Scores against scikit-learn, and the bootstrap against resampling by hand."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_fscore_support,
)

from skmer.evaluation._scores import (
    Bootstrap,
    class_scores,
    confusion_of,
    three_scores,
)


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    true = rng.choice(4, size=200, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(200) < 0.6, true, rng.integers(4, size=200))
    return true, predicted


def test_scores_are_scikit_learns(labels):
    true, predicted = labels
    confusion = confusion_of(true, predicted, 4)
    by_sklearn = [
        f1_score(true, predicted, average="weighted"),
        balanced_accuracy_score(true, predicted),
        accuracy_score(true, predicted),
    ]
    np.testing.assert_allclose(three_scores(confusion), by_sklearn, rtol=1e-12)
    np.testing.assert_allclose(
        class_scores(confusion), precision_recall_fscore_support(true, predicted)
    )


def test_classes_that_do_not_occur_do_not_count():
    true, predicted = np.array([0, 0, 1]), np.array([0, 2, 1])
    scores = three_scores(confusion_of(true, predicted, 4))
    by_sklearn = f1_score(true, predicted, average="weighted", zero_division=0)
    np.testing.assert_allclose(scores, [by_sklearn, 0.75, 2 / 3])


def test_bootstrap_is_resampling_by_hand(labels):
    true, predicted = labels
    units = np.arange(200) // 4
    bootstrap = Bootstrap(np.arange(200), units, 4, 30, 0.9, 5)
    drawn = bootstrap.scores(true, predicted[None])
    rng = np.random.default_rng(5)
    for scores in drawn:
        counts = rng.multinomial(50, np.full(50, 1 / 50))
        rows = np.repeat(np.arange(200), counts[units])
        waf = f1_score(true[rows], predicted[rows], average="weighted")
        ua = balanced_accuracy_score(true[rows], predicted[rows])
        wa = accuracy_score(true[rows], predicted[rows])
        np.testing.assert_allclose(scores, [waf, ua, wa], rtol=1e-12)
    low, high = bootstrap.interval(drawn)
    np.testing.assert_array_equal(low, np.quantile(drawn, 0.05, axis=0))
    np.testing.assert_array_equal(high, np.quantile(drawn, 0.95, axis=0))


def test_draws_in_parts_are_the_same(labels, monkeypatch):
    true, predicted = labels
    whole = Bootstrap(np.arange(200), np.arange(200), 4, 40, 0.95, 1)
    expected = whole.scores(true, predicted[None])
    monkeypatch.setattr("skmer.evaluation._scores._KEPT", 8 * 200 * 7)
    parts = Bootstrap(np.arange(200), np.arange(200), 4, 100, 0.95, 1)
    assert len(list(parts._draws())) == 15
    np.testing.assert_array_equal(parts.scores(true, predicted[None])[:40], expected)
    # The second system is judged on the same draws
    np.testing.assert_array_equal(
        parts.scores(true, predicted[None]), parts.scores(true, predicted[None])
    )


def test_scores_are_means_over_repeats(labels):
    true, predicted = labels
    bootstrap = Bootstrap(np.arange(200), np.arange(200), 4, 20, 0.95, 0)
    both = bootstrap.scores(true, np.stack([predicted, true]))
    alone = bootstrap.scores(true, predicted[None])
    np.testing.assert_allclose(both, (alone + 1) / 2)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        true = rng.integers(2, size=150)
        predicted = np.where(rng.random(150) < 0.7, true, 1 - true)
        bootstrap = Bootstrap(np.arange(150), np.arange(150), 2, 200, 0.9, seed)
        low, high = bootstrap.interval(bootstrap.scores(true, predicted[None]))
        inside += low[2] <= 0.7 <= high[2]
    # Two-sided binomial bound for a true share of 0.9: 0.83 to 0.96
    assert 166 <= inside <= 192


def test_groups_make_intervals_wider():
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(20), 20)
    easy = rng.random(20) < 0.5
    true = rng.integers(2, size=400)
    right = rng.random(400) < np.where(easy[speaker], 0.95, 0.45)
    predicted = np.where(right, true, 1 - true)
    widths = []
    for units in (np.arange(400), speaker):
        bootstrap = Bootstrap(np.arange(400), units, 2, 400, 0.95, 0)
        low, high = bootstrap.interval(bootstrap.scores(true, predicted[None]))
        widths.append(high[2] - low[2])
    assert widths[1] > 1.5 * widths[0]


def test_no_draws_give_no_interval(labels):
    true, predicted = labels
    bootstrap = Bootstrap(np.arange(200), np.arange(200), 4, 0, 0.95, 0)
    low, high = bootstrap.interval(bootstrap.scores(true, predicted[None]))
    assert np.isnan(low).all() and np.isnan(high).all()
