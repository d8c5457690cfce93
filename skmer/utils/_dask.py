"""A joblib backend for Dask whose calls survive the workers that run them."""

import socket
import threading
import traceback
from concurrent.futures import CancelledError
from contextlib import contextmanager
from uuid import uuid4

import numpy as np
from joblib import parallel_config
from joblib.parallel import ParallelBackendBase, SequentialBackend

from skmer._config import get_config, thread_settings
from skmer._version import __version__
from skmer.exceptions import MissingDependencyError

# Bytes from which an argument is put on the workers once, not sent with every call.
_LARGE = 2**20
# How often a call is sent whose arguments, or result, go with the workers.
_TIMES = 4


class DaskBackend(ParallelBackendBase):
    """joblib's calls as tasks of a Dask cluster; a worker that dies loses none.

    For :class:`joblib.parallel_config`, in place of the name ``"dask"``. joblib's own
    backend of that name keeps large arguments on a single worker and lets calls
    within calls be tasks of the cluster too: where a worker dies, calls that needed
    what it held end as cancelled, and scikit-learn scores such a fold NaN. Here large
    arguments are copied to all workers, calls within calls run in the worker of their
    own call (as on Ray), and a call whose arguments are lost nevertheless is sent
    again by the calling process.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        Of the cluster. None takes the one that was made last.
    wait_for_workers_timeout : float, default=10
        How long to wait for the first worker, in seconds.
    **submit_kwargs
        For ``Client.submit``, ``resources={"GPU": 1}`` for example.

    Raises
    ------
    MissingDependencyError
        If Dask is not installed.
    TypeError, ValueError
        If ``client`` is no client, or one for asynchronous use, or there is none.

    Notes
    -----
    As many calls run at a time as the workers have threads, whatever ``n_jobs`` says,
    and none in the calling process.
    An encoder that the calling process itself calls hands its clips out to all
    workers; one inside a call, in a cross-validation for example, computes its clips
    in the worker of that call. Dask gives up a call that more workers died of than its
    setting ``distributed.scheduler.allowed-failures`` says.

    Examples
    --------
    >>> from joblib import Parallel, delayed, parallel_config
    >>> from skmer.utils import DaskBackend
    >>> from distributed import Client  # doctest: +SKIP
    >>> client = Client("scheduler.example.org:8786")  # doctest: +SKIP
    >>> with parallel_config(backend=DaskBackend(client)):  # doctest: +SKIP
    ...     Parallel()(delayed(pow)(2, n) for n in range(4))
    [1, 2, 4, 8]
    """

    supports_retrieve_callback = True
    supports_timeout = True
    default_n_jobs = -1

    def __init__(self, client=None, *, wait_for_workers_timeout=10, **submit_kwargs):
        super().__init__()
        self.client = _checked(client)
        self.wait_for_workers_timeout = wait_for_workers_timeout
        self.submit_kwargs = submit_kwargs
        self._unfinished = set()
        # By id: an argument, kept alive so that no other gets that id, and where it is.
        self._lock, self._shared = threading.Lock(), {}

    def effective_n_jobs(self, n_jobs):
        """Return how many calls are to run at a time.

        Parameters
        ----------
        n_jobs : int or None
            Ignored.

        Returns
        -------
        n_calls : int
            How many threads the workers have, and two at least.

        Raises
        ------
        TimeoutError
            If there are no workers and none comes in time.
        """
        n_threads = sum(self.client.ncores().values())
        if n_threads == 0:
            self._wait_for_workers()
            n_threads = sum(self.client.ncores().values())
        # For one alone joblib would have all of them run in the calling process, also
        # where other workers are only about to come back.
        return max(2, n_threads)

    def _wait_for_workers(self):
        patience = self.wait_for_workers_timeout
        try:
            self.client.wait_for_workers(1, timeout=patience)
        except TimeoutError as error:
            raise TimeoutError(
                f"Dask's scheduler {self.client.scheduler.address} has no workers, and "
                f"none came within {patience} s. Start some, or wait for longer: "
                "DaskBackend(wait_for_workers_timeout=...)."
            ) from error

    def get_nested_backend(self):
        """Return what calls within calls use: nothing but the process they are in.

        Returns
        -------
        backend : joblib.parallel.SequentialBackend
        n_jobs : None
        """
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def start_call(self):
        """Begin a run of joblib's."""
        # Calls are sent by Dask's thread too, which has settings of its own.
        self._settings = {name: get_config()[name] for name in ("device", "dtype")}

    def stop_call(self):
        """End a run of joblib's: the workers let go of its arguments."""
        self._shared = {}

    def submit(self, func, callback=None):
        """Send calls to the workers.

        Parameters
        ----------
        func : joblib.parallel.BatchedCalls
            The calls, one as a rule.
        callback : callable, default=None
            Called with what is returned here when the calls ended.

        Returns
        -------
        sent : object
            For ``retrieve_result_callback``.
        """
        sent = _Sent(self, func.items, callback)
        self._unfinished.add(sent)
        sent.send()
        return sent

    def retrieve_result_callback(self, out):
        """Return what calls returned, a list, or raise what one of them raised.

        Parameters
        ----------
        out : object
            From ``submit``.

        Returns
        -------
        results : list
        """
        if out.error is not None:
            raise out.error
        return out.results

    def abort_everything(self, ensure_ready=True):
        """Drop the calls that have not begun.

        Parameters
        ----------
        ensure_ready : bool, default=True
            Ignored: the cluster is not this backend's to end.
        """
        for sent in list(self._unfinished):
            sent.drop()

    @contextmanager
    def retrieval_context(self):
        """Leave the place of a task that waits for calls to others.

        Yields
        ------
        None
        """
        with leaving_the_worker():
            yield

    def _put(self, items, lost):
        """Put large arguments of calls on all workers; say what is where.

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
            if _size(argument) < _LARGE:
                return argument
            with self._lock:
                _, future = self._shared.get(id(argument), (None, None))
                if future is None or future in lost:
                    # In a list: of a list the items would be put there one by one
                    [future] = self.client.scatter(
                        [argument], broadcast=True, hash=False
                    )
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


class _Sent:
    """Calls that were sent, and what came of them."""

    def __init__(self, backend, items, callback):
        self.backend, self.items, self.callback = backend, items, callback
        self.results = self.error = self.future = None
        self.n_times, self.is_dropped, self.shared = 0, False, []

    def send(self):
        """Send them, for the first time or once more."""
        backend, client = self.backend, self.backend.client
        try:
            while True:
                self.n_times += 1
                try:
                    items, self.shared = backend._put(self.items, self.shared)
                    break
                except OSError as error:
                    # Of a worker that died as it was sent something
                    if client.status != "running" or self.n_times >= _TIMES:
                        raise connection_lost(error) from error
                    backend._wait_for_workers()
            name = getattr(items[0][0], "__name__", "call")
            self.future = client.submit(
                _Task(backend._settings, items),
                *self.shared,
                key=f"{name}-{uuid4().hex}",
                **backend.submit_kwargs,
            )
            self.future.add_done_callback(self._ended)
        except Exception as error:
            # joblib would wait for ever for what Dask's thread failed to send
            self.error = error
            self._tell()

    def _ended(self, future):
        if self.is_dropped:
            return
        try:
            self.results = future.result()
        except (CancelledError, OSError) as error:
            if self.is_dropped:
                return
            if future.status == "error":
                self.error = error
            elif self.backend.client.status != "running":
                self.error = connection_lost(error)
            elif self.n_times < _TIMES:
                self.send()
                return
            else:
                self.error = RuntimeError(
                    f"A call was sent to Dask {self.n_times} times, and each time a "
                    "worker died that held its arguments or its result, or somebody "
                    f"cancelled it: {error}. Look into the workers' logs, for lack of "
                    "memory first."
                )
        except BaseException as error:
            # Dask would keep the future for its traceback
            self.error = error.with_traceback(None)
        self._tell()

    def _tell(self):
        self._let_go()
        self.callback(self)

    def _let_go(self):
        # joblib keeps this object for longer
        self.backend._unfinished.discard(self)
        self.items = self.shared = self.future = None

    def drop(self):
        """Take them back."""
        self.is_dropped, future = True, self.future
        self._let_go()
        if future is not None:
            future.cancel()


class _Shared:
    """Stands for a large argument."""

    def __init__(self, number):
        self.number = number


class _Task:
    """What a worker runs."""

    def __init__(self, settings, items):
        self.version, self.settings, self.items = __version__, settings, items

    def __call__(self, *shared):
        refuse_another_version(self.version)

        def own(argument):
            return shared[argument.number] if type(argument) is _Shared else argument

        with thread_settings(**self.settings), parallel_config(backend="sequential"):
            try:
                return [
                    function(
                        *[own(argument) for argument in args],
                        **{name: own(argument) for name, argument in options.items()},
                    )
                    for function, args, options in self.items
                ]
            except Exception as error:
                # joblib drops tracebacks
                error.add_note(
                    f"It was raised in a worker on {socket.gethostname()}:\n"
                    + "".join(traceback.format_tb(error.__traceback__)[1:])
                )
                raise


def _size(argument):
    """Return the size of an argument in bytes, an estimate."""
    from dask.sizeof import sizeof

    if isinstance(argument, np.ndarray) and argument.dtype == object:
        # Of its items, a few of which are looked at
        return sizeof(argument.ravel().tolist())
    return sizeof(argument)


def _checked(client):
    try:
        from distributed import Client, get_client
    except ImportError as error:
        raise MissingDependencyError(
            "DaskBackend needs the optional package 'distributed', which is not "
            'installed. Run: pip install "skmer[dask]"',
            name="distributed",
        ) from error
    if client is None:
        try:
            client = get_client()
        except ValueError as error:
            raise ValueError(
                "There is no Dask client. Make one first: distributed.Client(address), "
                "or distributed.Client() for workers on this machine."
            ) from error
    if not isinstance(client, Client):
        raise TypeError(
            f"client must be a distributed.Client. Got {client!r}: make one by "
            "distributed.Client(address)."
        )
    if client.asynchronous:
        raise ValueError(
            "client must not be asynchronous: joblib waits for what it sends. Make it "
            "without asynchronous=True."
        )
    return client


def refuse_another_version(version):
    """Raise an error if the calling process has another version of skmer."""
    if version != __version__:
        raise RuntimeError(
            f"This worker has skmer {__version__} and the calling process has "
            f"{version}. What they compute may differ: install the same version on "
            "all machines."
        )


def connection_lost(error, kept=""):
    """Return the error that says that Dask's scheduler is gone."""
    reason = getattr(error, "reason", error)
    return ConnectionError(
        f"Dask's scheduler is gone, or dropped the tasks: {reason}. {kept}Connect a "
        "new Client and run the same again."
    )


def in_dask_worker():
    """Tell whether this thread runs a task of Dask's."""
    from distributed.utils import thread_state

    return hasattr(thread_state, "execution_state")


@contextmanager
def leaving_the_worker():
    """Give the place of a task that waits for others to one of these."""
    if not in_dask_worker():
        yield
        return
    from distributed import rejoin, secede

    secede()
    try:
        yield
    finally:
        rejoin()
