"""Workers that die of a clip."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from byte_encoder import ByteHistogramEncoder

from skmer.exceptions import ExtractionWarning, MediaError


class DeadlyEncoder(ByteHistogramEncoder):
    """Die of files beside which one ends in ``.deadly``, as of a decoder's crash."""

    def _encode_one(self, path):
        if Path(path).with_suffix(".deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._encode_one(path)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i:02d}.bin" for i in range(14)]
    for i, path in enumerate(paths):
        path.write_bytes(rng.bytes(200))
        if i in (3, 9):
            path.with_suffix(".deadly").touch()
    return [str(path) for path in paths]


def test_only_the_clips_that_workers_die_of_fail(files, tmp_path):
    log = tmp_path / "log.txt"
    encoder = DeadlyEncoder(log=log, n_jobs=2, batch_size=2, on_error="nan")
    with pytest.warns(ExtractionWarning, match=r"2 of 14 clips.*03\.bin.*died"):
        features = encoder.transform(files)
    whole = ByteHistogramEncoder(cache=None).transform(files)
    bad = np.isnan(features).all(axis=1)
    assert np.flatnonzero(bad).tolist() == [3, 9]
    np.testing.assert_array_equal(features[~bad], whole[~bad])
    # The others are in the cache. That a process died is not: memory may have run out.
    n_before = len(log.read_text().splitlines())
    for path in tmp_path.glob("*.deadly"):
        path.unlink()
    np.testing.assert_array_equal(encoder.set_params(n_jobs=1).transform(files), whole)
    assert log.read_text().splitlines()[n_before:] == [files[3], files[9]]


def test_the_error_names_the_clip(files):
    encoder = DeadlyEncoder(n_jobs=2, batch_size=2)
    with pytest.raises(MediaError, match="cannot encode it: the process .* died") as e:
        encoder.transform(files[:4])
    assert e.value.clip == files[3]
