"""Runs of ChatAnnotator in processes of their own, that others may kill.

The script reads tasks, a line of JSON each, and forks a process for each: it answers
with the process' id, and once that has ended with how. It has imported everything
before, which takes seconds, and done no more.
"""

import json
import os
import subprocess
import sys
import traceback
from contextlib import contextmanager


@contextmanager
def fork_server():
    """Start the script.

    Yields
    ------
    start : callable
        ``start(**task)`` forks a process that annotates and returns its id. A task
        has ``params`` of the annotator, ``texts``, and ``labels``, a file that the
        labels are saved to.
    wait : callable
        ``wait()`` returns the process' exit status once it has ended; minus the
        signal if it was killed.
    """
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def start(**task):
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        return wait()

    def wait():
        return json.loads(process.stdout.readline())

    with process:
        yield start, wait


def _serve():
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(**json.loads(line))
        print(json.dumps(child), flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(status), flush=True)


def _run(params, texts, labels):
    status = 1
    try:
        found = ChatAnnotator(**params).labels(texts)
        with open(labels, "w") as file:
            json.dump(list(found), file)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    import warnings

    import openai  # noqa: F401

    from skmer.enrichment import ChatAnnotator
    from skmer.exceptions import CacheWarning

    # Damage that the cache finds is no success.
    warnings.simplefilter("error", CacheWarning)
    _serve()
