"""Tasks in joblib's workers, and what to do when one of these dies."""

from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from skmer.clips._apart import Apart
from skmer.clips._clusters import active_cluster, run_on_cluster


def run_tasks(function, clips, size, n_jobs, stop):
    """Run a function on clips where joblib says; yield what is done.

    A clip that a worker dies of harms no other: each of those that were under way is
    tried again in a process of its own.

    Parameters
    ----------
    function : callable
        Takes a list of clips and returns a list, one result a clip.
    clips : list
        Whatever function takes.
    size : int
        How many at a time.
    n_jobs : int or None
        As elsewhere.
    stop : callable
        Tells whether to begin nothing more.

    Yields
    ------
    numbers : list of int
        Which clips, in any order.
    results : list
        What function returns for them, or the error of ``process_died``.
    """
    tasks = [range(i, min(i + size, len(clips))) for i in range(0, len(clips), size)]
    cluster = active_cluster(n_jobs)
    if cluster is not None:
        yield from run_on_cluster(cluster, function, clips, tasks, stop)
        return
    while tasks:
        begun, ended = [], set()
        calls = _calls(function, clips, tasks, begun, stop)
        try:
            with closing(_run(calls, n_jobs)) as done:
                for task, results in done:
                    ended.add(task)
                    yield list(task), results
            return
        except BrokenProcessPool:
            # It does not say which task that was.
            tasks = tasks[len(begun) :]
        with closing(Apart(function)) as apart:
            for number in (n for task in begun if task not in ended for n in task):
                if stop():
                    return
                yield [number], [apart.run(clips[number])]


def _calls(function, clips, tasks, begun, stop):
    """Yield joblib's calls; note which tasks were begun."""
    for task in tasks:
        if stop():
            return
        begun.append(task)
        yield delayed(_marked)(task, function, [clips[n] for n in task])


def _marked(task, function, clips):
    return task, function(clips)


def _run(calls, n_jobs):
    """Yield the results of calls as they complete, in any order."""
    backend, _ = get_active_backend()
    if effective_n_jobs(n_jobs) == 1:
        for function, args, options in calls:
            yield function(*args, **options)
    elif backend.supports_return_generator:
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)
    else:
        # The multiprocessing backend returns lists only: short ones, so that what is
        # finished is stored before the end.
        with Parallel(n_jobs=n_jobs) as parallel:
            while some := list(islice(calls, 4 * effective_n_jobs(n_jobs))):
                yield from parallel(some)
