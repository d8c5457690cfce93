"""Names of contents and settings."""

import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from skmer.cache import config_digest, content_id, file_signature, make_key, text_id


def test_content_id_depends_on_the_bytes_alone(tmp_path):
    a, b, c = tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4"
    a.write_bytes(b"x" * 3_000_000)
    b.write_bytes(b"x" * 3_000_000)
    c.write_bytes(b"x" * 2_999_999 + b"y")
    assert content_id(a) == content_id(str(b)) != content_id(c)
    assert len(content_id(a)) == 16


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: None])
def test_content_id_of_what_is_no_file(tmp_path, make):
    path = tmp_path / "x"
    make(path)
    with pytest.raises(OSError, match="x"):
        content_id(path)


def test_text_and_file_of_the_same_bytes_differ(tmp_path):
    (tmp_path / "a").write_text("hello")
    assert text_id("hello") != content_id(tmp_path / "a")
    assert text_id("hello") != text_id("hello ")
    assert len(text_id("\ud800")) == 16


def test_file_signature(tmp_path):
    (tmp_path / "a").write_text("hello")
    os.utime(tmp_path / "a", ns=(1, 1_234_567_891))
    changed = os.stat(tmp_path / "a").st_ctime_ns
    assert file_signature(tmp_path / "a") == (5, 1_234_567_891, changed)


def test_equal_settings_have_one_digest():
    base = config_digest({"layers": [0, 1, 2], "pooling": "mean", "x": {"a": 1.5}})
    for layers in (range(3), (0, 1, 2), np.arange(3), [np.int64(0), 1, np.int8(2)]):
        same = {"x": {"a": np.float64(1.5)}, "pooling": "mean", "layers": layers}
        assert config_digest(same) == base


def test_different_settings_have_different_digests():
    values = [1, 1.5, "1", True, None, [1], {"a": 1}, [[1]], "None", [], {}, "", 0]
    digests = {config_digest({"p": value}) for value in values}
    assert len(digests) == len(values)
    assert config_digest({"p": np.bool_(True)}) == config_digest({"p": True})
    assert config_digest({"p": float("nan")}) == config_digest({"p": np.float32("nan")})


@pytest.mark.parametrize(
    "value",
    [object(), {1}, b"x", 1j, np.array([1j]), np.array(["a"]), len, Decimal(1)]
    + [Fraction(1, 2), Path("x")],
)
def test_settings_that_are_not_plain(value):
    with pytest.raises(TypeError, match=r"config\['p'\]\[1\] is .* cache key"):
        config_digest({"p": [0, value]})


def test_names_of_settings_must_be_strings():
    with pytest.raises(TypeError, match=r"config\['p'\] has the name 1"):
        config_digest({"p": {1: 2}})
    with pytest.raises(TypeError, match="must be a mapping"):
        config_digest([1])


def test_keys_tell_contents_and_namespaces_apart():
    parts = [text_id(text) for text in "abc"]
    keys = {make_key(content, space) for content in parts for space in parts}
    assert len(keys) == 9
