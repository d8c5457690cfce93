"""A whole recipe on real clusters, and what becomes of a run when parts of them die."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from byte_encoder import ByteHistogramEncoder
from clusters import TESTS, running_cluster, set_version
from deadly_encoder import DeadlyEncoder
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import GridSearchCV, cross_val_score

from skmer.cache import open_store
from skmer.encoders import AcousticEncoder
from skmer.evaluation import evaluate
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.recipes import make_mertools_attention
from skmer.utils import DaskBackend

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL"
)


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request, tmp_path_factory):
    """Return joblib's settings, the workers' cache and their working directory."""
    folder = tmp_path_factory.mktemp("there")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        theirs = folder / "features"
        with running_cluster(request.param, theirs) as settings:
            yield settings, theirs, folder


@pytest.fixture
def settings(cluster):
    return cluster[0]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i:02d}.bin" for i in range(10)]
    for path in paths:
        path.write_bytes(rng.bytes(200))
    return [str(path) for path in paths]


def _recipe(**params):
    """Make a small recipe whose picture encoder may die of a clip."""
    encoders = {"audio": AcousticEncoder(), "video": DeadlyEncoder()}
    model = make_mertools_attention(
        encoders=encoders, streams=("audio", "video"), random_state=0
    )
    return model.set_params(fuse__max_epochs=2, **params)


# Parts of a report that take time and are the same anywhere.
_NOT_NEEDED = ("references", "literature", "robustness", "calibration")


def _robust(settings):
    """Let folds that a worker dies of be tried again."""
    if settings["backend"] == "dask":
        return {"backend": DaskBackend()}
    again = {"max_restarts": -1, "max_task_retries": -1}
    return settings | {"ray_remote_args": again}


def test_a_recipe_scores_as_here(cluster, small_clips):
    settings, theirs, _ = cluster
    X, y = small_clips.paths, np.arange(6) % 2
    model = _recipe()
    grid = {"fuse__hidden_size": [8, 16]}
    scores = cross_val_score(model, X, y, cv=2)
    if settings["backend"] == "ray":
        # Its tasks take seconds each: what is left is tested on Dask
        with parallel_config(**_robust(settings)):
            there = cross_val_score(model, X, y, cv=2)
        np.testing.assert_array_equal(there, scores)
        return
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    scored = {name: False for name in _NOT_NEEDED} | {"n_repeats": 1, "cv": 2}
    report = evaluate(model, X, y, **scored)
    once = Path(X[4]).with_suffix(".once")
    with parallel_config(**_robust(settings)):
        # Encoders in tasks of a search use the cache of the machine they are on, and
        # a worker that dies there is not missed.
        once.touch()
        np.testing.assert_array_equal(cross_val_score(model, X, y, cv=2), scores)
        assert not once.exists()
        assert open_store(theirs).info()["entries"] == 2 * len(X)
        there = GridSearchCV(model, grid, cv=2).fit(X, y)
        judged = evaluate(model, X, y, **scored)
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(there.cv_results_[name], search.cv_results_[name])
    assert there.best_params_ == search.best_params_
    np.testing.assert_array_equal(there.predict_proba(X), search.predict_proba(X))
    assert judged.tables["scores"].equals(report.tables["scores"])


def test_a_worker_that_dies_is_not_missed(settings, files, tmp_path):
    log = tmp_path / "log.txt"
    expected = ByteHistogramEncoder(cache=None).transform(files)
    (tmp_path / "03.once").touch()
    encoder = DeadlyEncoder(log=log, batch_size=1)
    with parallel_config(**settings):
        np.testing.assert_array_equal(encoder.transform(files), expected)
    assert not (tmp_path / "03.once").exists()
    # Others that the worker had done or begun may come twice, and none a third time.
    done = log.read_text().splitlines()
    assert set(done) == set(files) and len(done) <= len(files) + 4


def test_a_clip_that_every_worker_dies_of(settings, files, tmp_path):
    expected = ByteHistogramEncoder(cache=None).transform(files)
    (tmp_path / "03.deadly").touch()
    encoder = DeadlyEncoder(on_error="nan", batch_size=2)
    with parallel_config(**settings):
        with pytest.warns(ExtractionWarning, match=r"1 of 10 clips.*03\.bin.*died"):
            rows = encoder.transform(files)
    bad = np.isnan(rows).all(axis=1)
    assert np.flatnonzero(bad).tolist() == [3]
    np.testing.assert_array_equal(rows[~bad], expected[~bad])
    # The others are stored; that one is not known to be bad.
    (tmp_path / "03.deadly").unlink()
    log = tmp_path / "log.txt"
    again = DeadlyEncoder(log=log).transform(files)
    np.testing.assert_array_equal(again, expected)
    assert log.read_text().splitlines() == [files[3]]


@pytest.mark.parametrize(
    "there, found",
    [(None, "no such file"), (b"other", "it has 5 bytes there, and 200")],
)
def test_workers_that_have_other_files(
    cluster, files, tmp_path, monkeypatch, there, found
):
    settings, _, folder = cluster
    monkeypatch.chdir(tmp_path)
    if there is not None:
        (folder / "02.bin").write_bytes(there)
    X = [*files[:2], "02.bin", *files[3:]]
    encoder = ByteHistogramEncoder(batch_size=2)
    with parallel_config(**settings):
        with pytest.raises(MediaError, match=rf"02\.bin: .* worker on .*{found}"):
            encoder.transform(X)
    # It is not remembered: nothing is wrong with the clip.
    expected = ByteHistogramEncoder(cache=None).transform(files)
    np.testing.assert_array_equal(encoder.transform(X), expected)


def test_workers_of_another_version(settings, files):
    if settings["backend"] != "dask":
        pytest.skip("Ray has no way to run a function in each of its workers")
    from distributed import default_client

    client = default_client()
    try:
        client.run(set_version, "0.0.1")
        with parallel_config(**settings):
            with pytest.raises(
                RuntimeError, match=r"has skmer 0\.0\.1 and .* same ver"
            ):
                ByteHistogramEncoder().transform(files)
    finally:
        from skmer import __version__

        client.run(set_version, __version__)


def _encode(encoder, files):
    with parallel_config(backend="dask"):
        encoder.transform(files)


def _validate(encoder, files):
    """Encode each file in a fold of its own."""
    calls = [delayed(encoder.transform)([file]) for file in files]
    with parallel_config(backend=DaskBackend()):
        Parallel()(calls)


@pytest.mark.parametrize("run", [_encode, _validate])
def test_a_scheduler_that_dies(files, tmp_path, run):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    address, log = tmp_path / "scheduler.json", tmp_path / "log.txt"
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--scheduler-file", address],
            env=environment,
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )

    scheduler = start("scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard")
    worker = start("worker", "--nthreads=1", "--no-dashboard", "--no-nanny")

    def kill():
        while not log.exists():
            time.sleep(0.01)
        scheduler.kill()

    try:
        while not address.exists():
            time.sleep(0.05)
        encoder = ByteHistogramEncoder(log=log, delay=0.2, batch_size=1)
        with distributed.Client(scheduler_file=str(address), timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            threading.Thread(target=kill, daemon=True).start()
            with pytest.raises(ConnectionError, match="scheduler .* new Client"):
                run(encoder, files)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    # One worker was told of few clips, and the rest is done now.
    n_before = len(log.read_text().splitlines())
    encoder.set_params(delay=0.0).transform(files)
    assert 0 < n_before < len(files)
    assert len(log.read_text().splitlines()) <= len(files) + 3
