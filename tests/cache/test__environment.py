"""One store, several processes and threads, some of which die."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from skmer.cache import Record, open_store
from skmer.cache import _environment as environment_module
from skmer.cache._gate import Gate


def key(number):
    return number.to_bytes(32, "big")


def values(number):
    return np.random.default_rng(number).standard_normal(1024, dtype=np.float32)


def fill(store, numbers):
    return store.put_many([(key(i), Record("ok", {"x": values(i)})) for i in numbers])


def held(store, numbers):
    """Return which of the records are there, all of them checked to be right."""
    numbers = list(numbers)
    batch = store.get_many([key(i) for i in numbers])
    for positions, arrays in batch.groups:
        for row, position in enumerate(positions):
            np.testing.assert_array_equal(arrays["x"][row], values(numbers[position]))
    return [i for i, status in zip(numbers, batch.status, strict=True) if status]


PREAMBLE = """
import sys
sys.path.insert(0, sys.argv[2])
from test__environment import fill, held
from skmer.cache import _environment, open_store
"""


def start(code, store_path, *arguments):
    """Start a program in a fresh process."""
    folder = os.path.dirname(__file__)
    command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)]
    return subprocess.Popen(
        [*command, str(store_path), folder, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    yield store
    store.close()


@pytest.mark.parametrize("n_lines", [1, 7, 25])
def test_a_killed_process_loses_no_commit(tmp_path, n_lines):
    code = """
        store = open_store(sys.argv[1])
        for start in range(0, 100_000, 16):
            fill(store, range(start, start + 16))
            print(start + 16, flush=True)
    """
    with start(code, tmp_path / "store") as victim:
        for _ in range(n_lines):
            committed = int(victim.stdout.readline())
        victim.send_signal(signal.SIGKILL)
    store = open_store(tmp_path / "store")
    n_entries = store.info()["entries"]
    assert n_entries >= committed
    assert n_entries % 16 == 0
    assert held(store, range(n_entries + 50)) == list(range(n_entries))
    assert fill(store, range(n_entries, n_entries + 16))
    assert store.info()["damaged"] == 0
    store.close()


def test_a_process_killed_while_it_holds_the_lock_blocks_nobody(store):
    fill(store, range(3))
    code = """
        import os, signal
        store = open_store(sys.argv[1])
        def work(txn):
            txn.put(b"half", b"written")
            os.kill(os.getpid(), signal.SIGKILL)
        store._environment.run(work, write=True)
    """
    with start(code, store.path) as victim:
        assert victim.wait(60) == -signal.SIGKILL
    assert fill(store, range(3, 6))
    assert held(store, range(8)) == list(range(6))
    assert store.get_many([b"half"]).status[0] == 0


def test_two_processes_write_at_once(store):
    code = """
        store = open_store(sys.argv[1])
        mine = int(sys.argv[3])
        for start in range(0, 200, 8):
            # Keys of its own, and keys that both write.
            assert fill(store, range(1000 * mine + start, 1000 * mine + start + 8))
            assert fill(store, range(start, start + 8))
        print(held(store, range(200)) == list(range(200)))
    """
    with start(code, store.path, 1) as one, start(code, store.path, 2) as two:
        outputs = [process.communicate(timeout=120)[0] for process in (one, two)]
    assert outputs == ["True\n"] * 2
    expected = [i for first in (0, 1000, 2000) for i in range(first, first + 200)]
    assert held(store, range(3000)) == expected


def test_another_process_enlarges_the_map(tmp_path, monkeypatch):
    monkeypatch.setattr(environment_module, "INITIAL_MAP", 1 << 18)
    store = open_store(tmp_path / "store")
    fill(store, range(3))
    before = store._environment._env.info()["map_size"]
    code = """
        store = open_store(sys.argv[1])
        print(fill(store, range(3, 400)))
    """
    with start(code, store.path) as other:
        assert other.communicate(timeout=60)[0] == "True\n"
    assert store._environment._env.info()["map_size"] == before
    assert held(store, range(500)) == list(range(400))
    assert store._environment._env.info()["map_size"] > before
    # And for a process that writes next.
    with start(
        "print(fill(open_store(sys.argv[1]), range(400, 900)))", store.path
    ) as p:
        assert p.communicate(timeout=60)[0] == "True\n"
    assert fill(store, [900])
    assert held(store, range(901)) == list(range(901))
    store.close()


def child(connection, store):
    fill(store, range(100, 110))
    connection.send((held(store, range(200)), open_store(store.path) is store))
    connection.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_in_a_child_process(store, method):
    fill(store, range(10))
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(sender, store))
    process.start()
    assert receiver.poll(60)
    numbers, same = receiver.recv()
    process.join(60)
    assert process.exitcode == 0
    assert numbers == [*range(10), *range(100, 110)]
    assert same
    assert held(store, range(200)) == numbers
    assert fill(store, range(10, 20))


@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_forks_while_threads_read_and_write(store):
    stop = threading.Event()
    errors = []

    def work(thread):
        number = 1000 * thread
        try:
            while not stop.is_set():
                fill(store, range(number, number + 4))
                assert held(store, range(number, number + 4))
                number += 4
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        for i in range(12):
            pid = os.fork()
            if pid == 0:
                # Nothing of pytest's may run in the child.
                try:
                    good = fill(store, [i]) and held(store, [i]) == [i]
                    os._exit(0 if good else 1)
                finally:
                    os._exit(2)
            deadline = time.monotonic() + 60
            while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
                assert time.monotonic() < deadline, "the child hangs"
                time.sleep(0.005)
            assert done == (pid, 0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert held(store, range(12)) == list(range(12))


def test_a_child_leaves_the_parents_readers_alone(store):
    fill(store, range(5))
    environment = store._environment._env
    with environment.begin() as txn:
        # As long as this reads, its pages may not be used again.
        cursor = txn.cursor(store._environment.values)
        code = "import os; held(open_store(sys.argv[1]), range(5))"
        with start(code, store.path) as other:
            assert other.wait(60) == 0
        assert str(os.getpid()) in environment.readers()
        assert sum(1 for _ in cursor) == 5


def test_pickled_store_opens_in_another_process(store):
    fill(store, range(4))
    code = """
        import pickle
        store = pickle.loads(bytes.fromhex(sys.argv[3]))
        print(held(store, range(9)), store.max_bytes)
    """
    open_store(store.path, max_bytes=10**9)
    with start(code, store.path, pickle.dumps(store).hex()) as other:
        assert other.communicate(timeout=60)[0] == "[0, 1, 2, 3] 1000000000\n"


def test_gate_is_shared_or_held_alone():
    gate = Gate()
    inside = threading.Barrier(3)
    order = []

    def share():
        with gate.shared():
            inside.wait(10)
            time.sleep(0.05)
            order.append("shared")

    threads = [threading.Thread(target=share) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    with gate.alone():
        order.append("alone")
        late = threading.Thread(target=lambda: gate.acquire_alone())
        late.start()
        late.join(0.05)
        assert late.is_alive()
    late.join(10)
    assert not late.is_alive()
    gate.release_alone()
    assert order == ["shared", "shared", "alone"]
    for thread in threads:
        thread.join()
