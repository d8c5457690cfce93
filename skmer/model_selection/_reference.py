"""Folds that are made once and read by every system that is compared on them."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from skmer.model_selection._file import read_folds, write_folds
from skmer.utils import split_labels
from skmer.utils._clip_ids import clip_ids, look_up, plain_ids, unit_codes
from skmer.utils._folds import stratified_folds
from skmer.utils._sklearn import _num_samples

# How many clip ids a message names.
_NAMED = 3
# What to do where a loader of data returned folds=None.
_NO_FOLDS = (
    " The data have none: add a column of folds to the table (fold_column of "
    "load_clips), or use ReferenceFolds.from_labels(y, clips=X) or "
    "scikit-learn's StratifiedGroupKFold."
)


class ReferenceFolds(BaseCrossValidator):
    """Folds known by clip id, so that different systems are compared on the same ones.

    The order of the rows, clips left out and seeds of other scikit-learn versions
    change what a splitter does; they do not change these folds. Make them with
    :meth:`from_labels`, keep them with :meth:`save`, get them back with :meth:`read`.

    Parameters
    ----------
    folds : Series indexed by clip id
        Fold of each clip: whole numbers, or names such as ``"train"``. A clip whose
        fold is NaN, None, -1 or ``""`` has none: it is never tested and is in every
        training part.
    test : fold or sequence of folds, default=None
        Which folds to test on, one split each. None: on each fold in turn, in sorted
        order.
    train : fold or sequence of folds, default=None
        Which folds to train on, beside clips without a fold. None: on all but the one
        that is tested. ``test="test", train="train"`` leaves ``"dev"`` alone.
    facts : dict, default=None
        How the folds were made: kept in the file, not used otherwise. Strings,
        numbers, lists and dicts of these.

    See Also
    --------
    UnlabeledInTrain : Splits labelled rows anew.

    Notes
    -----
    The file is CSV in UTF-8 with the columns ``clip`` and ``fold``, below lines that
    start with ``#`` and hold the number of the format, the facts, and how many clips
    each fold has; ``pandas.read_csv(path, comment="#")`` reads it where no clip id
    has a ``#`` in it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skmer.model_selection import ReferenceFolds
    >>> clips = ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    >>> y = ["happy", "sad", "happy", "sad", None]
    >>> folds = ReferenceFolds.from_labels(y, clips=clips, n_splits=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     folds.save(Path(folder, "folds.csv"))
    ...     same = ReferenceFolds.read(Path(folder, "folds.csv"))
    >>> for train, test in same.split(clips, y):
    ...     print(train, test)
    [0 3 4] [1 2]
    [1 2 4] [0 3]
    """

    # Ensembles of folds hand it unlabelled rows too
    takes_unlabeled = True

    def __init__(self, folds, *, test=None, train=None, facts=None):
        self.folds = folds
        self.test = test
        self.train = train
        self.facts = facts

    @classmethod
    def from_labels(
        cls,
        y,
        *,
        clips=None,
        groups=None,
        n_splits=5,
        hold_out_groups=False,
        random_state=0,
    ):
        """Make shuffled, stratified folds of the labelled clips.

        Parameters
        ----------
        y : array-like of shape (n_rows,)
            Labels; -1 in integers and None or NaN in strings where unlabelled. A
            Series beside ``clips`` is read by clip id.
        clips : DataFrame, list of paths or Index, default=None
            What has the clip ids of the rows: X. None: the index of y where it is a
            Series; else rows are known by their numbers.
        groups : Series indexed by clip id or array-like, default=None
            Group, such as the speaker, of each clip, or of each row; a group is in
            one fold.
        n_splits : int, default=5
            Number of folds.
        hold_out_groups : bool, default=False
            Give unlabelled clips the fold of their group, so that they are left out
            of training while their group is tested; needs ``groups``. By default they
            have no fold and always train.
        random_state : int, default=0
            Seed of the shuffle.

        Returns
        -------
        folds : ReferenceFolds

        Raises
        ------
        ValueError
            If no row is labelled, there are fewer clips or groups than folds, y is a
            Series of other clips than ``clips``, or groups are lacking.

        Warns
        -----
        UserWarning
            If a class has fewer clips, or groups, than there are folds.
        """
        for name, value, least in [
            ("n_splits", n_splits, 2),
            ("random_state", random_state, 0),
        ]:
            if not isinstance(value, Integral) or value < least:
                raise ValueError(
                    f"{name} must be a whole number from {least} on. Got {value!r}."
                )
        if hold_out_groups and groups is None:
            raise ValueError("hold_out_groups=True needs groups. Pass them, too.")
        y, ids = _rows_of(y, clips)
        labelled, classes, codes = split_labels(y)
        if not labelled.any():
            raise ValueError(
                f"None of the {len(labelled)} rows of y is labelled: there is nothing "
                "to make folds of."
            )
        units = _units(ids, groups, labelled)
        rows = np.flatnonzero(labelled)
        within = pd.factorize(units[rows])[0]
        fold = np.full(units.max() + 1, -1)
        parts = stratified_folds(codes[rows], within, int(n_splits), int(random_state))
        _tell_of_small_classes(classes, codes[rows], within, n_splits, groups)
        for number, (_, test) in enumerate(parts):
            fold[units[rows[test]]] = number
        of_rows = fold[units]
        if not hold_out_groups:
            # A clip that has a labelled copy keeps its fold
            of_rows[~ids.isin(ids[labelled])] = -1
        series = pd.Series(of_rows, index=ids).astype("Int64")
        counts = np.bincount(codes[labelled], minlength=len(classes)).tolist()
        facts = {
            "n_splits": int(n_splits),
            "random_state": int(random_state),
            "grouped": groups is not None,
            "hold_out_groups": bool(hold_out_groups),
            "classes": dict(zip(map(str, classes.tolist()), counts, strict=True)),
            "unlabelled": int((~labelled).sum()),
        }
        return cls(_tidy(series.mask(of_rows == -1)), facts=facts)

    @classmethod
    def read(cls, path):
        """Read folds from a file.

        Parameters
        ----------
        path : str or PathLike
            What :meth:`save` wrote.

        Returns
        -------
        folds : ReferenceFolds

        Raises
        ------
        ValueError
            If the file is no file of folds, is of a later format, lacks rows, or has
            a row that is wrong; the message names its line.
        """
        folds, settings = read_folds(path)
        return cls(_tidy(folds), **settings)

    def save(self, path):
        """Write the folds to a file, whole or not at all.

        Parameters
        ----------
        path : str or PathLike
            File to write; one that exists is replaced.

        Raises
        ------
        ValueError
            If the folds are not valid.
        FileNotFoundError
            If the folder of ``path`` does not exist.
        """
        names, codes = self._lookup()
        settings = {
            key: None
            if getattr(self, key) is None
            else [names[number] for number in self._numbers(names, key)]
            for key in ("test", "train")
        }
        write_folds(path, names, codes, {**settings, "facts": self.facts})

    def split(self, X, y=None, groups=None):
        """Generate the rows of each training and test part.

        Parameters
        ----------
        X : DataFrame, Series, or array-like of length n_samples
            Clips or features; any part of the clips, in any order. Rows are known by
            the clip id (the index, or the path); rows of an array have none and are
            taken to be in the order of ``folds``, all of them.
        y : array-like of shape (n_samples,), default=None
            Labels; -1 in integers and None or NaN in strings where unlabelled. An
            unlabelled row is never tested; it trains, unless it has a fold and that
            is not a fold that trains. None: all rows are labelled.
        groups : object, default=None
            Ignored; what stays together is settled.

        Yields
        ------
        train : ndarray of int64
            Rows to train on, in order.
        test : ndarray of int64
            Labelled rows to test on, in order.

        Raises
        ------
        ValueError
            If labelled clips are not in ``folds``, X has no labelled row of a fold
            that is named by ``test``, or none is left to train on. Other folds without
            a row are left out.
        """
        names, codes, labelled = self._of_rows(X, y)
        parts = []
        for number in self._tested(names, codes, labelled):
            tested = codes == number
            train = ~tested
            if self.train is not None:
                train &= np.isin(codes, [-1, *self._numbers(names, "train")])
            if not (train & labelled).any():
                raise ValueError(
                    f"There is no labelled row to train on where fold {names[number]!r}"
                    f" is tested (test={self.test!r}, train={self.train!r}). Name the "
                    "folds to test on by test, others than those to train on, and pass "
                    "rows of both."
                )
            parts.append((np.flatnonzero(train), np.flatnonzero(tested & labelled)))
        yield from parts

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X : indexable of length n_samples, default=None
            Folds of which X has no labelled row are not counted. None: all are.
        y : array-like of shape (n_samples,), default=None
            Labels.
        groups : object, default=None
            Ignored.

        Returns
        -------
        n_splits : int
        """
        if X is None:
            names, codes = self._lookup()
            return len(self._tested(names, codes.to_numpy(), np.ones(len(codes), bool)))
        return len(self._tested(*self._of_rows(X, y)))

    def _lookup(self):
        """Return the folds' names and each clip's fold number, -1 for none."""
        if not isinstance(self.folds, pd.Series):
            raise TypeError(
                "folds must be a Series of folds indexed by clip id. Got "
                f"{type(self.folds).__name__}.{_NO_FOLDS * (self.folds is None)}"
            )
        names, numbers = _named_folds(self.folds.to_numpy(dtype=object, na_value=None))
        if not names:
            raise ValueError("folds gives no clip a fold, so there is nothing to test.")
        codes = pd.Series(numbers, index=plain_ids(self.folds.index))
        once = codes[~codes.index.duplicated()]
        if len(once) < len(codes):
            differs = once.loc[codes.index].to_numpy() != numbers
            if differs.any():
                clip = codes.index[int(np.argmax(differs))]
                raise ValueError(f"folds gives clip {clip!r} two folds. Leave one.")
        return names, once

    def _of_rows(self, X, y):
        """Return the folds' names, and the fold number of each row and if labelled."""
        names, codes = self._lookup()
        n_rows = _num_samples(X)
        labelled = np.ones(n_rows, dtype=bool) if y is None else split_labels(y)[0]
        if len(labelled) != n_rows:
            raise ValueError(f"X has {n_rows} rows and y {len(labelled)}.")
        ids = clip_ids(X)
        if ids is None:
            if n_rows != len(codes):
                raise ValueError(
                    f"X has {n_rows} rows without clip ids, but there are folds for "
                    f"{len(codes)} clips. Pass a DataFrame, whose index is the clip "
                    "ids, a list of paths, or all rows in the order of the folds."
                )
            return names, codes.to_numpy(), labelled
        at = codes.index.get_indexer(ids)
        absent = (at == -1) & labelled
        if absent.any():
            clips = ", ".join(map(repr, ids[absent][:_NAMED]))
            known = ", ".join(map(repr, codes.index[:_NAMED]))
            raise ValueError(
                f"{int(absent.sum())} of {n_rows} rows are clips without an entry in "
                f"the folds: {clips}{', ...' if absent.sum() > _NAMED else ''}. The "
                f"folds know clips such as {known}. Make folds of all clips, or give "
                "a clip that is to train always an entry without a fold."
            )
        return names, np.where(at == -1, -1, codes.to_numpy()[at]), labelled

    def _tested(self, names, codes, labelled):
        """Return the numbers of the folds to test on."""
        present = np.unique(codes[labelled & (codes != -1)]).tolist()
        if self.test is None:
            if not present:
                raise ValueError("No labelled row of X has a fold, so none is tested.")
            return present
        wanted = self._numbers(names, "test")
        empty = [names[number] for number in wanted if number not in present]
        if empty:
            raise ValueError(f"X has no labelled row of the fold {empty[0]!r} to test.")
        return wanted

    def _numbers(self, names, parameter):
        """Return the numbers of the folds that a parameter names."""
        wanted = getattr(self, parameter)
        wanted = [wanted] if isinstance(wanted, str | Real) else list(wanted)
        unknown = [name for name in wanted if name not in names]
        if unknown or not wanted or len(set(wanted)) < len(wanted):
            raise ValueError(
                f"{parameter} must name folds, each once, out of "
                f"{', '.join(map(repr, names))}. Got {getattr(self, parameter)!r}."
            )
        return [names.index(name) for name in wanted]


def _named_folds(values):
    """Return sorted names of folds and the number of each value, -1 for none."""
    names = {}
    numbers = np.full(len(values), -1)
    for row, value in enumerate(values):
        if value is None or value is pd.NA or value != value or value in (-1, ""):
            continue
        if isinstance(value, Real) and not isinstance(value, bool) and value % 1 == 0:
            value = int(value)
        elif not isinstance(value, str):
            raise ValueError(
                "folds must hold whole numbers or names, and NaN or -1 for no fold. "
                f"Got {value!r}."
            )
        numbers[row] = names.setdefault(value, len(names))
    if len({type(name) for name in names}) > 1:
        raise ValueError("folds must hold whole numbers or names, not both.")
    if not names:
        return [], numbers
    ordered = sorted(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[[names[name] for name in ordered]] = np.arange(len(names))
    return ordered, np.where(numbers == -1, -1, rank[numbers])


def _rows_of(y, clips):
    """Return y in the order of the clips, and their ids."""
    n_rows = _num_samples(y)
    own = plain_ids(y.index) if isinstance(y, pd.Series) else pd.RangeIndex(n_rows)
    if clips is None:
        ids = own
    elif isinstance(clips, pd.Index):
        ids = plain_ids(clips)
    else:
        ids = clip_ids(clips)
    if ids is None or len(ids) != n_rows:
        raise ValueError(
            f"clips must have the ids of the {n_rows} rows of y: a DataFrame indexed "
            "by them, a list of paths or an Index. Got "
            f"{type(clips).__name__} of length {len(clips)}."
        )
    if ids.nlevels > 1:
        raise ValueError(
            "Clip ids are an index of one level, strings or whole numbers. Got "
            f"{ids.nlevels} levels."
        )
    if not isinstance(y, pd.Series) or own.equals(ids):
        return y, ids
    if set(own) != set(ids):
        raise ValueError(
            "y is a Series of other clips than those of clips: it knows "
            f"{', '.join(map(repr, own[:_NAMED]))}, clips are "
            f"{', '.join(map(repr, ids[:_NAMED]))}. Index it by the clip ids, or pass "
            "y.to_numpy() where its rows are in the order of clips."
        )
    if not (own.is_unique and ids.is_unique):
        raise ValueError(
            "y is a Series in another order than clips and holds clips several times, "
            "so which label is of which row cannot be told. Give it the order of clips."
        )
    return y.iloc[own.get_indexer(ids)], ids


def _tell_of_small_classes(classes, codes, units, n_splits, groups):
    of_units = pd.Series(units).groupby(codes).nunique()
    smallest = int(of_units.idxmin())
    if of_units[smallest] < n_splits:
        what = "clips" if groups is None else "groups"
        warnings.warn(
            f"Class {classes.tolist()[smallest]!r} has fewer {what} "
            f"({of_units[smallest]}) than there are folds ({n_splits}): some folds "
            "have none of it to test.",
            UserWarning,
            stacklevel=3,
        )


def _units(ids, groups, labelled):
    """Return numbers of what must be in one fold."""
    if groups is None:
        return unit_codes(ids, None, len(ids))
    if isinstance(groups, Mapping):
        groups = pd.Series(groups)
    if isinstance(groups, pd.Series):
        groups = look_up(groups, ids, "groups", required=False)
    codes = pd.factorize(np.asarray(groups))[0].astype(np.int64)
    if len(codes) != len(ids):
        raise ValueError(f"There are {len(ids)} rows and {len(codes)} groups.")
    unknown = codes == -1
    if (unknown & labelled).any():
        clip = ids[int(np.argmax(unknown & labelled))]
        raise ValueError(
            f"groups has no value for clip {clip!r}. Every labelled clip needs one."
        )
    if pd.Series(codes).groupby(pd.factorize(np.asarray(ids))[0]).nunique().max() > 1:
        raise ValueError("groups gives copies of a clip different groups. Leave one.")
    alone = np.flatnonzero(unknown)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    return codes


def _tidy(series):
    """Return one entry a clip, under the names of the file's columns."""
    series = series[~series.index.duplicated()].rename("fold")
    return series.rename_axis(index="clip")
