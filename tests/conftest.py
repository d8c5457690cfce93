"""Fixtures shared by all tests."""

import importlib.util
import os
import signal
from itertools import count
from pathlib import Path

import pytest
from joblib.externals.loky import reusable_executor
from warm_workers import WarmWorkers

from skmer.datasets import make_clips
from skmer.exceptions import MissingDependencyError
from skmer.utils import estimator_checks

# No window, whatever a test draws.
os.environ["MPLBACKEND"] = "Agg"


def pytest_collection_modifyitems(items):
    """Skip the one example in a docstring that needs an optional package."""
    if importlib.util.find_spec("skops") is None:
        skip = pytest.mark.skip(reason="skops is not installed: skmer[persist]")
        for item in items:
            if item.name == "skmer.persistence._model.save_model":
                item.add_marker(skip)


def _without_extras():
    """Skip a test that came upon an optional package which is not installed."""
    try:
        return (yield)
    except MissingDependencyError as error:
        if importlib.util.find_spec(error.name.partition(".")[0]) is None:
            pytest.skip(str(error))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from _without_extras())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from _without_extras())


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real recordings kept beside the project; skips where absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SKMER_SHARED_DATA", default))
    if not (folder / "media").is_dir():
        pytest.skip(f"real recordings are not at {folder}; set SKMER_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def _cache_folders(tmp_path_factory):
    # pytest lists all folders beside a new one, which thousands make slow
    folder = tmp_path_factory.mktemp("skmer-caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def _own_cache(_cache_folders, monkeypatch):
    """Keep every test away from the user's caches."""
    folder = next(_cache_folders)
    folder.mkdir()
    monkeypatch.setenv("SKMER_CACHE_DIR", str(folder / "features"))
    monkeypatch.setenv("SKMER_DATA_HOME", str(folder / "data"))


@pytest.fixture(autouse=True)
def _fresh_workers():
    """Let no worker live on: loky takes one that imports torch later for leaking."""
    yield
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(wait=True, kill_workers=True)


@pytest.fixture(autouse=True)
def _check_of_processes(request):
    """Give the common check of processes the warm workers, wherever it is run."""
    params = getattr(getattr(request.node, "callspec", None), "params", {})
    check = getattr(params.get("check"), "__name__", "")
    if check == "_check_processes_do_not_matter":
        request.getfixturevalue("warm_workers")


@pytest.fixture(scope="session")
def _warm_workers():
    workers = WarmWorkers()
    yield workers
    workers.stop()


@pytest.fixture
def warm_workers(_warm_workers, _fresh_workers, tmp_path_factory, monkeypatch):
    """Run the test on two worker processes that other tests had before.

    For tests of what processes compute. Their environment is that of the first of
    these tests, so they know another folder of features.
    """
    monkeypatch.setattr(estimator_checks, "_start_new_workers", lambda: None)
    with _warm_workers.in_use(tmp_path_factory.mktemp("workers")):
        yield


@pytest.fixture(scope="session")
def small_clips(tmp_path_factory):
    """Six short clips, one of each emotion, with sound, a face and words."""
    return make_clips(
        6,
        tmp_path_factory.mktemp("clips"),
        missing=0,
        duration=(0.5, 0.7),
        n_speakers=3,
        random_state=0,
    )


@pytest.fixture
def pyplot():
    """matplotlib.pyplot; skips where the extra is not installed."""
    return pytest.importorskip(
        "matplotlib.pyplot", reason="matplotlib is not installed: skmer[plot]"
    )


@pytest.fixture
def interruptible():
    """Let Ctrl-C interrupt: jobs in the background are started with it ignored."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)
