import numpy as np

from skmer.datasets._evidence import RELIABILITY
from skmer.datasets._parameters import check_missing, check_reliability, entropy_of


def test_seed_of_a_random_state():
    state = np.random.RandomState(7)
    first, second = entropy_of(state), entropy_of(state)
    assert first != second
    assert first == entropy_of(np.random.RandomState(7))


def test_seed_of_an_int_and_of_nothing():
    assert entropy_of(np.int64(5)) == entropy_of(5) == 5
    assert entropy_of(None) != entropy_of(None)


def test_parts_of_a_dict_fall_back():
    assert check_reliability({"audio": 0.5}) == {
        "video": RELIABILITY["video"],
        "audio": 0.5,
        "text": RELIABILITY["text"],
    }
    assert check_missing({"text": 0.25}, 8) == {"video": 0, "audio": 0, "text": 2}
    assert check_missing(1 / 3, 9) == {"video": 3, "audio": 3, "text": 3}
