"""Results of joblib's workers as they come, whatever backend these belong to."""

from itertools import islice

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel

# Calls handed out at a time for each worker, where results come in lists only.
_CALLS = 4


def results_of(calls, n_jobs, *, in_order=True):
    """Run calls where joblib says; yield what they return as it is there.

    Parameters
    ----------
    calls : iterable
        Made by scikit-learn's ``delayed``.
    n_jobs : int or None
        As elsewhere.
    in_order : bool, default=True
        Whether results come in the order of calls.

    Yields
    ------
    result : object
    """
    if get_active_backend()[0].supports_return_generator:
        kind = "generator" if in_order else "generator_unordered"
        yield from Parallel(n_jobs=n_jobs, return_as=kind)(calls)
        return
    # Ray's backend, and that of multiprocessing.
    calls = iter(calls)
    with Parallel(n_jobs=n_jobs) as parallel:
        while some := list(islice(calls, _CALLS * effective_n_jobs(n_jobs))):
            yield from parallel(some)
