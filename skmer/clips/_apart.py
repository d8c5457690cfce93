"""Clips in a process of their own, one at a time."""

import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from joblib.externals.loky import ProcessPoolExecutor

# Libraries that would start threads of their own in a process beside others.
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
}


def process_died():
    """Return the error for a clip that a process died of.

    Returns
    -------
    error : OSError
        Of the kind that is not remembered: memory may have run out for once.
    """
    return OSError(
        "the process that read it died: its decoder crashed on this file, or memory "
        "ran out. Convert or remove the file"
    )


class Apart:
    """A process that has one clip at a time, and is replaced when it dies of it.

    Parameters
    ----------
    function : callable
        Takes a list of clips and returns a list, one result a clip.
    """

    def __init__(self, function):
        self.function = function
        self._pool = None

    def run(self, clip):
        """Return the result of a clip, or the error that a process died of it."""
        with _no_daemon():
            if self._pool is None:
                self._pool = ProcessPoolExecutor(1, env=ONE_THREAD)
            try:
                return self._pool.submit(self.function, [clip]).result()[0]
            except BrokenProcessPool:
                self._pool = None
                return process_died()

    def close(self):
        """Let the process go."""
        if self._pool is not None:
            self._pool.shutdown()


@contextmanager
def _no_daemon():
    """Let this process start others, which a worker of Dask may not as a rule."""
    process = multiprocessing.current_process()
    daemon = process.daemon
    if daemon:
        process.daemon = False
    try:
        yield
    finally:
        if daemon:
            process.daemon = True
