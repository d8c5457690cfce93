"""Damaged, odd and hostile media files, each read in a process of its own.

A thousand files are made from real recordings, clips of ``make_clips`` and generated
files of other containers, by the mutations of ``media_mutations.py``: bits flipped,
parts cut off, left out or exchanged, sound called pictures, absurd durations, sizes,
rates and counts in headers, metadata without end, traps that ask for gigabytes with a
few bytes, nothing but a magic number. Each goes through ``AcousticEncoder`` and
``VisualEncoder`` (``on_error="nan"``) in a forked process that a parent watches. What
may come of it is a row, or one warning that names the clip and the cause. What may not
is a crash, a process that runs longer than ``--seconds`` or takes more than
``--mebibytes`` of memory besides what it began with, or any other exception.

Run from the project's folder::

    OMP_NUM_THREADS=1 python benchmarks/media_faults.py --shared FOLDER

where FOLDER/media holds recordings of any container (left out where not given). The
files that fail are kept with ``--keep FOLDER``. The exit status is 0 if none does.
"""

import argparse
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from media_mutations import make_sources, mutated

from skmer.encoders import AcousticEncoder, VisualEncoder
from skmer.exceptions import ExtractionWarning

_LOOK = 0.01
# A limit on the address space is the net below the watch on resident memory.
_ADDRESSES = 16 * 2**30
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    status : {"ok", "crash", "hang", "memory", "exception"}
        ``"ok"``: every encoder gave a row or a warning that names the clip.
    results : dict of str to str
        For each encoder ``"row"``, ``"empty"`` (a row of NaN without an error) or the
        cause of an error.
    detail : str
        Signal or traceback of what is not ok.
    seconds : float
        Processor time.
    mebibytes : float
        Most resident memory above that at the start.
    """

    status: str
    results: dict
    detail: str
    seconds: float
    mebibytes: float


def encoders(max_decode_seconds):
    """Return the encoders that every file goes through."""
    common = {
        "cache": None,
        "on_error": "nan",
        "max_decode_seconds": max_decode_seconds,
    }
    return {"sound": AcousticEncoder(**common), "picture": VisualEncoder(**common)}


def encode(encoder, path):
    """Return what one encoder makes of a file, in a word or by the error's cause."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        row = np.asarray(encoder.transform([path]))
    errors = [w for w in caught if issubclass(w.category, ExtractionWarning)]
    if len(row) != 1 or len(errors) < len(caught) or np.isinf(row).any():
        raise RuntimeError(f"{row.shape}: {[str(w.message) for w in caught]}")
    if not errors:
        return "empty" if np.isnan(row).all() else "row"
    found = re.search(
        re.escape(f"first: {path}: ") + r"(.*)\. failures\(X\)", str(errors[0].message)
    )
    if not found or not np.isnan(row).all():
        raise RuntimeError(f"an error without the clip: {errors[0].message}")
    return found[1]


def watch(work, seconds, mebibytes):
    """Run a function of no arguments in a forked process; return its Outcome.

    Parameters
    ----------
    work : callable
        Returns a dict that JSON can hold.
    seconds, mebibytes : float
        What the process may take before it is killed, by the clock on the wall.
    """
    reader, writer = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run(work, writer)
    os.close(writer)
    status, stopped, first, most = None, None, None, 0.0
    while status is None:
        pid, code, usage = os.wait4(child, os.WNOHANG)
        if pid:
            status = os.waitstatus_to_exitcode(code)
            break
        resident = _resident(child)
        first = resident if first is None else first
        most = max(most, resident - first)
        if time.monotonic() - start > seconds:
            stopped = "hang"
        elif most > mebibytes:
            stopped = "memory"
        if stopped is not None:
            os.kill(child, signal.SIGKILL)
            _, code, usage = os.wait4(child, 0)
            status = os.waitstatus_to_exitcode(code)
        else:
            time.sleep(_LOOK)
    taken = usage.ru_utime + usage.ru_stime
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    # Peaks between two looks count too; the child's own peak begins at its parent's.
    if usage.ru_maxrss > _peak():
        most = max(most, usage.ru_maxrss / 1024 - (first or 0.0))
    if stopped is None and status < 0:
        stopped, said = "crash", signal.Signals(-status).name
    if stopped is not None:
        return Outcome(stopped, {}, said, taken, most)
    answer = json.loads(said)
    if "error" in answer:
        return Outcome("exception", {}, answer["error"], taken, most)
    if most > mebibytes:
        return Outcome("memory", answer, "", taken, most)
    return Outcome("ok", answer, "", taken, most)


def _run(work, writer):
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
        answer = work()
    except BaseException:
        answer = {"error": traceback.format_exc()}
    os.write(writer, json.dumps(answer)[:60_000].encode())
    os._exit(0)


def _resident(process):
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
        return int(pages) * _PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def examine(path, seconds, mebibytes):
    """Send a file through all encoders in a process of its own."""
    made = encoders(max_decode_seconds=seconds / 4)

    def work():
        return {name: encode(encoder, path) for name, encoder in made.items()}

    return watch(work, seconds, mebibytes)


def main(n_files, step, seed, shared, seconds, mebibytes, keep):
    """Make the files, examine each, print what became of them."""
    cv2.setNumThreads(0)
    bad = []
    outcomes = defaultdict(list)
    causes = Counter()
    rng = np.random.default_rng(seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        sources = make_sources(Path(folder), shared)
        warm = [next(p for p in sources if p.suffix == s) for s in (".mp4", ".wav")]
        for encoder in encoders(60).values():
            encoder.transform([str(path) for path in warm])
        for i in range(n_files):
            source, name, data = mutated(sources, i * step, rng)
            path = Path(folder) / f"{i:05d}{source.suffix}"
            path.write_bytes(data)
            outcome = examine(str(path), seconds, mebibytes)
            outcomes[source.suffix[1:], name].append(outcome)
            causes.update(_kind(cause) for cause in outcome.results.values())
            if outcome.status != "ok":
                bad.append((i, source.name, name, outcome))
                print(f"{outcome.status}: {path.name} {name} of {source.name}")
                print(outcome.detail, file=sys.stderr)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / path.name).write_bytes(data)
            path.unlink()
    report(outcomes, causes, time.monotonic() - start)
    return len(bad)


def _kind(cause):
    return re.sub(r"\d[\d.]*", "N", cause)


def report(outcomes, causes, seconds):
    """Print tables by container and mutation, the extremes, and all causes."""
    every = [outcome for some in outcomes.values() for outcome in some]
    print(f"{len(every)} files in {seconds:.0f} s")
    for title, place in (("container", 0), ("mutation", 1)):
        print(
            f"\n{title:<14}{'files':>7}{'rows':>7}{'empty':>7}{'errors':>8}"
            f"{'crash':>7}{'hang':>6}{'memory':>8}{'exc.':>6}{'max s':>8}{'max MiB':>9}"
        )
        groups = defaultdict(list)
        for key, some in outcomes.items():
            groups[key[place]] += some
        for name in [*sorted(groups), "all"]:
            some = every if name == "all" else groups[name]
            _print_line(name, some)
    print("\nresults of both encoders, by cause")
    for cause, count in causes.most_common():
        print(f"{count:6d}  {cause}")


def _print_line(name, outcomes):
    statuses = Counter(outcome.status for outcome in outcomes)
    kinds = Counter(_best(outcome) for outcome in outcomes if outcome.status == "ok")
    print(
        f"{name:<14}{len(outcomes):>7}{kinds['row']:>7}{kinds['empty']:>7}"
        f"{kinds['error']:>8}{statuses['crash']:>7}{statuses['hang']:>6}"
        f"{statuses['memory']:>8}{statuses['exception']:>6}"
        f"{max(o.seconds for o in outcomes):>8.1f}"
        f"{max(o.mebibytes for o in outcomes):>9.0f}"
    )


def _best(outcome):
    """Return the best that any encoder made of a file."""
    kinds = {"row", "empty"} & set(outcome.results.values())
    return "row" if "row" in kinds else "empty" if kinds else "error"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-files", type=int, default=1000)
    parser.add_argument("--step", type=int, default=1, help="take every so-manieth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--mebibytes", type=float, default=2048)
    parser.add_argument("--keep", type=Path)
    sys.exit(main(**vars(parser.parse_args())) > 0)
