"""A recipe on raw clips: this process, two Dask workers, two Ray workers.

The same made clips are encoded, cross-validated and searched three ways: in this
process, on a Dask cluster and on a Ray cluster of two processes of one thread each on
this machine. Caches are empty before each step, but for the search, whose encoders
read what the cross-validation stored in the workers' cache. Then all of it once more
from empty caches, with a worker killed (SIGKILL) in the middle of each step.

Rows and scores are compared to the last bit. Times tell what a cluster costs; on one
machine it gives nothing that ``n_jobs`` would not, and machines of its own are what it
is for.

Run from the project's folder::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/distribution.py
"""

import argparse
import contextlib
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from joblib import parallel_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from skmer.cache import open_store
from skmer.clips import ClipTable
from skmer.datasets import make_clips
from skmer.recipes import make_mertools_attention
from skmer.utils import DaskBackend

GRID = {"fuse__hidden_size": [32, 64]}


@contextlib.contextmanager
def dask_cluster(folder):
    """Start two Dask workers; yield joblib's settings and the workers' processes."""
    import dask
    from distributed import Client, LocalCluster

    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        dask.config.set(
            {
                "temporary-directory": str(folder),
                # Without, it ends a nanny whose workers died twice within seconds
                "distributed.deploy.lost-worker-timeout": "1 hour",
            }
        ),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):

        def workers():
            return list(client.run(os.getpid).values())

        yield {"backend": DaskBackend(client)}, workers


@contextlib.contextmanager
def ray_cluster(folder):
    """Start Ray with two workers; yield the same."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=80 * 2**20,
        _temp_dir=str(folder),
    )
    again = {"max_restarts": -1, "max_task_retries": -1}
    try:
        yield {"backend": "ray", "n_jobs": -1, "ray_remote_args": again}, ray_workers
    finally:
        ray.shutdown()


def ray_workers():
    """Return the processes that run something for Ray."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            # Its other processes, agents for example, take the whole node with them
            if title.startswith(("ray::PoolActor", "ray::_run_there")):
                found.append(process.pid)
    return found


@contextlib.contextmanager
def nowhere(folder):
    """Stay in this process."""
    yield None, None


class Killer:
    """Kills one worker some time after the work began."""

    def __init__(self, workers, seconds):
        self.workers, self.seconds, self.killed = workers, seconds, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        """Wait, then kill the first worker that there is."""
        self.ended.wait(self.seconds)
        while not self.ended.is_set() and not self.killed:
            for process in self.workers()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    self.killed.append(process)
            self.ended.wait(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()


def extract(model, paths):
    """Return the rows of every encoder of a recipe, each called by this process."""
    table = ClipTable(sidecar_text=True).fit_transform(paths)
    parts = [
        encoder.fit_transform(table[column])
        for _, encoder, column in model["encode"].transformers
    ]
    return np.hstack([np.asarray(part) for part in parts])


class Run:
    """The steps in one place, each with its time and what it gave."""

    def __init__(self, model, clips, cache):
        self.model, self.clips, self.cache = model, clips, cache
        self.seconds, self.found = {}, {}

    def step(self, name, work, *, keep=False):
        """Time one step, from an empty cache unless it is to be kept."""
        if not keep:
            open_store(self.cache).clear()
        start = time.perf_counter()
        self.found[name] = np.asarray(work())
        self.seconds[name] = time.perf_counter() - start

    def extract(self):
        """Return the rows of all encoders."""
        return extract(self.model, self.clips.paths)

    def cross_validate(self):
        """Return the scores of folds."""
        return cross_val_score(self.model, self.clips.paths, self.clips.target, cv=3)

    def cross_validate_features(self):
        """Return the scores of folds on features, of networks that train for longer."""
        network = clone(self.model[-2:]).set_params(fuse__max_epochs=100)
        return cross_val_score(network, self.features, self.clips.target, cv=6)

    def search(self):
        """Return the scores of folds and settings, and the best model's answers."""
        X, y = self.clips.paths, self.clips.target
        search = GridSearchCV(self.model, GRID, cv=3).fit(X, y)
        scores = [search.cv_results_[f"split{i}_test_score"] for i in range(3)]
        return np.concatenate([*scores, search.predict_proba(X).ravel()])

    def all(self, workers):
        """Run all steps; with workers, a second time, one of them killed in each."""
        # Workers import PyTorch once.
        self.step("warm-up", lambda: extract(self.model, self.clips.paths[:4]))
        steps = {
            "extraction": self.extract,
            "cross_val_score": self.cross_validate,
            "GridSearchCV, cache filled": self.search,
            "GridSearchCV": self.search,
            "cross_val_score on features": self.cross_validate_features,
        }
        for name, work in steps.items():
            if work == self.cross_validate_features:
                self.features = self.model[:-2].fit_transform(self.clips.paths)
            self.step(name, work, keep="filled" in name)
        if workers is None:
            return
        del steps["GridSearchCV, cache filled"]
        for name, work in steps.items():
            self.workers_are_back(workers)
            with Killer(workers, self.seconds[name] / 2) as killer:
                self.step(f"{name}, a worker killed", work)
            if not killer.killed:
                sys.exit(f"No worker was killed in {name}; take more clips.")

    def workers_are_back(self, workers):
        """Let the worker that was killed last come back and import PyTorch."""
        deadline = time.monotonic() + 60
        # Ray starts its own with the work
        while workers is not ray_workers and len(workers()) < 2:
            if time.monotonic() > deadline:
                sys.exit("A worker that was killed did not come back.")
            time.sleep(0.1)
        extract(self.model, self.clips.paths[:4])


def main():
    """Print times and whether results are the same."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=120)
    n_clips = parser.parse_args().n_clips
    # Short names: Ray's sockets lie there.
    folder = Path(tempfile.mkdtemp(prefix="skmer-"))
    cache = folder / "features"
    os.environ["SKMER_CACHE_DIR"] = str(cache)
    clips = make_clips(n_clips, folder / "clips", random_state=0)
    model = make_mertools_attention(sidecar_text=True, random_state=0)
    model.set_params(fuse__max_epochs=20)
    kinds = {"here": nowhere, "dask": dask_cluster, "ray": ray_cluster}
    runs = {}
    try:
        for kind, start in kinds.items():
            with start(folder) as (settings, workers):
                run = runs[kind] = Run(model, clips, cache)
                # Ray says on standard output that actors end
                settings = settings or {"backend": "loky"}
                with (
                    contextlib.redirect_stdout(sys.stderr),
                    parallel_config(**settings),
                ):
                    run.all(workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(runs, n_clips)


def report(runs, n_clips):
    """Print a line for each step, seconds and equality."""
    expected = runs["here"].found
    print(f"{n_clips} clips with sound, faces and words; load {os.getloadavg()[0]:.1f}")
    print(f"on {os.cpu_count()} cores. Seconds, and whether results are those of here:")
    print(f"\n{'':<46}{'here':>9}{'dask':>18}{'ray':>18}")
    same = True
    for name in runs["dask"].found:
        reference = name.removesuffix(", a worker killed")
        cells = [f"{runs['here'].seconds[name]:9.1f}" if name in expected else " " * 9]
        for kind in ("dask", "ray"):
            found = runs[kind].found[name]
            equal = np.array_equal(found, expected[reference], equal_nan=True)
            same &= equal
            word = "same" if equal else "DIFFERENT"
            cells.append(f"{runs[kind].seconds[name]:8.1f} {word:>9}")
        print(f"{name:<46}" + "".join(cells))
    print(f"\nAll results are the same to the last bit: {same}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
