"""Fitting the members of an ensemble, side by side where they can be."""

from sklearn.pipeline import Pipeline

from skmer.utils._seeds import random_parts


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
        shared = not random_parts(before)
        key = (id(X), id(y))
        if not (shared and key in done):
            done[key] = before.steps, before.fit_transform(X, y)
        steps, prepared = done[key]
        member.steps[:-1] = steps
        inner.append((prepared, y, weight))
    return inner
