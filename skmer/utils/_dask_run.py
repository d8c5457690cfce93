"""One run of joblib's on a Dask cluster: its calls, until each has ended."""

import socket
import threading
import time
import traceback
import warnings
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from uuid import uuid4

import numpy as np
from joblib import parallel_config
from joblib.parallel import ParallelBackendBase, SequentialBackend

from skmer._config import get_config, thread_settings
from skmer._version import __version__
from skmer.utils._dask_tools import (
    LOOK,
    PATIENCE,
    connection_lost,
    count_threads,
    leaving_the_worker,
    no_workers_left,
    pack,
    unpack,
)

# From this size on an argument is put on a worker once, not sent with every call.
_LARGE_BYTES = 2**20
# How often a call is sent, and a large argument, that is lost with workers.
_MAX_SENDS = 4


class Run(ParallelBackendBase):
    """The backend of one :class:`joblib.Parallel`.

    joblib ends, aborts and starts backends without saying for which run: one for all
    would lose the calls of others.

    Parameters
    ----------
    backend : DaskBackend
        Whose client and settings it uses.
    """

    supports_retrieve_callback = True
    supports_timeout = True
    default_n_jobs = -1

    def __init__(self, backend):
        super().__init__(nesting_level=backend.nesting_level)
        self.backend, self.client = backend, backend.client
        self.settings, self.ended = {}, threading.Event()
        self._unfinished = set()
        # By id: an argument, kept alive so that no other gets that id, and where it is.
        self._lock, self._shared = threading.Lock(), {}

    def configure(self, n_jobs=1, parallel=None, **options):
        """Return how many calls are to run at a time."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs):
        """Return the same."""
        return self.backend.effective_n_jobs(n_jobs)

    def get_nested_backend(self):
        """Return what calls within calls use: nothing but the process they are in."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def start_call(self):
        """Begin to run calls."""
        # Calls are sent by Dask's thread too, which has settings of its own.
        self.settings = {name: get_config()[name] for name in ("device", "dtype")}
        self.ended = threading.Event()
        threading.Thread(target=self._watch, args=(self.ended,), daemon=True).start()

    def stop_call(self):
        """End it: the workers let go of the arguments."""
        self.ended.set()
        with self._lock:
            self._shared = {}

    def submit(self, func, callback=None):
        """Send calls, a BatchedCalls of joblib's; return what stands for them."""
        sent = _Sent(self, func.items, callback)
        self._unfinished.add(sent)
        sent.send()
        return sent

    # Its name before joblib 1.5
    apply_async = submit

    def retrieve_result_callback(self, out):
        """Return what calls returned, a list, or raise what one of them raised."""
        if out.error is not None:
            raise out.error
        return out.results

    def abort_everything(self, ensure_ready=True):
        """Take back the calls that have not begun, and forget the others."""
        for sent in list(self._unfinished):
            sent.drop()

    @contextmanager
    def retrieval_context(self):
        """Leave the place of a task that waits for calls to others."""
        with leaving_the_worker():
            yield

    def _watch(self, ended):
        """End, or speak of, what waits for a cluster that does not come back."""
        since, told = None, False
        while not ended.wait(LOOK):
            try:
                alone = not count_threads(self.client)
            except Exception as error:
                if self.client.status == "running":
                    # It is only slow to answer
                    continue
                # Dask calls nobody back for a client that was closed
                for sent in list(self._unfinished):
                    sent.fail(error)
                return
            if not alone:
                since = None
            elif since is None:
                since = time.monotonic()
            elif time.monotonic() - since > PATIENCE and not told:
                told = True
                warnings.warn(
                    no_workers_left(self.client), RuntimeWarning, stacklevel=2
                )

    def finished(self, sent):
        """Note that calls have ended, one way or the other."""
        self._unfinished.discard(sent)

    def put(self, items, lost):
        """Put large arguments of calls on the cluster; say what is where.

        Parameters
        ----------
        items : list of (callable, tuple, dict)
            Calls.
        lost : list of distributed.Future
            Where such arguments were and may be no more.

        Returns
        -------
        items : list of (callable, list, dict)
            The same with ``_Shared`` for large arguments.
        futures : list of distributed.Future
            The large arguments, in the order of their numbers.
        """
        futures = []

        def replaced(argument):
            if _size(argument) < _LARGE_BYTES:
                return argument
            with self._lock:
                _, future = self._shared.get(id(argument), (None, None))
                if future is None or future in lost:
                    future = self._scatter(argument)
                    self._shared[id(argument)] = argument, future
            if future not in futures:
                futures.append(future)
            return _Shared(futures.index(future))

        replaced_items = [
            (
                function,
                [replaced(argument) for argument in args],
                {name: replaced(argument) for name, argument in options.items()},
            )
            for function, args, options in items
        ]
        return replaced_items, futures

    def _scatter(self, argument):
        for attempt in range(_MAX_SENDS):
            try:
                # Not to all workers, which Dask waits for without end if one of them
                # dies meanwhile; these fetch it from each other. In a list: of a list
                # the items would be put there one by one.
                return self.client.scatter([argument], hash=False)[0]
            except Exception as error:
                # What it is depends on when a worker died
                if self.client.status != "running":
                    raise connection_lost(self.client, error) from error
                if attempt + 1 == _MAX_SENDS:
                    raise
                time.sleep(0.2)


class _Sent:
    """Calls that were sent, and what came of them.

    ``send`` runs in the thread that uses joblib or in that of Dask's callbacks,
    ``_ended`` in the latter, ``fail`` also in the one that watches, ``drop`` in any.
    """

    def __init__(self, run, items, callback):
        self.run, self.items, self.callback = run, items, callback
        self.results = self.error = self.future = None
        self.n_sends, self.shared = 0, []
        self.lock, self.has_ended = threading.Lock(), False

    def send(self):
        """Send them, for the first time or once more."""
        items, self.n_sends = self.items, self.n_sends + 1
        if self.has_ended:
            return
        try:
            name = getattr(items[0][0], "__name__", "call")
            items, self.shared = self.run.put(items, self.shared)
            future = self.run.client.submit(
                _Task(self.run.settings, items),
                *self.shared,
                key=f"{name}-{uuid4().hex}",
                **self.run.backend.submit_kwargs,
            )
        except Exception as error:
            # joblib would wait for ever for what Dask's thread failed to send
            self.fail(error)
            return
        self.future = future
        future.add_done_callback(self._ended)
        if self.has_ended:
            # By another thread, meanwhile
            self.drop()

    def _ended(self, future):
        if self.has_ended:
            return
        client = self.run.client
        if client.status != "running":
            # Of a client that is closed one may wait for ever
            self.fail(connection_lost(client, "it closed the connection"))
            return
        try:
            self._tell(future.result())
            return
        except (CancelledError, OSError) as error:
            if future.status == "error":
                found = error
            elif client.status != "running":
                found = connection_lost(client, error)
            elif self.n_sends < _MAX_SENDS:
                found = None
            else:
                found = RuntimeError(
                    f"A call was sent to Dask {self.n_sends} times, and each time a "
                    "worker died that held its arguments or its result, or somebody "
                    f"cancelled it: {error}. Look into the workers' logs, for lack of "
                    "memory first."
                )
            error.__traceback__ = None
        except BaseException as error:
            found = error
        if found is None:
            self.send()
            return
        if type(found).__name__ == "KilledWorker":
            found.add_note(
                "Every worker that began this call died. Look into the workers' logs, "
                "for lack of memory first."
            )
        # With its frames it would keep the future, and Dask both
        self._tell(error=found.with_traceback(None))

    def fail(self, error):
        """End them with an error."""
        if self.run.client.status != "running" and not isinstance(error, OSError):
            error = connection_lost(self.run.client, error)
        self._tell(error=error)

    def _tell(self, results=None, error=None):
        with self.lock:
            if self.has_ended:
                return
            self.has_ended = True
        self.results, self.error = results, error
        self._let_go()
        self.callback(self)

    def _let_go(self):
        # joblib keeps this object for longer
        self.run.finished(self)
        self.items = self.shared = self.future = None

    def drop(self):
        """Take them back."""
        self.has_ended, future = True, self.future
        self._let_go()
        if future is not None and self.run.client.status == "running":
            with suppress(Exception):
                future.cancel()


class _Shared:
    """Stands for a large argument."""

    def __init__(self, number):
        self.number = number


class _Task:
    """What a worker runs."""

    def __init__(self, settings, items):
        self.version, self.settings, self.packed = __version__, settings, pack(items)

    def __call__(self, *shared):
        def own(argument):
            return shared[argument.number] if type(argument) is _Shared else argument

        try:
            items = unpack(self.version, self.packed)
            with thread_settings(**self.settings):
                with parallel_config(backend="sequential"):
                    return [
                        function(
                            *map(own, args),
                            **{name: own(value) for name, value in options.items()},
                        )
                        for function, args, options in items
                    ]
        except Exception as error:
            # joblib drops tracebacks
            frames = traceback.extract_tb(error.__traceback__)
            frames = [frame for frame in frames if frame.filename != __file__]
            error.add_note(
                f"It was raised in a worker on {socket.gethostname()}:\n"
                + "".join(traceback.format_list(frames))
            )
            raise


def _size(argument):
    """Return the size of an argument in bytes, an estimate."""
    from dask.sizeof import sizeof

    if isinstance(argument, np.ndarray) and argument.dtype == object:
        # Of its items, a few of which are looked at
        return sizeof(argument.ravel().tolist())
    return sizeof(argument)
