"""Whatever befalls a cache: features are right, or it is said; nothing is lost."""

import os
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from byte_encoder import ByteHistogramEncoder
from cache_faults import (
    N_RECORDS,
    damaged,
    expected,
    fork_server,
    make_files,
    remount_readonly,
    small_disk,
)

from skmer.cache import _record as record_module
from skmer.cache import open_store

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs os.fork and kill -9"
)


@pytest.fixture(scope="module")
def run():
    with fork_server() as run:
        yield run


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path / "clips", 24)


def _lines(log):
    return Path(log).read_text().splitlines() if Path(log).exists() else []


def _disk(folder, n_bytes):
    disk = small_disk(folder, n_bytes)
    try:
        disk.__enter__()
    except OSError as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    return disk


# Disks


def test_a_full_disk(run, tmp_path):
    files = make_files(tmp_path / "clips", 60)
    log = tmp_path / "log"
    disk = _disk(tmp_path / "disk", 300_000)
    try:
        cache = str(tmp_path / "disk" / "cache")
        task = {"what": "encode", "files": files, "cache": cache, "n_bins": 1500}
        first, again = (run(task | {"log": str(log)})[0] for _ in range(2))
    finally:
        disk.__exit__(None, None, None)
    for done in (first, again):
        assert done["status"] == 0 and done["right"]
        (warning,) = done["warnings"]
        assert "cannot be written" in warning and "Make room on its disk" in warning
    # What was stored before the disk was full is of use.
    assert len(files) < len(_lines(log)) < 1.7 * len(files)


def test_a_disk_too_small_for_an_empty_store(run, files, tmp_path):
    disk = _disk(tmp_path / "disk", 4096)
    try:
        cache = str(tmp_path / "disk" / "cache")
        (done,) = run({"what": "encode", "files": files, "cache": cache})
    finally:
        disk.__exit__(None, None, None)
    assert done["status"] == 0 and done["right"]
    (warning,) = done["warnings"]
    assert "cannot be used" in warning and "Name another folder" in warning


def test_files_that_may_not_grow(run, files, tmp_path):
    log, cache = str(tmp_path / "log"), str(tmp_path / "cache")
    task = {"what": "encode", "files": files, "cache": cache, "log": log}
    (half,) = run(task | {"files": files[:12]})
    size = os.path.getsize(Path(cache) / "data.mdb")
    (done,) = run(task | {"file_bytes": size // 2, "log": None})
    assert half["right"] and done["right"] and done["status"] == 0
    assert any("cannot be written" in text for text in done["warnings"])
    (after,) = run(task)
    assert after["right"] and not after["warnings"]
    assert _lines(log)[:12] == files[:12]
    assert not set(_lines(log)[12:]) & set(files[:12])


@pytest.mark.parametrize("known", [12, 0])
def test_a_disk_that_can_only_be_read(run, files, tmp_path, known):
    disk = _disk(tmp_path / "disk", 8_000_000)
    try:
        task = {"what": "encode", "cache": str(tmp_path / "disk" / "cache")}
        if known:
            run(task | {"files": files[:known]})
        remount_readonly(tmp_path / "disk")
        log = str(tmp_path / "log")
        (done,) = run(task | {"files": files, "log": log})
    finally:
        disk.__exit__(None, None, None)
    assert done["status"] == 0 and done["right"]
    assert _lines(log) == files[known:]
    (warning,) = done["warnings"]
    said = "cannot be written. What it holds is used" if known else "Read-only file"
    assert said in warning


# Processes


def test_processes_killed_at_any_time_lose_nothing(run, files, tmp_path):
    log, cache = tmp_path / "log", str(tmp_path / "cache")
    task = {"what": "encode", "files": files, "cache": cache, "delay": 0.002}
    task |= {"log": str(log), "batch_size": 2}
    random_ = random.Random(0)
    start = time.monotonic()
    run(task | {"cache": str(tmp_path / "other"), "log": None})
    whole = time.monotonic() - start
    n_killed, counts = 0, Counter()
    for _ in range(12):
        before = len(_lines(log))
        (done,) = run(task | {"kill_after": random_.uniform(0.001, 0.7 * whole)})
        assert done["status"] in (0, -9)
        n_killed += done["status"] == -9
        counts.update(_lines(log)[before:])
    (last,) = run(task | {"kill_after": None})
    counts.update(_lines(log)[sum(counts.values()) :])
    assert last["right"] and not last["warnings"]
    assert set(counts) == set(files)
    # Each kill costs the batch in hand and one whose commit was under way.
    assert sum(counts.values()) <= len(files) + 4 * n_killed
    # How many, is up to the machine
    assert n_killed >= 1
    (warm,) = run(task)
    assert warm["right"] and len(_lines(log)) == sum(counts.values())


@pytest.mark.parametrize("n_processes", [2, 4])
def test_processes_that_extract_the_same_clips(run, files, tmp_path, n_processes):
    log, cache = str(tmp_path / "log"), str(tmp_path / "cache")
    task = {"what": "encode", "files": files, "cache": cache, "delay": 0.001}
    done = run(*[task | {"log": log}] * n_processes)
    assert [one["status"] for one in done] == [0] * n_processes
    assert all(one["right"] and not one["warnings"] for one in done)
    n_encoded = len(_lines(log))
    assert len(files) <= n_encoded <= n_processes * len(files)
    (warm,) = run(task | {"log": log})
    assert warm["right"] and len(_lines(log)) == n_encoded


def test_one_of_two_processes_is_killed(run, files, tmp_path):
    task = {"what": "encode", "files": files, "cache": str(tmp_path / "cache")}
    task |= {"delay": 0.002, "batch_size": 1}
    start = time.monotonic()
    run(task | {"cache": str(tmp_path / "other")})
    whole = time.monotonic() - start
    for part in (0.2, 0.5, 0.8):
        kill_after = part * whole
        done = run(task | {"kill_after": kill_after}, task)
        assert done[1]["status"] == 0
        assert done[1]["right"] and not done[1]["warnings"]


def test_files_left_by_a_killed_process_are_no_hindrance(run, files, tmp_path):
    cache = tmp_path / "cache"
    task = {"what": "encode", "files": files, "cache": str(cache)}
    run(task)
    for name, content in (("lock.mdb", b"\xff" * 8192), ("guard.lock", b"12345")):
        (cache / name).write_bytes(content)
    (done,) = run(task)
    assert done["status"] == 0 and done["right"]


def test_a_folder_deleted_while_it_is_used(files, tmp_path):
    cache = tmp_path / "cache"
    encoder = ByteHistogramEncoder(cache=cache)
    np.testing.assert_array_equal(encoder.transform(files[:12]), expected(files[:12]))
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(encoder.transform(files), expected(files))
    assert len(os.listdir(cache)) == 3
    open_store(cache).close()


# Formats and damage


@pytest.mark.parametrize("version", [0, 2, 99])
def test_records_of_another_version(files, tmp_path, monkeypatch, version):
    log, cache = tmp_path / "log", tmp_path / "cache"
    encoder = ByteHistogramEncoder(cache=cache, log=log)
    with monkeypatch.context() as patch:
        patch.setattr(record_module, "VERSION", version)
        encoder.transform(files)
        assert open_store(cache).info()["entries"] == len(files)
        open_store(cache).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            features = encoder.transform(files)
            np.testing.assert_array_equal(features, expected(files))
    # Once by the other version, once by this
    assert _lines(log) == files * 2
    open_store(cache).close()


def test_a_store_of_another_version_of_lmdb_stays_as_it_is(run, files, tmp_path):
    cache = tmp_path / "cache"
    task = {"what": "encode", "files": files, "cache": str(cache)}
    run(task)
    data = bytearray((cache / "data.mdb").read_bytes())
    for page in (0, 4096):
        data[page + 20] += 1
    (cache / "data.mdb").write_bytes(data)
    (done,) = run(task)
    assert done["right"]
    (warning,) = done["warnings"]
    assert "another version of LMDB, move that away" in warning
    assert (cache / "data.mdb").read_bytes() == data


def test_damage_gives_no_wrong_record_and_ends_no_process(run, tmp_path):
    run({"what": "fill", "cache": str(tmp_path / "cache")})
    data = (tmp_path / "cache" / "data.mdb").read_bytes()
    tasks, kinds = [], Counter()
    for seed in range(40):
        kind, content = damaged(data, random.Random(seed))
        kinds[kind] += 1
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "data.mdb").write_bytes(content)
        tasks.append({"what": "look", "cache": str(folder)})
    assert len(kinds) == 7
    for start in range(0, len(tasks), 8):
        for task, done in zip(
            tasks[start : start + 8], run(*tasks[start : start + 8]), strict=True
        ):
            assert done["status"] == 0, task
            assert done["wrong"] == 0, task
    (whole,) = run({"what": "look", "cache": str(tmp_path / "cache")})
    assert whole == {"found": N_RECORDS, "wrong": 0, "warnings": [], "status": 0}


# Clocks


def _replaced(path, content):
    """Replace a file by one of the same size and time, as cp -p and tar do."""
    status = os.stat(path)
    other = Path(f"{path}.new")
    other.write_bytes(content)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)
    assert os.stat(path).st_mtime_ns == status.st_mtime_ns
    assert os.stat(path).st_size == status.st_size


@pytest.mark.parametrize("age", [10**9, -(10**9), 40 * 365 * 86400])
def test_a_file_replaced_by_one_of_the_same_size_and_time(files, tmp_path, age):
    # In seconds; that of the second file lies in the future.
    when = (int(time.time()) - age) * 10**9
    for path in files:
        os.utime(path, ns=(when, when))
    encoder = ByteHistogramEncoder(cache=tmp_path / "cache")
    before = encoder.transform(files)
    _replaced(files[3], b"clip" + bytes(2000))
    after = encoder.transform(files)
    np.testing.assert_array_equal(after, expected(files))
    assert (after[3] != before[3]).any()
    open_store(tmp_path / "cache").close()


def test_times_that_go_back_are_changes(files, tmp_path):
    encoder = ByteHistogramEncoder(cache=tmp_path / "cache")
    encoder.transform(files)
    now = os.stat(files[0]).st_mtime_ns
    Path(files[0]).write_bytes(b"clip" + bytes(2000))
    os.utime(files[0], ns=(now - 10**15, now - 10**15))
    np.testing.assert_array_equal(encoder.transform(files), expected(files))
    open_store(tmp_path / "cache").close()


@pytest.mark.parametrize("offset", [0, 30])
def test_files_on_disks_with_whole_seconds(files, tmp_path, monkeypatch, offset):
    """Or of a server whose clock is ahead: two changes may have one time."""
    from skmer.cache import _contents, _keys

    def coarse(status):
        seconds = status.st_mtime_ns // 10**9 + offset
        return os.stat_result(
            (*status[:7], seconds, seconds, seconds),
            {
                "st_atime_ns": seconds * 10**9,
                "st_mtime_ns": seconds * 10**9,
                "st_ctime_ns": seconds * 10**9,
            },
        )

    class Disk:
        def __getattr__(self, name):
            return getattr(os, name)

        def stat(self, path):
            return coarse(os.stat(path))

        def fstat(self, file):
            return coarse(os.fstat(file))

    for module in (_keys, _contents):
        monkeypatch.setattr(module, "os", Disk())
    store = open_store(tmp_path / "cache")
    while time.time() % 1 > 0.8:
        time.sleep(0.01)
    Path(files[0]).write_bytes(b"one")
    (one,) = store.content_ids(files[:1])
    Path(files[0]).write_bytes(b"two")
    assert store.content_ids(files[:1]) != [one]
    store.close()
