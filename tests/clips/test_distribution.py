"""Clips encoded on clusters of Dask and Ray, each a real one of two processes."""

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest
from byte_encoder import ByteHistogramEncoder
from clusters import running_cluster
from joblib import parallel_config
from process_encoder import ProcessEncoder
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from tiny_models import speech_model

import skmer
from skmer.cache import open_store
from skmer.encoders import SpeechEncoder
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import write_clip


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request, tmp_path_factory):
    """Return what joblib is told for a running cluster, with no store in it."""
    theirs = tmp_path_factory.mktemp("workers") / "features"
    with running_cluster(request.param, theirs) as settings:
        yield settings
        assert not theirs.exists()


def _files(folder, n_files):
    rng = np.random.default_rng(0)
    paths = [folder / f"{i:02d}.bin" for i in range(n_files)]
    for i, path in enumerate(paths):
        path.write_bytes(rng.integers(0, 256, 200 + i, dtype=np.uint8).tobytes())
    return [str(path) for path in paths]


@pytest.fixture
def files(tmp_path):
    return _files(tmp_path, 12)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


def _encoded(log):
    return log.read_text().splitlines() if log.exists() else []


def test_rows_are_those_of_a_local_run(cluster, files, log):
    encoder = ByteHistogramEncoder(log=log, batch_size=1)
    expected = clone(encoder).set_params(cache=None, log=None).transform(files)
    with parallel_config(**cluster):
        np.testing.assert_array_equal(
            encoder.transform([*files, files[0]])[:-1], expected
        )
        # Twelve tasks are more than Ray is given at a time.
        assert sorted(_encoded(log)) == files
        np.testing.assert_array_equal(encoder.transform(files), expected)
    np.testing.assert_array_equal(encoder.transform(files), expected)
    assert len(_encoded(log)) == len(files)


def test_workers_encode_and_only_the_caller_writes(cluster, files):
    encoder = ProcessEncoder(delay=0.05, batch_size=1)
    with parallel_config(**cluster):
        rows = encoder.transform(files)
    assert (rows[:, 0] == np.arange(200, 212)).all()
    assert len(set(rows[:, 1])) == 2 and os.getpid() not in rows[:, 1]
    assert (rows[:, 2] == 0).all()
    # The caller has a store open, and all is in it.
    here = ProcessEncoder(delay=0.01).transform(files[:1])
    assert here[0, 1] == os.getpid() and here[0, 2] >= 1
    np.testing.assert_array_equal(encoder.transform(files), rows)
    folder = skmer.get_config()["cache_dir"]
    assert open_store(folder).info()["entries"] == len(files) + 1


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="Windows cannot signal a thread"
)
# joblib says so where the interrupt came while a result was being stored.
@pytest.mark.filterwarnings("ignore:.*still being processed by the workers")
def test_an_interrupt_leaves_no_tasks(cluster, tmp_path, log, interruptible):
    files = _files(tmp_path, 16)
    encoder = ByteHistogramEncoder(log=log, delay=0.25, batch_size=1)

    def interrupt():
        # Ray is given eight tasks at a time and its results come when all are done.
        while len(_encoded(log)) < 9:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    with parallel_config(**cluster), pytest.raises(KeyboardInterrupt):
        thread.start()
        encoder.transform(files)
    # Whatever joblib says as its generator goes, it says here.
    gc.collect()
    thread.join()
    # Tasks that were handed out may end; no others start.
    before = None
    while before != (before := _encoded(log)):
        time.sleep(1)
    assert len(before) < len(files)
    # The rerun goes on; that the cluster does too is seen in the tests below.
    encoder.set_params(delay=0.0).transform(files)
    again = _encoded(log)[len(before) :]
    assert set(before) | set(again) == set(files)
    assert len(again) < len(files)


def test_a_clip_that_cannot_be_read(cluster, files, log, tmp_path):
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"bad file")
    X = [*files[:5], str(bad), *files[5:]]
    encoder = ByteHistogramEncoder(log=log, batch_size=1)
    with parallel_config(**cluster):
        with pytest.raises(MediaError, match="begins with bad") as error:
            encoder.transform(X)
    assert error.value.clip == str(bad)
    assert str(bad) in _encoded(log)
    with pytest.warns(ExtractionWarning, match="1 of 13"):
        rows = encoder.set_params(on_error="nan").transform(X)
    assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == [5]
    # Whatever was encoded before the error was stored.
    assert sorted(_encoded(log)) == sorted(X)


def test_a_bug_in_an_encoder_keeps_its_type(cluster, files, tmp_path):
    bug = tmp_path / "bug.bin"
    bug.write_bytes(b"bug file")
    with parallel_config(**cluster), pytest.raises(ZeroDivisionError, match="a bug"):
        ByteHistogramEncoder(batch_size=1).transform([*files, str(bug)])


def test_models_are_loaded_in_the_workers(cluster, tmp_path):
    rng = np.random.default_rng(0)
    noises = [str(tmp_path / f"{i}.wav") for i in range(4)]
    for i, path in enumerate(noises):
        sound = rng.standard_normal(8000 + 800 * i) * 0.1
        write_clip(path, audio=sound.astype(np.float32), rate=16000)
    encoder = SpeechEncoder(speech_model("hubert-large"), cache=None, batch_size=1)
    exact = encoder.transform(noises)
    # Workers see the settings of the caller, here that of the number format.
    with skmer.config_context(dtype="bfloat16"):
        expected = encoder.transform(noises)
        with parallel_config(**cluster):
            rows = encoder.transform(noises)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected - exact).max() > 1e-3


def test_cross_validation_on_the_cluster(cluster, files, log):
    """Encoders inside tasks of a search share its workers and wait for nobody."""
    y = np.arange(len(files)) % 2
    encoder = ByteHistogramEncoder(log=log, batch_size=2, cache=None)
    model = make_pipeline(encoder, DummyClassifier(strategy="most_frequent"))
    expected = cross_val_score(model, files, y, cv=2)
    n_encoded = len(_encoded(log))
    with parallel_config(**cluster):
        np.testing.assert_array_equal(cross_val_score(model, files, y, cv=2), expected)
    assert len(_encoded(log)) == 2 * n_encoded
