"""Time and memory of what comes after the encoders, as the number of clips grows.

Synthetic features of up to 115,595 clips (the size of MER2024's collection) in four
streams, 3,584 columns of float32, go through the steps of a recipe and through the
estimators beside them. 4.35 % of the clips are labelled, as 5,030 of MER2024's are
(``few``), or all (``all``). Each measurement is a process of its own: processor time
of one thread, which other work on the machine changes less than wall time, and the
peak of resident memory above what the process held when the work began, also as a
multiple of the features' size. The exponent is the slope of log time over log size,
through all sizes and between the last two; at most 1.05 is wanted of everything but
exact support vector machines, whose approximation (1,000 landmarks) is measured beside
them; votes are exact up to 10,000 labelled clips, so that their exponents say little.
``control`` is a step without skmer: what a copy by NumPy and naive Bayes by
scikit-learn cost, whose exponents are the machine's.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/scale.py

``--quick`` stops at 14,449 clips; ``--steps`` and ``--sizes`` choose; ``--write`` keeps
the report in ``benchmarks/results/scale.txt``, and each measurement is added to
``--log``, from which a run that was stopped goes on.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

HERE = Path(__file__).resolve().parent
STREAMS = {"audio": 1024, "video__face": 768, "video__frame": 768, "text": 1024}
EMOTIONS = ("worried", "happy", "neutral", "angry", "surprise", "sad")
SIZES = (7_224, 14_449, 28_899, 57_798, 115_595)
LABELLED = 5_030 / 115_595
GOAL = 1.05
CLIPS_A_SPEAKER = 20
MIB = 2**20


# Data


def features(n_clips, *, columns=None, missing=0.0):
    """Return a frame of features and the classes behind it."""
    rng = np.random.default_rng(0)
    sizes = STREAMS if columns is None else columns
    names = [f"{name}__{i}" for name, size in sizes.items() for i in range(size)]
    y = rng.integers(len(EMOTIONS), size=n_clips)
    X = np.empty((n_clips, len(names)), dtype=np.float32)
    centers = rng.normal(scale=0.15, size=(len(EMOTIONS), len(names)))
    centers = centers.astype(np.float32)
    for start in range(0, n_clips, 1024):
        part = X[start : start + 1024]
        rng.standard_normal(out=part, dtype=np.float32)
        part += centers[y[start : start + 1024]]
    if missing:
        start = 0
        for size in sizes.values():
            absent = rng.random(n_clips) < missing
            X[absent, start : start + size] = np.nan
            start += size
    ids = [f"clip{i:06d}" for i in range(n_clips)]
    return pd.DataFrame(X, index=ids, columns=names, copy=False), y


def labels(y, mode):
    """Return the names of the classes, None where a clip has no label."""
    named = np.array(EMOTIONS, dtype=object)[y]
    if mode == "few":
        known = np.random.default_rng(1).permutation(len(y))
        named[known[round(LABELLED * len(y)) :]] = None
    return named


def speakers(X):
    """Return who speaks in each clip."""
    return pd.Series(np.arange(len(X)) // CLIPS_A_SPEAKER, index=X.index)


# Measuring


class Meter:
    """Take the time and the peak of memory of pieces of work.

    Parameters
    ----------
    n_clips : int
        Number of clips.
    n_bytes : int
        Size of the features.
    """

    def __init__(self, n_clips, n_bytes):
        self.n_clips = n_clips
        self.n_bytes = n_bytes
        self.found = {}

    def __call__(self, name, work):
        """Return what ``work`` gives; note its time and peak."""
        gc.collect()
        reset_peak()
        before = psutil.Process().memory_info().rss
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        extra = max(peak() - before, 0)
        self.found[name] = {
            "n": self.n_clips,
            "wall": wall,
            "cpu": cpu,
            "extra": extra,
            "times": extra / self.n_bytes,
        }
        return result


def reset_peak():
    """Forget the highest resident size so far; Linux only, elsewhere it stays."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak():
    """Return the highest resident size in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# Steps: each takes a Meter, the features, their classes and the labels


def chain(meter, X, y):
    """Scale, select, fuse, vote: what a recipe does with features."""
    from sklearn.preprocessing import StandardScaler

    from skmer.ensemble import SVMEnsembleClassifier
    from skmer.feature_selection import ChiSquareSelector
    from skmer.fusion import AttentionFusionClassifier

    scaler = StandardScaler().set_output(transform="pandas")
    X = meter("scale", lambda: scaler.fit_transform(X))
    selector = ChiSquareSelector(k=0.5).set_output(transform="pandas")
    X = meter("select", lambda: selector.fit_transform(X, y))
    net = AttentionFusionClassifier(max_epochs=1, random_state=0)
    meter("fuse, 1 epoch", lambda: net.fit(X, y))
    net.set_output(transform="pandas")
    codes = meter("fuse, codes", lambda: net.transform(X))
    standard = StandardScaler().set_output(transform="pandas")
    codes = standard.fit_transform(codes)
    vote = SVMEnsembleClassifier(n_seeds=2, n_components=1000, random_state=0)
    meter("vote, fit", lambda: vote.fit(codes, y))
    meter("vote, predict", lambda: vote.predict(codes))


def svm(meter, X, y, approximation):
    """Vote alone, exactly or not, of machines on 128 columns."""
    from skmer.ensemble import SVMEnsembleClassifier

    vote = SVMEnsembleClassifier(
        n_seeds=1, approximation=approximation, n_components=1000, random_state=0
    )
    vote.fit(X, y)


def exact(meter, X, y):
    """Exact machines, above max_gram_rows each on its own."""
    meter("svm, exact", lambda: svm(meter, X, y, None))


def nystroem(meter, X, y):
    """Machines on Nystroem features."""
    meter("svm, nystroem", lambda: svm(meter, X, y, "nystroem"))


def seeds(meter, X, y):
    """Two seeds of a network that vote."""
    from skmer.ensemble import SeedVotingClassifier
    from skmer.fusion import ConcatFusionClassifier

    net = ConcatFusionClassifier(max_epochs=1)
    vote = SeedVotingClassifier(net, n_seeds=2, random_state=0)
    meter("seeds, fit", lambda: vote.fit(X, y))
    meter("seeds, predict", lambda: vote.predict(X))


def imputer(meter, X, y):
    """Means for streams that clips lack."""
    from skmer.preprocessing import ModalityImputer

    step = ModalityImputer().set_output(transform="pandas")
    meter("imputer", lambda: step.fit_transform(X))


def group_scaler(meter, X, y):
    """Scaling by speaker, twenty clips each."""
    from skmer.preprocessing import GroupStandardScaler

    step = GroupStandardScaler(speakers(X)).set_output(transform="pandas")
    meter("group scaler", lambda: step.fit_transform(X))


def refiner(meter, X, y):
    """Weak classifiers of the streams out of fold, and the vote on labels."""
    from skmer.label_refinement import LabelRefiner

    meter("refiner", lambda: LabelRefiner(random_state=0).fit_resample(X, y))


def streams(meter, X, y):
    """A classifier for each stream, which costs little itself."""
    from sklearn.naive_bayes import GaussianNB

    from skmer.ensemble import StreamVotingClassifier

    vote = StreamVotingClassifier(GaussianNB(), by="stream")
    meter("stream voting, fit", lambda: vote.fit(X, y))
    meter("stream voting, predict", lambda: vote.predict(X))


def agreement(meter, X, y):
    """Self-training on what a network and naive Bayes agree on."""
    from sklearn.naive_bayes import GaussianNB

    from skmer.fusion import ConcatFusionClassifier
    from skmer.semi_supervised import AgreementSelfTrainingClassifier

    model = AgreementSelfTrainingClassifier(
        ConcatFusionClassifier(max_epochs=1),
        GaussianNB(),
        threshold=None,
        n_per_class=0.2,
        random_state=0,
    )
    meter("self-training", lambda: model.fit(X, y))


def contrastive(meter, X, y):
    """Pre-training on all clips, then training on labelled ones."""
    from skmer.fusion import ContrastiveFusionClassifier

    net = ContrastiveFusionClassifier(pretrain_epochs=1, max_epochs=1, random_state=0)
    meter("contrastive, 1 + 1 epochs", lambda: net.fit(X, y))


def aligner(meter, X, y):
    """Streams drawn together without labels."""
    from skmer.alignment import ContrastiveAligner

    step = ContrastiveAligner(max_epochs=1, random_state=0)
    step.set_output(transform="pandas")
    meter("aligner, 1 epoch", lambda: step.fit(X))
    meter("aligner, transform", lambda: step.transform(X))


def cross_fit(meter, X, y):
    """Codes of clips by networks that have not seen them."""
    from skmer.ensemble import CrossFitTransformer
    from skmer.fusion import ConcatFusionClassifier

    step = CrossFitTransformer(ConcatFusionClassifier(max_epochs=1), random_state=0)
    step.set_output(transform="pandas")
    meter("cross fit, 1 epoch", lambda: step.fit_transform(X, y))


def cache(meter, X, y):
    """Reading all clips of a warm cache, one vector of 1,024 each."""
    from cache_reads import encoder_side, make_clips

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = make_clips(folder / "clips", len(X))
        store, transform = encoder_side(folder / "store", paths)
        order = np.random.default_rng(0).permutation(len(paths))
        paths = [paths[i] for i in order]
        meter("cache, warm", lambda: transform(paths))
        store.close()


def control(meter, X, y):
    """What the machine itself makes of more rows: NumPy and scikit-learn alone."""
    from sklearn.naive_bayes import GaussianNB

    X = X.to_numpy()
    meter("control: a copy", lambda: [np.multiply(X, 2).sum() for _ in range(5)])
    bayes = GaussianNB().fit(X[:5000], y[:5000])
    meter("control: naive Bayes", lambda: bayes.predict_proba(X))


# Step: function, modes of labels, other columns than all, rows that lack streams,
# the largest size
CODES = {"codes": 128}
STEPS = {
    "chain": (chain, ("few", "all"), None, 0.0, SIZES[-1]),
    "exact": (exact, ("all",), CODES, 0.0, SIZES[1]),
    "nystroem": (nystroem, ("all",), CODES, 0.0, SIZES[-1]),
    "seeds": (seeds, ("few", "all"), None, 0.0, SIZES[-1]),
    "imputer": (imputer, ("few",), None, 0.1, SIZES[-1]),
    "group_scaler": (group_scaler, ("few",), None, 0.1, SIZES[-1]),
    "refiner": (refiner, ("few", "all"), None, 0.1, SIZES[-1]),
    "streams": (streams, ("few", "all"), None, 0.1, SIZES[-1]),
    "agreement": (agreement, ("few",), None, 0.0, SIZES[-1]),
    "contrastive": (contrastive, ("few",), None, 0.1, SIZES[-1]),
    "aligner": (aligner, ("few",), None, 0.1, SIZES[-1]),
    "cross_fit": (cross_fit, ("few", "all"), None, 0.1, SIZES[-1]),
    "cache": (cache, ("few",), {"audio": 1024}, 0.0, SIZES[-1]),
    "control": (control, ("all",), None, 0.0, SIZES[-1]),
}


def child(step, mode, n_clips):
    """Measure one step at one size; print what was found."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    function, _, columns, missing, _ = STEPS[step]
    X, y = features(n_clips, columns=columns, missing=missing)
    meter = Meter(n_clips, 4 * X.size)
    # What is imported and set up once is not to be counted
    small, few = features(600, columns=columns, missing=missing)
    if step != "cache":
        function(Meter(600, 1), small, labels(few, "all"))
    del small
    function(meter, X, labels(y, mode))
    print(json.dumps(meter.found))


def measure(step, mode, n_clips):
    """Return what a process of its own finds."""
    command = [sys.executable, __file__, "--child", step, mode, str(n_clips)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{step}, {mode}, {n_clips} clips ended with {done.returncode}."
        )
    return json.loads(done.stdout.splitlines()[-1])


# Report


def exponents(rows):
    """Return the slopes of log time over log size: of all sizes, of the last two."""
    n, cpu = np.log([[row["n"], max(row["cpu"], 1e-3)] for row in rows]).T
    if len(n) < 2:
        return np.nan, np.nan
    return np.polyfit(n, cpu, 1)[0], (cpu[-1] - cpu[-2]) / (n[-1] - n[-2])


def report(log):
    """Return the lines of the table of all that was measured."""
    table = {}
    for entry in log:
        for name, row in entry["found"].items():
            rows = table.setdefault((name, entry["mode"]), {})
            if row["n"] not in rows or row["cpu"] < rows[row["n"]]["cpu"]:
                rows[row["n"]] = row
    lines = [
        f"{'step':27}{'labels':7}{'clips':>8}{'cpu s':>9}{'wall s':>9}{'exponent':>10}"
        f"{'last two':>10}{'MiB more':>10}{'x data':>8}"
    ]
    for (name, mode), by_size in table.items():
        rows = [by_size[n] for n in sorted(by_size)]
        slope, last = exponents(rows)
        for row in rows:
            end = row is rows[-1]
            lines.append(
                f"{name if row is rows[0] else '':27}{mode if row is rows[0] else '':7}"
                f"{row['n']:8d}{row['cpu']:9.2f}{row['wall']:9.2f}"
                + (f"{slope:10.2f}{last:10.2f}" if end else " " * 20)
                + f"{row['extra'] / MIB:10.0f}{row['times']:8.2f}"
                + ("   missed" if end and max(slope, last) > GOAL else "")
            )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--sizes", nargs="+", type=int, default=None)
    parser.add_argument("--modes", nargs="+", choices=("few", "all"), default=None)
    parser.add_argument("--log", type=Path, default=None)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        step, mode, n_clips = options.child
        child(step, mode, int(n_clips))
        return
    sizes = options.sizes or (SIZES[:2] if options.quick else SIZES)
    log = []
    if options.log is not None and options.log.exists():
        log = [json.loads(line) for line in options.log.read_text().splitlines()]
    done = {(entry["step"], entry["mode"], entry["n"]) for entry in log}
    for n_clips in sizes:
        for step in options.steps:
            _, modes, _, _, largest = STEPS[step]
            for mode in modes:
                if n_clips > largest or (step, mode, n_clips) in done:
                    continue
                if options.modes is not None and mode not in options.modes:
                    continue
                found = measure(step, mode, n_clips)
                entry = {"step": step, "mode": mode, "n": n_clips, "found": found}
                log.append(entry)
                if options.log is not None:
                    with options.log.open("a") as file:
                        file.write(json.dumps(entry) + "\n")
                for name, row in found.items():
                    print(
                        f"{name} ({mode}), {n_clips} clips: {row['cpu']:.2f} s, "
                        f"{row['times']:.2f} x data",
                        flush=True,
                    )
    lines = [
        f"up to {max(sizes)} clips, {sum(STREAMS.values())} columns of float32 in four "
        "streams; processor time of one thread",
        f"{os.cpu_count()} shared cores, no GPU; wanted: exponents of at most {GOAL}",
        "",
        *report(log),
    ]
    print("\n".join(lines))
    if options.write:
        path = HERE / "results" / "scale.txt"
        path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
