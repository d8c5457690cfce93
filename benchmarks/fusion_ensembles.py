"""Time of fitting several networks side by side and one after another.

On the CPU: eight networks of width 64 and 128, batch 32, on features as wide as the
RAVDESS pack's (eGeMAPS and action units) and as those of large encoders, pooled. Both
ways in turn in one process, medians over the rounds.

On a GPU, where there is one: six folds of ten seeds, 7,369 clips of 1,024 + 1,024 +
768 columns, against one fit on one fold.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/fusion_ensembles.py

``--write`` keeps the report in ``benchmarks/results/fusion_ensembles.txt``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from skmer.ensemble import FoldVotingClassifier, SeedVotingClassifier
from skmer.fusion import AttentionFusionClassifier, ConcatFusionClassifier

RESULTS = Path(__file__).parent / "results"
N_CLASSES = 6
WIDE = {"audio": 1024, "text": 1024, "video": 768}
SHAPES = {
    "88 + 35": {"audio": 88, "face": 35},
    "256 + 256 + 256": {"audio": 256, "text": 256, "video": 256},
    "1024 + 1024 + 768": WIDE,
}


def features(sizes, n_clips):
    """Return noise, classes and where each stream is."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_clips, sum(sizes.values())), dtype=np.float32)
    edges = np.cumsum([0, *sizes.values()]).tolist()
    streams = {
        name: slice(start, stop)
        for name, start, stop in zip(sizes, edges, edges[1:], strict=False)
    }
    return X, rng.integers(N_CLASSES, size=n_clips), streams


def networks(width):
    """Yield the networks to compare."""
    settings = {"hidden_size": width, "device": "cpu"}
    yield "attention", AttentionFusionClassifier(**settings)
    yield (
        "attention, no heads",
        AttentionFusionClassifier(**settings, stream_heads=None),
    )
    yield (
        "concat",
        ConcatFusionClassifier(hidden_sizes=(width, width), device="cpu"),
    )


def seconds(work):
    """Return the wall and CPU seconds that work takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(net, sizes, n_nets, n_clips, n_epochs, n_rounds):
    """Return ms per network and step: rounds, (apart, together), (wall, CPU)."""
    X, y, streams = features(sizes, n_clips)
    net = clone(net).set_params(streams=streams, batch_size=32, max_epochs=n_epochs)
    vote = SeedVotingClassifier(net, n_seeds=n_nets, random_state=0).fit(X, y)

    def apart():
        for member in vote.estimators_:
            clone(member).fit(X, y)

    times = []
    for _ in range(n_rounds):
        times.append([seconds(apart), seconds(lambda: vote.fit(X, y))])
    n_steps = n_nets * n_epochs * -(-n_clips // 32)
    return np.array(times) * 1000 / n_steps


def on_cpu(args):
    """Return the lines of the comparison on the CPU."""
    lines = [
        f"{args.nets} networks, {args.clips} clips, batch 32, {args.epochs} epochs, "
        f"one thread, CPU; {args.rounds} rounds, both ways in turn; torch "
        f"{torch.__version__}",
        "ms per network and step (medians), and the median of the rounds' ratios",
        "",
        f"{'columns':20}{'width':>6}  {'network':21}{'apart':>7}{'together':>10}"
        f"{'times quicker':>15}{'(CPU time)':>12}",
    ]
    for shape, sizes in SHAPES.items():
        for width in (64, 128):
            for name, net in networks(width):
                times = compare(
                    net, sizes, args.nets, args.clips, args.epochs, args.rounds
                )
                apart, together = np.median(times[:, :, 0], axis=0)
                wall, cpu = np.median(times[:, 0] / times[:, 1], axis=0)
                lines.append(
                    f"{shape:20}{width:6}  {name:21}{apart:7.2f}{together:10.2f}"
                    f"{wall:15.2f}{cpu:12.2f}"
                )
                print(lines[-1], flush=True)
    return lines


def on_gpu(n_epochs):
    """Return the lines of the comparison on a GPU."""
    X, y, streams = features(WIDE, 7369)
    net = AttentionFusionClassifier(
        streams=streams, device="cuda", max_epochs=n_epochs, random_state=0
    )
    folds = list(StratifiedKFold(6, shuffle=True, random_state=0).split(X, y))
    learn = folds[0][0]
    one = X[learn], y[learn]
    vote = FoldVotingClassifier(net, cv=folds, n_seeds=10, random_state=0)
    clone(net).set_params(max_epochs=1).fit(*one)  # warms the GPU up
    times = [
        [seconds(lambda: clone(net).fit(*one))[0], seconds(lambda: vote.fit(X, y))[0]]
        for _ in range(3)
    ]
    single, together = np.median(times, axis=0)
    return [
        "",
        f"{torch.cuda.get_device_name()}: 6 folds of 10 seeds, {n_epochs} epochs, "
        f"attention net of width 128, batch 32, {len(learn)} clips a fold",
        f"one fit {single:.1f} s, sixty side by side {together:.1f} s: "
        f"{together / single:.2f} times one fit (wanted <= 3)",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", type=int, default=8)
    parser.add_argument("--clips", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--gpu-epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--write", action="store_true", help="keep the report in benchmarks/results"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = on_cpu(args)
    if torch.cuda.is_available():
        lines += on_gpu(args.gpu_epochs)
    else:
        lines += ["", "No GPU here: sixty networks on a GPU were not timed."]
    report = "\n".join(lines)
    print(report)
    if args.write:
        path = RESULTS / "fusion_ensembles.txt"
        path.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
