"""How the MERTools toolkit tunes and scores: kept apart, as it flatters."""

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold

from skmer.evaluation._about import versions
from skmer.evaluation._evaluate import evaluate
from skmer.evaluation._features import split_off_extraction
from skmer.evaluation._resume import FinishedRuns, fingerprint
from skmer.recipes import RECIPES
from skmer.utils import split_labels
from skmer.utils._seeds import draw_seeds, seeded_clone


def mertools_protocol(
    model,
    X,
    y,
    *,
    recipe,
    fixed=(),
    n_splits=5,
    n_draws=50,
    n_reruns=6,
    n_jobs=None,
    seed=0,
    folder=None,
    overwrite=False,
):
    """Score a model as the toolkit's authors do.

    Parameters
    ----------
    model : Pipeline
        Unfitted.
    X, y : indexable of length n_clips
        Clips or features, and labels.
    recipe : str
        Whose search space is drawn from, as far as the model has its parameters.
    fixed : collection of str, default=()
        Parameters that are not searched, as the model is about them.
    n_splits : int, default=5
        Number of folds: shuffled, neither stratified nor kept apart by speaker, and
        others in each run.
    n_draws : int, default=50
        Settings that are drawn, with a seed and folds each.
    n_reruns : int, default=6
        How often the best setting is run again, with other seeds and folds.
    n_jobs : int or None, default=None
        Folds at a time.
    seed : int, default=0
        Seed of all this.
    folder : Path or None, default=None
        Where to keep the score of each run, so that one that was stopped goes on.
    overwrite : bool, default=False
        Remove scores of another evaluation in ``folder``.

    Returns
    -------
    mean, std : float
        Of the weighted F1 of the re-runs. Each is the mean over folds of the best
        epoch's score on the fold that is reported, or, for models without epochs, of
        the model's.
    best : dict
        The setting.
    """
    names = model.get_params(deep=True)
    grid = {
        name: values
        for name, values in RECIPES[recipe].param_grid.items()
        if name in names and name not in fixed
    }
    seeds = draw_seeds(seed, n_draws + n_reruns + 1)
    rng = np.random.RandomState(seeds[-1])
    draws = [
        {name: values[rng.randint(len(values))] for name, values in grid.items()}
        for _ in range(n_draws if grid else 1)
    ]
    kept = FinishedRuns(folder, _prints(folder, model, X, y), overwrite=overwrite)

    def score(setting, one):
        return kept.score(
            {"setting": setting, "seed": one, "n_splits": n_splits},
            lambda: _run(model, X, y, setting, n_splits, n_jobs, one),
        )

    try:
        scores = [score(draw, one) for draw, one in zip(draws, seeds, strict=False)]
        best = draws[int(np.argmax(scores))]
        again = [score(best, one) for one in seeds[n_draws : n_draws + n_reruns]]
    except KeyboardInterrupt as stop:
        if folder is not None:
            stop.add_note(f"Runs that are done stay in {folder}; call again to go on.")
        raise
    return float(np.mean(again)), float(np.std(again)), best


def _prints(folder, model, X, y):
    if folder is None:
        return {}
    # Runs differ in settings, seeds and folds, which they are kept by
    features = split_off_extraction(clone(model), X)[1]
    y = np.asarray(y, dtype=object)
    return fingerprint(clone(model), features, y, None, [], {}, versions())


def _run(model, X, y, setting, n_splits, n_jobs, seed):
    labelled = split_labels(y)[0]
    rows = np.flatnonzero(labelled)
    rest = np.flatnonzero(~labelled)
    folds = KFold(n_splits, shuffle=True, random_state=seed).split(rows)
    splits = [(np.r_[rows[train], rest], rows[test]) for train, test in folds]
    report = evaluate(
        seeded_clone(model, seed).set_params(**setting),
        X,
        y,
        cv=splits,
        references=False,
        robustness=False,
        calibration=False,
        n_bootstraps=0,
        n_jobs=n_jobs,
        random_state=seed,
    )
    if report.protocols is not None:
        return float(report.protocols.loc["literature", "WAF"])
    return float(report.scores.loc["WAF", "fold_mean"])
