"""Which rows carry a label."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skmer.utils import split_labels


@pytest.mark.parametrize(
    ("y", "labelled", "classes", "codes"),
    [
        ([1, 0, -1], [1, 1, 0], [0, 1], [1, 0, -1]),
        ([-1, 1, 1], [1, 1, 1], [-1, 1], [0, 1, 1]),
        ([-1, -1], [0, 0], [], [-1, -1]),
        ([3.0, np.nan, -1.0, 5.0], [1, 0, 0, 1], [3, 5], [0, -1, -1, 1]),
        (["b", None, "a"], [1, 0, 1], ["a", "b"], [1, -1, 0]),
        (["b", np.nan, "a"], [1, 0, 1], ["a", "b"], [1, -1, 0]),
        (np.array(["b", "a"]), [1, 1], ["a", "b"], [1, 0]),
        (pd.Series(["b", None]), [1, 0], ["b"], [0, -1]),
        (pd.Series(["b", "a"], dtype="category"), [1, 1], ["a", "b"], [1, 0]),
        (pd.array([1, None, -1, 0]), [1, 0, 0, 1], [0, 1], [1, -1, -1, 0]),
        ([True, False], [1, 1], [False, True], [1, 0]),
        (np.array([[2], [1]]), [1, 1], [1, 2], [1, 0]),
        ([None, None], [0, 0], [], [-1, -1]),
        ([], [], [], []),
    ],
)  # fmt: skip
def test_split(y, labelled, classes, codes):
    got_labelled, got_classes, got_codes = split_labels(y)
    assert got_labelled.dtype == bool and got_codes.dtype == np.int64
    assert got_labelled.tolist() == [bool(v) for v in labelled]
    assert got_classes.tolist() == classes
    assert got_codes.tolist() == codes


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64, "U5"])
def test_classes_keep_the_dtype_of_y(dtype):
    y = np.array([1, 2, 1]).astype(dtype)
    assert split_labels(y)[1].dtype == y.dtype


@pytest.mark.parametrize(
    "y", [[True, None, False], pd.array([True, None, False], dtype="boolean")]
)
def test_booleans_beside_missing_ones_are_booleans(y):
    labelled, classes, codes = split_labels(y)
    assert classes.dtype == bool and codes.tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("y", "named"),
    [
        (np.array(["happy", None, "sad"]).astype(str), "None"),
        (np.array(["happy", np.nan, "sad"]), "nan"),
        (pd.Series(["happy", "", None]), ""),
        (["happy", "<NA>"], "<NA>"),
        (np.array(["happy", -1, "sad"]), "-1"),
    ],
)
def test_missing_labels_that_became_strings_are_told_of(y, named):
    with pytest.warns(UserWarning, match=f"y holds the string {named!r}, which counts"):
        _, classes, _ = split_labels(y)
    assert named in classes


def test_it_is_told_once():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            split_labels(np.array(["happy", "nan"]))
    assert len(said) == 1


@pytest.mark.parametrize(
    "y",
    [
        ["-1", "0", "1"],
        ["-1", "1"],
        ["none", "happy"],
        np.array(["happy", None, np.nan, pd.NA], dtype=object),
        [-1, 0, 1],
    ],
)
def test_other_labels_are_not_told_of(y):
    split_labels(y)


def test_decoding_gives_the_labels_back():
    y = np.array(["x", "a", "q", "a"])
    labelled, classes, codes = split_labels(y)
    assert (classes[codes] == y).all() and labelled.all()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", 1], "int, str"),
        ([0.5, 1], "continuous"),
        ([np.inf, 1], "infinite"),
        (np.zeros((2, 2)), r"\(2, 2\)"),
        ([1, object()], "int, object"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
    ],
)
def test_what_is_no_set_of_classes_is_refused(y, words):
    with pytest.raises(ValueError, match=words):
        split_labels(y)
