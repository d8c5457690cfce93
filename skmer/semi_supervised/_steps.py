"""Fitting one step: choosing rows and weights, over-sampling, continuing."""

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone

from skmer.utils._pipelines import last_prefix, last_step, weight_params
from skmer.utils._seeds import freshly_seeded, seeded_clone
from skmer.utils._sklearn import _safe_indexing


def own_params(estimator, params):
    """Return parameters under the names that ``set_params`` of the estimator knows.

    Parameters
    ----------
    estimator : estimator
        A pipeline, for example.
    params : dict of str to object, or None
        Names of the estimator, or of the last step of a pipeline.

    Returns
    -------
    params : dict of str to object

    Raises
    ------
    ValueError
        If neither has the name.
    """
    own, prefix = estimator.get_params(deep=False), last_prefix(estimator)
    own |= dict(getattr(estimator, "steps", []))
    named = {}
    for name, value in (params or {}).items():
        full = name if name.partition("__")[0] in own else prefix + name
        try:
            # Networks of skorch know more names than get_params has
            clone(estimator).set_params(**{full: value})
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"second_params has {name!r}, which is no parameter of "
                f"{type(last_step(estimator)).__name__}. Give names of "
                "estimator.get_params()."
            ) from error
        named[full] = value
    return named


def continues(estimator, wanted, params):
    """Return whether a second fit can go on from the first one's weights.

    Parameters
    ----------
    estimator : estimator
        A pipeline, for example, whose last step counts.
    wanted : bool or "auto"
        ``"auto"``: where ``warm_start`` means that training goes on.
    params : dict of str to object
        What :func:`own_params` returned for the second step.

    Returns
    -------
    can : bool

    Raises
    ------
    ValueError
        If it is wanted and cannot be, or parameters name a step that is not trained
        again.
    """
    if wanted is False:
        return False
    last, prefix = last_step(estimator), last_prefix(estimator)
    own = last.get_params(deep=False)
    # A forest with warm_start adds trees and leaves the others as they are.
    resumes = "warm_start" in own and "n_estimators" not in own
    trains = hasattr(last, "partial_fit")
    if wanted == "auto" and not (resumes and trains):
        return False
    if not (resumes or trains):
        raise ValueError(
            f"continue_from_first=True needs an estimator that can go on training: "
            f"one with warm_start (that is no ensemble) or partial_fit. "
            f"{type(last).__name__} has neither. Pass continue_from_first='auto'."
        )
    before = [name for name in params if not name.startswith(prefix)]
    if before:
        raise ValueError(
            f"second_params names {before[0]!r}, a step before the last one, which "
            "stays as it was fitted when training continues. Leave it out, or pass "
            "continue_from_first=False."
        )
    return True


def fit_weighted(model, X, y, weight):
    """Fit a model, or the last step of a pipeline, with weights if there are any."""
    instead = "Leave sample_weight out and pass pseudo_weight=1.0."
    return model.fit(X, y, **weight_params(model, weight, instead))


def continue_fit(model, X, y, weight, params):
    """Train a fitted model further; steps of a pipeline before the last stay.

    Samplers among the steps draw anew.
    """
    model.set_params(**params)
    while hasattr(model, "steps"):
        for _, step in model.steps[:-1]:
            if hasattr(step, "fit_resample"):
                X, y, weight = resample(unused_sampler(step), X, y, weight)
            elif step is not None and not isinstance(step, str):
                X = step.transform(X)
        model = model.steps[-1][1]
    if "warm_start" not in model.get_params(deep=False):
        takes = {} if weight is None else {"sample_weight": weight}
        model.partial_fit(X, y, **takes)
        return
    before = model.warm_start
    model.set_params(warm_start=True)
    try:
        fit_weighted(model, X, y, weight)
    finally:
        model.set_params(warm_start=before)


def unused_sampler(sampler, seed=None):
    """Clone a sampler and seed it, without a seed where it has none of its own."""
    return freshly_seeded(sampler) if seed is None else seeded_clone(sampler, seed)


def resample(sampler, X, y, weight):
    """Apply a sampler; clip ids and weights go with the rows.

    Parameters
    ----------
    sampler : sampler of imbalanced-learn
        Unfitted.
    X : indexable of length n_rows
        Labelled rows.
    y : ndarray of shape (n_rows,)
        Their labels.
    weight : ndarray of shape (n_rows,) or None
        Their weights.

    Returns
    -------
    X, y, weight : the same of more or fewer rows

    Raises
    ------
    ValueError
        If there are weights and the sampler does not tell where its rows come from,
        or it refuses rows of one class.
    """
    try:
        X_new, y_new = sampler.fit_resample(X, y)
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError) and len(set(y.tolist())) == 1:
            raise ValueError(
                f"All {len(y)} labelled rows are of one class, {y.tolist()[0]!r}, and "
                f"{type(sampler).__name__} needs two. Label rows of another class, or "
                "fit without a sampler: sampler=None, in make_mr_ccl oversample=False."
            ) from error
        error.add_note(
            f"{type(sampler).__name__} was given the labelled rows of one step, "
            "pseudo-labelled ones included in the second. A class that already has "
            "more rows than asked for is left alone by "
            "skmer.over_sampling.at_least; paths and object columns need "
            "skmer.over_sampling.LabeledSampler."
        )
        raise
    source = getattr(sampler, "sample_indices_", None)
    # -1 is a row that was made up
    if source is None or len(source) != len(y_new) or min(source, default=0) < 0:
        if weight is not None:
            raise ValueError(
                f"{type(sampler).__name__} makes rows up, or does not tell where they "
                "come from (sample_indices_), so that they have no weights. Leave "
                "sample_weight out and pass pseudo_weight=1.0."
            )
        return X_new, y_new, None
    if isinstance(X, (pd.DataFrame, pd.Series)):
        # imbalanced-learn numbers rows anew; the index is the clip id.
        X_new = X_new.set_axis(X.index[source], axis=0)
    return X_new, y_new, None if weight is None else weight[source]


def stack(first, second):
    """Return the rows of one X above those of another of its kind."""
    if isinstance(first, (pd.DataFrame, pd.Series)):
        return pd.concat([first, second])
    if sparse.issparse(first):
        return sparse.vstack([first, second], format="csr")
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return [*first, *second]


def marked(codes, classes):
    """Return labels, with the mark of unlabelled rows where the code is -1."""
    known = codes >= 0
    if known.all():
        return classes[codes]
    # Beside 1 alone, and beside -1 and 1, -1 would be read as a label.
    if classes.dtype.kind in "if" and not set(classes.tolist()) <= {-1, 1}:
        return np.where(known, classes[codes], -1).astype(classes.dtype)
    labels = np.full(len(codes), None, dtype=object)
    labels[known] = classes[codes[known]].tolist()
    return labels


def gather(X, codes, classes, rows, others, weight, sampler):
    """Return X, y and weights to fit on.

    Parameters
    ----------
    X : indexable of length n_rows
        All rows.
    codes : ndarray of shape (n_rows,), dtype int64
        Classes of the rows; -1 for none.
    classes : ndarray of shape (n_classes,)
        The labels.
    rows : ndarray of int64
        Rows that have a class, which the sampler gets.
    others : ndarray of int64
        Rows without one, which go along with their mark.
    weight : ndarray of shape (n_rows,) or None
        Weights of all rows.
    sampler : sampler or None
        Applied to ``rows``.

    Returns
    -------
    X, y, weight
        Of the rows to fit on.
    """
    part, y = _safe_indexing(X, rows), classes[codes[rows]]
    w = None if weight is None else weight[rows]
    if sampler is not None:
        part, y, w = resample(sampler, part, y, w)
    if len(others):
        part = stack(part, _safe_indexing(X, others))
        known = np.searchsorted(classes, np.asarray(y, dtype=classes.dtype))
        y = marked(np.r_[known, np.full(len(others), -1)], classes)
        w = None if w is None else np.r_[w, weight[others]]
    return part, y, w
