"""Names to streams."""

import numpy as np
import pytest

from skmer._streams import NAMELESS, resolve_streams, stream_groups
from skmer.exceptions import MissingStreamError

NAMES = [
    "audio__l18__0",
    "audio__l18__1",
    "video__face__0",
    "text__0",
    "video__frame__0",
]


def _lists(groups):
    return {name: columns.tolist() for name, columns in groups.items()}


def test_streams_and_modalities():
    assert _lists(stream_groups(NAMES)) == {
        "audio__l18": [0, 1],
        "video__face": [2],
        "text": [3],
        "video__frame": [4],
    }
    assert _lists(stream_groups(NAMES, by="modality")) == {
        "audio": [0, 1],
        "video": [2, 4],
        "text": [3],
    }
    assert _lists(stream_groups(["a", "b"])) == {NAMELESS: [0, 1]}
    with pytest.raises(ValueError, match="colour"):
        stream_groups(NAMES, by="colour")


def test_asked_for_by_name_in_the_order_asked():
    groups = resolve_streams(("text", "video"), NAMES, 5)
    assert list(groups) == ["text", "video"]
    assert _lists(groups) == {"text": [3], "video": [2, 4]}


def test_asked_for_by_columns():
    wanted = {"a": slice(0, 2), "b": ["text__0"], "c": [4, 2]}
    assert _lists(resolve_streams(wanted, NAMES, 5)) == {
        "a": [0, 1],
        "b": [3],
        "c": [4, 2],
    }
    for part in (slice(1, None), slice(-2, 3), slice(1, 3)):
        assert _lists(resolve_streams({"a": part}, None, 3)) == {"a": [1, 2]}
    assert _lists(resolve_streams({"a": slice(None, -1)}, None, 3)) == {"a": [0, 1]}


def test_without_names_there_is_one_stream():
    assert _lists(resolve_streams(None, None, 3)) == {NAMELESS: [0, 1, 2]}


@pytest.mark.parametrize(
    ("streams", "names", "words"),
    [
        (("speech",), NAMES, "audio__l18, video__face, text"),
        (("audio",), None, "set_output"),
        ({"a": ["speech__0"]}, NAMES, "speech__0"),
        ({"a": slice(2, 2)}, NAMES, "no columns"),
        ({"a": slice(9, 12)}, NAMES, "columns 9 to 12, but X has 5"),
        ({"a": slice(2, 6)}, NAMES, "columns 2 to 6, but X has 5"),
        ({"a": slice(-6, None)}, NAMES, "columns -6 to None, but X has 5"),
        ({"a": [7]}, NAMES, "column 7"),
        ({"a": [-1, 0]}, NAMES, "column -1"),
    ],
)
def test_absent_streams(streams, names, words):
    with pytest.raises(MissingStreamError, match=words):
        resolve_streams(streams, names, 5)


@pytest.mark.parametrize("streams", [("video", "video__face"), {"a": [0, 1], "b": [1]}])
def test_a_column_belongs_to_one_stream(streams):
    with pytest.raises(ValueError, match="share column"):
        resolve_streams(streams, NAMES, 5)


def test_no_streams_at_all():
    with pytest.raises(ValueError, match="empty"):
        resolve_streams((), NAMES, 5)


def test_a_prefix_is_not_a_stream():
    with pytest.raises(MissingStreamError):
        resolve_streams(("audio__l1",), NAMES, 5)


def test_indices_are_arrays_of_integers():
    for columns in resolve_streams(None, NAMES, 5).values():
        assert isinstance(columns, np.ndarray) and columns.dtype == np.int64
