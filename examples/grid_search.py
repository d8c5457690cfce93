"""Settings chosen by grid search, from raw clips, and what the choice is worth.

Searches a recipe on the list of video paths: how sound is described, and the
learning rate of the network. With the feature cache each description is computed once
for all folds and settings. The score that a search reports of its winner is too good,
as the winner was chosen on the folds that scored it; the search inside of
``cross_val_score`` gives the honest one. Beside it: the settings that the recipe has.

Run it from the project's folder: ``python examples/grid_search.py``
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)

from skmer.datasets import make_clips
from skmer.recipes import make_mertools_attention

# Of a speech model it would be layers: {"encode__audio__layers": [9, 12]}.
FEATURES = {"encode__audio__pooling": ["functionals", "mean_std"]}
NETWORK = {"fuse__lr": [1e-3, 5e-3]}


def main(n_clips=180, output="grid_search_output", n_jobs=2, n_folds=5):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to make.
    output : path
        Folder for clips and features.
    n_jobs : int
        Worker processes.
    n_folds : int
        Outer folds; the search has three of its own.
    """
    output = Path(output)
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    X, y = np.array(clips.paths), clips.target
    common = {"cache": str(output / "features"), "sidecar_text": True}

    # Workers that find an empty cache would each compute the same clips.
    start = time.perf_counter()
    encode = make_mertools_attention(**common, n_jobs=n_jobs)[:2]
    for pooling in FEATURES["encode__audio__pooling"]:
        encode.set_params(encode__audio__pooling=pooling).fit_transform(X)
    print(f"features, two kinds of sound     {time.perf_counter() - start:6.1f} s")

    start = time.perf_counter()
    model = make_mertools_attention(**common, random_state=0)
    search = GridSearchCV(
        model,
        FEATURES | NETWORK,
        cv=StratifiedKFold(3, shuffle=True, random_state=1),
        scoring="f1_weighted",
    )
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    common = {"cv": folds, "scoring": "f1_weighted", "n_jobs": n_jobs}
    # cross_val_score(search, X, y, **common), with the winners kept to be looked at
    found = cross_validate(search, X, y, **common, return_estimator=True)
    winners = pd.DataFrame([s.best_params_ for s in found["estimator"]])
    n_fits = n_folds * (3 * len(found["estimator"][0].cv_results_["params"]) + 1)
    print(
        f"{n_fits} fits on clips in the cache      {time.perf_counter() - start:6.1f} s"
    )

    winners.columns = [name.rpartition("__")[2] for name in winners.columns]
    winners["its own score"] = [s.best_score_ for s in found["estimator"]]
    winners["on the outer fold"] = found["test_score"]
    print("\nWhat won in each outer fold, weighted F1")
    print(winners.round(3).to_string())

    default = cross_val_score(model, X, y, **common)
    own, nested = winners["its own score"].mean(), found["test_score"].mean()
    print(f"\nwinner, by the folds that chose it    {own:.3f} (smaller training parts)")
    print(f"winner, on clips it was not chosen by {nested:.3f} (report this one)")
    print(f"the recipe's own settings, same folds {default.mean():.3f}")
    spread = (found["test_score"] - default).std(ddof=1) / np.sqrt(n_folds)
    print(f"gained by searching {nested - default.mean():+.3f} +- {spread:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=180)
    parser.add_argument("--output", default="grid_search_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--n-folds", type=int, default=5)
    main(**vars(parser.parse_args()))
