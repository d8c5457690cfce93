"""Folds that keep copies and groups together."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from skmer.utils._folds import stratified_folds, watched_rows


def test_single_rows_are_scikit_learns_folds():
    codes = np.tile([0, 1, 2], 10)
    ours = stratified_folds(codes, np.arange(30), 5, 7)
    theirs = StratifiedKFold(5, shuffle=True, random_state=7).split(codes, codes)
    for (train, test), (a, b) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(train, a)
        np.testing.assert_array_equal(test, b)


def test_copies_stay_together_and_classes_are_even():
    units = np.repeat(np.arange(30), 3)
    codes = np.repeat(np.tile([0, 1], 15), 3)
    for train, test in stratified_folds(codes, units, 5, 0):
        assert not set(units[train]) & set(units[test])
        assert np.bincount(codes[test]).tolist() == [9, 9]


def test_mixed_groups_stay_together():
    rng = np.random.default_rng(0)
    units, codes = np.repeat(np.arange(12), 5), rng.integers(2, size=60)
    seen = []
    for train, test in stratified_folds(codes, units, 4, 0):
        assert not set(units[train]) & set(units[test])
        seen.extend(test)
    assert sorted(seen) == list(range(60))


def test_a_class_of_one_row_is_no_error():
    codes = np.r_[np.zeros(10, int), 1]
    folds = stratified_folds(codes, np.arange(11), 5, 0)
    assert sum(10 in test for _, test in folds) == 1


def test_too_few():
    with pytest.raises(ValueError, match="5 folds need as many clips or groups. Got 3"):
        stratified_folds(np.zeros(3, int), np.arange(3), 5, 0)
    with pytest.raises(ValueError, match="no class has as many rows"):
        stratified_folds(np.arange(6), np.arange(6), 3, 0)


@pytest.mark.parametrize("copies", [1, 3])
def test_the_only_clip_of_a_class_is_never_watched(copies):
    for place in range(30):
        codes = np.tile([0, 2], 15)
        codes[place] = 1
        codes, units = np.repeat(codes, copies), np.repeat(np.arange(30), copies)
        watched = watched_rows(codes, units, 0.1, 0)
        assert 2 <= len(watched) // copies <= 4 and 1 not in codes[watched]
        learn = np.setdiff1d(np.arange(len(codes)), watched)
        assert not set(units[learn]) & set(units[watched])
