"""A classifier that learns from refined labels."""

from numbers import Real

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_consistent_length, get_tags
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
)

from skmer.label_refinement._refiner import LabelRefiner
from skmer.label_refinement._targets import check_inputs
from skmer.utils import split_labels
from skmer.utils._available import available_if
from skmer.utils._fit_inputs import warn_of_column
from skmer.utils._instances import check_instances
from skmer.utils._pipelines import weight_params
from skmer.utils._scoring import LabelledScore
from skmer.utils._seeds import draw_seeds, seeded_clone
from skmer.utils._sklearn import HasMethods, Interval, _fit_context, _safe_indexing


def _estimator_has(name):
    def check(self):
        estimator = getattr(self, "estimator_", self.estimator)
        if not hasattr(estimator, name):
            raise AttributeError(f"{type(estimator).__name__} has no {name}.")
        return True

    return check


class RefinedClassifier(
    LabelledScore, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Correct labels, then fit a classifier in which doubtful clips weigh less.

    What :class:`LabelRefiner` in a pipeline cannot do, as a sampler returns no
    weights. Labels that :meth:`score` and scikit-learn's scorers compare with are
    the original ones.

    Parameters
    ----------
    estimator : classifier
        What is fitted on the refined labels, a pipeline for example. Its ``fit``,
        or that of a pipeline's last step, must take ``sample_weight``, unless
        ``flagged_weight`` is 0 or 1.
    refiner : LabelRefiner or None, default=None
        Corrects the labels. None takes one as it is by default.
    flagged_weight : float, default=0.3
        Weight of a flagged clip, between 0 (left out) and 1 (like any other). A
        clip is flagged where sources vote and none for its annotation.
    random_state : int, RandomState or None, default=None
        Seeds the refiner and the estimator, all their parts. None leaves them with
        the seeds that they have.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes of y, also those of which no label is left.
    estimator_ : classifier
        The fitted classifier.
    refiner_ : LabelRefiner
        The fitted refiner.
    sample_weight_ : Series of length n_rows
        Weight of each row in the fit of the classifier, by clip id; 0 where a row
        was left out or has no label.
    n_features_in_ : int
        Number of columns of X, where the classifier says it.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of X, where the classifier has them.

    See Also
    --------
    LabelRefiner : Finds the labels; goes into imbalanced-learn's Pipeline.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.label_refinement import RefinedClassifier
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([0, 1], 50)
    >>> X = rng.normal(size=(100, 5)) + 2 * truth[:, None]
    >>> y = truth.copy()
    >>> y[::10] = 1 - y[::10]  # ten wrong labels
    >>> model = RefinedClassifier(LogisticRegression(), random_state=0).fit(X, y)
    >>> wrong = model.refiner_.labels_ != truth
    >>> int(wrong.sum())
    0
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "refiner": [None, HasMethods(["fit_resample"])],
        "flagged_weight": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self, estimator, refiner=None, *, flagged_weight=0.3, random_state=None
    ):
        self.estimator = estimator
        self.refiner = refiner
        self.flagged_weight = flagged_weight
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Refine the labels and fit the classifier.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            Features or clips, whatever the estimator takes.
        y : array-like of shape (n_rows,)
            Annotations; unlabelled rows are not learnt from.
        sample_weight : array-like of shape (n_rows,) or None, default=None
            Weight of each row, times which ``flagged_weight`` counts. The refiner
            takes no notice of it.

        Returns
        -------
        self : RefinedClassifier

        Raises
        ------
        TypeError
            If the estimator or the refiner is a class.
        ValueError
            If the labels cannot be refined or the estimator takes no weights where
            some are needed.
        """
        check_instances(estimator=self.estimator, refiner=self.refiner)
        X = check_inputs(X, y, "RefinedClassifier")
        if warn_of_column(y, stacklevel=2):
            y = np.asarray(y)[:, 0]
        labelled, classes, codes = split_labels(y)
        check_consistent_length(X, codes)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        refiner = LabelRefiner() if self.refiner is None else self.refiner
        if self.random_state is None:
            self.refiner_, estimator = clone(refiner), clone(self.estimator)
        else:
            seeds = draw_seeds(self.random_state, 2)
            self.refiner_ = seeded_clone(refiner, seeds[0])
            estimator = seeded_clone(self.estimator, seeds[1])
        self.refiner_.fit_resample(X, y)
        self.classes_ = classes
        weights = self._weights(sample_weight)
        self.sample_weight_ = pd.Series(
            weights, index=self.refiner_.flagged_.index, name="sample_weight"
        )
        rows = np.flatnonzero(weights > 0)
        if not len(rows):
            raise ValueError(
                f"No row is left to learn from: {int(self.refiner_.flagged_.sum())} of "
                f"{int(labelled.sum())} labelled rows are flagged and flagged_weight="
                f"{self.flagged_weight}. Give flagged clips some weight."
            )
        labels = self._labels(rows)
        weighted = sample_weight is not None or len(np.unique(weights[rows])) > 1
        params = weight_params(
            estimator,
            weights[rows] if weighted else None,
            "Flagged clips and sample_weight need them: use flagged_weight=0 to leave "
            f"such clips out or 1 to treat them alike (now {self.flagged_weight}), or "
            "another classifier.",
        )
        self.estimator_ = estimator.fit(_safe_indexing(X, rows), labels, **params)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def _weights(self, sample_weight):
        flagged = self.refiner_.flagged_.to_numpy()
        weights = np.zeros(len(flagged))
        weights[self.refiner_.sample_indices_] = 1
        weights[flagged] *= self.flagged_weight
        weights[self.refiner_.labels_.isna().to_numpy()] = 0
        return weights if sample_weight is None else weights * sample_weight

    def _labels(self, rows):
        after = self.refiner_.labels_.to_numpy(dtype=object)[rows]
        codes = pd.Index(self.classes_.tolist()).get_indexer(pd.Index(after))
        return self.classes_[codes]

    def _among_all(self, values, fill):
        """Return columns of the fitted classifier among those of all classes."""
        known = np.searchsorted(self.classes_, self.estimator_.classes_)
        if len(known) == len(self.classes_):
            return values
        if np.ndim(values) == 1:
            values = np.column_stack([-values, values])[:, -len(known) :]
        whole = np.full((len(values), len(self.classes_)), fill, dtype=values.dtype)
        whole[:, known] = values
        return whole

    def predict(self, X):
        """Return the label of each row.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            As in fit.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            As in fit.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes)
            0 for a class of which no label is left.
        """
        check_is_fitted(self)
        return self._among_all(self.estimator_.predict_proba(X), 0)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            As in fit.

        Returns
        -------
        log_proba : ndarray of shape (n_rows, n_classes)
        """
        check_is_fitted(self)
        return self._among_all(self.estimator_.predict_log_proba(X), -np.inf)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X):
        """Return the score of each class.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            As in fit.

        Returns
        -------
        scores : ndarray of shape (n_rows,) or (n_rows, n_classes)
            As the classifier's own; minus infinity for a class of which no label is
            left.
        """
        check_is_fitted(self)
        return self._among_all(self.estimator_.decision_function(X), -np.inf)

    def report(self):
        """Return what the refiner changed, flagged or was told.

        Returns
        -------
        report : DataFrame
            As :meth:`LabelRefiner.report` has it.
        """
        check_is_fitted(self)
        return self.refiner_.report()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        tags.input_tags.sparse = False
        return tags
