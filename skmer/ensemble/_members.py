"""Fitting the members of an ensemble, side by side where they can be."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state


def draw_seeds(random_state, n):
    """Draw seeds without touching numpy's global generator.

    Parameters
    ----------
    random_state : int, RandomState or None
        Where seeds come from; None takes fresh ones from the operating system.
    n : int
        How many.

    Returns
    -------
    seeds : list of int
    """
    if random_state is None:
        return np.random.default_rng().integers(2**31 - 1, size=n).tolist()
    return check_random_state(random_state).randint(2**31 - 1, size=n).tolist()


def seeded_clone(estimator, seed):
    """Clone an estimator and seed all of it.

    Parameters
    ----------
    estimator : estimator
        What to clone; a pipeline, for example.
    seed : int
        Every ``random_state`` in it becomes a number that follows from this one.

    Returns
    -------
    member : estimator
    """
    member = clone(estimator)
    names = _random_parts(member)
    drawn = np.random.RandomState(seed).randint(2**31 - 1, size=len(names))
    return member.set_params(**dict(zip(names, drawn.tolist(), strict=True)))


def _random_parts(estimator):
    """Return the names of all seeds in an estimator, in alphabetical order."""
    names = sorted(estimator.get_params(deep=True))
    return [name for name in names if f"__{name}".endswith("__random_state")]


def fit_members(members, tasks):
    """Fit clones of one estimator that differ in their seeds alone.

    Fusion classifiers that allow it are trained side by side, also at the end of
    pipelines; all else is fitted one after another. Preparing steps without a seed
    are fitted once for all members that learn from the same rows, and shared.

    Parameters
    ----------
    members : list of estimators
        What to fit.
    tasks : list of tuple
        X, y and sample weights, or None for none, of each member.
    """
    first = members[0]
    if isinstance(first, Pipeline) and not _resamples(first):
        if hasattr(first.steps[-1][1], "_fit_together"):
            inner = _prepare(members, tasks)
            fit_members([member.steps[-1][1] for member in members], inner)
            return
    if hasattr(first, "_fit_together"):
        first._fit_together(members, tasks)
        return
    for member, (X, y, weight) in zip(members, tasks, strict=True):
        params = {}
        if weight is not None:
            prefix = f"{member.steps[-1][0]}__" if isinstance(member, Pipeline) else ""
            params = {f"{prefix}sample_weight": weight}
        member.fit(X, y, **params)


def _resamples(pipeline):
    return any(hasattr(step, "fit_resample") for _, step in pipeline.steps)


def _prepare(members, tasks):
    """Fit all steps but the last; return the tasks of the last ones."""
    done = {}
    inner = []
    for member, (X, y, weight) in zip(members, tasks, strict=True):
        if len(member.steps) == 1:
            inner.append((X, y, weight))
            continue
        before = member[:-1]
        shared = not _random_parts(before)
        key = (id(X), id(y))
        if not (shared and key in done):
            done[key] = before.steps, before.fit_transform(X, y)
        steps, prepared = done[key]
        member.steps[:-1] = steps
        inner.append((prepared, y, weight))
    return inner
