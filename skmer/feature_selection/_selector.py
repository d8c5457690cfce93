"""Keeping the columns that tell the classes apart."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from skmer._streams import resolve_streams
from skmer.feature_selection._chi2 import contingency, log_tail, tail
from skmer.feature_selection._scores import score_columns
from skmer.utils import split_labels
from skmer.utils._features import refuse_clips
from skmer.utils._fit_inputs import require_y, warn_of_column
from skmer.utils._sklearn import Interval, StrOptions, _fit_context


class ChiSquareSelector(SelectorMixin, BaseEstimator):
    """Keep the columns whose binned values go best with the classes.

    The chi-square selection of MMEF-Net [1]_ for features of any sign: each column is
    cut into quantile bins, as :func:`chi2_binned` does, NaN cells and unlabelled clips
    are left out, and NaN may stay in the columns that are kept. In a pipeline the
    columns are chosen on the training clips of each fold, as they must be.

    Parameters
    ----------
    k : int, float or "all", default=0.5
        How many columns to keep: a number, a share of them, or all.
    n_bins : int, default=10
        Number of bins of ``score_func="binned"``. About five clips for every bin and
        class are advisable.
    score_func : {"binned", "minmax", "f_classif", "mutual_info"}, default="binned"
        What columns are ranked by. ``"minmax"`` is the paper to the letter:
        :func:`sklearn.feature_selection.chi2` of columns brought to 0 to 1, which
        takes them for counts and depends on their offsets. ``"f_classif"`` (classes
        differ in their means) and ``"mutual_info"`` are scikit-learn's functions of
        these names. All of them leave NaN cells and unlabelled clips out.
    by_stream : bool, default=False
        Choose ``k`` columns, or that share, of each stream, instead of all together.
    min_per_stream : int, default=0
        So many columns of each stream are kept at least (all of a smaller one), the
        best of it. A fusion classifier fails, or does without, where a stream has no
        column left: 1 is the cure.
    streams : None, sequence of str or dict, default=None
        What ``by_stream`` and ``min_per_stream`` take for streams, as for the fusion
        classifiers: None reads them from the column names, a sequence names them, a
        dict gives each one's columns as a slice, names or indices. Columns of no
        stream count as one more for ``by_stream``.
    random_state : int, RandomState instance or None, default=None
        Seed of ``score_func="mutual_info"``, which breaks ties at random.

    Attributes
    ----------
    scores_ : ndarray of shape (n_features,)
        Score of each column. Scores of ``"binned"`` are to be compared only where
        columns have equally many bins; ``ranking_`` takes care of it.
    pvalues_ : ndarray of shape (n_features,), or None
        Their p-values, 0.0 where too small a number; None for ``"mutual_info"``.
    ranking_ : ndarray of shape (n_features,), dtype int64
        Place of each column, 1 the best. Columns of ``"binned"`` are ranked by the
        logarithm of the p-value, which never is too small, others by score; of
        equals the column on the left comes first.
    support_ : ndarray of shape (n_features,), dtype bool
        Which columns are kept.
    streams_ : dict of str to ndarray of int64
        Column numbers of each stream, before the selection.
    classes_ : ndarray of shape (n_classes,)
        Labels seen in fit.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of X, where it has any.

    See Also
    --------
    chi2_binned : The scores and p-values alone.
    sklearn.feature_selection.SelectKBest : Refuses NaN and ranks by score.

    Notes
    -----
    A table of fewer bins (a column of few different values, or with NaN) has fewer
    degrees of freedom and thereby a lower score even where it says as much. P-values
    account for that, and for how many clips have a value: of two columns with a
    like score the one known for more clips tells its story with more certainty.
    Columns are judged one by one: two that say the same are both kept.

    References
    ----------
    .. [1] MMEF-Net (MER2025-SEMI). It names the chi-square test but neither the number
       of columns nor how signed features are to become counts; bins, and half of the
       columns, are choices made here.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.feature_selection import ChiSquareSelector
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=100)
    >>> names = ["audio__0", "audio__1", "text__0", "text__1"]
    >>> X = pd.DataFrame(rng.normal(size=(100, 4)), columns=names)
    >>> X[["audio__0", "audio__1"]] += 2 * y[:, None]
    >>> ChiSquareSelector(k=2).fit(X, y).get_feature_names_out()
    array(['audio__0', 'audio__1'], dtype=object)
    >>> selector = ChiSquareSelector(k=2, min_per_stream=1).fit(X, y)
    >>> selector.get_feature_names_out()
    array(['audio__0', 'text__1'], dtype=object)

    Columns chosen before the clips are split have seen the test labels. On noise, which
    nobody can classify, that looks like success:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> X, y = rng.normal(size=(80, 2000)), np.tile([0, 1], 40)
    >>> selector, classifier = ChiSquareSelector(k=20, n_bins=2), LogisticRegression()
    >>> wrong = cross_val_score(classifier, selector.fit_transform(X, y), y)
    >>> right = cross_val_score(make_pipeline(selector, classifier), X, y)
    >>> print(f"before {wrong.mean():.1f}, in each training part {right.mean():.1f}")
    before 0.9, in each training part 0.5
    """

    _parameter_constraints: dict = {
        "k": [
            StrOptions({"all"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
        ],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "score_func": [StrOptions({"binned", "minmax", "f_classif", "mutual_info"})],
        "by_stream": ["boolean"],
        "min_per_stream": [Interval(Integral, 0, None, closed="left")],
        "streams": [None, "array-like", Mapping],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        k=0.5,
        *,
        n_bins=10,
        score_func="binned",
        by_stream=False,
        min_per_stream=0,
        streams=None,
        random_state=None,
    ):
        self.k = k
        self.n_bins = n_bins
        self.score_func = score_func
        self.by_stream = by_stream
        self.min_per_stream = min_per_stream
        self.streams = streams
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Rank the columns and choose the best.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features of any sign, NaN where missing.
        y : array-like of shape (n_clips,)
            Classes; clips without a label are ignored.

        Returns
        -------
        self : ChiSquareSelector

        Raises
        ------
        ValueError
            If the clips with a label are not of two classes at least, or ``k``
            columns are fewer than ``min_per_stream`` of each stream.
        MissingStreamError
            If a stream is named that X does not have.
        """
        require_y("ChiSquareSelector", y)
        warn_of_column(y, stacklevel=3)
        refuse_clips(self, X)
        X = validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
        )
        labelled, self.classes_, codes = split_labels(y)
        check_consistent_length(X, codes)
        if len(self.classes_) < 2:
            of = "1 class" if len(self.classes_) else "no class"
            raise ValueError(
                "ChiSquareSelector compares classes, but the clips with a label "
                f"({int(labelled.sum())} of {len(codes)}) are of {of}. Pass clips of "
                "two classes at least."
            )
        names = getattr(self, "feature_names_in_", None)
        self.streams_ = resolve_streams(self.streams, names, X.shape[1])
        order = self._best_first(X, labelled, codes)
        self.ranking_ = np.empty(len(order), dtype=np.int64)
        self.ranking_[order] = np.arange(1, len(order) + 1)
        self.support_ = self._chosen(order)
        return self

    def _best_first(self, X, labelled, codes):
        if self.score_func == "binned":
            self.scores_, freedom = contingency(
                X, labelled, codes, len(self.classes_), self.n_bins
            )
            self.pvalues_ = tail(self.scores_, freedom)
            keys = (-self.scores_, log_tail(self.scores_, freedom))
        else:
            self.scores_, self.pvalues_ = score_columns(
                X[labelled], codes[labelled], self.score_func, self.random_state
            )
            keys = (-self.scores_,)
        # Stable: of equals the first column stays first.
        return np.lexsort(keys)

    def _chosen(self, order):
        """Return which columns are kept, given all of them from best to worst."""
        streams = {
            name: order[np.isin(order, columns)]
            for name, columns in self.streams_.items()
        }
        groups = [order]
        if self.by_stream:
            rest = order[~np.isin(order, np.concatenate([*streams.values()]))]
            groups = [*streams.values(), rest] if len(rest) else [*streams.values()]
        if isinstance(self.k, Integral) and all(self.k > len(g) for g in groups):
            of = "any stream" if self.by_stream else "X"
            warnings.warn(
                f"k={self.k} is more than the columns of {of} "
                f"({max(map(len, groups))}): all are kept. Pass a smaller k, a share "
                "of columns or 'all'.",
                UserWarning,
                stacklevel=4,
            )
        support = np.zeros(len(order), dtype=bool)
        for columns in streams.values():
            support[columns[: self.min_per_stream]] = True
        reserved = int(support.sum())
        for group in groups:
            number = self._number(len(group))
            if not self.by_stream and number < reserved:
                raise ValueError(
                    f"k={self.k} keeps {number} of {len(order)} columns, but "
                    f"min_per_stream={self.min_per_stream} asks for {reserved} of the "
                    f"streams {', '.join(streams)}. Raise k or lower min_per_stream."
                )
            taken = support[group]
            free = group[~taken]
            support[free[: max(number - int(taken.sum()), 0)]] = True
        return support

    def _number(self, n_columns):
        if self.k == "all":
            return n_columns
        if isinstance(self.k, Integral):
            return min(self.k, n_columns)
        return max(1, round(self.k * n_columns))

    def _get_support_mask(self):
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
