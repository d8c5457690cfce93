"""Tasks on a cluster of Dask or Ray, where that is what joblib is told to use.

joblib's own way through these ends a run when a worker dies (Ray), may wait for ever
for what was lost with it (Dask), and returns groups of results (Ray).
"""

import socket
import sys
import time
import warnings
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend

from skmer._version import __version__
from skmer.clips._apart import Apart, process_died
from skmer.exceptions import ExtractionWarning
from skmer.utils._dask_tools import (
    LOOK,
    PATIENCE,
    connection_lost,
    count_threads,
    in_dask_worker,
    leaving_the_worker,
    no_workers_left,
    pack,
    unpack,
)

# Tasks under way for each core: one that runs, one that waits beside it.
_AHEAD = 2
# After how many deaths of workers a task gets a process of its own. One may be that of
# a machine; a second model beside the worker's might not fit on its GPU.
_DEATHS = 2
_KEPT = "What came back before is in the cache of every encoder that has one. "


class WorkerDied(Exception):
    """The processes that ran a task died, every time it was tried."""


def active_cluster(n_jobs):
    """Return the cluster that joblib's context names.

    Parameters
    ----------
    n_jobs : int or None
        As elsewhere; Dask takes no notice of it.

    Returns
    -------
    cluster : _Dask, _Ray or None
        None where joblib's workers are this machine's, or this process is the only
        one.
    """
    backend, _ = get_active_backend()
    kind = _KINDS.get(type(backend).__module__)
    if kind is None:
        return None
    cluster = kind(backend, n_jobs)
    return cluster if cluster.is_worth_it else None


def is_cluster_active():
    """Tell whether joblib's context names a cluster."""
    return type(get_active_backend()[0]).__module__ in _KINDS


def run_on_cluster(cluster, function, clips, tasks, stop):
    """Run a function on clips on a cluster; yield what is done.

    A task whose worker dies is tried again by the cluster, and if that dies too in a
    process beside the worker: a few such clips would leave no worker otherwise.

    Parameters
    ----------
    cluster : _Dask or _Ray
        From :func:`active_cluster`.
    function : callable
        Takes a list of clips and returns a list, one result a clip.
    clips : list
        Whatever function takes.
    tasks : list of range
        Numbers of clips.
    stop : callable
        Tells whether to begin nothing more.

    Yields
    ------
    numbers : list of int
        Which clips, in any order.
    results : list
        What function returns for them, or the error of ``process_died``.
    """
    todo = [(task, False) for task in reversed(tasks)]
    running = {}
    with cluster.waiting(), closing(cluster):
        while True:
            while todo and len(running) < cluster.n_tasks() and not stop():
                task, apart = todo.pop()
                handle = cluster.start(function, [clips[n] for n in task], apart)
                running[handle] = task, apart
            if not running:
                return
            handle = cluster.ended(running)
            task, apart = running.pop(handle)
            try:
                results = cluster.result(handle)
            except WorkerDied:
                if not apart:
                    todo.append((task, True))
                    continue
                results = [process_died() for _ in task]
            yield list(task), results


def _run_there(version, packed, clips, apart):
    """Run a task in a worker of a cluster."""
    try:
        function = unpack(version, packed)
        if not (apart or _n_deaths() >= _DEATHS):
            return function(clips)
        with closing(Apart(function)) as process:
            return [process.run(clip) for clip in clips]
    except Exception as error:
        error.add_note(f"It was raised in a worker on {socket.gethostname()}.")
        raise


def _n_deaths():
    """Return how many workers died so far while they had this task of Dask's."""
    if "distributed" not in sys.modules or not in_dask_worker():
        return 0
    from distributed import get_client, get_worker

    key = get_worker().get_current_task()
    try:
        return get_client().run_on_scheduler(_n_suspected, key)
    except ValueError:
        # Schedulers may be set up to run no functions.
        return 0


def _n_suspected(key, dask_scheduler):
    return dask_scheduler.tasks[key].suspicious


class _Dask:
    """Tasks of Dask's client, in a task of a worker the worker's own."""

    def __init__(self, backend, n_jobs):
        self.client, self.options = backend.client, backend.submit_kwargs
        self.done, self.started = SimpleQueue(), set()
        self.looked, self.n_cores = time.monotonic(), self.count_cores()
        if self.n_cores == 0:
            # Waits for the first worker, as long as the context says.
            self.n_cores = backend.effective_n_jobs(n_jobs)

    @property
    def is_worth_it(self):
        return self.n_cores > 1 or not in_dask_worker()

    def count_cores(self):
        return count_threads(self.client, _KEPT)

    def n_tasks(self):
        """Return how many tasks may be under way."""
        if time.monotonic() - self.looked > LOOK:
            self.looked, self.n_cores = time.monotonic(), self.count_cores()
        return _AHEAD * max(1, self.n_cores)

    def waiting(self):
        """Leave the place of the task that waits to others."""
        return leaving_the_worker()

    def start(self, function, clips, apart):
        """Start a task; return what it is known by."""
        future = self.client.submit(
            _run_there,
            __version__,
            pack(function),
            clips,
            apart,
            pure=False,
            **self.options,
        )
        self.started.add(future)
        future.add_done_callback(self.done.put)
        return future

    def ended(self, running):
        """Wait for any task to end and return it."""
        since, told = time.monotonic(), False
        while True:
            try:
                return self.done.get(timeout=LOOK)
            except Empty:
                pass
            late = time.monotonic() - since > PATIENCE
            if late and not told and self.count_cores() == 0:
                told = True
                warnings.warn(
                    no_workers_left(self.client), ExtractionWarning, stacklevel=2
                )

    def result(self, future):
        """Return the result of a task that ended."""
        from distributed import KilledWorker

        self.started.discard(future)
        try:
            return future.result()
        except KilledWorker as error:
            raise WorkerDied from error
        except (CancelledError, OSError) as error:
            if future.status == "error":
                raise
            raise connection_lost(self.client, error, _KEPT) from error

    def close(self):
        """Drop the tasks that have not begun."""
        if self.started and self.client.status == "running":
            with suppress(Exception):
                self.client.cancel(list(self.started))
        self.started.clear()


class _Ray:
    """Tasks of Ray, each of which has the resources that the context asks for."""

    # Of joblib's context, for the processes of its own pool.
    _ACTOR_OPTIONS = frozenset({"max_restarts", "max_task_retries"})

    def __init__(self, backend, n_jobs):
        import ray

        if not ray.is_initialized():
            ray.init()
        self.ray = ray
        self.n_jobs = effective_n_jobs(n_jobs)
        self.n_ahead = self.n_jobs
        if self.n_jobs >= ray.cluster_resources().get("CPU", 0):
            # Others would run at once, and be more than were asked for.
            self.n_ahead = _AHEAD * self.n_jobs
        # With a GPU Ray would end the process, and unload the model, after a task.
        options = {"max_calls": 0, "max_retries": _DEATHS - 1}
        for name, value in (backend.ray_remote_args or {}).items():
            if name not in self._ACTOR_OPTIONS:
                options[name] = value
        self.remote = ray.remote(**options)(_run_there)

    @property
    def is_worth_it(self):
        return self.n_jobs > 1

    def n_tasks(self):
        """Return how many tasks may be under way."""
        return self.n_ahead

    @contextmanager
    def waiting(self):
        """Do nothing: what calls is no task of Ray's."""
        yield

    def start(self, function, clips, apart):
        """Start a task; return what it is known by."""
        packed = self.ray.cloudpickle.dumps(function)
        return self.remote.remote(__version__, packed, clips, apart)

    def ended(self, running):
        """Wait for any task to end and return it."""
        done, _ = self.ray.wait(list(running), num_returns=1)
        return done[0]

    def result(self, reference):
        """Return the result of a task that ended."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            # Raised in the function; Ray's error has the traceback.
            raise (error.cause or error) from error
        except (
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.NodeDiedError,
        ) as error:
            raise WorkerDied from error

    def close(self):
        """Do nothing: the few tasks that were handed out run to their end.

        One that ends as it is cancelled would make Ray abort the calling process.
        """


_KINDS = {
    "joblib._dask": _Dask,
    "skmer.utils._dask": _Dask,
    "ray.util.joblib.ray_backend": _Ray,
}
