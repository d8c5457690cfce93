"""How sure classifiers are of each class, and which rows are sure enough."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from skmer.utils._folds import stratified_folds

_EPS = 1e-12


def class_logits(model, X, classes):
    """Return what a fitted classifier says of each class, as logits.

    Parameters
    ----------
    model : classifier
        Has ``predict_proba`` or, where that is missing, ``decision_function``.
    X : indexable of length n_rows
        Rows to judge.
    classes : ndarray of shape (n_classes,)
        All classes, sorted; the model may know fewer.

    Returns
    -------
    logits : ndarray of shape (n_rows, n_classes), dtype float64
        Logarithms of probabilities, or decision values; -inf for a class that the
        model does not know.
    """
    if hasattr(model, "predict_proba"):
        proba = np.asarray(model.predict_proba(X), dtype=np.float64)
        known = np.log(np.maximum(proba, _EPS))
    else:
        known = np.asarray(model.decision_function(X), dtype=np.float64)
        if known.ndim == 1:
            known = np.stack([np.zeros_like(known), known], axis=1)
    logits = np.full((len(known), len(classes)), -np.inf)
    logits[:, np.searchsorted(classes, model.classes_)] = known
    return logits


def fit_temperature(logits, codes, weight=None):
    """Return the temperature that makes held-out predictions as sure as right.

    Parameters
    ----------
    logits : ndarray of shape (n_rows, n_classes), dtype float64
        Of rows that the model has not learnt from.
    codes : ndarray of shape (n_rows,), dtype int64
        Their classes.
    weight : ndarray of shape (n_rows,) or None, default=None
        Weight of each row.

    Returns
    -------
    temperature : float
        Minimises the logarithmic loss of ``softmax(logits / temperature)``; between
        exp(-10) and exp(10). Rows whose class the model did not know are left out;
        1 where none is left.
    """
    known = np.isfinite(logits[np.arange(len(codes)), codes])
    if not known.any():
        return 1.0
    logits, codes = logits[known], codes[known]
    weight = None if weight is None else weight[known]

    def loss(log_beta):
        right = log_softmax(np.exp(log_beta) * logits, axis=1)
        return -np.average(right[np.arange(len(codes)), codes], weights=weight)

    tolerance = 64 * np.finfo(np.float64).eps
    found = minimize_scalar(loss, bounds=(-10, 10), options={"xatol": tolerance})
    return float(np.exp(-found.x))


def predictions(logits, temperature):
    """Return the most probable class of each row and its probability.

    Parameters
    ----------
    logits : ndarray of shape (n_rows, n_classes), dtype float64
        As :func:`class_logits` returns them.
    temperature : float
        What the logits are divided by.

    Returns
    -------
    codes : ndarray of shape (n_rows,), dtype int64
    confidence : ndarray of shape (n_rows,), dtype float64
    """
    codes = logits.argmax(axis=1)
    proba = softmax(logits / temperature, axis=1)
    return codes, proba[np.arange(len(codes)), codes]


def sure_rows(codes, confidence, agreed, thresholds, counts):
    """Return which rows are to be pseudo-labelled.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), dtype int64
        Predicted classes.
    confidence : ndarray of shape (n_rows,), dtype float64
        How sure that is.
    agreed : ndarray of shape (n_rows,), dtype bool
        Rows that may be taken.
    thresholds : ndarray of shape (n_classes,), dtype float64
        Least confidence for each class.
    counts : ndarray of shape (n_classes,), dtype int64, or None
        Of each class, this many of the surest rows at most; of equally sure ones
        those that come first.

    Returns
    -------
    taken : ndarray of shape (n_rows,), dtype bool
    """
    taken = agreed & (confidence >= thresholds[codes])
    if counts is None:
        return taken
    for code, count in enumerate(counts):
        rows = np.flatnonzero(taken & (codes == code))
        surest = np.argsort(-confidence[rows], kind="stable")
        taken[rows[surest[count:]]] = False
    return taken


def calibration_folds(codes, units, n_folds, seed):
    """Return the folds whose held-out predictions tell the temperature.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), dtype int64
        Classes of the labelled rows.
    units : ndarray of shape (n_rows,), dtype int64
        What must stay on one side.
    n_folds : int
        Folds wanted; there are fewer where no class has as many units.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    folds : list of tuple of ndarray of int64
        Training and held-out rows.

    Raises
    ------
    ValueError
        If no two parts can be made.
    """
    pairs = np.unique(np.stack([codes, units]), axis=1)
    n_folds = min(n_folds, int(np.bincount(pairs[0]).max()))
    if n_folds < 2:
        raise ValueError(
            "calibrate='temperature' holds labelled rows out, and no class has rows "
            f"of two clips or groups among the {len(codes)} labelled rows. Label more "
            "clips, or pass calibrate=None."
        )
    return stratified_folds(codes, units, n_folds, seed)


def per_class(given, classes, what, default):
    """Return one number per class from a number or a dict.

    Parameters
    ----------
    given : float, dict of label to float, or None
        What the user gave; None is ``default``.
    classes : ndarray of shape (n_classes,)
        The labels.
    what : str
        Name of the parameter.
    default : float
        In place of None.

    Returns
    -------
    numbers : ndarray of shape (n_classes,), dtype float64
    unknown : list
        Labels that the dict has beyond the classes.

    Raises
    ------
    ValueError
        If a dict lacks a class or holds a value that is no number from 0 on.
    """
    if not isinstance(given, dict):
        return np.full(len(classes), default if given is None else given, float), []
    labels = classes.tolist()
    unknown = [label for label in given if label not in labels]
    missing = [label for label in labels if label not in given]
    if missing:
        besides = f" and has {unknown}, which no row has" if unknown else ""
        raise ValueError(
            f"{what} lacks the classes {missing}{besides}. Give a number for each of "
            f"{labels}."
        )
    try:
        numbers = np.array([given[label] for label in labels], dtype=np.float64)
        good = bool((numbers >= 0).all())
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"{what} must hold numbers from 0 on. Got {given}.")
    return numbers, unknown
