"""Cross-validation of rows of which some have no label."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, indexable

from skmer.utils import split_labels
from skmer.utils._clip_ids import (
    aligned_groups,
    clip_ids,
    known_clips,
    look_up,
    unit_codes,
)
from skmer.utils._folds import stratified_folds
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import _num_samples, _safe_indexing


class UnlabeledInTrain(BaseCrossValidator):
    """Split labelled rows, and put every unlabelled row into every training part.

    scikit-learn's splitters take -1 for one more class, and refuse None: test parts
    would hold rows that nothing can be scored on. Here test parts hold labelled rows
    only, and semi-supervised models get all unlabelled rows in every fold.

    A clip is never on both sides: rows of X with the same clip id (its index, or its
    path) are copies of a clip.

    Parameters
    ----------
    cv : int or splitter, default=5
        How to split the labelled rows. An int is a number of shuffled, stratified
        folds that keep copies of a clip, and groups where there are any, together.
        A splitter, such as ``LeaveOneGroupOut()``, is given the labelled rows alone;
        it must not part copies of a clip. Folds that are settled already go into
        :class:`ReferenceFolds`, in place of ``PredefinedSplit``.
    groups : Series indexed by clip id, default=None
        Group, such as the speaker, of each clip, where none are passed to
        :meth:`split`. ``cross_val_score(groups=...)`` reaches the outer splitter
        only; a splitter inside a search inside a pipeline reads the groups here. Not
        needed for unlabelled clips.
    hold_out_groups : bool, default=False
        Leave the unlabelled rows of a test part's groups out of its training part.
        By default they train: as in a challenge, the clips to be labelled are known
        beforehand, those of a test speaker too. Use True to learn how well speakers
        are recognised of whom nothing was seen. An unlabelled row without a group
        always trains.
    random_state : int, RandomState instance or None, default=0
        Seed of the shuffle where ``cv`` is an int. A number, so that each call of
        :meth:`split` gives the same folds; None gives others each time.

    See Also
    --------
    ReferenceFolds : Folds kept in a file.
    skmer.over_sampling.DropUnlabeled : Goes before estimators that refuse
        unlabelled rows.

    Examples
    --------
    >>> from skmer.model_selection import UnlabeledInTrain
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    >>> y = [0, 0, 1, 1, -1]
    >>> for train, test in UnlabeledInTrain(cv=2).split(X, y):
    ...     print(train, test)
    [0 3 4] [1 2]
    [1 2 4] [0 3]
    """

    # cross_validate and searches route groups here without being told to
    __metadata_request__split = {"groups": True}
    # Ensembles of folds hand it unlabelled rows too
    takes_unlabeled = True

    def __init__(self, cv=5, *, groups=None, hold_out_groups=False, random_state=0):
        self.cv = cv
        self.groups = groups
        self.hold_out_groups = hold_out_groups
        self.random_state = random_state

    def split(self, X, y=None, groups=None):
        """Generate the rows of each training and test part.

        Parameters
        ----------
        X : indexable of length n_samples
            Clips or features.
        y : array-like of shape (n_samples,)
            Labels; -1 in integers and None or NaN in strings where unlabelled.
        groups : Series indexed by clip id or array-like, default=None
            Group of each clip, or of each row; needed for labelled rows only. A
            Series is read by clip id where X has clip ids. Goes before the parameter
            ``groups``.

        Yields
        ------
        train : ndarray of int64
            Labelled rows that are not tested, and all unlabelled rows, in order.
        test : ndarray of int64
            Labelled rows.

        Raises
        ------
        ValueError
            If no row is labelled, there are fewer clips or groups than folds, a
            labelled row has no group, or ``cv`` parts copies of a clip or knows more
            rows than the labelled ones.
        TypeError
            If the parameter ``groups`` is no Series.
        """
        X, y = indexable(X, y)
        n_splits = self._n_splits()
        labelled, classes, codes = _labels(y)
        ids = clip_ids(X)
        groups = self._groups_of(groups, ids, labelled)
        clips = unit_codes(ids, None, _num_samples(X))
        rows = np.flatnonzero(labelled)
        if n_splits is not None:
            units = clips[rows] if groups is None else groups[rows]
            seed = self.random_state
            if not isinstance(seed, Integral):
                seed = draw_seeds(seed, 1)[0]
            units = pd.factorize(units)[0]
            parts = stratified_folds(codes[rows], units, n_splits, seed)
        else:
            parts = self.cv.split(
                _safe_indexing(X, rows),
                classes[codes[rows]],
                None if groups is None else groups[rows],
            )
        for train, test in parts:
            self._check_known(train, test, len(rows))
            train, test = rows[train], rows[test]
            self._check_apart(clips, ids, train, test)
            unlabelled = np.flatnonzero(~labelled & ~np.isin(clips, clips[test]))
            if self.hold_out_groups:
                held_out = np.isin(groups[unlabelled], groups[test])
                unlabelled = unlabelled[~held_out]
            yield np.sort(np.concatenate([train, unlabelled])), test

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X : indexable of length n_samples, default=None
            Needed where ``cv`` needs it, as ``LeaveOneOut`` does.
        y : array-like of shape (n_samples,), default=None
            Needed beside X.
        groups : Series indexed by clip id or array-like, default=None
            Needed where ``cv`` needs it, as ``LeaveOneGroupOut`` does.

        Returns
        -------
        n_splits : int
        """
        n_splits = self._n_splits()
        if n_splits is not None:
            return n_splits
        if X is None or y is None:
            return self.cv.get_n_splits(X, y, groups)
        labelled, classes, codes = _labels(y)
        groups = self._groups_of(groups, clip_ids(X), labelled)
        rows = np.flatnonzero(labelled)
        return self.cv.get_n_splits(
            _safe_indexing(X, rows),
            classes[codes[rows]],
            None if groups is None else groups[rows],
        )

    def _n_splits(self):
        """Return the number of folds where cv is one, None where it is a splitter."""
        if isinstance(self.cv, Integral) and not isinstance(self.cv, bool):
            if self.cv < 2:
                raise ValueError(f"cv must be at least 2 folds. Got {self.cv}.")
            return int(self.cv)
        if not (hasattr(self.cv, "split") and hasattr(self.cv, "get_n_splits")):
            raise ValueError(
                "cv must be a number of folds, or a splitter such as "
                f"StratifiedKFold(5). Got {self.cv!r}."
            )
        return None

    def _groups_of(self, groups, ids, labelled):
        """Return the group of each row as an array, None where there are no groups."""
        given = self.groups if groups is None else groups
        if groups is None and given is not None:
            groups = look_up(given, ids, "groups", required=False)
        groups = aligned_groups(groups, ids, required=False)
        if groups is None:
            if self.hold_out_groups:
                raise ValueError(
                    "hold_out_groups=True needs groups. Pass a Series indexed by clip "
                    "id to UnlabeledInTrain, or groups to split or cross_val_score."
                )
            return None
        check_consistent_length(labelled, groups)
        # Numbers in place of names: splitters sort groups, NaN and all
        codes = pd.factorize(np.asarray(groups))[0]
        unknown = labelled & (codes == -1)
        if unknown.any():
            row = int(np.argmax(unknown))
            which = f"row {row}" if ids is None else f"clip {ids[row]!r}"
            known = ""
            if ids is not None and isinstance(given, pd.Series):
                known = f" {known_clips(given.index)}"
            raise ValueError(
                f"groups has no value for {which} ({int(unknown.sum())} labelled rows "
                f"lack one).{known} Give every labelled clip a group."
            )
        # A group of its own for every row without one
        alone = np.flatnonzero(codes == -1)
        codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
        return codes

    def _check_known(self, train, test, n_labelled):
        last = max((int(part.max()) for part in (train, test) if len(part)), default=0)
        if last >= n_labelled:
            raise ValueError(
                f"{type(self.cv).__name__} asks for row {last}, but is given the "
                f"{n_labelled} labelled rows alone. Make it for these; or, where it "
                "knows a fold of every clip, use ReferenceFolds, which takes folds by "
                "clip id and unlabelled rows too."
            )

    def _check_apart(self, clips, ids, train, test):
        shared = np.intersect1d(clips[train], clips[test])
        if len(shared):
            row = int(np.argmax(clips == shared[0]))
            which = f"row {row}" if ids is None else repr(ids[row])
            raise ValueError(
                f"{self.cv} puts copies of {len(shared)} clips, such as {which}, on "
                "both sides. Make copies inside of the training part, by a sampler "
                "in an imblearn Pipeline; or pass cv as a number, which keeps copies "
                "together; or, if these are different clips, give X an index that "
                "tells them apart."
            )


def _labels(y):
    if y is None:
        raise ValueError("UnlabeledInTrain needs y, to know which rows are labelled.")
    labelled, classes, codes = split_labels(y)
    if not labelled.any():
        raise ValueError(
            f"None of the {len(labelled)} rows is labelled, so nothing can be tested "
            "(-1 in integers, and None or NaN in strings, mark an unlabelled row)."
        )
    return labelled, classes, codes
