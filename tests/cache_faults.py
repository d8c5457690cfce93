"""Extraction in processes of its own, on what may befall a cache.

The script reads lines of JSON, each a list of tasks, forks a process for each of them
at once, kills those that are to be killed and answers with a line of JSON once all
have ended. It has imported everything before, so that a run takes milliseconds and
kills hit the work, not imports.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

N_RECORDS = 150


@contextmanager
def fork_server():
    """Start the script.

    Yields
    ------
    run : callable
        ``run(*tasks)`` runs tasks at once, each a dict, and returns for each a dict
        with ``status``, the exit status, minus the signal where one killed it, and
        what the task returned. ``what`` names the function below that is called with
        the other entries; ``kill_after``, in seconds, has the process killed.
    """
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(*tasks):
        process.stdin.write(json.dumps(tasks) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    with process:
        # Answered once all is imported.
        run()
        yield run


@contextmanager
def small_disk(folder, n_bytes):
    """Mount a small disk in memory at a folder; an OSError where that is refused."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    _mount("mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder))
    try:
        yield
    finally:
        _mount("umount", str(folder))


def remount_readonly(folder):
    """Let nothing be written any more on a disk that is mounted at a folder."""
    _mount("mount", "-o", "remount,ro", str(folder))


def _mount(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"{command[0]} failed")


def make_files(folder, n_files, n_bytes=2000):
    """Write files of random bytes and return their paths, sorted."""
    Path(folder).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n_files):
        (Path(folder) / f"{i:04d}.bin").write_bytes(b"clip" + rng.bytes(n_bytes))
    return sorted(str(path) for path in Path(folder).iterdir())


def expected(files, n_bins=8):
    """Return the features of files, computed here."""
    rows = [
        np.histogram(np.frombuffer(Path(p).read_bytes(), np.uint8), n_bins, (0, 256))[0]
        for p in files
    ]
    return np.asarray(rows, dtype=np.float32)


def damaged(data, rng):
    """Return what becomes of a file: how it is damaged, and its bytes.

    Parameters
    ----------
    data : bytes
        A sound ``data.mdb``.
    rng : random.Random
        Decides.
    """
    data, n = bytearray(data), len(data)
    kinds = ("bits", "head", "index", "hole", "copy", "cut", "huge")
    kind = rng.choice(kinds)
    pages = range(0, n, 4096)
    if kind == "bits":
        for _ in range(rng.choice((1, 5, 50, 500))):
            data[rng.randrange(n)] ^= 1 << rng.randrange(8)
    elif kind == "head":
        for _ in range(rng.choice((1, 3, 10))):
            data[rng.choice((0, 4096)) + rng.randrange(160)] = rng.choice((0, 255))
    elif kind == "index":
        index = [page for page in pages if data[page + 10] in (1, 2)]
        for _ in range(rng.choice((1, 3, 20))):
            place = rng.randrange(16 if rng.random() < 0.5 else 4096)
            data[rng.choice(index) + place] = rng.randrange(256)
    elif kind in ("hole", "copy"):
        page, other = rng.choice(pages), rng.choice(pages)
        data[page : page + 4096] = (
            bytes(4096) if kind == "hole" else data[other : other + 4096]
        )
    elif kind == "cut":
        del data[rng.randrange(n) :]
    else:
        place = rng.randrange(n // 8) * 8
        data[place : place + 8] = rng.choice((b"\xff" * 8, (2**40).to_bytes(8, "big")))
    return kind, bytes(data)


# In the processes


def encode(files, cache, file_bytes=None, **params):
    """Encode files; ``file_bytes`` limits the size of what is written."""
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    encoder = ByteHistogramEncoder(cache=cache, **params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = encoder.transform(files)
    right = bool((features == expected(files, encoder.n_bins)).all())
    return {"right": right, "warnings": [str(warning.message) for warning in caught]}


def _number(i):
    return i.to_bytes(32, "big")


def _record(i):
    # Some within LMDB's index, some on pages of their own
    values = np.random.default_rng(i).standard_normal(600 if i % 2 else 40)
    return Record("ok", {"x": values.astype(np.float32)})


def fill(cache, first=0, stop=N_RECORDS):
    """Store records, a commit for every 30."""
    store = open_store(cache)
    for start in range(first, stop, 30):
        numbers = range(start, min(start + 30, stop))
        store.put_many([(_number(i), _record(i)) for i in numbers])
    store.close()
    return {}


def look(cache):
    """Read and write a store that may be damaged; tell what came of it."""
    # No damage is to make room for more than there is.
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = open_store(cache)
        before = _held(store, N_RECORDS)
        n_more = N_RECORDS + 60
        numbers = range(N_RECORDS - 30, n_more)
        store.put_many([(_number(i), _record(i)) for i in numbers])
        after = _held(store, n_more)
        store.close()
    return {
        "found": int(before[0]),
        "wrong": int(before[1] + after[1]),
        "warnings": [str(warning.message) for warning in caught],
    }


def _held(store, n):
    batch = store.get_many([_number(i) for i in range(n)])
    wrong = [
        i
        for i in range(n)
        if batch.status[i]
        and not np.array_equal(batch.record(i).arrays["x"], _record(i).arrays["x"])
    ]
    return np.count_nonzero(batch.status), len(wrong)


def _serve():
    for line in sys.stdin:
        tasks = json.loads(line)
        kills = [task.pop("kill_after", None) for task in tasks]
        start = time.monotonic()
        children = [_fork(task) for task in tasks]
        known = [(kill, child) for kill, child in zip(kills, children, strict=True)]
        for kill, (child, _) in sorted((k, c) for k, c in known if k is not None):
            time.sleep(max(0.0, start + kill - time.monotonic()))
            # A process that has ended keeps its id until it is waited for.
            os.kill(child, signal.SIGKILL)
        answers = []
        for child, pipe in children:
            with os.fdopen(pipe) as stream:
                text = stream.read()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answers.append((json.loads(text) if text else {}) | {"status": status})
        print(json.dumps(answers), flush=True)


def _fork(task):
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        return child, ours
    status = 1
    try:
        os.close(ours)
        signal.alarm(120)
        answer = globals()[task.pop("what")](**task)
        os.write(theirs, json.dumps(answer).encode())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    from byte_encoder import ByteHistogramEncoder

    from skmer.cache import Record, open_store

    _serve()
