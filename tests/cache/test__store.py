"""The store in one process: contents, records, limits, failures."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from pathlib import Path

import lmdb
import numpy as np
import pytest

from skmer.cache import Record, open_store
from skmer.cache import _environment as environment_module
from skmer.cache import _store as store_module
from skmer.exceptions import CacheWarning


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def key(number):
    return number.to_bytes(32, "big")


def record(number, n_dims=1024):
    values = np.random.default_rng(number).standard_normal(n_dims, dtype=np.float32)
    return Record("ok", {"x": values}, {"number": number})


def fill(store, numbers, n_dims=1024):
    return store.put_many([(key(i), record(i, n_dims)) for i in numbers])


def held(store, numbers):
    """Return which of the records are there, all of them checked to be right."""
    numbers = list(numbers)
    batch = store.get_many([key(i) for i in numbers])
    for positions, arrays in batch.groups:
        for row, position in enumerate(positions):
            expected = record(numbers[position], arrays["x"].shape[1]).arrays["x"]
            np.testing.assert_array_equal(arrays["x"][row], expected)
    return [i for i, status in zip(numbers, batch.status, strict=True) if status]


def run_python(code, *arguments, **options):
    """Run a program in a fresh process and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_put_and_get_in_any_order(store):
    assert fill(store, range(500))
    numbers = np.random.default_rng(0).permutation(600).tolist()
    assert sorted(held(store, numbers)) == list(range(500))
    batch = store.get_many([key(i) for i in numbers])
    assert batch.note(numbers.index(7)) == {"number": 7}
    assert len(batch.groups) == 1
    assert batch.groups[0][1]["x"].flags.c_contiguous
    assert len(store.get_many([])) == 0
    assert store.put_many([]) is True


def test_one_object_for_one_folder(store, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    for same in (tmp_path / "store", str(tmp_path / "link"), "store", "./store/"):
        assert open_store(same) is store
    assert pickle.loads(pickle.dumps(store)) is store
    assert repr(str(tmp_path / "store")) in repr(store)


def test_later_records_replace_earlier_ones(store):
    store.put_many([(key(1), Record("error", note={"stage": "open", "reason": "x"}))])
    fill(store, [1])
    assert held(store, [1]) == [1]
    assert store.info()["entries"] == 1


def test_closed_store_opens_again(store):
    fill(store, range(3))
    store.close()
    again = open_store(store.path)
    assert again is not store
    assert held(again, range(4)) == [0, 1, 2]
    again.close()


def test_no_path_keeps_nothing():
    store = open_store(None)
    assert not store.writable
    assert fill(store, range(3)) is False
    assert held(store, range(3)) == []
    assert store.info()["path"] is None
    store.clear()
    assert pickle.loads(pickle.dumps(store)) is store


def test_records_that_cannot_be_stored_leave_the_others(store):
    with pytest.raises(TypeError, match="dtype object"):
        store.put_many(
            [(key(0), record(0)), (key(1), Record("ok", {"x": np.array([None])}))]
        )
    assert held(store, [0, 1]) == []


@pytest.mark.parametrize("bad", [0, -1])
def test_size_limit_must_be_positive(tmp_path, bad):
    with pytest.raises(ValueError, match="max_bytes must be a positive"):
        open_store(tmp_path, max_bytes=bad)


def test_map_grows_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(environment_module, "INITIAL_MAP", 1 << 16)
    store = open_store(tmp_path / "store")
    assert fill(store, range(2))
    # Larger than the map many times over, in one commit.
    assert fill(store, range(2, 600))
    assert fill(store, [1000], n_dims=1_000_000)
    assert held(store, range(600)) == list(range(600))
    assert held(store, [1000]) == [1000]
    store.close()


def test_map_grows_while_threads_read_and_write(tmp_path, monkeypatch):
    monkeypatch.setattr(environment_module, "INITIAL_MAP", 1 << 16)
    store = open_store(tmp_path / "store")
    errors = []

    def work(thread):
        try:
            for start in range(0, 100, 5):
                mine = [1000 * thread + start + i for i in range(5)]
                assert fill(store, mine)
                assert held(store, mine) == mine
                held(store, range(0, 4000, 50))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert store.info()["entries"] == 400
    store.close()


def test_info(store):
    fill(store, range(10))
    held(store, range(14))
    info = store.info()
    assert info["entries"] == 10
    assert (info["hits"], info["misses"]) == (10, 4)
    assert info["writable"]
    assert info["damaged"] == 0
    assert info["max_bytes"] is None
    assert 10 * 4096 < info["bytes"] < info["file_bytes"]
    assert info["file_bytes"] == os.path.getsize(os.path.join(info["path"], "data.mdb"))


def test_vectors_take_two_pages_at_most(store):
    fill(store, range(2000))
    assert store.info()["bytes"] / 2000 < 2.1 * 4096


def test_clear_gives_the_disk_space_back(store, tmp_path):
    (tmp_path / "clip").write_bytes(b"clip")
    store.content_ids([tmp_path / "clip"])
    fill(store, range(200))
    before = store.info()["file_bytes"]
    store.clear()
    info = store.info()
    assert info["entries"] == 0
    assert info["file_bytes"] < before / 5
    fill(store, range(5))
    assert held(store, range(10)) == list(range(5))


def test_clear_while_another_process_has_it_open(store):
    fill(store, range(200))
    code = """
        import sys
        from skmer.cache import open_store
        store = open_store(sys.argv[1])
        print(store.info()["entries"], flush=True)
        sys.stdin.readline()
        print(store.info()["entries"], flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), store.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "200\n"
        size = store.info()["file_bytes"]
        store.clear()
        assert store.info()["entries"] == 0
        assert store.info()["file_bytes"] >= size
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "0\n"
    # LMDB spares the pages that the last commit left, then uses them again.
    for start in range(0, 200, 10):
        fill(store, range(start, start + 10))
    assert store.info()["file_bytes"] < 1.2 * size


# The size limit


def test_least_recently_used_go_first(tmp_path):
    n_bytes = 100 * 8192
    store = open_store(tmp_path / "store", max_bytes=n_bytes)
    for start in range(0, 90, 10):
        fill(store, range(start, start + 10))
        time.sleep(0.002)
    assert held(store, range(20)) == list(range(20))
    assert held(store, range(90)) == list(range(90))
    time.sleep(0.002)
    assert held(store, range(20)) == list(range(20))
    fill(store, range(90, 110))
    kept = held(store, range(110))
    info = store.info()
    assert info["bytes"] <= n_bytes
    assert 70 <= info["entries"] < 90
    assert set(range(20)) | set(range(90, 110)) <= set(kept)
    assert info["entries"] == len(kept)
    store.close()


def test_unused_records_go_in_order_of_storage(tmp_path):
    store = open_store(tmp_path / "store", max_bytes=50 * 8192)
    for i in range(80):
        fill(store, [i])
    kept = [i for i in range(80) if store.get_many([key(i)]).status[0]]
    assert kept == list(range(kept[0], 80))
    assert 30 <= len(kept) <= 50
    store.close()


def test_file_stays_bounded_under_a_limit(tmp_path):
    store = open_store(tmp_path / "store", max_bytes=1 << 20)
    for start in range(0, 2000, 20):
        fill(store, range(start, start + 20))
        assert store.info()["bytes"] <= 1 << 20
    assert store.info()["file_bytes"] < 3 << 20
    store.close()


def test_a_limit_set_later_drops_records_without_a_time(tmp_path):
    store = open_store(tmp_path / "store")
    fill(store, range(100))
    with store._environment._env.begin() as txn:
        assert txn.stat(store._environment.used)["entries"] == 0
    assert open_store(tmp_path / "store", max_bytes=60 * 8192) is store
    assert held(store, range(40, 50)) == list(range(40, 50))
    fill(store, [100])
    kept = held(store, range(101))
    assert {*range(40, 50), 100} <= set(kept)
    assert len(kept) <= 60
    assert open_store(tmp_path / "store").max_bytes == 60 * 8192
    store.close()


def test_times_of_use_reach_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_USE_INTERVAL", -1.0)
    store = open_store(tmp_path / "store", max_bytes=60 * 8192)
    fill(store, range(50))
    held(store, range(5))
    store.close()
    store = open_store(tmp_path / "store", max_bytes=60 * 8192)
    fill(store, range(50, 70))
    assert set(range(5)) <= set(held(store, range(70)))
    store.close()


def test_a_record_larger_than_the_limit_is_kept_alone(tmp_path):
    store = open_store(tmp_path / "store", max_bytes=10_000)
    fill(store, range(3))
    time.sleep(0.002)
    fill(store, [9], n_dims=10_000)
    assert held(store, range(10)) == [9]
    store.close()


# Contents of files


def test_content_ids_follow_content(store, tmp_path):
    paths = [tmp_path / f"{i}.mp4" for i in range(4)]
    for path in paths[:3]:
        path.write_bytes(b"same")
    first = store.content_ids(paths)
    assert first[0] == first[1] == first[2]
    assert isinstance(first[3], FileNotFoundError)
    assert store.content_ids(map(str, paths[:3])) == first[:3]
    paths[0].write_bytes(b"more than that")
    paths[1].write_bytes(b"diff")
    second = store.content_ids(paths)
    assert len({second[0], second[1], second[2]}) == 3
    assert second[2] == first[2]
    os.utime(paths[2], ns=(1, 1))
    assert store.content_ids(paths)[2] == first[2]


def test_content_changed_within_one_tick_of_the_clock(store, tmp_path):
    path = tmp_path / "clip"
    for i in range(15):
        path.write_bytes(b"%03d" % i)
        (now,) = store.content_ids([path])
        path.write_bytes(b"%03d" % (i + 500))
        assert store.content_ids([path]) != [now]


def test_contents_that_cannot_be_read(store, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = store.content_ids([tmp_path / "folder", tmp_path / "pipe", "a\0b"])
    assert isinstance(found[0], IsADirectoryError)
    assert [error.errno for error in found[1:]] == [errno.EINVAL] * 2
    with pytest.raises(TypeError):
        store.content_ids([3])


def test_relative_paths_follow_the_working_directory(store, tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip").write_text(name)
        os.utime(tmp_path / name / "clip", ns=(1, 1))
    monkeypatch.chdir(tmp_path / "a")
    (first,) = store.content_ids(["clip"])
    monkeypatch.chdir(tmp_path / "b")
    (second,) = store.content_ids(["clip"])
    assert first != second
    assert store.content_ids([tmp_path / "a" / "clip"]) == [first]


WARM = """
    import sys
    from pathlib import Path
    from skmer.cache import open_store
    opened = []
    sys.addaudithook(lambda name, args: name == "open" and opened.append(str(args[0])))
    clips = sorted(Path(sys.argv[2]).iterdir())
    store = open_store(sys.argv[1])
    for _ in range(2):
        print(b"".join(store.content_ids(clips)).hex())
    print(sum(path.endswith(".mp4") for path in opened))
"""


def test_a_fresh_process_opens_no_known_file(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(300):
        (folder / f"{i:03d}.mp4").write_bytes(b"%d" % i)
    cold = run_python(WARM, tmp_path / "store", folder).split()
    warm = run_python(WARM, tmp_path / "store", folder).split()
    assert cold[2] == "300"
    assert warm[2] == "0"
    assert {*cold[:2]} == {*warm[:2]}
    (folder / "007.mp4").write_bytes(b"changed")
    changed = run_python(WARM, tmp_path / "store", folder).split()
    assert changed[2] == "1"
    assert changed[0] != cold[0]


def test_a_damaged_memo_is_not_believed(store, tmp_path):
    (tmp_path / "clip").write_bytes(b"clip")
    (identity,) = store.content_ids([tmp_path / "clip"])
    environment = store._environment

    def damage(txn):
        ((place, raw),) = list(txn.cursor(environment.ids))
        raw = bytearray(raw)
        raw[20] ^= 1
        txn.put(bytes(place), bytes(raw), db=environment.ids)

    environment.run(damage, write=True)
    store._contents.forget()
    assert store.content_ids([tmp_path / "clip"]) == [identity]


# Damage and failure


def test_damaged_records_are_absent_with_one_warning(store):
    fill(store, range(20))

    def damage(txn):
        for i in (3, 7):
            value = bytearray(txn.get(key(i)))
            value[-100] ^= 4
            txn.put(key(i), bytes(value))

    store._environment.run(damage, write=True)
    with pytest.warns(CacheWarning, match="2 of 20 records .* are damaged") as caught:
        kept = held(store, range(20))
    assert len(caught) == 1
    assert kept == [i for i in range(20) if i not in (3, 7)]
    assert store.info()["damaged"] == 2
    fill(store, [3, 7])
    assert held(store, range(20)) == list(range(20))


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"x", bytes(8192)])
def test_a_broken_file_is_set_aside(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.warns(CacheWarning, match="was damaged. An empty one was started"):
        store = open_store(tmp_path)
    assert fill(store, range(3))
    assert held(store, range(3)) == [0, 1, 2]
    assert (tmp_path / "data.mdb.broken").read_bytes() == content
    store.close()


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_file_cut_off_gives_no_wrong_record(tmp_path, part):
    store = open_store(tmp_path / "store")
    for start in range(0, 200, 20):
        fill(store, range(start, start + 20))
    data = os.path.join(store.info()["path"], "data.mdb")
    store.close()
    os.truncate(data, int(os.path.getsize(data) * part) // 4096 * 4096 + 100)
    # In a process of its own: a page beyond the end of a file would kill it.
    code = """
        import sys, warnings
        sys.path.insert(0, sys.argv[2])
        warnings.simplefilter("ignore")
        from test__store import fill, held
        from skmer.cache import open_store
        store = open_store(sys.argv[1])
        before = len(held(store, range(200)))
        fill(store, range(200))
        fill(store, range(200))
        print(before < 200, held(store, range(200)) == list(range(200)))
    """
    folder = os.path.dirname(__file__)
    assert run_python(code, store.path, folder) == "True True\n"


def test_a_file_that_breaks_while_it_is_open(store):
    fill(store, range(500))
    data = os.path.join(store.info()["path"], "data.mdb")
    size = os.path.getsize(data)
    # All but the two pages that say where the others are.
    with open(data, "r+b") as file:
        file.seek(8192)
        file.write(bytes(size - 8192))
    with pytest.warns(CacheWarning, match="was damaged .*may be deleted"):
        assert held(store, range(500)) == []
    assert os.path.getsize(data + ".broken") == size
    assert fill(store, range(500))
    assert held(store, range(500)) == list(range(500))


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("hello")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.warns(CacheWarning, match="cannot be used: .*SKMER_CACHE_DIR"):
            store = open_store(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert open_store(path) is store
            assert fill(store, range(3)) is False
            assert held(store, range(3)) == []
            assert store.content_ids([tmp_path / "file"])[0]
            store.clear()
        assert not store.writable
        assert store.info()["entries"] == 0
        store.close()


READ_ONLY = """
    import os, sys, warnings
    warnings.simplefilter("always")
    from skmer.cache import open_store
    sys.path.insert(0, sys.argv[2])
    from test__store import fill, held
    import numpy.random, numpy.testing  # somebody else may not read these files
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with warnings.catch_warnings(record=True) as caught:
        store = open_store(sys.argv[1])
        stored = fill(store, [77])
        store.clear()
        kept = held(store, range(10))
        clips = store.content_ids([sys.argv[3]])
    print(store.writable, stored, kept == list(range(5)), clips[0].hex(), len(caught))
    print(str(caught[0].message))
"""


@pytest.mark.parametrize("lock", [True, False])
def test_a_folder_that_can_only_be_read(lock):
    # Not below tmp_path, which other users may not enter: root can write anywhere,
    # so the reader becomes somebody else.
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clip = folder / "clip"
        clip.write_bytes(b"clip")
        store = open_store(folder / "store")
        fill(store, range(5))
        (identity,) = store.content_ids([clip])
        store.close()
        if not lock:
            os.remove(folder / "store" / "lock.mdb")
        for place in (folder / "store").iterdir():
            place.chmod(0o444)
        (folder / "store").chmod(0o555)
        folder.chmod(0o755)
        try:
            tests = os.path.dirname(__file__)
            out = run_python(READ_ONLY, folder / "store", tests, clip).splitlines()
        finally:
            (folder / "store").chmod(0o755)
    assert out[0] == f"False False True {identity.hex()} 1"
    assert "cannot be written. What it holds is used" in out[1]


FULL = """
    import resource, sys, warnings
    sys.path.insert(0, sys.argv[2])
    from test__store import fill, held
    from skmer.cache import open_store
    store = open_store(sys.argv[1])
    assert fill(store, range(20))
    limit = store.info()["file_bytes"] + 100_000
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stored = [fill(store, range(n, n + 20)) for n in range(20, 120, 20)]
    assert not any(stored), stored
    (warning,) = caught
    assert "cannot be written" in str(warning.message), warning.message
    assert "Make room on its disk" in str(warning.message)
    assert held(store, range(120)) == list(range(20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert fill(store, range(20, 120))
    assert held(store, range(120)) == list(range(120))
    print("done")
"""


def test_a_full_disk_stops_storing_and_nothing_else(tmp_path):
    tests = os.path.dirname(__file__)
    assert run_python(FULL, tmp_path / "store", tests) == "done\n"


def test_a_network_folder_is_replaced_by_a_local_one(tmp_path, monkeypatch):
    local = tmp_path / "local"
    monkeypatch.setattr(store_module, "network_file_system", lambda path: "nfs4")
    monkeypatch.setattr(store_module, "node_folder", lambda path: str(local))
    with pytest.warns(CacheWarning, match=r"network file system \(nfs4\)"):
        store = open_store(tmp_path / "far")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_store(tmp_path / "far") is store
    assert fill(store, range(3))
    assert store.info()["path"] == str(local)
    assert not (tmp_path / "far").exists()
    store.close()


def test_a_folder_deleted_meanwhile_is_made_again(store, tmp_path):
    fill(store, range(3))
    for name in os.listdir(store.path):
        os.remove(os.path.join(store.path, name))
    os.rmdir(store.path)
    again = open_store(store.path)
    assert held(again, range(3)) == []
    assert fill(again, range(3))
    assert os.path.exists(os.path.join(again.path, "data.mdb"))
    again.close()


def test_errors_of_lmdb_do_not_get_out(store, monkeypatch):
    fill(store, range(3))

    def fail(work, write=False):
        raise lmdb.DiskError("Input/output error")

    monkeypatch.setattr(store._environment, "run", fail)
    with pytest.warns(CacheWarning, match="cannot be read: Input/output error"):
        assert held(store, range(3)) == []
    with pytest.warns(CacheWarning, match="cannot be written: Input/output error"):
        assert fill(store, range(3)) is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill(store, range(3)) is False
        assert held(store, range(3)) == []
