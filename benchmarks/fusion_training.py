"""Time of a training epoch: skmer, stock skorch and a loop written by hand.

All three train the same attention module on the same clips in batches of 32.
Stock skorch uses its DataLoader and torch's default Adam; the other two slice whole
tensors and use the fused Adam. One epoch of each in turn, medians over the rounds.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/fusion_training.py

The machine may be busy: CPU time is given beside wall time. ``--write`` keeps the
report in ``benchmarks/results/fusion_training.txt``.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from skmer.fusion import AttentionFusionClassifier
from skmer.modules import AttentionFusion, RandomSource

SIZES = {"audio": 1024, "text": 1024, "video": 768}
N_CLASSES = 6
RESULTS = Path(__file__).parent / "results"


class Clock(Callback):
    """Record wall and CPU seconds of each epoch."""

    def initialize(self):
        self.times = getattr(self, "times", [])
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.start = time.perf_counter(), time.process_time()

    def on_epoch_end(self, net, **kwargs):
        wall, cpu = self.start
        self.times.append((time.perf_counter() - wall, time.process_time() - cpu))


class OneInput(nn.Module):
    """The attention module behind one input tensor, as stock skorch passes it."""

    def __init__(self, hidden_size, dropout):
        super().__init__()
        self.net = AttentionFusion(
            SIZES,
            N_CLASSES,
            hidden_size=hidden_size,
            dropout=dropout,
            random_source=RandomSource(0),
        )

    def forward(self, X):
        return self.net(X.split(list(SIZES.values()), dim=1))


def by_hand(module, optimizer, X, y, batch_size):
    """Train one epoch with nothing but torch; return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    module.train()
    sizes = list(SIZES.values())
    total = 0.0
    for rows in torch.randperm(len(y)).split(batch_size):
        optimizer.zero_grad(set_to_none=True)
        logits = module(X[rows].split(sizes, dim=1))
        loss = nn.functional.cross_entropy(logits, y[rows])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--write", action="store_true", help="keep the report in benchmarks/results"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)

    rng = np.random.default_rng(0)
    X = rng.standard_normal((args.clips, sum(SIZES.values())), dtype=np.float32)
    y = rng.integers(N_CLASSES, size=args.clips)
    shape = {"hidden_size": 128, "dropout": 0.3}
    edges = np.cumsum([0, *SIZES.values()])
    streams = {
        name: slice(int(a), int(b))
        for name, a, b in zip(SIZES, edges[:-1], edges[1:], strict=True)
    }

    clocks = {"skmer": Clock(), "skorch": Clock()}
    ours = AttentionFusionClassifier(
        **shape,
        streams=streams,
        lr=1e-4,
        weight_decay=0.0,
        modality_dropout=0.0,
        # The module alone, as the others train it.
        stream_heads=None,
        max_epochs=1,
        batch_size=args.batch_size,
        callbacks=[clocks["skmer"]],
        device="cpu",
        random_state=0,
    )
    stock = NeuralNetClassifier(
        OneInput,
        module__hidden_size=shape["hidden_size"],
        module__dropout=shape["dropout"],
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-4,
        max_epochs=1,
        batch_size=args.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[clocks["skorch"]],
        verbose=0,
    )
    module = OneInput(**shape).net
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
    tensors = torch.from_numpy(X), torch.from_numpy(y)

    times = {"skmer": [], "skorch": [], "by hand": []}
    for turn in range(args.rounds + 1):
        ours.partial_fit(X, y)
        hand = by_hand(module, optimizer, *tensors, args.batch_size)
        stock.partial_fit(X, y)
        if turn == 0:  # the first round warms everything up
            continue
        times["skmer"].append(clocks["skmer"].times[-1])
        times["by hand"].append(hand)
        times["skorch"].append(clocks["skorch"].times[-1])

    lines = [
        f"{args.clips} clips x {' + '.join(map(str, SIZES.values()))} columns, batch "
        f"{args.batch_size}, attention net of width 128, one thread, CPU",
        f"{args.rounds} rounds of one epoch each, in turn; 2 shared cores, no GPU; "
        f"torch {torch.__version__}",
        "",
        f"{'':10}{'wall ms':>10}{'least':>10}{'CPU ms':>10}",
    ]
    for name, pairs in times.items():
        wall, cpu = (np.array(side) * 1000 for side in zip(*pairs, strict=True))
        lines.append(
            f"{name:10}{np.median(wall):10.0f}{wall.min():10.0f}{np.median(cpu):10.0f}"
        )
    lines.append("")
    for name, limit in (("skorch", 0.7), ("by hand", 1.15)):
        ratios = [
            statistics.median(
                mine[i] / other[i]
                for mine, other in zip(times["skmer"], times[name], strict=True)
            )
            for i in (0, 1)
        ]
        lines.append(
            f"skmer / {name:8}{ratios[0]:6.2f} wall,{ratios[1]:6.2f} CPU "
            f"(median of the rounds' ratios; wanted <= {limit})"
        )
    report = "\n".join(lines)
    print(report)
    if args.write:
        (RESULTS / "fusion_training.txt").write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
