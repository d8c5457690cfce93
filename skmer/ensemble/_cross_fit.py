"""Codes of training rows from models that have not seen these rows."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin
from sklearn.utils import check_consistent_length, get_tags, indexable
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skmer.ensemble._members import fit_members, in_portions, take_rows
from skmer.utils import split_labels
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._fit_inputs import refuse_complex, require_y
from skmer.utils._folds import stratified_folds
from skmer.utils._instances import check_instances
from skmer.utils._seeds import draw_seeds, seeded_clone
from skmer.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _safe_indexing,
)


class CrossFitTransformer(MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """Give what is trained next codes that look as those of new clips will.

    A network that transforms the rows that it was trained on knows their labels: its
    codes of them lie far apart, class by class, as codes of new clips do not. A
    classifier trained on such codes learns borders that new clips do not respect.
    :meth:`fit_transform` gives each labelled row the code of a clone that was trained
    on the other folds; :meth:`transform` uses one that was trained on all rows. As for
    :class:`sklearn.preprocessing.TargetEncoder`, ``fit_transform(X, y)`` is therefore
    not ``fit(X, y).transform(X)``. A pipeline calls the former where it is fitted and
    the latter where it predicts, as it should be.

    Parameters
    ----------
    estimator : estimator with fit and transform
        What to clone: a fusion classifier, for example, or a pipeline.
    cv : int or None, default=5
        Number of folds, stratified by class; fewer where there are fewer labelled
        clips or groups, or no class has as many. None: codes of the one that was
        trained on all rows for training rows as well, which is what a pipeline does
        without this class.
    align : {"rotation", None}, default="rotation"
        What makes codes of different clones comparable. All clones start from the
        same seed; ``"rotation"`` also rotates each fold's codes, about their mean, to
        where those of the clone of all rows are, as the rows that both have learnt
        from tell (orthogonal Procrustes). None leaves them as they are, for
        transformers whose columns mean the same in each clone.
    groups : Series indexed by clip id, or None, default=None
        Group, such as the speaker, of each labelled clip; a group is never in both
        parts of a fold. None keeps only copies of a clip together.
    random_state : int, RandomState or None, default=None
        Seeds the folds, and the clones, all alike.
    n_jobs : int or None, default=None
        Clones fitted at a time; networks are trained side by side instead.

    Attributes
    ----------
    estimator_ : estimator
        The clone that was fitted on all rows.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    n_features_in_ : int
        Number of columns of X, where the estimator knows it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    FoldVotingClassifier : Classifiers of the folds, which vote.
    sklearn.model_selection.cross_val_predict : The same for predictions.

    Notes
    -----
    Rows without a label are never held out, and the clone of all rows gives their
    codes. So it does for the rows of a class of a single clip or group, which would
    be unknown to the clone that does not see it.

    Folds are fitted in turn where copies of X for each would take more than 2 GiB.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    >>> from skmer.ensemble import CrossFitTransformer
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(400, 200)), np.tile(["happy", "sad"], 200)
    >>> def told(codes):
    ...     return ((codes[:, 0] > 0) == (y == "sad")).mean().round(1)
    >>> lda = LinearDiscriminantAnalysis()
    >>> float(told(lda.fit_transform(X, y)))  # of noise
    0.8
    >>> crossed = CrossFitTransformer(lda, random_state=0)
    >>> float(told(crossed.fit_transform(X, y)))
    0.5
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "transform"])],
        "cv": [None, Interval(Integral, 2, None, closed="left")],
        "align": [None, StrOptions({"rotation"})],
        "groups": [None, pd.Series],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        estimator,
        *,
        cv=5,
        align="rotation",
        groups=None,
        random_state=None,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.cv = cv
        self.align = align
        self.groups = groups
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit a clone on all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them,
            where the estimator does.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; the estimator has to take weights.

        Returns
        -------
        self : CrossFitTransformer
        """
        X, y, _, _, sample_weight = self._checked(X, y, sample_weight)
        _, seed = draw_seeds(self.random_state, 2)
        self._fit_clones([(X, y, sample_weight)], seed)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X, y, sample_weight=None):
        """Fit clones on all rows and on all but each fold, and return codes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them,
            where the estimator does.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; the estimator has to take weights.

        Returns
        -------
        codes : ndarray of shape (n_clips, n_codes)
            Of each labelled row, what a clone says that was not fitted on it.
        """
        X, y, labelled, codes, sample_weight = self._checked(X, y, sample_weight)
        fold_seed, seed = draw_seeds(self.random_state, 2)
        folds = self._folds(X, labelled, codes, fold_seed)
        portions = in_portions(folds, X, self.estimator, self.n_jobs)
        alone = len(portions) > 1
        together = [] if alone else folds
        tasks = [take_rows(X, y, sample_weight, learn) for learn, _ in together]
        clones = self._fit_clones([(X, y, sample_weight), *tasks], seed)
        whole = np.asarray(self.estimator_.transform(X))
        result = whole.copy()
        self._ask_held_out(X, clones, together, tasks, whole, result)
        for portion in portions if alone else []:
            tasks = clones = None
            tasks = [take_rows(X, y, sample_weight, learn) for learn, _ in portion]
            clones = self._clones_on(tasks, seed)
            self._ask_held_out(X, clones, portion, tasks, whole, result)
        return result

    def _ask_held_out(self, X, clones, folds, tasks, whole, result):
        """Write what clones say of the rows that they have not seen into result."""
        for clone_, (learn, held), (seen, _, _) in zip(
            clones, folds, tasks, strict=True
        ):
            part = np.asarray(clone_.transform(_safe_indexing(X, held)))
            if self.align == "rotation":
                known = np.asarray(clone_.transform(seen))
                part = _rotated(part, known, whole[learn])
            result[held] = part

    def transform(self, X):
        """Return the codes of the clone that was fitted on all rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.

        Returns
        -------
        codes : ndarray of shape (n_clips, n_codes)
        """
        check_is_fitted(self)
        return np.asarray(self.estimator_.transform(X))

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of the codes.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns in, for an X without names.

        Returns
        -------
        names : ndarray of str of shape (n_codes,)
        """
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    def _checked(self, X, y, sample_weight):
        require_y(type(self).__name__, y)
        check_instances(estimator=self.estimator)
        (X,) = indexable(X)
        refuse_complex(X)
        labelled, self.classes_, codes = split_labels(y)
        check_consistent_length(X, codes)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        y = y if hasattr(y, "__getitem__") else np.asarray(y)
        return X, y, labelled, codes, sample_weight

    def _fit_clones(self, tasks, seed):
        """Fit a clone per task, all from one seed; keep the first, return the rest."""
        self.estimator_, *rest = self._clones_on(tasks, seed)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
            elif hasattr(self, name):
                delattr(self, name)
        return rest

    def _clones_on(self, tasks, seed):
        clones = [seeded_clone(self.estimator, seed) for _ in tasks]
        return fit_members([(clones, tasks)], self.n_jobs)

    def _folds(self, X, labelled, codes, seed):
        """Return rows to learn from and rows held out, fold by fold."""
        if self.cv is None:
            return []
        ids = clip_ids(X)
        rows = np.flatnonzero(labelled)
        own = None if ids is None else ids[rows]
        units = unit_codes(own, self.groups, len(rows))
        lone = [
            len(np.unique(units[codes[rows] == code])) < 2
            for code in range(len(self.classes_))
        ]
        judged = ~np.asarray(lone, dtype=bool)[codes[rows]]
        # A unit that is partly of a lone class stays whole
        judged &= ~np.isin(units, units[~judged])
        rows = rows[judged]
        if not len(rows):
            return []
        units = pd.factorize(units[judged])[0].astype(np.int64)
        n_folds = min(
            self.cv, int(units.max()) + 1, int(np.bincount(codes[rows]).max())
        )
        if n_folds < 2:
            return []
        clips = unit_codes(ids, None, len(codes))
        found = []
        for _, test in stratified_folds(codes[rows], units, n_folds, seed):
            held = rows[test]
            # Nor are copies of a held-out clip that have no label learnt from
            learn = np.flatnonzero(~np.isin(clips, clips[held]))
            found.append((learn, held))
        return found

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.target_tags.required = True
        if inner.transformer_tags is not None:
            tags.transformer_tags = inner.transformer_tags
        return tags


def _rotated(codes, known, wanted):
    """Turn codes as it takes to bring those of known rows nearest to the wanted."""
    source, target = known.mean(axis=0), wanted.mean(axis=0)
    product = (known - source).T.astype(np.float64) @ (wanted - target)
    left, _, right = np.linalg.svd(product, full_matrices=False)
    return (codes - source) @ (left @ right).astype(codes.dtype) + target
