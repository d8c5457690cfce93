"""What all that runs on Dask shares."""

import pickle
import threading
from contextlib import contextmanager

from skmer._version import __version__

# How often is looked whether a cluster has workers, seconds.
LOOK = 5.0
# After how long without any there is a word of it, seconds.
PATIENCE = 30.0

_thread = threading.local()


def pack(thing):
    """Return what is sent, as bytes that only who uses it unpacks.

    A scheduler needs none of the user's modules then, and a worker that lacks one says
    so: where Dask itself unpacks, such a worker dies.
    """
    import cloudpickle

    return cloudpickle.dumps(thing)


def unpack(version, packed):
    """Return what the calling process, of a version of skmer, packed."""
    if version != __version__:
        raise RuntimeError(
            f"This worker has skmer {__version__} and the calling process has "
            f"{version}. What they compute may differ: install the same version on "
            "all machines."
        )
    try:
        return pickle.loads(packed)
    except ImportError as error:
        error.add_note(
            "This worker cannot import what it was sent: install it on all machines, "
            "or add its folder to the PYTHONPATH of the workers."
        )
        raise


def is_closed(client):
    """Tell whether somebody closed a client, or is about to."""
    return client.status in ("closing", "closed")


def connection_lost(client, error, kept=""):
    """Return the error that says that a scheduler, or the client, is gone."""
    if is_closed(client):
        what = "The Dask client was closed"
    else:
        reason = getattr(error, "reason", error)
        what = f"Dask's scheduler is gone, or dropped the tasks: {reason}"
    return ConnectionError(
        f"{what}. {kept}Connect a new Client and run the same again."
    )


def count_threads(client, kept=""):
    """Return how many threads the workers have; raise ``connection_lost``."""
    if is_closed(client):
        raise connection_lost(client, None, kept)
    try:
        return sum(client.ncores().values())
    except OSError as error:
        raise connection_lost(client, error, kept) from error


def no_workers_left(client):
    """Return the words for a cluster whose workers are all gone."""
    return (
        f"Dask's scheduler {client.scheduler.address} has no workers left. The tasks "
        "wait for new ones; start workers with a nanny (the default) and they come "
        "back when they die."
    )


def in_dask_worker():
    """Tell whether this thread runs a task of Dask's."""
    from distributed.utils import thread_state

    return hasattr(thread_state, "execution_state")


@contextmanager
def leaving_the_worker():
    """Give the place of a task that waits for others to one of these."""
    if not in_dask_worker() or getattr(_thread, "has_left", False):
        yield
        return
    from distributed import rejoin, secede

    secede()
    _thread.has_left = True
    try:
        yield
    finally:
        _thread.has_left = False
        rejoin()
