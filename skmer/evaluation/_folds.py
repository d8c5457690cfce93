"""The folds of an evaluation, and what must hold before anything is fitted."""

import numpy as np
import pandas as pd

from skmer.model_selection import ReferenceFolds
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._sklearn import _num_samples


class Rows:
    """The rows of X with what is known of them.

    Parameters
    ----------
    X : indexable of length n_samples
        Clips or features.
    labelled : ndarray of shape (n_samples,), dtype bool
        From :func:`skmer.utils.split_labels`, as the next two.
    classes : ndarray of shape (n_classes,)
        The labels that occur.
    codes : ndarray of shape (n_samples,), dtype int64
        Positions of classes.
    groups : array-like of length n_samples, or None
        Groups, in the order of the rows.
    """

    def __init__(self, X, labelled, classes, codes, groups):
        self.labelled, self.classes, self.codes = labelled, classes, codes
        ids = clip_ids(X)
        self.has_ids = ids is not None
        self.ids = pd.RangeIndex(_num_samples(X)) if ids is None else ids
        self.groups = None if groups is None else np.asarray(groups, dtype=object)
        self.clips = unit_codes(ids, None, len(codes))

    @property
    def y(self):
        """Labels with the mark of unlabelled rows: -1 beside numbers, else None."""
        if self.labelled.all():
            return self.classes[self.codes]
        # Where -1 is a class, it cannot be the mark
        numbers = self.classes.dtype.kind in "iuf" and -1 not in self.classes
        y = np.full(len(self.codes), -1 if numbers else None, dtype=object)
        y[self.labelled] = self.classes[self.codes[self.labelled]]
        return y.astype(np.int64) if numbers else y

    def units(self):
        """Return what the bootstrap draws together: groups, else clips."""
        if self.groups is None:
            return self.clips
        known = ~pd.isna(self.groups)
        codes = pd.factorize(self.groups)[0].astype(np.int64)
        # A clip of no group is drawn by itself
        return np.where(known, codes, codes.max() + 1 + self.clips)


def make_splits(X, rows, cv, random_state):
    """Return training and test rows of each fold, and the folds by clip id.

    Parameters
    ----------
    X : indexable of length n_samples
        Clips or features.
    rows : Rows
        What is known of them.
    cv : int, splitter or iterable
        As for :func:`skmer.evaluation.evaluate`.
    random_state : int
        Seed where ``cv`` is a number.

    Returns
    -------
    splits : list of tuple of ndarray of int64
        Test rows are labelled.
    folds : ReferenceFolds or None
        None where the splits are no folds: a clip is tested twice, or a training part
        is not all of the rest.
    """
    if isinstance(cv, (int, np.integer)):
        _refuse_unlabelled(rows, cv)
        _refuse_small_classes(rows, cv)
        folds = ReferenceFolds.from_labels(
            rows.y,
            clips=rows.ids,
            groups=rows.groups,
            n_splits=int(cv),
            random_state=random_state,
        )
        return _checked(folds.split(_index_of(X, rows), rows.y), rows), folds
    if hasattr(cv, "split"):
        splits = _checked(_split(cv, X, rows), rows)
    else:
        splits = _checked(cv, rows)
    if isinstance(cv, ReferenceFolds):
        return splits, cv
    return splits, _as_folds(X, rows, splits, cv)


def refuse_text(cv, kinds="a number of folds, a splitter or a list of splits"):
    """Refuse a string as folds, which has a method ``split`` of another meaning.

    Parameters
    ----------
    cv : object
        What was given.
    kinds : str
        What could have been.

    Raises
    ------
    ValueError
        If it is a string.
    """
    if isinstance(cv, (str, bytes)):
        raise ValueError(f"cv must be {kinds}. Got {cv!r}.")


def check_length(name, values, X):
    """Refuse what does not have one value for each clip of X.

    Parameters
    ----------
    name : str
        What the values are called.
    values : array-like, or None
        None passes.
    X : indexable of length n_clips
        Clips or features.

    Raises
    ------
    ValueError
        If they are more or fewer.
    """
    if values is None or _num_samples(values) == _num_samples(X):
        return
    raise ValueError(
        f"{name} has {_num_samples(values)} values, X has {_num_samples(X)} clips. "
        f"Pass one of {name} for each clip of X, in the order of X."
    )


def count_split_groups(splits, groups):
    """Count groups of which a fold trains on some clips and tests others.

    Parameters
    ----------
    splits : iterable of (train, test)
        Rows.
    groups : array-like of length n_samples
        None and NaN are no group.

    Returns
    -------
    n_groups : int
    """
    codes = pd.factorize(np.asarray(groups, dtype=object))[0]
    shared = {
        code
        for train, test in splits
        for code in np.intersect1d(codes[train], codes[test]).tolist()
    }
    return len(shared - {-1})


def told_of_split_groups(n_split, n_groups, name):
    """Say what it means that folds divide groups; "" where they do not.

    Parameters
    ----------
    n_split, n_groups : int or None
        Groups that are divided, and all. None where groups are not known.
    name : str or None
        What one of the groups is called.

    Returns
    -------
    sentence : str
    """
    if not n_split:
        return ""
    what = "speakers" if name == "speaker" else "groups"
    are = "is" if n_split == 1 else "are"
    return (
        f"{n_split} of {n_groups} {what} {are} in training and in test of a fold: the "
        f"score flatters for new {what}."
    )


def _split(cv, X, rows):
    try:
        return list(cv.split(X, rows.y, rows.groups))
    except (TypeError, ValueError) as error:
        n_without = int((~rows.labelled).sum())
        if not n_without or getattr(cv, "takes_unlabeled", False):
            raise
        raise ValueError(
            f"{type(cv).__name__} cannot split clips of which {n_without} of "
            f"{len(rows.codes)} have no label. Let it split the labelled ones: "
            f"cv=skmer.model_selection.UnlabeledInTrain({cv})."
        ) from error


def fold_names(folds, rows, splits):
    """Return what each fold is called: its name in the file, else its number."""
    if folds is None:
        return list(range(len(splits)))
    known = folds.folds.copy()
    known.index = pd.Index([str(clip) for clip in known.index])
    known = known[~known.index.duplicated()]
    names = [known.get(str(rows.ids[test[0]])) for _, test in splits]
    # Rows of an array have no ids to look up
    if any(pd.isna(name) for name in names):
        return list(range(len(splits)))
    return [name if isinstance(name, str) else int(name) for name in names]


def _index_of(X, rows):
    # Rows without clip ids are known by their numbers
    return X if rows.has_ids else pd.DataFrame(index=rows.ids)


def _refuse_unlabelled(rows, cv):
    n_without = int((~rows.labelled).sum())
    if n_without:
        raise ValueError(
            f"{n_without} of {len(rows.codes)} clips have no label, and cv={cv} does "
            "not say what becomes of them. Pass cv=skmer.model_selection."
            f"UnlabeledInTrain({cv}), which trains on them and never tests them, or "
            "ReferenceFolds; or leave them out of X and y."
        )


def _refuse_small_classes(rows, cv):
    n_clips = {}
    for code, label in enumerate(rows.classes.tolist()):
        n_clips[label] = len(np.unique(rows.clips[rows.codes == code]))
    small = {label: n for label, n in n_clips.items() if n < cv}
    if small:
        label, n = min(small.items(), key=lambda item: item[1])
        several = f" ({len(small)} classes have too few)" if len(small) > 1 else ""
        instead = f"cv={n} or fewer, " if n > 1 else ""
        raise ValueError(
            f"Class {label!r} has {n} clip{'s' * (n != 1)}, fewer than the {cv} folds "
            f"of cv={cv}, so folds would test without it{several}. Pass {instead}more "
            "clips of it, leave the class out, or join it with another one."
        )


def _checked(splits, rows):
    """Return splits as arrays of rows, without unlabelled rows to test."""
    checked = []
    for number, (train, test) in enumerate(splits):
        train, test = _as_rows(train, rows), _as_rows(test, rows)
        test = test[rows.labelled[test]]
        if not len(test):
            raise ValueError(
                f"Fold {number} of cv has no labelled clip to test. Leave unlabelled "
                "clips to training: cv=skmer.model_selection.UnlabeledInTrain(...)."
            )
        shared = np.intersect1d(rows.clips[train], rows.clips[test])
        if len(shared):
            clip = rows.ids[int(np.argmax(rows.clips == shared[0]))]
            raise ValueError(
                f"Fold {number} of cv trains on clip {clip!r} and tests it, as it does "
                f"with {len(shared)} clips. Rows with the same id are copies of a clip "
                "and belong on one side: pass cv as a number, or give X an index that "
                "tells clips apart."
            )
        if len(np.unique(rows.codes[train][rows.labelled[train]])) < 2:
            raise ValueError(
                f"The labelled training clips of fold {number} of cv are of one class "
                "only, so nothing can be learnt. Use folds that are stratified."
            )
        checked.append((train, test))
    if not checked:
        raise ValueError("cv gives no fold.")
    return checked


def _as_rows(part, rows):
    part = np.asarray(part)
    if part.dtype == bool:
        part = np.flatnonzero(part)
    return part.astype(np.int64)


def _as_folds(X, rows, splits, cv):
    """Return the splits as folds by clip id, None where they are no folds."""
    fold = np.full(len(rows.codes), -1, dtype=np.int64)
    for number, (_, test) in enumerate(splits):
        if (fold[test] != -1).any():
            return None
        fold[test] = number
    series = pd.Series(fold, index=rows.ids).astype("Int64")
    series = series.mask(series == -1)
    folds = ReferenceFolds(
        series[~series.index.duplicated()], facts={"splitter": type(cv).__name__}
    )
    try:
        again = list(folds.split(_index_of(X, rows), rows.y))
    except ValueError:
        return None
    same = len(again) == len(splits) and all(
        np.array_equal(a, np.sort(b))
        for pair in zip(again, splits, strict=True)
        for a, b in zip(*pair, strict=True)
    )
    return folds if same else None
