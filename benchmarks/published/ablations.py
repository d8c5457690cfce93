"""The papers' ablation tables, all seven, on made-up clips.

Run from the root of the repository::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
        python benchmarks/published/ablations.py [NAME ...] [--clips 600] [--work DIR]

Clips of :func:`skmer.datasets.make_clips`, with MER2024's shares of the six emotions,
through encoders that need nothing downloaded, so that rows about one of the papers'
models say what they lack. For the tables of MR-CCL a third of the clips has no label;
only labelled clips are scored.
With a few hundred clips and a seed or two, intervals are as wide as most of what the
papers' rows add: the tables show that each row runs and what it changes, and for scores
that mean something take a data set of your own, see :func:`skmer.evaluation.ablation`.

``--work`` keeps clips, features and rows; what is finished there is not run again.

Writes benchmarks/published/results/ablations.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import skmer
from skmer.datasets import make_clips
from skmer.evaluation import ablation
from skmer.model_selection import UnlabeledInTrain

HERE = Path(__file__).resolve().parent
TABLES = (
    "ecmf",
    "mmef-net",
    "acoustic-visual",
    "foal-net",
    "mr-ccl",
    "mr-ccl-oversampling",
    "mr-ccl-learning-rate",
)
# Labelled clips of MER2024: neutral, angry, happy, sad, worried, surprise
COUNTS = (1248, 1208, 1038, 730, 616, 190)
COMMAND = "python benchmarks/published/ablations.py"


def run(name, clips, options, work):
    """Return the Markdown of a table."""
    y, cv = np.array(clips.target, dtype=object), options.folds
    if name.startswith("mr-ccl"):
        rng = np.random.default_rng(0)
        y[rng.permutation(len(y))[: len(y) // 3]] = None
        cv = UnlabeledInTrain(options.folds)
    report = ablation(
        name,
        clips.paths,
        y,
        cv=cv,
        n_repeats=options.seeds,
        sidecar_text=True,
        cache=work / "features",
        folder=work / name,
        verbose=True,
    )
    return report.to_markdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=TABLES)
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, help="where to keep clips and rows")
    parser.add_argument("--output", type=Path, default=HERE / "results/ablations.md")
    options = parser.parse_args()
    unknown = set(options.names) - set(TABLES)
    if unknown:
        parser.error(f"no table {unknown.pop()}; there are {', '.join(TABLES)}")
    with tempfile.TemporaryDirectory() as scratch:
        work = options.work or Path(scratch)
        clips = make_clips(
            options.clips, work / "clips", weights=COUNTS, random_state=0
        )
        texts = [run(name, clips, options, work) for name in options.names]
    settings = (
        f"--clips {options.clips} --folds {options.folds} --seeds {options.seeds}"
    )
    head = (
        f"`{COMMAND} {settings}`: {options.clips} clips of make_clips, offline "
        f"encoders, skmer {skmer.__version__}.\n"
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join([head, *texts]), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
