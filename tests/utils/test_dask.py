"""joblib's calls on a real Dask cluster of two processes, and workers that die."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
from clusters import running_cluster, set_version
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB

import skmer
from skmer.encoders import AcousticEncoder
from skmer.utils import DaskBackend, _dask_run

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

needs_kill = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running_cluster("dask", tmp_path_factory.mktemp("workers") / "features"):
        yield distributed.default_client()


@pytest.fixture
def backend(client):
    client.wait_for_workers(2, timeout=60)
    return DaskBackend(client)


def _number_and_process(number):
    return number, os.getpid()


def _nested(number):
    inside = Parallel(n_jobs=4)(delayed(_number_and_process)(i) for i in range(3))
    return [process for _, process in inside], os.getpid(), effective_n_jobs(4)


def _sum(array, path, seconds=0.0):
    if path is not None:
        path.touch()
    time.sleep(seconds)
    return float(np.sum(array))


def _sum_unless_first(array, path):
    """Wait for somebody to kill the worker, the first time."""
    if not path.exists():
        path.touch()
        time.sleep(60)
    return float(np.sum(array))


def _deadly_score(model, X, y, *, path):
    """Score; take the worker away in the midst of the first fold."""
    if path is not None and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return model.score(X, y)


def _die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(number, error):
    raise error(f"call {number}")


def _fail_at(number, last):
    time.sleep(0.05)
    if number == last:
        raise FileNotFoundError(f"call {number}")
    return number


def test_calls_run_in_the_workers_in_order(backend, client):
    calls = [delayed(_number_and_process)(i) for i in range(20)]
    with parallel_config(backend=backend):
        done = Parallel()(calls)
        # Also where it is told to run one at a time
        alone = Parallel(n_jobs=1)(calls[:2])
        lazily = list(Parallel(return_as="generator")(calls))
        unordered = list(Parallel(return_as="generator_unordered")(calls))
    workers = set(client.run(os.getpid).values())
    for results in (done, lazily, sorted(unordered)):
        assert [number for number, _ in results] == list(range(20))
    assert {process for _, process in done} <= workers
    assert [number for number, _ in alone] == [0, 1]


def test_calls_within_calls_run_where_these_do(backend):
    with parallel_config(backend=backend):
        for inside, process, n_jobs in Parallel()(delayed(_nested)(i) for i in "abc"):
            assert set(inside) == {process} and n_jobs == 1
            assert process != os.getpid()


def test_an_error_keeps_its_type(backend):
    with parallel_config(backend=backend):
        for error in (ZeroDivisionError, FileNotFoundError):
            with pytest.raises(error, match="call 0") as caught:
                Parallel()(delayed(_fail)(0, error) for _ in range(3))
            [note] = caught.value.__notes__
            assert "in a worker on" in note and "in _fail" in note
            assert "_dask" not in note.replace("test_dask", "")
        assert Parallel()(delayed(abs)(i) for i in (-1, 2)) == [1, 2]


def test_large_arguments_are_sent_once(backend, client):
    array = np.ones(2**18)
    # A list, whose items are none of Dask's business
    names = [f"clip {i:010d}" for i in range(50_000)]
    sent = []
    original = client.scatter

    def scatter(arguments, **options):
        sent.append(arguments[0])
        return original(arguments, **options)

    client.scatter = scatter
    try:
        with parallel_config(backend=backend):
            sums = Parallel()(delayed(_sum)(array, None) for _ in range(6))
            lengths = Parallel()(delayed(len)(names) for _ in range(3))
            small = Parallel()(delayed(_sum)(array[:9], None) for _ in range(3))
    finally:
        del client.scatter
    assert sums == [2.0**18] * 6 and small == [9.0] * 3 and lengths == [50_000] * 3
    assert len(sent) == 2 and sent[0] is array and sent[1] is names
    # The workers do not keep them.
    deadline = time.monotonic() + 20
    while client.who_has():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_settings_reach_the_workers(backend):
    def setting():
        return skmer.get_config()["dtype"]

    calls = [delayed(setting)() for _ in range(30)]
    # Most calls are sent by Dask's thread, as others end.
    with parallel_config(backend=backend), skmer.config_context(dtype="bfloat16"):
        assert set(Parallel()(calls)) == {"bfloat16"}
    with parallel_config(backend=backend):
        assert set(Parallel()(calls)) == {"auto"}


def test_search_and_nested_ensemble_as_here(backend):
    X, y = make_classification(200, 8, n_informative=4, n_classes=3, random_state=0)
    vote = VotingClassifier(
        [("lr", LogisticRegression()), ("nb", GaussianNB())], voting="soft", n_jobs=2
    )
    grid = {"lr__C": [0.01, 1.0], "weights": [None, (1, 3)]}
    search = GridSearchCV(vote, grid, cv=3)
    here = search.fit(X, y).cv_results_
    with parallel_config(backend=backend):
        there = search.fit(X, y).cv_results_
    np.testing.assert_array_equal(here["mean_test_score"], there["mean_test_score"])
    assert there["params"] == here["params"]


@needs_kill
def test_workers_that_die_with_all_they_hold(backend, client, tmp_path):
    """Both go, so that nobody has the arguments any more but this process."""
    array = np.arange(2.0**18)
    paths = [tmp_path / str(i) for i in range(2)]

    def kill():
        while not all(path.exists() for path in paths):
            time.sleep(0.01)
        for process in client.run(os.getpid).values():
            os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with parallel_config(backend=backend):
        sums = Parallel()(delayed(_sum_unless_first)(array, path) for path in paths)
    thread.join()
    assert sums == [array.sum()] * 2


@needs_kill
def test_folds_outlive_a_worker(backend, tmp_path):
    X, y = make_classification(3000, 60, n_informative=9, random_state=0)
    assert X.nbytes > 2**20
    model = VotingClassifier([("a", LogisticRegression(C=0.1)), ("b", GaussianNB())])
    options = {"cv": 6, "error_score": "raise"}
    expected = cross_val_score(model, X, y, **options)
    path = tmp_path / "died"
    scoring = partial(_deadly_score, path=path)
    with parallel_config(backend=backend):
        found = cross_val_score(model, X, y, scoring=scoring, **options)
    assert path.exists()
    np.testing.assert_array_equal(found, expected)


@needs_kill
def test_a_call_that_every_worker_dies_of(backend, client):
    client.run_on_scheduler(_allow_failures, 0)
    try:
        with parallel_config(backend=backend):
            with pytest.raises(distributed.KilledWorker, match="_die"):
                Parallel()(delayed(_die)(i) for i in range(2))
    finally:
        client.run_on_scheduler(_allow_failures, 3)


def _allow_failures(number, dask_scheduler):
    dask_scheduler.allowed_failures = number


def test_what_is_cancelled_is_sent_a_few_times(backend, client):
    """Somebody with the dashboard, say, does not want it."""
    stop = threading.Event()

    def cancel():
        while not stop.is_set():
            for future in list(client.futures):
                client.cancel(distributed.Future(future, client=client), force=True)
            time.sleep(0.05)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with parallel_config(backend=backend):
            with pytest.raises(RuntimeError, match="sent to Dask 4 times"):
                Parallel()(delayed(time.sleep)(5) for _ in range(2))
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="Windows cannot signal a thread"
)
def test_an_interrupt_drops_what_has_not_begun(backend, tmp_path, interruptible):
    paths = [tmp_path / str(i) for i in range(12)]

    def interrupt():
        while not any(path.exists() for path in paths):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    with parallel_config(backend=backend), pytest.raises(KeyboardInterrupt):
        thread.start()
        Parallel()(delayed(_sum)(1.0, path, 0.5) for path in paths)
    thread.join()
    time.sleep(1.5)
    assert sum(path.exists() for path in paths) < 6


def test_another_version(backend, client):
    client.run(set_version, "0.0.1")
    try:
        with parallel_config(backend=backend):
            with pytest.raises(
                RuntimeError, match=r"has skmer 0\.0\.1 and .* same ver"
            ):
                Parallel()(delayed(abs)(i) for i in range(2))
    finally:
        client.run(set_version, skmer.__version__)


def test_runs_at_the_same_time_are_each_their_own(backend):
    """One fails, and the others come to their end with their own settings."""

    def failing():
        with pytest.raises(FileNotFoundError, match="call 2"):
            Parallel()(delayed(_fail_at)(i, last=2) for i in range(9))

    def setting():
        return skmer.get_config()["dtype"]

    def thread():
        with parallel_config(backend=backend):
            found.append(Parallel()(delayed(_fail_at)(i, last=-1) for i in range(9)))

    found = []
    threads = [threading.Thread(target=thread) for _ in range(2)]
    with parallel_config(backend=backend):
        with skmer.config_context(dtype="float16"):
            lazy = Parallel(return_as="generator")(
                delayed(setting)() for _ in range(12)
            )
            first = next(lazy)
        for each in threads:
            each.start()
        failing()
        assert [first, *lazy] == ["float16"] * 12
    for each in threads:
        each.join(30)
    assert found == [list(range(9))] * 2


@needs_kill
def test_a_worker_that_dies_as_it_is_sent_an_argument(backend, client):
    large = np.ones(2**24)
    victim = list(client.run(os.getpid).values())[0]
    timer = threading.Timer(0.03, os.kill, (victim, signal.SIGKILL))
    with parallel_config(backend=backend):
        timer.start()
        assert Parallel()(delayed(_sum)(large, None) for _ in range(4)) == [2.0**24] * 4
        assert Parallel()(delayed(_sum)(large, None) for _ in range(4)) == [2.0**24] * 4
    timer.join()


def test_workers_that_lack_a_module(backend, client, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("only_here")
    with parallel_config(backend=backend):
        with pytest.raises(ModuleNotFoundError, match="only_here") as caught:
            Parallel()(delayed(module.double)(i) for i in range(3))
    assert "install it on all machines" in caught.value.__notes__[0]
    assert len(client.ncores()) == 2


def test_joblib_inside_of_a_task(client):
    """A task that makes calls of its own waits outside of its worker's threads."""

    def outer():
        with parallel_config(backend=DaskBackend()):
            return Parallel()(delayed(abs)(-i) for i in range(6))

    futures = [client.submit(outer, pure=False) for _ in range(2)]
    assert client.gather(futures) == [list(range(6))] * 2


def test_clients_that_will_not_do(client):
    with pytest.raises(TypeError, match="distributed.Client. Got 'tcp://127"):
        DaskBackend("tcp://127.0.0.1:8786")
    with distributed.Client(client.scheduler.address, set_as_default=False) as other:
        backend = DaskBackend(other)
        assert backend.client is other
        assert DaskBackend().client is client
    with pytest.raises(ValueError, match="client is closed"):
        DaskBackend(other)
    with parallel_config(backend=backend):
        with pytest.raises(ConnectionError, match="client was closed"):
            Parallel()(delayed(abs)(i) for i in range(3))
        with pytest.raises(ConnectionError, match="client was closed.* cache"):
            AcousticEncoder().transform([__file__])
    with pytest.raises(TypeError, match=r"takes no 'scatter'.*resources"):
        DaskBackend(client, scatter=[1])


def test_a_client_that_is_closed_meanwhile(client, monkeypatch):
    monkeypatch.setattr(_dask_run, "LOOK", 0.2)
    with distributed.Client(client.scheduler.address, set_as_default=False) as other:
        timer = threading.Timer(0.3, other.close)
        with parallel_config(backend=DaskBackend(other)):
            timer.start()
            with pytest.raises(ConnectionError, match="client was closed"):
                Parallel()(delayed(time.sleep)(0.5) for _ in range(9))
        timer.join()


def test_clusters_without_workers(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        """
import time
import warnings
import pytest
from distributed import Client, LocalCluster
from joblib import Parallel, delayed, parallel_config
from skmer.utils import DaskBackend, _dask_run

def wait(cluster):
    cluster.scale(0)
    while cluster.scheduler.workers:
        time.sleep(0.05)

if __name__ == "__main__":
    with pytest.raises(ValueError, match="no Dask client. Make one"):
        DaskBackend()
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as c:
        with Client(c) as client:
            with parallel_config(backend=DaskBackend(wait_for_workers_timeout=0.1)):
                with pytest.raises(TimeoutError, match=r"no workers.*0\\.1 s"):
                    Parallel()(delayed(abs)(i) for i in range(2))
            with parallel_config(backend=DaskBackend(wait_for_workers_timeout=60)):
                # One that starts workers where there is work
                c.adapt(minimum=0, maximum=1)
                assert Parallel()(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
                c.adapt(minimum=1, maximum=1).stop()
                _dask_run.LOOK, _dask_run.PATIENCE = 0.05, 0.2
                run = Parallel(return_as="generator")
                with pytest.warns(RuntimeWarning, match="no workers left"):
                    results = run(delayed(time.sleep)(0.3) for i in range(4))
                    next(results)
                    wait(c)
                    time.sleep(1.5)
                c.scale(1)
                assert len(list(results)) == 3
"""
    )
    subprocess.run([sys.executable, path], check=True, cwd=tmp_path, timeout=120)
