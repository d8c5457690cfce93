"""Count what faults do to the feature cache.

The faults are those of ``tests/cache_faults.py``; each run is a process of its own:

- kills: extraction of 200 files, killed with SIGKILL at random times and started
  again until it is done, in several caches. At the end all rows are right, no record
  is damaged, and a run after it encodes nothing;
- processes: two, four and eight that extract the same files into one cache, one of
  them killed at a random time;
- full disk: extraction onto disks in memory of 0.1 to 3 MB, of which the records
  need about 1.7, and again after that (needs the right to mount);
- damage: files of a store with flipped bits, damaged heads and index, holes, copied
  pages and cut ends, then read and written. No record may be wrong, no process may
  end by a signal;
- opening: seconds to check the index of a store of 130,000 clips.

Run from the repository's root:

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/cache_faults.py

``--rounds`` changes how often; ``--write`` keeps the report in
``benchmarks/results/cache_faults.txt``. Takes about five minutes.
"""

import argparse
import datetime
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cache_faults import damaged, fork_server, make_files, small_disk

from skmer.cache import Record, open_store

RESULTS = Path(__file__).parent / "results" / "cache_faults.txt"
N_FILES = 200


def lines(log):
    return log.read_text().splitlines() if log.exists() else []


def duration(run, folder, files):
    """Return the seconds that a run takes that nobody kills."""
    start = time.perf_counter()
    cache = tempfile.mkdtemp(dir=folder)
    run({"what": "encode", "files": files, "delay": 0.001, "cache": cache})
    return time.perf_counter() - start


def kills(run, folder, files, rounds):
    """Kill extraction until it is done; yield a line of the report."""
    rng = random.Random(0)
    n_runs = n_killed = n_encoded = n_wrong = n_warnings = n_again = 0
    n_working = 0
    whole = duration(run, folder, files)
    for round_ in range(rounds):
        log = folder / f"log{round_}"
        task = {"what": "encode", "files": files, "delay": 0.001, "log": str(log)}
        task |= {"cache": str(folder / f"killed{round_}"), "batch_size": 4}
        for _ in range(20):
            before = len(lines(log))
            (done,) = run(task | {"kill_after": rng.uniform(0.001, 0.4 * whole)})
            assert done["status"] in (0, -9), done
            n_runs, n_killed = n_runs + 1, n_killed + (done["status"] == -9)
            n_working += done["status"] == -9 and len(lines(log)) > before
        (done,) = run(task)
        n_encoded += len(lines(log))
        (warm,) = run(task)
        n_again += len(lines(log))
        for one in (done, warm):
            n_wrong += not (one["status"] == 0 and one["right"])
            n_warnings += len(one.get("warnings", "?"))
    n_again -= n_encoded
    yield (
        f"kills: {n_runs} runs, {n_killed} of them killed, {n_working} when they had "
        f"encoded something; {rounds * N_FILES} clips to do, {n_encoded} encoded "
        f"({(n_encoded - rounds * N_FILES) / max(n_working, 1):.2f} again for each of "
        f"these kills, of batches of 4), {n_again} by a run after the end; "
        f"{n_wrong} wrong results, {n_warnings} warnings"
    )


def processes(run, folder, files, rounds):
    """Extract the same clips in several processes; yield lines of the report."""
    rng = random.Random(0)
    whole = duration(run, folder, files)
    for n in (2, 4, 8):
        n_encoded = n_wrong = n_warnings = 0
        for round_ in range(rounds):
            log = folder / f"log{n}-{round_}"
            task = {"what": "encode", "files": files, "delay": 0.001, "log": str(log)}
            task |= {"cache": str(folder / f"shared{n}-{round_}")}
            killed = task | {"kill_after": rng.uniform(0.01, whole)}
            done = run(killed, *[task] * (n - 1))[1:] + run(task)
            n_encoded += len(lines(log))
            for one in done:
                n_wrong += not (one["status"] == 0 and one["right"])
                n_warnings += len(one.get("warnings", "?"))
        yield (
            f"{n} processes, one of them killed: {rounds} rounds, "
            f"{n_encoded / rounds / N_FILES:.2f} encodings of a clip; "
            f"{n_wrong} wrong results, {n_warnings} warnings"
        )


def full_disk(run, folder, files):
    """Extract onto small disks; yield lines of the report."""
    for size in (4096, 100_000, 500_000, 1_000_000, 2_000_000, 3_000_000):
        disk, log = folder / f"disk{size}", folder / f"log{size}"
        task = {"what": "encode", "files": files, "log": str(log), "n_bins": 1500}
        task |= {"cache": str(disk / "cache")}
        try:
            with small_disk(disk, size):
                (first,) = run(task)
                n_first = len(lines(log))
                (again,) = run(task)
        except OSError as error:
            yield f"full disk: not measured, nothing can be mounted ({error})"
            return
        right = first["right"] and again["right"]
        n_stored = 2 * n_first - len(lines(log))
        yield (
            f"disk of {size / 1e6:.1f} MB: {n_stored} of {n_first} clips stored, "
            f"{'right' if right else 'WRONG'}, {len(first['warnings'])} and "
            f"{len(again['warnings'])} warnings"
        )


def damage(run, folder, n_files):
    """Damage files of a store; yield lines of the report."""
    cache = folder / "sound"
    run({"what": "fill", "cache": str(cache)})
    data = (cache / "data.mdb").read_bytes()
    counts, found, told = Counter(), Counter(), Counter()
    ends = Counter()
    for seed in range(n_files):
        kind, content = damaged(data, random.Random(seed))
        place = folder / "damaged"
        place.mkdir()
        (place / "data.mdb").write_bytes(content)
        (done,) = run({"what": "look", "cache": str(place)})
        shutil.rmtree(place)
        counts[kind] += 1
        ends[done["status"]] += 1
        if done["status"] == 0:
            found[kind] += done["found"]
            told[kind] += bool(done["warnings"])
            ends["wrong"] += done["wrong"]
    for kind, n in sorted(counts.items()):
        yield (
            f"damage ({kind}): {n} files, a warning for {told[kind]}, of 150 records "
            f"{found[kind] / n:.0f} still read"
        )
    yield (
        f"damage: {n_files} files, {n_files - ends[0]} processes ended by a signal or "
        f"an error, {ends['wrong']} wrong records"
    )


def opening(folder, n_clips=130_000):
    """Time the opening of a large store; yield a line of the report."""
    store = open_store(folder / "large")
    values, rng = np.zeros(1024, np.float32), np.random.default_rng(0)
    for start in range(0, n_clips, 1000):
        numbers = range(start, min(start + 1000, n_clips))
        store.put_many([(rng.bytes(32), Record("ok", {"x": values})) for _ in numbers])
    size = store.info()["file_bytes"]
    seconds = []
    for _ in range(5):
        store.close()
        start = time.perf_counter()
        store = open_store(folder / "large")
        seconds.append(time.perf_counter() - start)
    store.close()
    yield (
        f"opening: {n_clips} clips in {size / 1e9:.2f} GB, index checked, "
        f"{np.median(seconds):.3f} s (fastest {min(seconds):.3f})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--damaged", type=int, default=1000)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    report = [
        " ".join(["python benchmarks/cache_faults.py", *sys.argv[1:]]),
        f"{datetime.date.today()}, {os.cpu_count()} cores, "
        f"Python {sys.version_info[0]}.{sys.version_info[1]}, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder, fork_server() as run:
        folder = Path(folder)
        files = make_files(folder / "clips", N_FILES)
        for part in (
            kills(run, folder, files, args.rounds),
            processes(run, folder, files, args.rounds),
            full_disk(run, folder, files),
            damage(run, folder, args.damaged),
            opening(folder),
        ):
            for line in part:
                print(line, flush=True)
                report.append(line)
    if args.write:
        RESULTS.write_text("\n".join(report) + "\n")


if __name__ == "__main__":
    main()
