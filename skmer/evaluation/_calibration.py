"""Whether probabilities mean what they say."""

import numpy as np

N_BINS = 15


def calibration_scores(true, proba):
    """Return expected calibration error, Brier score and log loss.

    Parameters
    ----------
    true : ndarray of shape (n_rows,), dtype int64
        Classes.
    proba : ndarray of shape (n_rows, n_classes)
        Predicted probabilities.

    Returns
    -------
    scores : dict of str to float
        ``ECE``, ``Brier`` (sum over classes of squared errors, from 0 to 2) and
        ``log_loss`` (natural logarithm; probabilities of 0 count as 1e-15).
    """
    bins = reliability_bins(true, proba)
    gaps = np.abs(bins["accuracy"] - bins["confidence"])
    of_true = proba[np.arange(len(true)), true]
    squares = (proba**2).sum(axis=1) - 2 * of_true + 1
    return {
        "ECE": float((bins["n"] * gaps).sum() / len(true)),
        "Brier": float(squares.mean()),
        "log_loss": float(-np.log(np.clip(of_true, 1e-15, 1)).mean()),
    }


def reliability_bins(true, proba, n_bins=N_BINS):
    """Return how often predictions are right, by how sure they are.

    Parameters
    ----------
    true : ndarray of shape (n_rows,), dtype int64
        Classes.
    proba : ndarray of shape (n_rows, n_classes)
        Predicted probabilities.
    n_bins : int, default=15
        Number of bins of equal width; a bin holds its upper end.

    Returns
    -------
    bins : dict of str to ndarray
        ``low``, ``high``, ``n``, ``confidence`` (mean of the largest probability) and
        ``accuracy`` of the bins that are not empty.
    """
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == true
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.clip(np.searchsorted(edges, confidence) - 1, 0, n_bins - 1)
    n = np.bincount(place, minlength=n_bins)
    there = n > 0
    return {
        "low": edges[:-1][there],
        "high": edges[1:][there],
        "n": n[there],
        "confidence": np.bincount(place, confidence, n_bins)[there] / n[there],
        "accuracy": np.bincount(place, right, n_bins)[there] / n[there],
    }
