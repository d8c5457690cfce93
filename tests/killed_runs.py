"""Runs of SpeechEncoder in processes of their own, some killed on the way.

The script reads tasks, a line of JSON each, forks a process for each and answers
with a line of JSON once that has ended. It has imported torch and transformers
before, and done no more: importing them takes seconds, all that a run does a fraction
of one, so that fresh interpreters would spend a minute of the test on imports, and
nearly all kills there. Whatever touches the model, the files or the cache is done by
the forked process, which nobody else shares anything with.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import contextmanager


@contextmanager
def fork_server(model, clips):
    """Start the script.

    Parameters
    ----------
    model : str
        Folder of a HuBERT that lets no padding in, so that sounds of different
        lengths pass it one by one.
    clips : list of str
        Sound files of different lengths.

    Yields
    ------
    run : callable
        ``run(**task)`` forks a process that transforms the clips and returns whether
        it was killed. A task has ``cache`` (a folder or None), ``log`` (a file that
        gets a line for every sound that enters the model: its length in samples and
        the seconds since the fork), ``rows`` (where the result is saved), ``pause``
        (seconds to sleep before each sound) and ``delay`` (seconds after the fork at
        which the process gets SIGKILL, or None).
    """
    command = [sys.executable, __file__, json.dumps({"model": model, "clips": clips})]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(**task):
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        status = json.loads(process.stdout.readline())
        if status not in (0, -signal.SIGKILL):
            raise RuntimeError(f"a run ended with {status}")
        return status == -signal.SIGKILL

    with process:
        yield run


def _serve(model, clips):
    for line in sys.stdin:
        task = json.loads(line)
        delay = task.pop("delay", None)
        child = os.fork()
        if child == 0:
            _run(model, clips, **task)
        if delay is not None:
            time.sleep(delay)
            # A process that has ended keeps its id until it is waited for.
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(status), flush=True)


def _run(model, clips, cache, log, rows, pause):
    start = time.monotonic()
    status = 1
    try:
        torch.set_num_threads(1)
        log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def note(module, args):
            if isinstance(module, HubertModel):
                for sound in args[0]:
                    line = f"{len(sound)} {time.monotonic() - start}\n"
                    os.write(log, line.encode())
                    time.sleep(pause)

        register_module_forward_pre_hook(note)
        encoder = SpeechEncoder(model, batch_size=2, cache=cache)
        with warnings.catch_warnings():
            # Damage that the cache finds is no success.
            warnings.simplefilter("error", CacheWarning)
            features = encoder.transform(clips)
        np.save(rows, features)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    import numpy as np
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook
    from transformers import HubertModel

    from skmer.encoders import SpeechEncoder
    from skmer.exceptions import CacheWarning

    _serve(**json.loads(sys.argv[1]))
