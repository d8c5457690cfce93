"""The sources of votes: out-of-fold weak classifiers and labels from elsewhere."""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed

from skmer._streams import resolve_streams, stream_groups
from skmer.label_refinement._lookup import of_clips
from skmer.utils._clip_ids import look_up
from skmer.utils._folds import stratified_folds
from skmer.utils._seeds import seeded_clone
from skmer.utils._sklearn import _get_feature_names, _safe_indexing


def weak_classifier():
    """Return the plain classifier that each stream has by default.

    Strongly regularised: what it would learn of single rows are their wrong labels.
    """
    # In place: what Source.take returns is nobody else's
    return make_pipeline(
        SimpleImputer(keep_empty_features=True, copy=False),
        StandardScaler(copy=False),
        LogisticRegression(C=0.03, class_weight="balanced", max_iter=1000, tol=1e-3),
    )


# Rows that are looked at in one go.
_ROWS = 4096


class Source:
    """A classifier, the part of X that it sees and the rows where it sees anything.

    Parameters
    ----------
    name : str
        What it is called.
    estimator : classifier
        Unfitted.
    X : DataFrame, array-like or list of length n_rows
        All of X; nothing of it is copied before rows are taken.
    present : ndarray of shape (n_rows,), dtype bool
        Rows where it sees anything.
    columns : slice, ndarray of int64 or None, default=None
        The columns that it sees; None for X as it is.
    as_numbers : bool, default=False
        Whether it sees them as an array of float64.
    """

    def __init__(self, name, estimator, X, present, columns=None, as_numbers=False):
        self.name = name
        self.estimator = estimator
        self.X = X
        self.present = present
        self.columns = columns
        self.as_numbers = as_numbers

    def take(self, rows):
        """Return some rows as the classifier sees them, a copy."""
        part = self.X
        if self.columns is not None:
            part = _safe_indexing(part, self.columns, axis=1)
        part = _safe_indexing(part, rows)
        return np.asarray(part, dtype=np.float64) if self.as_numbers else part


def classifier_sources(X, n_rows, estimators, confidence, streams, by):
    """Return the list of Source that the parameters ask for."""
    everywhere = np.ones(n_rows, dtype=bool)
    if estimators is None or hasattr(estimators, "fit"):
        found = _stream_sources(X, estimators, streams, by)
    else:
        found = [
            Source(str(name), estimator, X, everywhere)
            for name, estimator in dict(estimators).items()
        ]
    if confidence is not None:
        found.append(Source("confidence", confidence, X, everywhere))
    return found


def _stream_sources(X, estimator, streams, by):
    if len(np.shape(X)) != 2:
        raise ValueError(
            "LabelRefiner's own weak classifiers need numbers, one row a clip. Got "
            f"{type(X).__name__} of shape {np.shape(X)}: put the encoders before, or "
            "pass estimators={name: pipeline}, which see X as it is."
        )
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if isinstance(X, pd.DataFrame):
        X = X.astype({n: d.subtype for n, d in X.dtypes.items() if _sparse(d)})
    names = _get_feature_names(X)
    if streams is None and names is not None:
        groups = stream_groups(names, by)
    else:
        groups = resolve_streams(streams, names, X.shape[1])
    found = []
    for stream, columns in groups.items():
        columns = _as_slice(columns)
        block = _safe_indexing(X, columns, axis=1)
        present = _present(block, stream, needed=estimator is None)
        if estimator is None:
            found.append(
                Source(stream, weak_classifier(), X, present, columns, as_numbers=True)
            )
        else:
            found.append(Source(stream, estimator, X, present, columns))
    return found


def _as_slice(columns):
    """Return neighbouring columns as a slice, which copies nothing."""
    first, last = int(columns[0]), int(columns[-1])
    if np.array_equal(columns, np.arange(first, last + 1)):
        return slice(first, last + 1)
    return columns


def _sparse(dtype):
    return isinstance(dtype, pd.SparseDtype)


def _present(block, stream, *, needed):
    """Return which rows have a number; all, if cells are other than numbers."""
    present = np.ones(block.shape[0], dtype=bool)
    try:
        for start in range(0, len(present), _ROWS):
            rows = slice(start, start + _ROWS)
            numbers = np.asarray(_safe_indexing(block, rows), dtype=np.float64)
            present[rows] = ~np.isnan(numbers).all(axis=1)
    except (TypeError, ValueError) as error:
        if not needed:
            return np.ones(block.shape[0], dtype=bool)
        raise type(error)(
            f"Stream {stream!r} does not hold numbers, which LabelRefiner's own weak "
            f"classifiers need ({error}). Pool sequences, or pass estimators= that "
            "take such columns."
        ) from error
    return present


def out_of_fold(sources, classes, codes, trusted, folds, seeds, n_jobs, verbose):
    """Return what each classifier says of the rows that it has not learnt from.

    Parameters
    ----------
    sources : list of Source
        Classifiers.
    classes : ndarray of shape (n_classes,)
        The classes.
    codes : ndarray of shape (n_rows,), dtype int64
        Labels of the rows as numbers, -1 in rows of no fold.
    trusted : ndarray of shape (n_rows,), dtype bool
        Rows to learn from. A class without such rows in a fold is learnt from all.
    folds : list of tuple of ndarray
        Training and test rows.
    seeds : list of int
        A seed for each classifier and fold.
    n_jobs, verbose : int or None
        As for joblib.

    Returns
    -------
    votes : ndarray of shape (n_sources, n_rows), dtype int64
        -1 where a classifier abstains.
    proba : ndarray of shape (n_sources, n_rows, n_classes)
        NaN where it gives none.
    """
    n_classes, labels = len(classes), classes[codes]
    tasks, rows = [], []
    for index, source in enumerate(sources):
        for number, (train, test) in enumerate(folds):
            train, test = train[source.present[train]], test[source.present[test]]
            learnt = np.isin(codes[train], codes[train[trusted[train]]])
            train = train[trusted[train] | ~learnt]
            # Of a class that it has never seen it cannot say that it is wrong
            test = test[np.isin(codes[test], codes[train])]
            if len(test) and len(np.unique(codes[train])) > 1:
                seed = seeds[index * len(folds) + number]
                tasks.append((source, labels, codes, train, test, seed))
                rows.append((index, test))
    done = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(_fit_and_ask)(*task, n_classes) for task in tasks
    )
    votes = np.full((len(sources), len(codes)), -1, dtype=np.int64)
    proba = np.full((len(sources), len(codes), n_classes), np.nan)
    for (index, test), (said, sure) in zip(rows, done, strict=True):
        votes[index, test] = said
        proba[index, test] = sure
    return votes, proba


def _fit_and_ask(source, labels, codes, train, test, seed, n_classes):
    member = seeded_clone(source.estimator, seed)
    try:
        member.fit(source.take(train), labels[train])
        says = getattr(member, "predict_proba", None)
        held_out = source.take(test)
        answer = member.predict(held_out) if says is None else says(held_out)
    except Exception as error:
        error.add_note(f"Raised by the weak classifier {source.name!r}.")
        raise
    learnt, where = np.unique(labels[train], return_index=True)
    known, learnt = codes[train][where], pd.Index(learnt)
    if says is None:
        said = learnt.get_indexer(pd.Index(np.asarray(answer)))
        return np.where(said >= 0, known[said], -1), np.nan
    # A pipeline that samples may have dropped a class
    columns = known[learnt.get_indexer(pd.Index(np.asarray(member.classes_)))]
    sure = np.zeros((len(test), n_classes))
    sure[:, columns] = np.asarray(answer, dtype=np.float64)
    return sure.argmax(axis=1), sure


def judging_folds(codes, units, cv, seed):
    """Return the folds in which clips are judged.

    Parameters
    ----------
    codes, units, seed
        As for :func:`skmer.utils._folds.stratified_folds`.
    cv : int
        Folds wanted; there are fewer where there are fewer units, or no class has as
        many rows.

    Returns
    -------
    folds : list of tuple of ndarray of int64
        Training and test rows.

    Raises
    ------
    ValueError
        If no two folds can be made.
    """
    n_units, n_rows = len(np.unique(units)), int(np.bincount(codes).max())
    n_folds = min(cv, n_units, n_rows)
    if n_folds < 2:
        raise ValueError(
            f"LabelRefiner judges clips out of fold (cv={cv}), and no two folds can be "
            f"made of {n_units} clips or groups with at most {n_rows} labelled rows of "
            "one class. Label more clips."
        )
    return stratified_folds(codes, units, n_folds, seed)


def warn_of_lone_classes(classes, codes, folds):
    """Warn of labels that no training part knows when it comes to judge them.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The classes.
    codes : ndarray of shape (n_rows,), dtype int64
        Labels as numbers.
    folds : list of tuple of ndarray
        Training and test rows.
    """
    alone = set()
    for train, test in folds:
        alone |= set(codes[test].tolist()) - set(codes[train].tolist())
    if alone:
        names = ", ".join(repr(classes.tolist()[code]) for code in sorted(alone))
        warnings.warn(
            f"Labels {names} cannot be judged wherever no other clip or group has "
            "the same: no classifier that has not learnt from such a clip knows "
            "its class. They stay.",
            stacklevel=4,
        )


def given_labels(extra_labels, ids, classes):
    """Return the votes of labels from elsewhere, one row a source.

    Parameters
    ----------
    extra_labels : dict of str to Series indexed by clip id
        Labels; a clip without one is one that the source abstains from.
    ids : Index of length n_rows, or None
        Clip ids.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    votes : ndarray of shape (n_sources, n_rows), dtype int64
    """
    rows = []
    known = pd.Index(classes)
    for name, series in extra_labels.items():
        if not isinstance(series, pd.Series):
            raise TypeError(
                f"extra_labels[{name!r}] must be a Series indexed by clip id. Got "
                f"{type(series).__name__}."
                + " Pass pd.Series of it."
                * isinstance(series, Mapping)
            )
        own_name = f"extra_labels[{name!r}]"
        series = of_clips(series, ids, own_name)
        said = look_up(series, ids, own_name, required=False)
        codes = known.get_indexer(pd.Index(said.to_numpy()))
        strange = said.to_numpy()[(codes < 0) & said.notna().to_numpy()]
        if len(strange):
            others = sorted({repr(label) for label in strange})
            warnings.warn(
                f"extra_labels[{name!r}] holds labels that are no class of y, "
                f"{', '.join(others[:5])}{', ...' * (len(others) > 5)}, for "
                f"{len(strange)} rows, where it abstains. The classes are "
                f"{', '.join(map(repr, classes.tolist()))}.",
                stacklevel=4,
            )
        rows.append(codes)
    return np.array(rows, dtype=np.int64).reshape(len(rows), -1)
