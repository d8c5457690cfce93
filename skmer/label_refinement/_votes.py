"""What sources and annotations say together: pure arithmetic on votes."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

# Below this a probability says no more than "hardly"
FLOOR = 1e-6
# The noise assumed before any is seen, and how many clips of each class it is worth
PRIOR_RIGHT = 0.9
PRIOR_CLIPS = 20.0
# Deviation of weights and biases before any clip is seen
SPREAD = 3.0
N_ROUNDS = 30


def evidence_of_labels(votes, given, n_classes):
    """Return what each vote of a source without probabilities is worth.

    Parameters
    ----------
    votes, given : ndarray of shape (n_rows,), dtype int64
        What the source and what the annotation says; -1 where the source abstains.
    n_classes : int
        Number of classes.

    Returns
    -------
    proba : ndarray of shape (n_rows, n_classes)
        How the other rows with the same vote are annotated, smoothed by one row a
        class; uniform where the source abstains.
    """
    counts = np.ones((n_classes + 1, n_classes))
    np.add.at(counts, (votes, given), 1)
    proba = counts[votes]
    proba[np.arange(len(given)), given] -= 1
    proba[votes < 0] = 1
    return proba / proba.sum(axis=1, keepdims=True)


def posterior(proba, present, given):
    """Return the probability of each class, the annotation taken into account.

    Parameters
    ----------
    proba : ndarray of shape (n_sources, n_rows, n_classes)
        What each source says without knowing a row's annotation.
    present : ndarray of shape (n_sources, n_rows), dtype bool
        Where a source says something.
    given : ndarray of shape (n_rows,), dtype int64
        The annotations.

    Returns
    -------
    posterior : ndarray of shape (n_rows, n_classes)
        NaN in rows of which no source says anything.
    weights : ndarray of shape (n_sources,)
        How much the model trusts each source.
    noise : ndarray of shape (n_classes, n_classes)
        Probability of each annotation (columns) given the true class (rows).

    Notes
    -----
    The model: the true class follows a logarithmic pool of the sources,
    ``softmax(sum_s w_s log p_s + b)``, and an annotator who sees the true class ``k``
    writes ``j`` with probability ``noise[k, j]``. ``w``, ``b`` and ``noise`` are
    fitted by expectation and maximisation, with weak priors.
    """
    n_sources, n_rows, n_classes = proba.shape
    rows = present.any(axis=0)
    logs = np.log(np.maximum(proba, FLOOR)) * present[:, :, np.newaxis]
    logs, labels = logs[:, rows], given[rows]
    prior = np.full((n_classes, n_classes), (1 - PRIOR_RIGHT) / max(n_classes - 1, 1))
    np.fill_diagonal(prior, PRIOR_RIGHT)
    noise = prior
    theta = np.r_[np.ones(n_sources), np.zeros(n_classes)]
    result = np.full((n_rows, n_classes), np.nan)
    if not rows.any():
        return result, theta[:n_sources], noise
    for _ in range(N_ROUNDS):
        truth = softmax(_pool(theta, logs) + np.log(noise[:, labels].T), axis=1)
        sums = PRIOR_CLIPS * prior
        np.add.at(sums.T, labels, truth)
        updated = sums / sums.sum(axis=1, keepdims=True)
        theta = _fit_pool(theta, logs, truth)
        moved = np.abs(updated - noise).max()
        noise = updated
        if moved < 1e-3:
            break
    result[rows] = softmax(_pool(theta, logs) + np.log(noise[:, labels].T), axis=1)
    return result, theta[:n_sources], noise


def _told(votes, proba, codes):
    """Return probabilities of all sources, for votes without any what they are worth.

    Uniform where a source abstains and in rows without annotation.
    """
    n_classes = proba.shape[2]
    usable = codes >= 0
    told = proba.copy()
    for source, said in zip(told, votes, strict=True):
        if np.isnan(source).all():
            source[usable] = evidence_of_labels(said[usable], codes[usable], n_classes)
    told[(votes < 0) | ~usable] = 1 / n_classes
    return told


def judge(votes, proba, codes):
    """Return what :func:`posterior` does, of the votes of all kinds of sources.

    Parameters
    ----------
    votes : ndarray of shape (n_sources, n_rows), dtype int64
        Votes, -1 where a source abstains.
    proba : ndarray of shape (n_sources, n_rows, n_classes)
        Probabilities; NaN throughout for a source that gives none.
    codes : ndarray of shape (n_rows,), dtype int64
        Annotations, -1 in unlabelled rows.

    Returns
    -------
    chances : ndarray of shape (n_rows, n_classes)
        NaN in unlabelled rows and where no source says anything.
    trust : ndarray of shape (n_sources,)
        Weights of the sources.
    noise : ndarray of shape (n_classes, n_classes)
        Confusions of annotators.
    """
    usable = codes >= 0
    told = _told(votes, proba, codes)[:, usable]
    chances = np.full(proba.shape[1:], np.nan)
    chances[usable], trust, noise = posterior(
        told, votes[:, usable] >= 0, codes[usable]
    )
    return chances, trust, noise


def without_annotation(votes, proba, codes):
    """Return the mean of what sources say that do not know the annotation.

    Parameters
    ----------
    votes, proba, codes : ndarray
        As for :func:`judge`.

    Returns
    -------
    mean : ndarray of shape (n_rows, n_classes)
        Over the sources that say anything; 0 where none does.
    """
    present = (votes >= 0)[:, :, np.newaxis]
    sums = np.where(present, _told(votes, proba, codes), 0).sum(axis=0)
    return sums / np.maximum(present.sum(axis=0), 1)


def prefer(votes, proba, codes, labels):
    """Return which sources think a label likelier than the annotation.

    Parameters
    ----------
    votes, proba, codes : ndarray
        As for :func:`judge`.
    labels : ndarray of shape (n_rows,), dtype int64
        The other labels, -1 where there are none.

    Returns
    -------
    prefers : ndarray of shape (n_sources, n_rows), dtype bool
    """
    told, rows = _told(votes, proba, codes), np.arange(len(codes))
    likelier = told[:, rows, labels] > told[:, rows, codes]
    return likelier & (votes >= 0) & (codes >= 0) & (labels >= 0)


def _pool(theta, logs):
    n_sources = len(logs)
    return log_softmax(
        np.tensordot(theta[:n_sources], logs, axes=1) + theta[n_sources:], axis=1
    )


def _fit_pool(theta, logs, truth):
    """Return weights and biases under which the pool is likeliest, a weak prior on."""
    n_sources = len(logs)
    centre = np.r_[np.ones(n_sources), np.zeros(len(theta) - n_sources)]

    def loss(theta):
        pooled = _pool(theta, logs)
        wrong = np.exp(pooled) - truth
        away = (theta - centre) / SPREAD
        gradient = np.r_[(logs * wrong).sum(axis=(1, 2)), wrong.sum(axis=0)]
        loss = -(truth * pooled).sum() + away @ away / 2
        return loss, gradient + away / SPREAD

    # A source may count for nothing, not for the opposite of what it says
    bounds = [(0, None)] * n_sources + [(None, None)] * (len(theta) - n_sources)
    # A few steps are enough: the next round goes on from there
    options = {"maxiter": 5}
    found = minimize(
        loss, theta, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return found.x


def majority(votes, given, n_classes, min_votes):
    """Return the class that most vote for, the annotation being one vote.

    Parameters
    ----------
    votes : ndarray of shape (n_rows, n_sources), dtype int64
        Votes of the sources, -1 where one abstains.
    given : ndarray of shape (n_rows,), dtype int64
        The annotations, which win ties.
    n_classes : int
        Number of classes.
    min_votes : int
        How many sources at least must agree on another class.

    Returns
    -------
    winners : ndarray of shape (n_rows,), dtype int64
    shares : ndarray of shape (n_rows, n_classes)
        Share of the votes, the annotation's among them, for each class.
    """
    rows = np.arange(len(given))
    counts = np.zeros((len(given), n_classes))
    for source in votes.T:
        said = source >= 0
        counts[rows[said], source[said]] += 1
    totals = counts.copy()
    totals[rows, given] += 1
    best = totals.argmax(axis=1)
    alone = (totals == totals.max(axis=1, keepdims=True)).sum(axis=1) == 1
    wins = alone & (counts[rows, best] >= min_votes)
    return np.where(wins, best, given), totals / totals.sum(axis=1, keepdims=True)


def leave_some(given, winners, believed, least):
    """Return the classes that win, but for labels that keep a class from vanishing.

    Parameters
    ----------
    given, winners : ndarray of shape (n_rows,), dtype int64
        The annotations, and the classes in their place.
    believed : ndarray of shape (n_rows,)
        Probability of each annotation.
    least : int
        How many annotations of each class at least stay, if there are as many: the
        most probable.

    Returns
    -------
    winners : ndarray of shape (n_rows,), dtype int64
    """
    winners = winners.copy()
    for code in np.unique(given):
        own = np.flatnonzero(given == code)
        lost = own[winners[own] != code]
        n_back = min(least, len(own)) - (len(own) - len(lost))
        back = np.argsort(-believed[lost], kind="stable")[: max(n_back, 0)]
        winners[lost[back]] = code
    return winners


def disagreed(votes, given):
    """Return where sources vote and none of them for the annotation.

    Parameters
    ----------
    votes : ndarray of shape (n_rows, n_sources), dtype int64
        Votes of the sources, -1 where one abstains.
    given : ndarray of shape (n_rows,), dtype int64
        The annotations.

    Returns
    -------
    flagged : ndarray of shape (n_rows,), dtype bool
    """
    agrees = votes == given[:, np.newaxis]
    return (votes >= 0).any(axis=1) & ~agrees.any(axis=1)
