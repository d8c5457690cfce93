import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import ShuffleSplit, StratifiedKFold

from skmer.fusion._split import inner_split


def clip_ids(n):
    return pd.Index([f"clip{i}" for i in range(n)])


def test_parts_are_a_stratified_partition():
    codes = np.repeat([0, 1, 2], [60, 30, 10])
    learn, watch = inner_split(0.2, codes, None, None, 0)
    assert sorted([*learn, *watch]) == list(range(100))
    np.testing.assert_array_equal(np.bincount(codes[watch]), [12, 6, 2])
    again = inner_split(5, codes, None, None, 0)
    np.testing.assert_array_equal(again[1], watch)
    assert not np.array_equal(inner_split(5, codes, None, None, 1)[1], watch)


def test_copies_of_a_clip_stay_together():
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.arange(50), rng.integers(50, size=100)])
    codes = (rows % 3).astype(np.int64)
    clips = clip_ids(50)[rows]
    learn, watch = inner_split(0.2, codes, clips, None, 0)
    assert len(learn) + len(watch) == 150
    assert not set(clips[learn]) & set(clips[watch])
    assert set(codes[watch]) == {0, 1, 2}


def test_groups_stay_together_whatever_their_order():
    speaker = pd.Series(np.arange(60) // 6, index=clip_ids(60)).sample(
        frac=1, random_state=0
    )
    codes = np.arange(60) % 3
    learn, watch = inner_split(5, codes, clip_ids(60), speaker, 0)
    assert not set(learn // 6) & set(watch // 6)
    assert set(codes[watch]) == {0, 1, 2}


def test_a_class_smaller_than_the_folds_is_no_reason_to_warn():
    codes = np.array([0] * 20 + [1] * 2)
    learn, watch = inner_split(5, codes, None, None, 0)
    assert len(learn) + len(watch) == 22


def test_a_splitter_is_taken_at_its_word_unless_it_divides_a_clip():
    codes = np.arange(30) % 3
    splitter = StratifiedKFold(3)
    learn, watch = inner_split(splitter, codes, None, None, 0)
    expected = next(splitter.split(codes, codes))
    np.testing.assert_array_equal(learn, expected[0])
    np.testing.assert_array_equal(watch, expected[1])
    clips = clip_ids(10)[np.arange(30) % 10]
    with pytest.raises(ValueError, match="copies of one clip"):
        inner_split(ShuffleSplit(1, random_state=0), codes, clips, None, 0)


@pytest.mark.parametrize(
    ("clips", "groups", "message"),
    [
        (None, pd.Series([0] * 4, index=clip_ids(4)), "X has no clip ids"),
        (clip_ids(4), pd.Series([0] * 3, index=clip_ids(3)), "no value for .*'clip3'"),
        (clip_ids(4), pd.Series([0, 1, 0, None], index=clip_ids(4)), "no value"),
        (clip_ids(4), pd.Series(["a"] * 4, index=clip_ids(4)), "hold 1"),
        (clip_ids(4), None, "hold 4"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_reason(clips, groups, message):
    with pytest.raises(ValueError, match=message):
        inner_split(5, np.array([0, 1, 0, 1]), clips, groups, 0)


def test_the_only_clip_of_a_class_is_learnt_from():
    for place in range(20):
        codes = np.tile([0, 2], 10)
        codes[place] = 1
        learn, watch = inner_split(0.2, codes, None, None, 0)
        assert place in learn and place not in watch and len(watch) >= 3
        assert sorted([*learn, *watch]) == list(range(20))
