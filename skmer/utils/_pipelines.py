"""What pipelines end with, and weights of rows for it."""

import inspect

from sklearn.pipeline import Pipeline


def last_step(estimator):
    """Return what a pipeline, or a pipeline in it, ends with.

    Parameters
    ----------
    estimator : estimator
        A pipeline, or the thing itself.

    Returns
    -------
    last : estimator
    """
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def last_prefix(estimator):
    """Return what parameters of the last step of a pipeline begin with.

    Parameters
    ----------
    estimator : estimator
        A pipeline, or the thing itself.

    Returns
    -------
    prefix : str
        Empty for what is no pipeline.
    """
    prefix = ""
    while isinstance(estimator, Pipeline):
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return prefix


def resamples(estimator):
    """Whether a pipeline, or a pipeline at its end, has a sampler among its steps.

    Parameters
    ----------
    estimator : estimator
        A pipeline, or the thing itself.

    Returns
    -------
    resamples : bool
    """
    while isinstance(estimator, Pipeline):
        if any(hasattr(step, "fit_resample") for _, step in estimator.steps):
            return True
        estimator = estimator.steps[-1][1]
    return False


def weight_params(estimator, weight, instead):
    """Return what hands weights of rows to ``fit``, of the last step of a pipeline.

    Parameters
    ----------
    estimator : estimator
        A pipeline, for example.
    weight : ndarray of shape (n_rows,) or None
        Weights; None for none.
    instead : str
        What the message tells to do.

    Returns
    -------
    params : dict
        Parameters of ``fit``.

    Raises
    ------
    ValueError
        If the last step takes no weights, or a step before it samples rows, which
        are then others than those that the weights are of.
    """
    if weight is None:
        return {}
    last = last_step(estimator)
    if resamples(estimator):
        raise ValueError(
            f"A step before {type(last).__name__} samples rows, and weights do not go "
            f"with them. {instead}"
        )
    taken = inspect.signature(last.fit).parameters
    kinds = {parameter.kind for parameter in taken.values()}
    if "sample_weight" not in taken and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise ValueError(
            f"{type(last).__name__} takes no weights of rows (sample_weight). {instead}"
        )
    return {f"{last_prefix(estimator)}sample_weight": weight}
