"""write_mertools: the folders that PrecomputedEncoder reads."""

import numpy as np
import pandas as pd
import pytest

from skmer.encoders import (
    AcousticEncoder,
    PrecomputedEncoder,
    TextEncoder,
    write_mertools,
)
from skmer.exceptions import ExtractionWarning, MissingStreamError
from skmer.utils import as_object_column

NAMES = ["a", "b", "c"]


@pytest.fixture
def frame():
    values = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    columns = ["audio__0", "audio__1", "text__0", "text__1", "text__2"]
    return pd.DataFrame(values, columns=columns, index=[f"v/{n}.mp4" for n in NAMES])


def _sequences(lengths, dtype=np.float32):
    rng = np.random.default_rng(1)
    return [rng.normal(size=(n, 4)).astype(dtype) for n in lengths]


def test_vectors_come_back_exactly(frame, tmp_path):
    folder = tmp_path / "hubert-UTT"
    assert write_mertools(frame, tmp_path, "hubert") == {str(folder): 3}
    assert sorted(p.name for p in folder.iterdir()) == ["a.npy", "b.npy", "c.npy"]
    one = np.load(folder / "b.npy", allow_pickle=False)
    assert one.shape == (5,) and one.dtype == np.float32
    again = PrecomputedEncoder(folder, column="index").transform(frame)
    np.testing.assert_array_equal(again, frame.to_numpy())


def test_streams_go_to_folders_of_their_own(frame, tmp_path):
    models = {"text": "roberta", "audio": "hubert"}
    written = write_mertools(frame, tmp_path, models)
    assert set(written.values()) == {3} and len(written) == 2
    audio = PrecomputedEncoder(tmp_path / "hubert-UTT").transform(NAMES)
    text = PrecomputedEncoder(tmp_path / "roberta-UTT").transform(NAMES)
    np.testing.assert_array_equal(np.hstack([audio, text]), frame.to_numpy())


@pytest.mark.parametrize("kind", ["array", "frame", "streams"])
def test_sequences_come_back_exactly(tmp_path, kind):
    cells = _sequences([3, 1, 3])
    X = as_object_column(cells)[:, None]
    model = "clip"
    if kind != "array":
        X = pd.DataFrame({"face__frames": X[:, 0], "frame__frames": X[::-1, 0]})
        X = X if kind == "streams" else X[["face__frames"]]
        model = {"face": "clip", "frame": "other"} if kind == "streams" else "clip"
    write_mertools(X, tmp_path, model, level="FRA", names=NAMES)
    encoder = PrecomputedEncoder(tmp_path / "clip-FRA", pooling=None)
    for cell, expected in zip(encoder.transform(NAMES)[:, 0], cells, strict=True):
        np.testing.assert_array_equal(cell, expected)
    if kind == "streams":
        one = PrecomputedEncoder(tmp_path / "other-FRA", pooling=None).transform(["a"])
        np.testing.assert_array_equal(one[0, 0], cells[2])


@pytest.mark.parametrize("pooling", ["mean", None])
def test_what_an_encoder_returns(tmp_path, small_clips, pooling):
    # With a cache, sequences are handles into it
    encoder = AcousticEncoder(pooling=pooling).set_output(transform="pandas")
    X = pd.Series(small_clips.paths, index=small_clips.paths)
    features = encoder.fit_transform(X)
    level = "FRA" if pooling is None else "UTT"
    write_mertools(features, tmp_path, "lld", level=level)
    again = PrecomputedEncoder(tmp_path / f"lld-{level}", pooling=pooling).transform(X)
    for one, two in zip(features.to_numpy().ravel(), again.ravel(), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.parametrize("level", ["UTT", "FRA"])
def test_rows_without_values_are_left_out(tmp_path, level):
    if level == "UTT":
        X = TextEncoder(n_features=4, cache=None).transform(["yes", None, "no"])
    else:
        cells = _sequences([2, 2])
        X = as_object_column([cells[0], None, cells[1]])[:, None]
    with pytest.warns(ExtractionWarning, match="left out 1 of 3"):
        written = write_mertools(X, tmp_path, "m", level=level, names=NAMES)
    folder = tmp_path / f"m-{level}"
    assert written == {str(folder): 2}
    assert sorted(p.stem for p in folder.iterdir()) == ["a", "c"]
    pooling = "mean" if level == "UTT" else None
    encoder = PrecomputedEncoder(folder, pooling=pooling, on_error="nan")
    with pytest.warns(ExtractionWarning):
        assert pd.isna(encoder.transform(NAMES)[1]).all()


def test_files_are_replaced_only_if_asked(frame, tmp_path):
    write_mertools(frame.iloc[1:2], tmp_path, "m")
    with pytest.raises(FileExistsError, match="already holds 1 of the 3 files"):
        write_mertools(frame * 2, tmp_path, "m")
    assert [p.name for p in (tmp_path / "m-UTT").iterdir()] == ["b.npy"]
    write_mertools(frame * 2, tmp_path, "m", overwrite=True)
    again = PrecomputedEncoder(tmp_path / "m-UTT").transform(NAMES)
    np.testing.assert_array_equal(again, frame.to_numpy() * 2)


def test_an_interrupted_write_leaves_no_part_of_a_file(tmp_path):
    class Unreadable:
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    X = as_object_column([*_sequences([2]), Unreadable()])[:, None]
    with pytest.raises(KeyboardInterrupt):
        write_mertools(X, tmp_path, "m", level="FRA", names=["a", "b"])
    assert [p.name for p in (tmp_path / "m-FRA").iterdir()] == ["a.npy"]
    np.load(tmp_path / "m-FRA" / "a.npy", allow_pickle=False)


def test_a_failed_write_leaves_no_part_of_a_file(frame, tmp_path):
    folder = tmp_path / "m-UTT"
    (folder / "b.npy").mkdir(parents=True)
    with pytest.raises(OSError):
        write_mertools(frame, tmp_path, "m", overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == ["a.npy", "b.npy"]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"names": ["a", "b"]}, ValueError, "2 names for 3 rows"),
        ({"names": ["a", "x/b", "y/b.mp4"]}, ValueError, "'b' .* is there twice"),
        ({"names": ["a", "b", "c/"]}, ValueError, "cannot name a file"),
        ({"names": ["a", "b", ".."]}, ValueError, "cannot name a file"),
        ({"features": np.zeros((3, 2))}, ValueError, "needs the names"),
        ({"features": pd.DataFrame(np.zeros((3, 2)))}, ValueError, "needs the names"),
        ({"features": np.zeros(3), "names": NAMES}, ValueError, r"Got \(3,\)"),
        ({"features": [[1.0]]}, ValueError, "'features' parameter"),
        ({"level": "utt"}, ValueError, "'level' parameter"),
        ({"level": "FRA"}, ValueError, "one object column"),
        ({"model_name": "TencentGameMate/hubert"}, ValueError, "last part of a hub"),
        ({"model_name": ""}, ValueError, "names of folders"),
        ({"model_name": {"audio": "m", "text": "m"}}, ValueError, "each once"),
        ({"model_name": {"video": "m"}}, MissingStreamError, "no stream 'video'"),
    ],
)
def test_bad_input(frame, tmp_path, change, kind, words):
    args = {"features": frame, "root": tmp_path, "model_name": "m", **change}
    with pytest.raises(kind, match=words):
        write_mertools(**args)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_some_values_only_are_refused(frame, tmp_path, value):
    frame.iloc[1, 2] = value
    with pytest.raises(ValueError, match="'b' holds NaN or infinite"):
        write_mertools(frame, tmp_path, "m")


def test_cells_that_do_not_fit_the_level(tmp_path):
    X = as_object_column(_sequences([2, 3, 2]))[:, None]
    with pytest.raises(ValueError, match="level='FRA'"):
        write_mertools(X, tmp_path, "m", names=NAMES)
    flat = as_object_column([np.zeros(3)] * 3)[:, None]
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        write_mertools(flat, tmp_path, "m", level="FRA", names=NAMES)
    words = as_object_column([np.array([["a"]])] * 3)[:, None]
    with pytest.raises(ValueError, match="holds no numbers"):
        write_mertools(words, tmp_path, "m", level="FRA", names=NAMES)
