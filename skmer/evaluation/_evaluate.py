"""Cross-validated scores of a model, beside what they are worth."""

import time
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.parallel import delayed
from tqdm.auto import tqdm

from skmer.evaluation._about import machine, versions
from skmer.evaluation._features import name_of, split_off_extraction
from skmer.evaluation._fold import Task, run_fold
from skmer.evaluation._folds import (
    Rows,
    check_length,
    count_split_groups,
    fold_names,
    make_splits,
    refuse_text,
)
from skmer.evaluation._references import CONCAT, PRODUCT
from skmer.evaluation._report import EvaluationReport
from skmer.evaluation._resume import FinishedFolds, fingerprint
from skmer.evaluation._tables import make_tables
from skmer.utils import split_labels
from skmer.utils._clip_ids import aligned_groups, clip_ids
from skmer.utils._parallel import results_of
from skmer.utils._seeds import draw_seeds, random_parts, seeded_clone
from skmer.utils._sklearn import HasMethods, Interval, validate_params


@validate_params(
    {
        "model": [HasMethods(["fit", "predict", "get_params", "set_params"])],
        "X": ["array-like"],
        "y": ["array-like"],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split"), list],
        "groups": ["array-like", None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "references": ["boolean"],
        "literature": ["boolean"],
        "robustness": ["boolean"],
        "calibration": ["boolean"],
        "fit_alone": ["boolean"],
        "n_bootstraps": [Interval(Integral, 0, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "n_jobs": [Integral, None],
        "random_state": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "name": [str, None],
        "folder": "no_validation",
        "overwrite": ["boolean"],
    },
    prefer_skip_nested_validation=False,
)
def evaluate(
    model,
    X,
    y,
    *,
    cv=5,
    groups=None,
    n_repeats=1,
    references=True,
    literature=True,
    robustness=True,
    calibration=True,
    fit_alone=False,
    n_bootstraps=1000,
    confidence=0.95,
    n_jobs=None,
    random_state=0,
    verbose=False,
    name=None,
    folder=None,
    overwrite=False,
):
    """Cross-validate a model and say what its score is worth.

    Beside weighted F1, unweighted and weighted accuracy with bootstrap intervals the
    report has two plain references on the same folds and features, the score that the
    literature's protocol would give, what is left when a modality is missing, and
    whether probabilities mean what they say.

    Parameters
    ----------
    model : classifier or Pipeline
        Unfitted; cloned for every fold.
    X : list, Series or DataFrame of clips or features, of length n_clips
        As the model takes them. The index of a frame is the clip id.
    y : array-like of shape (n_clips,)
        Labels. A Series is read by clip id where it knows the clips of X.
    cv : int, splitter, ReferenceFolds or list of (train, test), default=5
        A number of shuffled, stratified folds that keep copies of a clip, and groups
        where there are any, together. A number needs labels for all clips; with
        unlabelled ones pass :class:`~skmer.model_selection.UnlabeledInTrain` or
        :class:`~skmer.model_selection.ReferenceFolds`. Clips without a label are
        never scored.
    groups : Series indexed by clip id or array-like of length n_clips, default=None
        Group, such as the speaker, of each clip. It goes to ``cv``, and the bootstrap
        draws whole groups.
    n_repeats : int, default=1
        How often to fit each fold. The first time with the seeds that the model has,
        then with others. Scores are means over repeats.
    references : bool, default=True
        Fit the two references: one logistic regression on all columns, and the product
        of one a modality.
    literature : bool, default=True
        For models that end in a fusion classifier: also the score of the epoch that
        is best on the very fold that is reported, as papers often do. The weights of
        all epochs of a fold are in memory for it.
    robustness : bool, default=True
        Predict the test clips also with each modality, and each pair, removed.
    calibration : bool, default=True
        Judge the probabilities.
    fit_alone : bool, default=False
        Also fit the model on each modality alone, which takes as long again for each.
    n_bootstraps : int, default=1000
        Draws of the bootstrap; 0 gives no intervals.
    confidence : float, default=0.95
        Level of the intervals.
    n_jobs : int or None, default=None
        Folds at a time.
    random_state : int, default=0
        Seed of the folds where ``cv`` is a number, of repeats, of the bootstrap, and
        of parts of the model that have no seed.
    verbose : bool, default=False
        Show a progress bar over folds.
    name : str or None, default=None
        Name of the model in the report; None takes the class of its last step. One
        that is a reference's, such as ``"concat + LR"``, gets " (model)" added.
    folder : path or None, default=None
        Folder of the report. Folds are kept there as they finish, so that a run that
        was stopped goes on, and one with more repeats or draws begins where the last
        one ended; the report is saved there in the end.
    overwrite : bool, default=False
        Remove folds and report of another evaluation in ``folder``; its other files
        stay. Folds of this one are gone on from all the same.

    Returns
    -------
    report : EvaluationReport

    Raises
    ------
    ValueError
        If ``y`` or ``groups`` do not have a value for each clip, a number of folds is
        asked for where clips are unlabelled or a class has fewer clips, folds are not
        fit to be scored, or the model takes the mark of unlabelled clips for a class.
    FileExistsError
        If ``folder`` holds another evaluation, and ``overwrite`` is False or files
        of skmer's cannot be told from others. It is a ValueError too.

    See Also
    --------
    skmer.model_selection.ReferenceFolds : Folds that systems can be compared on.

    Notes
    -----
    Steps of a pipeline that turn clips into features and learn nothing run once;
    all others are fitted in each fold, on its training part alone. References, and
    the models without a modality, start from the features. Sequences are averaged
    over time for the references.

    Intervals are percentiles of scores of drawn clips. They hold what comes of the
    choice of test clips, not what comes of the choice of training clips and of seeds:
    for the latter see the spread over folds and raise ``n_repeats``.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.evaluation import evaluate
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 20)
    >>> X = pd.DataFrame(rng.normal(size=(40, 2)) + 2 * (y == "sad")[:, None])
    >>> X.columns = ["audio__0", "text__0"]
    >>> report = evaluate(LogisticRegression(), X, y, cv=4, n_bootstraps=100)
    >>> bool(report.scores.loc["WAF", "score"] > 0.8)
    True
    >>> list(report.references.index)
    ['LogisticRegression', 'concat + LR', 'product of LRs']
    """
    refuse_text(cv)
    if isinstance(X, (list, tuple)) and X and np.ndim(X[0]) == 1:
        X = np.asarray(X)
    run = _Evaluation(X, y, groups, cv, random_state)
    task = Task(references, literature, robustness, True, fit_alone)
    name = name_of(model) if name is None else name
    if name in (CONCAT, PRODUCT):
        name = f"{name} (model)"
    settings = {**vars(task), "seed": int(random_state)}

    start = time.perf_counter()
    rest, features = split_off_extraction(clone(model), X)
    extraction = time.perf_counter() - start
    members = _members(rest, int(n_repeats), int(random_state))
    done = FinishedFolds(None, {})
    if folder is not None:
        prints = fingerprint(
            clone(model), features, run.y, run.rows.groups, run.splits, settings,
            versions(),
        )  # fmt: skip
        done = FinishedFolds(folder, prints, overwrite=overwrite)
    try:
        found = _run_all(members, features, run, task, done, n_jobs, verbose)
    except KeyboardInterrupt as stop:
        if folder is not None:
            stop.add_note(f"Folds that are done stay in {folder}; call again to go on.")
        raise

    facts = {
        "name": name,
        "model": repr(model),
        "n_clips": len(run.rows.codes),
        "n_labelled": int(run.rows.labelled.sum()),
        "n_groups": None
        if run.rows.groups is None
        else int(pd.Series(run.rows.groups).nunique()),
        "n_split_groups": None
        if run.rows.groups is None
        else count_split_groups(run.splits, run.rows.groups),
        "group_name": run.group_name,
        "classes": run.rows.classes.tolist(),
        "n_folds": len(run.splits),
        "n_repeats": int(n_repeats),
        "seed": int(random_state),
        "n_bootstraps": int(n_bootstraps),
        "confidence": float(confidence),
        "versions": versions(),
        "machine": machine(),
        "extraction": extraction if features is not X else None,
    }
    tables, notes, facts = make_tables(
        found, run, facts, asked={**vars(task), "calibration": calibration}
    )
    report = EvaluationReport(facts, tables, notes, folds=run.folds)
    if folder is not None:
        report.save(folder, overwrite=True)
    return report


class _Evaluation:
    """Rows and folds."""

    def __init__(self, X, y, groups, cv, random_state):
        ids = clip_ids(X)
        y = labels_in_order(y, ids)
        check_length("y", y, X)
        labelled, classes, codes = split_labels(y)
        if len(classes) < 2:
            raise ValueError(
                f"y has labels of {len(classes)} classes; two or more are needed. "
                "Unlabelled are -1 among integers, None or NaN among strings."
            )
        groups = _known_groups(groups, X, ids, labelled)
        name = getattr(groups, "name", None)
        self.group_name = name if isinstance(name, str) else None
        self.rows = Rows(X, labelled, classes, codes, groups)
        self.y = self.rows.y
        self.splits, self.folds = make_splits(X, self.rows, cv, int(random_state))
        self.names = fold_names(self.folds, self.rows, self.splits)


def _known_groups(groups, X, ids, labelled):
    """Return groups in the order of X; a Series of other clips is an error."""
    found = aligned_groups(groups, ids, required=False)
    check_length("groups", found, X)
    if isinstance(found, pd.Series) and found[labelled].isna().all():
        # Splitters would take all clips for one group, or none
        return aligned_groups(groups, ids)
    return found


def labels_in_order(y, ids):
    """Return y in the order of X where it is a Series of the same clips.

    Parameters
    ----------
    y : array-like of shape (n_clips,)
        Labels.
    ids : Index of length n_clips, or None
        Clip ids of X.

    Returns
    -------
    y : array-like of shape (n_clips,)

    Raises
    ------
    ValueError
        If it is a Series of some of the clips, or of others too.
    """
    if not isinstance(y, pd.Series) or ids is None or y.index.equals(ids):
        return y
    shared = y.index.isin(ids)
    if not shared.any():
        return y
    if shared.all() and y.index.is_unique and ids.is_unique and len(y) == len(ids):
        return y.loc[ids]
    raise ValueError(
        "y is a Series that knows some clips of X and not others, so which label is "
        "of which clip cannot be told. Index it by the clip ids of X, all of them "
        "once, or pass y.to_numpy() where its rows are in the order of X."
    )


def _members(model, n_repeats, seed):
    """Return a seeded model for each repeat; the first has the seeds it was given."""
    seeds = draw_seeds(seed, n_repeats)
    given = model.get_params(deep=True)
    unset = [part for part in random_parts(model) if given[part] is None]
    drawn = draw_seeds(seeds[0], len(unset))
    first = clone(model).set_params(**dict(zip(unset, drawn, strict=True)))
    return [first, *(seeded_clone(model, one) for one in seeds[1:])]


def _run_all(members, X, run, task, done, n_jobs, verbose):
    """Return the results of all folds of all repeats."""
    jobs = [(r, f) for r in range(len(members)) for f in range(len(run.splits))]
    found = {job: done.read("-".join(map(str, job))) for job in jobs}
    left = [job for job in jobs if found[job] is None]
    calls = (
        delayed(_one)(
            job, clone(members[job[0]]), X, run.y, run.rows.classes,
            *run.splits[job[1]], task,
        )
        for job in left
    )  # fmt: skip
    work = results_of(calls, n_jobs, in_order=False)
    with tqdm(
        total=len(jobs), initial=len(jobs) - len(left), desc="Folds",
        disable=not verbose,
    ) as bar:  # fmt: skip
        for job, result in work:
            done.write("-".join(map(str, job)), result)
            found[job] = result
            bar.update()
    return found


def _one(job, model, X, y, classes, train, test, task):
    try:
        return job, run_fold(model, X, y, classes, train, test, task)
    except Exception as error:
        error.add_note(f"It was raised in fold {job[1]}, repeat {job[0]}.")
        raise
