"""Time warm reads of the feature cache against two ways of doing without it.

What is measured: 20,000 clips with one vector of 1,024 float32 each, all cached,
asked for in random order and put into one (20000, 1024) matrix:

- skmer: ``transform`` of an encoder: per clip one ``os.stat``, the content's
  identity and the look-up in ``skmer.cache``, with every record verified;
- joblib: ``joblib.Memory``, one call a clip;
- array: ``numpy.load`` of one array and a gather of its rows, which knows nothing
  of clips, files or damage.

The sides are interleaved in one process at one thread; medians are compared, of
the time on the clock and of the processor's time, which other work on the machine
disturbs less.
skmer must be at least 25 times as fast as joblib and take at most 3 times as
long as the array. Run from the repository's root:

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/cache_reads.py

``--clips`` and ``--rounds`` change the size; ``--write`` keeps the report in
``benchmarks/results/cache_reads.txt``. Takes about two minutes.
"""

import argparse
import datetime
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import joblib
import numpy as np

from skmer.cache import Record
from skmer.clips import ClipEncoder

N_DIMS = 1024
N_PER_COMMIT = 64
RESULTS = Path(__file__).parent / "results" / "cache_reads.txt"


def make_clips(folder, n_clips):
    """Write small files that stand for clips; their content is never decoded."""
    folder.mkdir()
    paths = [str(folder / f"clip_{i:05d}.mp4") for i in range(n_clips)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(number.to_bytes(8, "little"))
    return paths


def vector(number):
    """Return the features of one clip."""
    return np.random.default_rng(number).standard_normal(N_DIMS, dtype=np.float32)


class VectorEncoder(ClipEncoder):
    """Give the clip numbered in its file name the vector of that number."""

    def __init__(self, *, cache="default", batch_size=64, n_jobs=None):
        super().__init__(cache=cache, batch_size=batch_size, n_jobs=n_jobs)

    def _feature_names(self):
        return [str(i) for i in range(N_DIMS)]

    def _encode(self, cells):
        return [Record("ok", {"values": one_vector(path)}) for path in cells]


def encoder_side(folder, paths):
    """Fill a store through an encoder; return the store and ``transform``."""
    encoder = VectorEncoder(cache=str(folder))
    encoder.transform(paths)
    return encoder._store(), encoder.transform


def one_vector(path):
    """Return the features of a clip: the function that joblib caches."""
    return vector(int(Path(path).stem.rpartition("_")[2]))


def joblib_side(folder, paths):
    """Fill a joblib.Memory; return the reader that calls it clip by clip."""
    cached = joblib.Memory(folder, verbose=0).cache(one_vector)
    for path in paths:
        cached(path)

    def read(clips):
        out = np.empty((len(clips), N_DIMS), dtype=np.float32)
        for i, path in enumerate(clips):
            out[i] = cached(path)
        return out

    return read


def array_side(folder, paths, matrix):
    """Save one array; return the reader that loads it and gathers rows."""
    file = folder / "matrix.npy"
    np.save(file, matrix)
    rows = {path: i for i, path in enumerate(paths)}

    def read(clips):
        return np.load(file)[[rows[path] for path in clips]]

    return read


def interleave(sides, order, clips, rounds):
    """Time callables in turn.

    Parameters
    ----------
    sides : dict of str to callable
        Each takes the clips and returns their matrix.
    order : sequence of str
        The sides of one round; the quick ones occur more than once.
    clips : list of str
        Clips in the order asked for.
    rounds : int
        Number of rounds.

    Returns
    -------
    seconds : dict of str to list of (float, float)
        Time on the clock and of the processor.
    answers : dict of str to ndarray
        The last answer of each side.
    """
    seconds, answers = {name: [] for name in sides}, {}
    for _ in range(rounds):
        for name in order:
            begin = time.perf_counter(), time.process_time()
            answer = sides[name](clips)
            end = time.perf_counter(), time.process_time()
            seconds[name].append((end[0] - begin[0], end[1] - begin[1]))
            answers[name] = answer
            del answer
    return seconds, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = make_clips(folder / "clips", options.clips)
        matrix = np.stack([vector(i) for i in range(options.clips)])
        store, transform = encoder_side(folder / "store", paths)
        sides = {
            "skmer": transform,
            "array": array_side(folder, paths, matrix),
            "joblib": joblib_side(folder / "joblib", paths),
        }
        order = np.random.default_rng(0).permutation(options.clips)
        clips = [paths[i] for i in order]
        seconds, answers = interleave(
            sides, ["skmer", "array"] * 3 + ["joblib"], clips, options.rounds
        )
        for name, answer in answers.items():
            if not np.array_equal(answer, matrix[order]):
                raise RuntimeError(f"{name} gave other values than were stored")
        info = store.info()
        store.close()
    clock = {name: median(t for t, _ in times) for name, times in seconds.items()}
    cpu = {name: median(t for _, t in times) for name, times in seconds.items()}
    lines = [
        f"{options.clips} clips, one vector of {N_DIMS} float32 each, warm, random "
        "order, one thread; median seconds",
        "",
        f"{'side':10}{'clock':>10}{'fastest':>10}{'processor':>11}{'runs':>6}",
    ]
    for name, times in seconds.items():
        lines.append(
            f"{name:10}{clock[name]:10.4f}{min(times)[0]:10.4f}{cpu[name]:11.4f}"
            f"{len(times):6d}"
        )
    lines += ["", f"{'ratio':20}{'clock':>7}{'processor':>11}"]
    for name, over, under, bound in (
        ("joblib / skmer", "joblib", "skmer", "at least 25"),
        ("skmer / array", "skmer", "array", "at most 3"),
    ):
        lines.append(
            f"{name:20}{clock[over] / clock[under]:7.2f}"
            f"{cpu[over] / cpu[under]:11.2f}   ({bound})"
        )
    per_entry = info["file_bytes"] / info["entries"]
    lines += [
        "",
        f"store: {per_entry:.0f} bytes of file a vector of {N_DIMS * 4} bytes",
    ]
    print("\n".join(lines))
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        head = [
            "python benchmarks/cache_reads.py --write",
            f"{datetime.date.today()}, {os.cpu_count()} cores, no GPU, Python "
            f"{sys.version_info.major}.{sys.version_info.minor}, OMP_NUM_THREADS=1",
            "",
        ]
        RESULTS.write_text("\n".join(head + lines) + "\n")


if __name__ == "__main__":
    main()
