"""Stratified folds that keep copies of a clip, or the clips of a group, together."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

# Fewer clips or groups are too few to watch some of.
_FEWEST_TO_WATCH = 20


def watched_rows(codes, units, share, seed):
    """Return the rows that training watches in place of learning from them.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), dtype int64
        Classes of the rows.
    units : ndarray of shape (n_rows,), dtype int64
        What must stay on one side, numbered from 0 on.
    share : float or None
        Share of the rows to watch; None watches none.
    seed : int
        Seed of the choice.

    Returns
    -------
    rows : ndarray of int64
        A fold of :func:`stratified_folds`, without the units that alone have a class:
        nobody could tell it then. Empty where there are too few rows to spare some.
    """
    n_units = int(units.max()) + 1
    most = min(int(np.bincount(codes).max()), n_units)
    if share is None or n_units < _FEWEST_TO_WATCH or most < 2:
        return np.empty(0, dtype=np.int64)
    # Of classes as small as that, a larger share is watched.
    n_splits = min(max(2, round(1 / share)), most)
    return learnt_and_watched(codes, units, n_splits, seed)[1]


def learnt_and_watched(codes, units, n_splits, seed):
    """Divide rows into some to learn from and a fold to watch.

    Parameters
    ----------
    codes, units, n_splits, seed
        As for :func:`stratified_folds`.

    Returns
    -------
    learn, watch : ndarray of int64
        Its first division. Units that alone have a class are learnt from: nobody could
        tell it otherwise.
    """
    learn, watch = stratified_folds(codes, units, n_splits, seed)[0]
    alone = ~np.isin(codes[watch], codes[learn])
    spared = np.isin(units[watch], units[watch[alone]])
    return np.sort(np.append(learn, watch[spared])), watch[~spared]


def stratified_folds(codes, units, n_splits, seed):
    """Return training and test rows of shuffled, stratified folds.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,), dtype int64
        Classes of the rows.
    units : ndarray of shape (n_rows,), dtype int64
        What must stay on one side, numbered from 0 on, as
        :func:`skmer.utils._clip_ids.unit_codes` numbers it.
    n_splits : int
        Number of folds.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    folds : list of tuple of ndarray of int64
        Training and test rows of each fold. A class with fewer units than folds is
        absent from some test parts; the caller says so where it matters.

    Raises
    ------
    ValueError
        If there are fewer units than folds, or no class has as many rows as folds.
    """
    n_units = int(units.max()) + 1
    if n_units < n_splits:
        raise ValueError(
            f"{n_splits} folds need as many clips or groups. Got {n_units}."
        )
    order = np.lexsort((codes, units))
    first = np.unique(units[order], return_index=True)[1]
    lowest = codes[order][first]
    pure = np.array_equal(lowest[units], codes)
    with warnings.catch_warnings():
        # A small class is learnt from and may be absent from a test part.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        if pure and np.bincount(lowest).max() >= n_splits:
            # Every unit is of one class: whole units can be stratified exactly.
            splitter = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
            tests = [np.isin(units, test) for _, test in splitter.split(lowest, lowest)]
            return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in tests]
        if np.bincount(codes).max() < n_splits:
            raise ValueError(
                f"{n_splits} folds cannot be stratified: no class has as many rows."
            )
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(codes)), codes, units))
