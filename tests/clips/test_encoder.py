"""What ClipEncoder does for its children."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from byte_encoder import ByteHistogramEncoder
from joblib import parallel_config

import skmer
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.utils.estimator_checks import clip_encoder_checks


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for i in range(12):
        path = tmp_path / f"{i:02d}.bin"
        path.write_bytes(rng.integers(0, 256, 200, dtype=np.uint8).tobytes())
        paths.append(str(path))
    return paths


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


def _encoded(log):
    return log.read_text().splitlines() if log.exists() else []


def _expected(paths, n_bins=8):
    return np.stack(
        [
            np.histogram(
                np.frombuffer(Path(p).read_bytes(), np.uint8), n_bins, (0, 256)
            )[0]
            for p in paths
        ]
    )


def _write(path, data):
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("check", clip_encoder_checks(), ids=lambda c: c.__name__[1:])
def test_clip_checks(check, files):
    # broken.mp4 of the checks holds text, not what this encoder calls unreadable
    if check.__name__ != "_check_unreadable_clips":
        check(ByteHistogramEncoder(), files[:5])
    assert re.match("_check_", check.__name__)


def test_values(files):
    features = ByteHistogramEncoder().fit_transform(files)
    assert (features == _expected(files)).all()


def test_nothing_is_encoded_twice(files, log):
    encoder = ByteHistogramEncoder(log=log)
    encoder.transform([*files, *files[:3]])
    assert sorted(_encoded(log)) == files
    encoder.transform(files[::-1])
    assert len(_encoded(log)) == len(files)


def test_a_moved_or_copied_file_is_the_same_clip(files, log, tmp_path):
    encoder = ByteHistogramEncoder(log=log)
    encoder.transform(files)
    moved = _write(tmp_path / "moved.bin", Path(files[0]).read_bytes())
    encoder.transform([moved])
    assert len(_encoded(log)) == len(files)


def test_a_changed_file_is_encoded_anew(files, log):
    encoder = ByteHistogramEncoder(log=log)
    encoder.transform(files)
    Path(files[2]).write_bytes(b"something else" * 3)
    assert (encoder.transform(files) == _expected(files)).all()
    assert _encoded(log)[len(files) :] == [files[2]]


def test_output_parameters_are_part_of_the_key_and_others_are_not(files, log):
    encoder = ByteHistogramEncoder(log=log).fit(files)
    encoder.transform(files)
    encoder.set_params(batch_size=3, verbose=False, n_jobs=1, on_error="nan")
    encoder.transform(files)
    assert len(_encoded(log)) == len(files)
    assert encoder.set_params(n_bins=4).transform(files).shape == (12, 4)
    assert len(_encoded(log)) == 2 * len(files)


def test_cache_version_is_part_of_the_key(files, log):
    class Newer(ByteHistogramEncoder):
        _cache_version = 2

    Newer.__qualname__ = ByteHistogramEncoder.__qualname__
    Newer.__module__ = ByteHistogramEncoder.__module__
    ByteHistogramEncoder(log=log).transform(files)
    Newer(log=log).transform(files)
    assert len(_encoded(log)) == 2 * len(files)


def test_without_a_cache_everything_is_encoded_anew(files, log):
    encoder = ByteHistogramEncoder(log=log, cache=None)
    for _ in range(2):
        assert (encoder.transform(files) == _expected(files)).all()
    assert len(_encoded(log)) == 2 * len(files)
    assert not skmer.get_config()["cache_dir"].exists()


def test_default_cache_follows_the_configuration(files, log, tmp_path):
    with skmer.config_context(cache_dir=tmp_path / "here"):
        ByteHistogramEncoder(log=log).transform(files)
    assert (tmp_path / "here").is_dir()
    ByteHistogramEncoder(log=log, cache=tmp_path / "here").transform(files)
    assert len(_encoded(log)) == len(files)


def test_a_failure_loses_nothing_encoded_before(files, log, tmp_path):
    bad = _write(tmp_path / "bad.bin", b"bad file")
    encoder = ByteHistogramEncoder(log=log, batch_size=2)
    with pytest.raises(MediaError, match="begins with bad") as error:
        encoder.transform([*files[:5], bad, *files[5:]])
    assert error.value.clip == bad
    encoder.transform(files)
    done = _encoded(log)
    assert all(done.count(path) == 1 for path in files)


def test_a_stored_failure_is_known_before_anything_is_encoded(files, log, tmp_path):
    bad = _write(tmp_path / "bad.bin", b"bad file")
    with pytest.raises(MediaError):
        ByteHistogramEncoder(log=log).transform([bad])
    with pytest.raises(MediaError, match="begins with bad"):
        ByteHistogramEncoder(log=log).transform([*files, bad])
    assert _encoded(log) == [bad]
    Path(bad).write_bytes(b"mended")
    assert np.isfinite(ByteHistogramEncoder(log=log).transform([bad])).all()


def test_timeouts_are_tried_again(files, log, tmp_path):
    slow = _write(tmp_path / "slow.bin", b"slow file")
    encoder = ByteHistogramEncoder(log=log, on_error="nan")
    for _ in range(2):
        with pytest.warns(ExtractionWarning, match="1 of 2 .* took too long"):
            encoder.transform([files[0], slow])
    assert _encoded(log).count(slow) == 2 and _encoded(log).count(files[0]) == 1


def test_a_clip_without_the_modality_is_remembered_silently(files, log, tmp_path):
    empty = _write(tmp_path / "empty.bin", b"empty file")
    encoder = ByteHistogramEncoder(log=log)
    for _ in range(2):
        features = encoder.transform([files[0], empty])
        assert np.isnan(features[1]).all() and np.isfinite(features[0]).all()
    assert _encoded(log).count(empty) == 1
    assert encoder.failures([empty]).empty


def test_files_that_all_lack_the_modality(tmp_path):
    empty = [_write(tmp_path / f"{i}.bin", b"empty file %d" % i) for i in range(3)]
    with pytest.raises(ValueError, match="none of the 3 clips has video usable"):
        ByteHistogramEncoder().fit_transform(empty)
    with pytest.warns(ExtractionWarning, match="none of the 3"):
        ByteHistogramEncoder(on_error="nan").fit_transform(empty)
    assert np.isnan(ByteHistogramEncoder().transform(empty)).all()


def test_failures_name_clip_stage_and_cause(files, tmp_path):
    bad = _write(tmp_path / "bad.bin", b"bad file")
    gone = str(tmp_path / "gone.bin")
    encoder = ByteHistogramEncoder(on_error="nan")
    X = pd.Series([files[0], gone, bad, str(tmp_path)], index=list("abcd"))
    table = encoder.failures(X)
    assert list(table.index) == ["b", "c", "d"]
    assert list(table.columns) == ["clip", "stage", "error"]
    assert table.loc["c"].tolist() == [bad, "video", "it begins with bad"]
    assert "no such file" in table.loc["b", "error"]
    assert "folder" in table.loc["d", "error"]
    assert encoder.failures(files).empty


def test_bugs_are_not_taken_for_bad_clips(files, tmp_path):
    bug = _write(tmp_path / "bug.bin", b"bug file")
    with pytest.raises(ZeroDivisionError):
        ByteHistogramEncoder(on_error="nan").transform([files[0], bug])


def test_a_killed_run_resumes(files, log, tmp_path):
    """Kill a real process in the middle; what it finished is not done again."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from byte_encoder import ByteHistogramEncoder\n"
        "ByteHistogramEncoder(log=sys.argv[2], delay=0.05, batch_size=1,"
        " cache=sys.argv[3]).transform(sys.argv[4:])"
    )
    folder = str(tmp_path / "cache")
    arguments = [str(Path(__file__).parents[1]), str(log), folder, *files]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    deadline = time.monotonic() + 60
    while len(_encoded(log)) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = _encoded(log)
    assert 5 <= len(before) < len(files)
    encoder = ByteHistogramEncoder(log=log, cache=folder)
    assert (encoder.transform(files) == _expected(files)).all()
    again = set(before) & set(_encoded(log)[len(before) :])
    # the clip in hand at the kill, and one finished whose commit was under way
    assert len(again) <= 2


def test_workers_encode_and_only_the_caller_writes(files, log):
    encoder = ByteHistogramEncoder(log=log, n_jobs=2, batch_size=2)
    assert (encoder.transform(files) == _expected(files)).all()
    assert sorted(_encoded(log)) == files
    with joblib.parallel_config(backend="threading", n_jobs=3):
        other = ByteHistogramEncoder(n_bins=4, batch_size=1).transform(files)
    assert (other == _expected(files, 4)).all()


def test_backends_that_return_no_generator_do(files, log):
    encoder = ByteHistogramEncoder(log=log, batch_size=1)
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        assert (encoder.transform(files) == _expected(files)).all()
    assert (encoder.transform(files) == _expected(files)).all()
    assert sorted(_encoded(log)) == files


def test_any_sequence_of_pandas_is_taken(files):
    series = pd.Series(files)
    for X in (series.array, series.values, pd.Index(files)):
        assert (ByteHistogramEncoder().transform(X) == _expected(files)).all()


def test_warnings_point_to_the_caller(files, tmp_path):
    encoder = ByteHistogramEncoder(on_error="nan")
    empty = [_write(tmp_path / f"{i}.bin", b"empty file %d" % i) for i in range(2)]
    for method, X in (
        (encoder.transform, [files[0], "gone.bin"]),
        (encoder.fit, [None, None]),
        (encoder.fit_transform, empty),
    ):
        with pytest.warns(ExtractionWarning) as caught:
            method(X)
        assert [warning.filename for warning in caught] == [__file__]


def test_progress_is_shown_when_asked(files, capsys):
    ByteHistogramEncoder(verbose=True, batch_size=5).transform(files)
    shown = capsys.readouterr().err
    assert "ByteHistogramEncoder" in shown and "12/12" in shown
    ByteHistogramEncoder(n_bins=5).transform(files)
    assert capsys.readouterr().err == ""


def test_a_child_that_returns_too_few_results_is_told(files):
    class Short(ByteHistogramEncoder):
        def _encode(self, cells):
            return super()._encode(cells)[1:]

    with pytest.raises(RuntimeError, match="3 results for 4 clips"):
        Short(cache=None).transform(files[:4])


def test_unwritable_cache_is_a_warning_and_results_are_right(files, tmp_path):
    place = tmp_path / "a file"
    place.write_text("in the way")
    encoder = ByteHistogramEncoder(cache=place)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = encoder.transform(files)
    assert (features == _expected(files)).all()
    assert [w.category.__name__ for w in caught] == ["CacheWarning"]


def test_a_frame_gives_the_column_of_the_encoder(files):
    X = pd.DataFrame({"text": ["x"] * 12, "video": files, "audio": None})
    assert (ByteHistogramEncoder().transform(X) == _expected(files)).all()
    with pytest.raises(ValueError, match="reads the column 'video'.*text, audio"):
        ByteHistogramEncoder().transform(X[["text", "audio"]])


class LayeredEncoder(ByteHistogramEncoder):
    """Histograms of 1, 2, ... bins are its layers; records hold all up to one."""

    def __init__(self, layer=1, *, log=None, cache="default"):
        super().__init__(log=log, cache=cache)
        self.layer = layer

    def _key_params(self):
        return {}

    def _feature_names(self):
        return [f"layer{self.layer}_{i}" for i in range(3)]

    def _encode_one(self, path):
        record = super()._encode_one(path)
        if record.status == "ok":
            record.arrays = {
                "layers": np.outer(np.arange(self.layer + 1), record.arrays["values"])
            }
        return record

    def _is_enough(self, arrays):
        return arrays["layers"].shape[1] > self.layer

    def _reduce(self, arrays):
        return arrays["layers"][:, self.layer, :3]


def test_records_of_layers_serve_all_that_they_hold(files, log, tmp_path):
    empty = _write(tmp_path / "none.bin", b"empty")
    paths = [*files[:4], empty, files[0]]
    expected = np.vstack([_expected(files[:4])[:, :3], [[np.nan] * 3]])
    expected = expected[[0, 1, 2, 3, 4, 0]]

    def n_encoded(layer, some=paths):
        before = len(_encoded(log))
        rows = LayeredEncoder(layer, log=log).transform(some)
        np.testing.assert_array_equal(rows, layer * expected[: len(some)])
        return len(_encoded(log)) - before

    assert n_encoded(2) == 5
    assert n_encoded(2) == n_encoded(1) == 0
    # Fuller records take the place of those of two clips; the others stay.
    assert n_encoded(3, paths[:2]) == 2
    assert n_encoded(2) == 0
    assert n_encoded(3) == 2
    assert n_encoded(1) == n_encoded(3) == 0
    assert LayeredEncoder()._store().info()["entries"] == 5


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_backends_that_return_lists_only(files, n_jobs):
    expected = ByteHistogramEncoder(cache=None).transform(files)
    with parallel_config(backend="multiprocessing"):
        rows = ByteHistogramEncoder(cache=None, n_jobs=n_jobs).transform(files)
    np.testing.assert_array_equal(rows, expected)


class _Raising(ByteHistogramEncoder):
    """Raises for a bad clip what it should return."""

    def _encode(self, cells):
        results = super()._encode(cells)
        for result in results:
            if isinstance(result, MediaError):
                raise result
        return results


@pytest.mark.parametrize("batch_size", [1, 10])
def test_a_raised_media_error_costs_its_own_clip_only(files, tmp_path, batch_size):
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"bad")
    encoder = _Raising(on_error="nan", batch_size=batch_size, cache=None)
    with pytest.warns(ExtractionWarning):
        features = encoder.fit_transform([*files, bad])
    assert np.isnan(features[-1]).all()
    right = ByteHistogramEncoder(cache=None).fit_transform(files)
    np.testing.assert_array_equal(features[:-1], right)
    with pytest.raises(MediaError, match="bad.bin"):
        encoder.set_params(on_error="raise").fit_transform([*files, bad])
