"""The field's three scores under the field's names."""

from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score


def weighted_f1_score(y_true, y_pred, *, sample_weight=None):
    """Weighted average F1, the WAF of the MER challenges.

    The same as scikit-learn's scorer ``"f1_weighted"``; a class that is never
    predicted counts as F1 0 without a warning.

    Parameters
    ----------
    y_true : array-like of shape (n_clips,)
        Labels.
    y_pred : array-like of shape (n_clips,)
        Predicted labels.
    sample_weight : array-like of shape (n_clips,), default=None
        Weights of the clips.

    Returns
    -------
    score : float
        Between 0 and 1.

    Examples
    --------
    >>> from skmer.metrics import weighted_f1_score
    >>> weighted_f1_score(["sad", "sad", "happy"], ["sad", "happy", "happy"])
    0.66...
    """
    return float(
        f1_score(
            y_true,
            y_pred,
            average="weighted",
            sample_weight=sample_weight,
            zero_division=0,
        )
    )


def unweighted_accuracy_score(y_true, y_pred, *, sample_weight=None):
    """Mean recall of the classes, the UA (or UAR) of the IEMOCAP literature.

    The same as scikit-learn's scorer ``"balanced_accuracy"``.

    Parameters
    ----------
    y_true : array-like of shape (n_clips,)
        Labels.
    y_pred : array-like of shape (n_clips,)
        Predicted labels.
    sample_weight : array-like of shape (n_clips,), default=None
        Weights of the clips.

    Returns
    -------
    score : float
        Between 0 and 1.

    Examples
    --------
    >>> from skmer.metrics import unweighted_accuracy_score
    >>> unweighted_accuracy_score(["sad", "sad", "happy"], ["sad", "happy", "happy"])
    0.75
    """
    return float(balanced_accuracy_score(y_true, y_pred, sample_weight=sample_weight))


def weighted_accuracy_score(y_true, y_pred, *, sample_weight=None):
    """Share of clips that are right, the WA of the IEMOCAP literature.

    Plain accuracy: recall weighted by how often a class occurs. The same as
    scikit-learn's scorer ``"accuracy"``.

    Parameters
    ----------
    y_true : array-like of shape (n_clips,)
        Labels.
    y_pred : array-like of shape (n_clips,)
        Predicted labels.
    sample_weight : array-like of shape (n_clips,), default=None
        Weights of the clips.

    Returns
    -------
    score : float
        Between 0 and 1.

    Examples
    --------
    >>> from skmer.metrics import weighted_accuracy_score
    >>> weighted_accuracy_score(["sad", "sad", "happy"], ["sad", "happy", "happy"])
    0.66...
    """
    return float(accuracy_score(y_true, y_pred, sample_weight=sample_weight))
