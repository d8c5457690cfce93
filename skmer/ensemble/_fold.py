"""One classifier, one clone per fold."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length

from skmer.ensemble._members import fit_members, in_portions, take_rows
from skmer.ensemble._voting import BaseVoting
from skmer.utils._clip_ids import (
    aligned_groups,
    clip_ids,
    known_clips,
    unit_codes,
)
from skmer.utils._folds import stratified_folds
from skmer.utils._seeds import draw_seeds, seeded_clone
from skmer.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _safe_indexing,
)


class FoldVotingClassifier(BaseVoting):
    """Fit a classifier on the training part of each fold, and let all vote.

    The networks of a cross-validation, each of which has missed one part of the
    clips, predict new clips together.

    Parameters
    ----------
    estimator : classifier or pipeline
        What to clone. Every ``random_state`` in a clone is set. Fusion classifiers,
        alone or at the end of a pipeline, are trained side by side, see Notes.
    cv : int, splitter or iterable, default=5
        Number of folds, shuffled and stratified, and with copies of a clip (rows of
        one clip id) on one side, or rows of one group where ``fit`` is given groups;
        or a splitter; or pairs of training and test rows, numbers of rows of X.
    n_seeds : int, default=1
        Members per fold.
    voting : {"soft", "hard", "logit"}, default="soft"
        ``"soft"``: mean of the members' probabilities. ``"logit"``: mean of their
        logarithms, normalised; a member that has not seen a class has no say about
        it. ``"hard"``: the label most members predict; ties go to the one with the
        higher mean probability, or, for members without probabilities, to the first.
    random_state : int, RandomState or None, default=None
        Where the folds and the members' seeds come from. None takes fresh ones from
        the operating system.
    n_jobs : int or None, default=None
        Members fitted at a time, in processes unless
        :class:`joblib.parallel_config` says otherwise; networks are trained side by
        side instead. The members are the same whatever it is.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members, fold by fold.
    folds_ : list of tuple of ndarray
        Training and held-out rows of each fold, numbers of rows of X.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    n_features_in_ : int
        Number of columns of X, where the members know it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    SeedVotingClassifier : Members that learn from the same rows.

    Notes
    -----
    Rows without a label belong to the training part of every fold, since some
    classifiers learn from them, and a splitter is given the labelled rows alone.
    :class:`~skmer.model_selection.UnlabeledInTrain`,
    :class:`~skmer.model_selection.ReferenceFolds` and other splitters with the
    attribute ``takes_unlabeled = True`` are given all rows, and say themselves where
    those without a label train. X keeps its clip ids on the way to the splitter.

    Which members are trained side by side, and what that is, says
    :class:`SeedVotingClassifier`. Folds that take as many steps an epoch go side by
    side, others in turn, as do all where copies of X for each would take more than
    2 GiB.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.ensemble import FoldVotingClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> X = rng.normal(size=(60, 6)) + (y == "sad")[:, None]
    >>> vote = FoldVotingClassifier(LogisticRegression(), random_state=0).fit(X, y)
    >>> len(vote.estimators_), bool(vote.score(X, y) > 0.8)
    (5, True)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "cv": ["cv_object"],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "voting": [StrOptions({"soft", "hard", "logit"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        estimator,
        *,
        cv=5,
        n_seeds=1,
        voting="soft",
        random_state=None,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.cv = cv
        self.n_seeds = n_seeds
        self.voting = voting
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, groups=None):
        """Fit the members.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; the estimator has to take weights.
        groups : Series indexed by clip id, array-like or None, default=None
            Group of each clip, the speaker for example, or of each row; for the
            splitter. Labelled rows need one. Without clip ids in X, a Series is read
            by row as well.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there are more folds than labelled clips or groups, a labelled row has
            no group, or members have no probabilities and ``voting`` is not
            ``"hard"``.
        """
        X, labelled, codes, sample_weight = self._checked(X, y, sample_weight)
        y = y if hasattr(y, "__getitem__") else np.asarray(y)
        split_seed, *rest = draw_seeds(self.random_state, 2)
        self.folds_ = self._folds(X, y, labelled, codes, groups, split_seed)
        seeds = iter(draw_seeds(rest[0], len(self.folds_) * self.n_seeds))
        fitted = []
        for portion in in_portions(self.folds_, X, self.estimator, self.n_jobs):
            # Without a name for it, its rows are gone before the next one's are taken
            fitted += fit_members(
                [self._group(portion, X, y, sample_weight, seeds)], self.n_jobs
            )
        return self._keep(fitted)

    def _group(self, folds, X, y, sample_weight, seeds):
        """Return the members of some folds, unfitted, and what they are fitted on."""
        members, tasks = [], []
        for learn, _ in folds:
            part = take_rows(X, y, sample_weight, learn)
            for _ in range(self.n_seeds):
                members.append(seeded_clone(self.estimator, next(seeds)))
                tasks.append(part)
        self._check_votes(members[0])
        return members, tasks

    def _folds(self, X, y, labelled, codes, groups, seed):
        """Return the rows to learn from and those held out, fold by fold."""
        if not isinstance(self.cv, Integral) and not hasattr(self.cv, "split"):
            pairs = [(np.asarray(a), np.asarray(b)) for a, b in self.cv]
            if not pairs:
                raise ValueError("cv has no folds. Give at least one pair of rows.")
            return pairs
        ids = clip_ids(X)
        given, groups = groups, aligned_groups(groups, ids, required=False)
        check_consistent_length(X, groups)
        if getattr(self.cv, "takes_unlabeled", False):
            return list(self.cv.split(X, y, groups))
        rows, rest = np.flatnonzero(labelled), np.flatnonzero(~labelled)
        if groups is not None:
            groups = np.asarray(groups)[rows]
            _check_groups(groups, rows, ids, given)
        if not isinstance(self.cv, Integral):
            labels = self.classes_[codes[rows]]
            pairs = self.cv.split(_safe_indexing(X, rows), labels, groups)
            return [(np.sort(np.r_[rows[a], rest]), rows[b]) for a, b in pairs]
        clips = unit_codes(ids, None, len(codes))
        units = clips[rows] if groups is None else groups
        units = pd.factorize(units)[0].astype(np.int64)
        n_units = int(units.max(initial=-1)) + 1
        if n_units < self.cv:
            what = "labelled clips" if groups is None else "groups"
            raise ValueError(
                f"cv={self.cv} needs as many {what}. Got n_samples = {n_units}."
            )
        found = []
        for a, b in stratified_folds(codes[rows], units, int(self.cv), seed):
            # Copies of a clip that is held out are not learnt from either
            others = rest[~np.isin(clips[rest], clips[rows[b]])]
            found.append((np.sort(np.r_[rows[a], others]), rows[b]))
        return found


def _check_groups(groups, rows, ids, given):
    """Raise if a labelled row has no group, or copies of a clip have several."""
    unknown = pd.isna(groups)
    if unknown.any():
        row = rows[int(np.argmax(unknown))]
        which = f"row {row}" if ids is None else f"clip {ids[row]!r}"
        known = ""
        if ids is not None and isinstance(given, pd.Series):
            known = f" {known_clips(given.index)}"
        raise ValueError(
            f"groups has no value for {which} ({int(unknown.sum())} labelled rows "
            f"lack one).{known} Give every labelled clip a group."
        )
    if ids is None:
        return
    several = pd.Series(groups).groupby(np.asarray(ids[rows])).nunique() > 1
    if several.any():
        raise ValueError(
            f"groups gives copies of clip {several.idxmax()!r} different groups. Leave "
            "one, or, if these are different clips, give X an index that tells them "
            "apart."
        )
