"""Fitting the members of an ensemble, side by side where they can be; asking them."""

from joblib import effective_n_jobs
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from skmer.utils._pipelines import last_step, resamples, weight_params
from skmer.utils._seeds import random_parts
from skmer.utils._sklearn import _safe_indexing

# Bytes that copies of X may take which folds are fitted on at a time: each fold has
# one, and a network another as tensors.
_TOGETHER = 2**31


def fit_members(groups, n_jobs=None):
    """Fit members; those of a group are clones that differ in their seeds alone.

    Fusion classifiers that allow it are trained side by side, also at the end of
    pipelines; all else is fitted ``n_jobs`` at a time. Where a pipeline ends with
    such a network, preparing steps without a seed are fitted once for all members of
    a group that learn from the same rows, and shared.

    Parameters
    ----------
    groups : list of tuple
        The members of each group, and X, y and sample weights, or None for none, of
        each member.
    n_jobs : int or None, default=None
        Fits at a time, of members that are not trained side by side.

    Returns
    -------
    fitted : list of estimators
        The members, group by group.
    """
    fitted = []
    alone = []
    for members, tasks in groups:
        if is_network(members[0]):
            _fit_networks(members, tasks)
        else:
            places = range(len(fitted), len(fitted) + len(members))
            alone += zip(places, members, tasks, strict=True)
        fitted += members
    done = Parallel(n_jobs=n_jobs)(
        delayed(fit_one)(member, *task) for _, member, task in alone
    )
    for (place, _, _), member in zip(alone, done, strict=True):
        fitted[place] = member
    return fitted


def take_rows(X, y, weight, rows):
    """Return some rows of X, y and sample weights, where there are any.

    Parameters
    ----------
    X, y : array-likes of length n_clips
        What to fit to.
    weight : ndarray of shape (n_clips,) or None
        Weight of each row.
    rows : ndarray of int64
        Which rows.

    Returns
    -------
    task : tuple
        X, y and weights of these rows, copies.
    """
    return (
        _safe_indexing(X, rows),
        _safe_indexing(y, rows),
        None if weight is None else weight[rows],
    )


def in_portions(folds, X, estimator, n_jobs):
    """Divide folds into those that are fitted at a time, for the sake of memory.

    Parameters
    ----------
    folds : list
        The folds, each of most rows of X.
    X : object
        What they are folds of; what has no known size counts as small.
    estimator : estimator
        What is fitted.
    n_jobs : int or None
        Fits at a time: a portion has as many folds at least, except of networks.

    Returns
    -------
    portions : list of list
        All folds in one, where copies of X for each would be no larger than 2 GiB.
    """
    copy = 2 * max(_size(X), 1)
    least = 1 if is_network(estimator) else effective_n_jobs(n_jobs)
    width = max(least, _TOGETHER // copy)
    return [folds[start : start + width] for start in range(0, len(folds), width)]


def _size(X):
    """Return the bytes of X, without what cells point to; 0 where nobody knows."""
    if hasattr(X, "memory_usage"):
        return int(X.memory_usage(index=False).sum())
    return int(getattr(X, "nbytes", 0))


def fit_one(member, X, y, weight=None):
    """Fit an estimator, or a pipeline that is to hand weights to its last step.

    Parameters
    ----------
    member : estimator
        What to fit.
    X, y : array-likes of length n_clips
        What to fit it to.
    weight : array-like of shape (n_clips,) or None, default=None
        Weight of each row.

    Returns
    -------
    member : estimator
    """
    instead = "Leave sample_weight out, or use another classifier or pipeline."
    return member.fit(X, y, **weight_params(member, weight, instead))


def is_network(estimator):
    """Whether an estimator is, or a pipeline ends with, a network to train with others.

    Parameters
    ----------
    estimator : estimator
        A pipeline, for example.

    Returns
    -------
    is_network : bool
    """
    return not resamples(estimator) and hasattr(last_step(estimator), "_fit_together")


def inputs_of_last_steps(members, inputs):
    """Return what the last step of each member gets to see.

    What members share is done once: the preparing steps of pipelines, and reading X
    as networks keep it.

    Parameters
    ----------
    members : list of estimators
        Fitted members.
    inputs : list of length n_members
        X of each; the same object for those that see the same.

    Returns
    -------
    steps : list of estimators
        The last step of each member, or the member itself.
    prepared : list of length n_members
        What to hand to it.
    """
    done = {}
    pairs = []
    for member, X in zip(members, inputs, strict=True):
        while isinstance(member, Pipeline):
            for _, step in member.steps[:-1]:
                if step in (None, "passthrough") or hasattr(step, "fit_resample"):
                    continue
                key = id(X), id(step)
                if key not in done:
                    # X is kept so that no other object gets its id.
                    done[key] = X, step.transform(X)
                X = done[key][1]
            member = member.steps[-1][1]
        pairs.append((member, X))
    read = {}
    for index, (member, X) in enumerate(pairs):
        if not hasattr(member, "_fit_together"):
            continue
        layout = tuple((k, tuple(v.tolist())) for k, v in member.streams_.items())
        key = id(X), layout, str(member.device_)
        if key not in read:
            read[key] = X, member.get_dataset(X)
        pairs[index] = member, read[key][1]
    return [member for member, _ in pairs], [X for _, X in pairs]


def _fit_networks(members, tasks):
    while isinstance(members[0], Pipeline):
        tasks = _prepare(members, tasks)
        members = [member.steps[-1][1] for member in members]
    members[0]._fit_together(members, tasks)


def _prepare(members, tasks):
    """Fit all steps but the last; return the tasks of the last ones."""
    done = {}
    inner = []
    for member, (X, y, weight) in zip(members, tasks, strict=True):
        if len(member.steps) == 1:
            inner.append((X, y, weight))
            continue
        before = member[:-1]
        shared = not random_parts(before)
        key = (id(X), id(y))
        if not (shared and key in done):
            done[key] = before.steps, before.fit_transform(X, y)
        steps, prepared = done[key]
        member.steps[:-1] = steps
        inner.append((prepared, y, weight))
    return inner
