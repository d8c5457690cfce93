"""Which rows and columns support vector machines of an ensemble learn from."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_sample_weight

from skmer.utils import split_labels
from skmer.utils._fit_inputs import require_y, warn_of_column
from skmer.utils._folds import stratified_folds

KERNELS = ("linear", "rbf", "poly", "sigmoid")


def check_kernels(kernels):
    """Return the kernels as a list.

    Parameters
    ----------
    kernels : sequence of str
        The parameter.

    Returns
    -------
    kernels : list of str

    Raises
    ------
    ValueError
        If there are none, one is unknown or one occurs twice.
    """
    found = list(kernels)
    wrong = [kernel for kernel in found if kernel not in KERNELS]
    if wrong or not found or len(set(found)) < len(found):
        raise ValueError(
            f"kernels must be different ones of {', '.join(KERNELS)}. Got {kernels!r}."
        )
    return found


def check_labels(y):
    """Refuse y that is None; warn of one that is a column.

    Parameters
    ----------
    y : object
        What was given.
    """
    require_y("SVMEnsembleClassifier", y)
    warn_of_column(y, stacklevel=4)


def training_rows(X, y, sample_weight):
    """Return the rows that have a label and a weight, sorted by class.

    Sorted, so that the solver for a pair of classes reads memory in stretches. It
    sorts so itself: the machines are the same.

    Parameters
    ----------
    X : ndarray of shape (n_clips, n_features)
        Features.
    y : array-like of shape (n_clips,)
        Labels.
    sample_weight : array-like of shape (n_clips,) or None
        Weights.

    Returns
    -------
    rows : ndarray of int64
        Their numbers.
    classes : ndarray of shape (n_classes,)
        Their labels.
    codes : ndarray of shape (n_rows,), dtype int64
        The class of each.
    weights : ndarray of shape (n_rows,), or None
        Their weights.

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    labelled, classes, codes = split_labels(y)
    check_consistent_length(X, codes)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        labelled = labelled & (sample_weight > 0)
    found = np.unique(codes[labelled])
    if len(found) < 2:
        raise ValueError(
            "SVMEnsembleClassifier needs rows of two classes or more. Of "
            f"{len(codes)} rows, {int(labelled.sum())} have a label and a weight, "
            f"of {len(found)} class(es): {classes[found].tolist()}."
        )
    rows = np.flatnonzero(labelled)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    weights = None if sample_weight is None else sample_weight[rows]
    return rows, classes[found], np.searchsorted(found, codes[rows]), weights


def weight_by_code(class_weight, classes):
    """Return class weights whose keys are numbers of classes.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        The parameter.
    classes : ndarray of shape (n_classes,)
        Labels.

    Returns
    -------
    class_weight : dict, "balanced" or None

    Raises
    ------
    ValueError
        If a dict has a label that is no class.
    """
    if not isinstance(class_weight, dict):
        return class_weight
    code = {label: i for i, label in enumerate(classes.tolist())}
    wrong = [label for label in class_weight if label not in code]
    if wrong:
        raise ValueError(
            f"class_weight holds {wrong}, but the classes are {classes.tolist()}."
        )
    return {code[label]: weight for label, weight in class_weight.items()}


def calibration_folds(codes, units, classes, n_folds, seed):
    """Return the test fold of each row.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), dtype int64
        Class of each row.
    units : ndarray of shape (n_rows,), dtype int64
        What stays together, from :func:`skmer.utils._clip_ids.unit_codes`.
    classes : ndarray of shape (n_classes,)
        Labels.
    n_folds : int
        Folds wanted; there are fewer where there are fewer clips.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    folds : ndarray of shape (n_rows,), dtype int64

    Raises
    ------
    ValueError
        If no class has two clips or groups.
    """
    n_units = np.array(
        [len(np.unique(units[codes == code])) for code in range(len(classes))]
    )
    n_splits = min(n_folds, len(np.unique(units)), np.bincount(codes).max())
    known = n_units >= 2
    if n_splits < 2 or not known.any():
        raise ValueError(
            "voting='soft' and 'logit' calibrate on clips that a fit has not seen, "
            "and no class has two clips or groups to divide. Use voting='hard'."
        )
    if not known.all():
        warnings.warn(
            f"{classes[~known].tolist()} have a single clip or group, so that no fit "
            "without it knows them: calibration says nothing of them.",
            UserWarning,
            stacklevel=4,
        )
    folds = np.empty(len(codes), dtype=np.int64)
    for number, (_, test) in enumerate(
        stratified_folds(codes, units, int(n_splits), seed)
    ):
        folds[test] = number
    return folds


def is_all(share):
    """Whether a share is all there is; the int 1 is one."""
    return not isinstance(share, Integral) and share == 1.0


def size_of(share, total):
    """Return a share, if float, or a number, if int, of a total as a number.

    Parameters
    ----------
    share : float or int
        The parameter.
    total : int
        What there is.

    Returns
    -------
    size : int
        From 1 to ``total``.
    """
    if isinstance(share, Integral):
        return min(int(share), total)
    return max(1, round(share * total))


def draw(codes, n_all, n_features, n_rows, bootstrap, seed):
    """Return the columns of a draw and how often each row was drawn.

    Parameters
    ----------
    codes : ndarray of shape (n_all_rows,), dtype int64
        Class of each row.
    n_all, n_features : int
        Columns that there are and that are drawn.
    n_rows : int or None
        Rows to be drawn, class by class and at least one of each; None for all.
    bootstrap : bool
        Whether rows are drawn with replacement.
    seed : int
        Seed of the draw.

    Returns
    -------
    features : ndarray of shape (n_features,), dtype int64
        Sorted.
    counts : ndarray of shape (n_all_rows,), dtype int64
    """
    rng = np.random.RandomState(seed)
    features = np.sort(rng.choice(n_all, n_features, replace=False))
    if n_rows is None:
        return features, np.ones(len(codes), dtype=np.int64)
    counts = np.zeros(len(codes), dtype=np.int64)
    for code, of_class in enumerate(np.bincount(codes)):
        size = max(1, round(n_rows * of_class / len(codes)))
        mine = np.flatnonzero(codes == code)
        np.add.at(counts, rng.choice(mine, size, replace=bootstrap), 1)
    return features, counts
