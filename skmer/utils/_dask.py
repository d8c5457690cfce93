"""A joblib backend for Dask whose calls survive the workers that run them."""

import inspect

from joblib._parallel_backends import FallbackToBackend
from joblib.parallel import ParallelBackendBase

from skmer.utils._dask_run import Run
from skmer.utils._dask_tools import count_threads, is_closed
from skmer.utils._optional import import_optional

# Arguments of Client.submit that are not the user's here.
_OWN = {"self", "func", "args", "kwargs", "key", "pure", "actor", "actors"}


class DaskBackend(ParallelBackendBase):
    """joblib's calls as tasks of a Dask cluster; a worker that dies loses none.

    For :class:`joblib.parallel_config`, in place of the name ``"dask"``. With joblib's
    own backend of that name calls within calls are tasks of the cluster too, and what
    a dying worker held is lost: calls that needed it end as cancelled, and
    scikit-learn scores such a fold NaN. Here calls within calls run in the worker of
    their own call (as on Ray), and a call whose arguments or result are lost is sent
    again by the calling process.

    Parameters
    ----------
    client : distributed.Client or None, default=None
        Of the cluster. None takes the one that was made last.
    wait_for_workers_timeout : float, default=10
        How long to wait for the first worker, in seconds. Clusters that start workers
        on demand are asked for one.
    **submit_kwargs
        For ``Client.submit``, ``resources={"GPU": 1}`` for example.

    Raises
    ------
    MissingDependencyError
        If Dask is not installed.
    TypeError, ValueError
        If ``client`` is no client, is closed, or is one for asynchronous use, if there
        is none, or if ``Client.submit`` knows no such argument.

    Notes
    -----
    As many calls run at a time as the workers have threads, whatever ``n_jobs`` says,
    and none in the calling process but those that need shared memory
    (``require="sharedmem"``). An encoder that the calling process itself calls hands
    its clips out to all workers; one inside a call, in a cross-validation for example,
    computes its clips in the worker of that call. Dask gives up a call that more
    workers died of than its setting ``distributed.scheduler.allowed-failures`` says.

    Arguments of a mebibyte and more are sent to the cluster once and fetched by the
    workers from each other: do not change them in place between calls. The scheduler
    needs skmer, but no module of your own.

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
        known = set(inspect.signature(type(self.client).submit).parameters) - _OWN
        if unknown := sorted(set(submit_kwargs) - known):
            raise TypeError(
                f"DaskBackend takes no {unknown[0]!r}. It takes client, "
                "wait_for_workers_timeout, and of Client.submit's arguments "
                f"{', '.join(sorted(known))}."
            )
        self.wait_for_workers_timeout = wait_for_workers_timeout
        self.submit_kwargs = submit_kwargs

    def configure(self, n_jobs=1, parallel=None, **options):
        """Have a run of joblib's use a backend of its own.

        Parameters
        ----------
        n_jobs : int, default=1
            Ignored.
        parallel : joblib.Parallel, default=None
            What runs.
        **options
            Ignored.

        Raises
        ------
        FallbackToBackend
            Always: it is how joblib is given another backend.
        """
        raise FallbackToBackend(Run(self))

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
        ConnectionError
            If the client is closed or the scheduler gone.
        """
        n_threads = count_threads(self.client)
        if n_threads == 0:
            self._wait_for_workers()
            n_threads = count_threads(self.client)
        # For one alone joblib would have all of them run in the calling process, also
        # where other workers are only about to come back.
        return max(2, n_threads)

    def _wait_for_workers(self):
        # A task, which clusters that grow on demand start a worker for
        probe = self.client.submit(_nothing, pure=False, **self.submit_kwargs)
        try:
            probe.result(timeout=self.wait_for_workers_timeout)
        except TimeoutError as error:
            raise TimeoutError(
                f"Dask's scheduler {self.client.scheduler.address} has no workers, and "
                f"none came within {self.wait_for_workers_timeout} s. Start some, or "
                "wait for longer: DaskBackend(wait_for_workers_timeout=...)."
            ) from error
        finally:
            probe.cancel()


def _nothing():
    pass


def _checked(client):
    distributed = import_optional("distributed", "DaskBackend")
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError as error:
            raise ValueError(
                "There is no Dask client. Make one first: distributed.Client(address), "
                "or distributed.Client() for workers on this machine."
            ) from error
    if not isinstance(client, distributed.Client):
        raise TypeError(
            f"client must be a distributed.Client. Got {client!r}: make one by "
            "distributed.Client(address), or Client(cluster)."
        )
    if is_closed(client):
        raise ValueError(
            "client is closed. Make a new one: distributed.Client(address)."
        )
    if client.asynchronous:
        raise ValueError(
            "client must not be asynchronous: joblib waits for what it sends. Make it "
            "without asynchronous=True."
        )
    return client
