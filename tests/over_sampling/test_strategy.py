"""How many rows over-samplers make."""

import pickle
from collections import Counter

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.base import clone

from skmer.over_sampling import at_least

Y = np.array(["neutral"] * 40 + ["sad"] * 20 + ["surprise"] * 6)


@pytest.mark.parametrize("sampler", [RandomOverSampler, SMOTE])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (30, (40, 30, 30)),
        (6, (40, 20, 6)),
        (50, (50, 50, 50)),
        (0.5, (40, 20, 20)),
        (1.0, (40, 40, 40)),
        ({"sad": 25, "surprise": 0.3, "neutral": 10}, (40, 25, 12)),
        ({"surprise": 7, "worried": 30}, (40, 20, 7)),
    ],
)
def test_what_samplers_make_of_it(sampler, wanted, expected):
    X = np.random.default_rng(0).normal(size=(66, 3))
    strategy = at_least(wanted)
    made = sampler(sampling_strategy=strategy, random_state=0)
    counts = Counter(made.fit_resample(X, Y)[1].tolist())
    assert (counts["neutral"], counts["sad"], counts["surprise"]) == expected


def test_a_share_means_the_same_in_a_fold():
    strategy = at_least(0.7)
    assert strategy(Y) == {"sad": 28, "surprise": 28}
    assert strategy(Y[::2]) == {"sad": 14, "surprise": 14}
    # 0.07 * 100 is 7.000000000000001
    assert at_least(0.07)([0] * 100 + [1]) == {1: 7}


def test_unlabelled_rows_do_not_count():
    assert at_least(1.0)([-1] * 9 + [0, 0, 1]) == {1: 2}
    assert at_least(2)(["a", None, None, None]) == {"a": 2}


def test_pickles_compares_and_clones():
    for strategy in (at_least(0.5), at_least(3), at_least({"sad": 4})):
        again = pickle.loads(pickle.dumps(strategy))
        assert again == strategy and again(Y) == strategy(Y)
        assert hash(again) == hash(strategy)
        assert clone(RandomOverSampler(sampling_strategy=strategy)).sampling_strategy(
            Y
        ) == strategy(Y)
    assert at_least(2) != at_least(3)
    assert repr(at_least({"sad": 0.5})) == "at_least({'sad': 0.5})"
    assert repr(at_least(3)) == "at_least(3)"


@pytest.mark.parametrize("wanted", [0, -1, 0.0, 1.5, True, "sad", None, {"sad": 0}, {}])
def test_wrong_numbers(wanted):
    with pytest.raises(ValueError, match="at_least"):
        at_least(wanted)


@pytest.mark.parametrize("wanted", [1, {"sad": 1, "surprise": 0.5}])
def test_one_row_is_not_all(wanted):
    with pytest.warns(UserWarning, match=r"1\.0 makes classes as large") as said:
        at_least(wanted)
    assert said[0].filename == __file__


def test_no_class_of_these():
    with pytest.raises(ValueError, match="names the classes 0, but y has 'neutral'"):
        at_least({0: 5})(Y)
