"""All recipes on made-up clips, beside plain classifiers on the same features.

Run from the root of the repository::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
        python benchmarks/published/make_clips.py [--seeds 3] [--work folder]

600 clips of :func:`skmer.datasets.make_clips`, real MP4 files with a text file beside
each; six stratified folds; encoders that need nothing downloaded; recipes as they come
out of the box, fitted from several seeds. Beside each recipe, on the folds and features
of its own (means of sequences), the references of :func:`skmer.evaluation.evaluate`:
logistic regression on all columns side by side (C = 1), the product of one a modality
(C = 0.1), and the best of the latter alone.

WF1 is weighted F1 of the predictions of all folds together, the mean over seeds, with
the 95 % interval of a bootstrap over clips; "gain" is what is above the reference, with
the interval of the same bootstrap. ``--work`` keeps clips, features and reports, and
what is finished there is not run again.

Recipes' defaults were settled on the same kind of clips, on folds drawn with the same
and with other seeds: that a recipe is above the references here tells that it works,
not how it does on clips of people.

Writes benchmarks/published/results/make_clips.txt.
"""

import argparse
import tempfile
from pathlib import Path

from skmer.datasets import make_clips
from skmer.evaluation import evaluate
from skmer.recipes import RECIPES

HERE = Path(__file__).resolve().parent
CONCAT, PRODUCT = "concat + LR", "product of LRs"
# Recipes of one network, of which several may vote. Foal-Net's paper has sound and
# pictures; words make it comparable with the others.
MORE = {
    **{
        f"{name}, 5 vote": (name, {"n_seeds": 5})
        for name in ("mertools-attention", "foal-net")
    },
    "foal-net, words too": ("foal-net", {"streams": ("audio", "video", "text")}),
}


def rows(names):
    """Return recipes with their parameters, by the name of the row."""
    found = {name: (name, {}) for name in names}
    found.update({row: made for row, made in MORE.items() if made[0] in names})
    return dict(sorted(found.items(), key=lambda row: list(RECIPES).index(row[1][0])))


def run(name, recipe, params, clips, options, work):
    """Return the report of a recipe."""
    model = RECIPES[recipe].make(
        sidecar_text=True,
        cache=work / "features",
        n_jobs=options.n_jobs,
        random_state=0,
        **params,
    )
    return evaluate(
        model,
        clips.paths,
        clips.target,
        cv=6,
        n_repeats=options.seeds,
        literature=False,
        robustness=False,
        calibration=False,
        name=name,
        folder=work / name.replace(", ", "-").replace(" ", "-"),
    )


def line(name, report):
    """Return a row of the table."""
    score, beside = report.scores.loc["WAF"], report.references
    alone = report.per_modality.set_index("modality")["WAF"]
    cells = [interval(score["score"], score["low"], score["high"])]
    spread = f"{100 * score['repeat_std']:.1f}" if report.facts["n_repeats"] > 1 else ""
    cells.append(f"{spread:>4s}")
    cells.append(f"{alone.idxmax():5s} {100 * alone.max():4.1f}")
    for reference in (CONCAT, PRODUCT):
        found = beside.loc[reference]
        gain = interval(found["gain"], found["gain_low"], found["gain_high"], "+")
        cells.append(f"{100 * found['WAF']:4.1f}  {gain}")
    return f"{name:26s}{report.facts['n_repeats']:2d} " + "   ".join(cells)


def interval(score, low, high, sign=""):
    return (
        f"{100 * score:{sign}5.1f} ({100 * low:{sign}5.1f} to {100 * high:{sign}5.1f})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--clips-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--work", type=Path, help="where to keep clips and reports")
    parser.add_argument("--n-jobs", type=int, default=None)
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "make_clips.txt"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lines = report_all(options, options.work or Path(scratch))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


def report_all(options, work):
    """Run all recipes and return the lines of the table."""
    clips = make_clips(
        options.clips, work / "clips", random_state=options.clips_seed, n_jobs=2
    )
    known = clips.scores.loc["every", "weighted_f1"]
    lines = [
        f"{options.clips} clips of make_clips(random_state={options.clips_seed}), six "
        "folds, offline encoders.",
        f"Weighted F1 in percent; the best that the evidence in the clips allows is "
        f"{100 * known:.1f}. In brackets 95 % of the bootstrap.",
        "n: seeds; sd: of the seeds. LR: logistic regression.",
        "",
        f"{'':26s}{'n':>2s}   {'WF1':20s}{'sd':7s}{'best alone':13s}"
        f"{CONCAT + ', gain':31s}{PRODUCT}, gain",
    ]
    print("\n".join(lines), flush=True)
    for name, (recipe, params) in rows(options.recipes).items():
        found = run(name, recipe, params, clips, options, work)
        lines.append(line(name, found))
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
