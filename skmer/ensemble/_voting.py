"""What ensembles of one classifier have in common."""

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
)
from sklearn.utils import check_consistent_length, get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skmer.ensemble._members import fit_members
from skmer.utils import split_labels


def _member_has(name):
    def check(self):
        members = getattr(self, "estimators_", None)
        getattr(members[0] if members else self.estimator, name)
        return True

    return check


def _has_proba(self):
    if self.voting == "hard":
        raise AttributeError(
            f"{type(self).__name__} has no predict_proba with voting='hard': votes "
            "are labels. Use voting='soft' or 'logit'."
        )
    return _member_has("predict_proba")(self)


class BaseVoting(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClassifierMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Members that differ in seeds and rows, and how they vote.

    Subclasses have the parameters ``estimator`` and ``voting`` and, in ``fit``, call
    :meth:`_fit_members`.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        if inner.transformer_tags is not None:
            tags.transformer_tags = inner.transformer_tags
        return tags

    def _checked(self, X, y, sample_weight):
        """Return X to be indexed, who has a label, codes and weights.

        What X must be is for the members to say. Sets ``classes_``.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        (X,) = indexable(X)
        if getattr(getattr(X, "dtype", None), "kind", None) == "c":
            raise ValueError("Complex data not supported: X holds complex numbers.")
        labelled, classes, codes = split_labels(y)
        check_consistent_length(X, codes)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        self.classes_ = classes
        return X, labelled, codes, sample_weight

    def _fit_members(self, members, tasks):
        fit_members(members, tasks)
        self.estimators_ = members
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(members[0], name):
                setattr(self, name, getattr(members[0], name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    @property
    def _n_features_out(self):
        return sum(
            len(member.get_feature_names_out())
            if not hasattr(member, "_n_features_out")
            else member._n_features_out
            for member in self.estimators_
        )

    def _read_once(self, X):
        """Return X as fusion classifiers keep it, where all members are such."""
        first = self.estimators_[0]
        return first.get_dataset(X) if hasattr(first, "_fit_together") else X

    def _probabilities(self, X):
        """Return the members' probabilities and which classes each knows."""
        known = np.zeros((len(self.estimators_), len(self.classes_)), dtype=bool)
        parts = []
        for index, member in enumerate(self.estimators_):
            part = member.predict_proba(X)
            where = np.searchsorted(self.classes_, member.classes_)
            known[index, where] = True
            whole = np.zeros((len(part), len(self.classes_)))
            whole[:, where] = part
            parts.append(whole)
        return np.stack(parts), known

    @available_if(_has_proba)
    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.

        Returns
        -------
        proba : ndarray of shape (n_clips, n_classes), dtype float64
            Rows sum to one.
        """
        check_is_fitted(self)
        proba, known = self._probabilities(self._read_once(X))
        if self.voting == "soft":
            return proba.mean(axis=0)
        # A member that has never seen a class has no say about it.
        logs = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
        known = known[:, np.newaxis, :]
        return softmax((logs * known).sum(axis=0) / known.sum(axis=0), axis=1)

    def predict(self, X):
        """Return the label that the members vote for.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.

        Returns
        -------
        labels : ndarray of shape (n_clips,)
        """
        check_is_fitted(self)
        if self.voting != "hard":
            return self.classes_[self.predict_proba(X).argmax(axis=1)]
        if not hasattr(self.estimators_[0], "predict_proba"):
            labels = [member.predict(X) for member in self.estimators_]
            codes = [np.searchsorted(self.classes_, part) for part in labels]
            return self.classes_[self._votes(codes).argmax(axis=1)]
        proba, _ = self._probabilities(self._read_once(X))
        votes = self._votes(proba.argmax(axis=2))
        # Less than a vote in all: it only breaks ties.
        return self.classes_[(votes + 0.5 * proba.mean(axis=0)).argmax(axis=1)]

    def _votes(self, codes):
        return sum(np.eye(len(self.classes_))[part] for part in codes)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy on the rows that have a label.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows are left out.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row.

        Returns
        -------
        accuracy : float
            Between 0 and 1.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        labelled, classes, codes = split_labels(y)
        if not labelled.any():
            raise ValueError(
                f"{type(self).__name__}.score needs rows with a label. None of the "
                f"{len(codes)} rows of y has one."
            )
        right = self.predict(X)[labelled] == classes[codes[labelled]]
        weights = None if sample_weight is None else np.asarray(sample_weight)[labelled]
        return float(np.average(right, weights=weights))

    def transform(self, X):
        """Return the members' codes of each clip, side by side.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.

        Returns
        -------
        codes : ndarray of shape (n_clips, n_members * n_codes)
            The codes of different members have no axis in common.
        """
        check_is_fitted(self)
        X = self._read_once(X)
        return np.hstack([np.asarray(m.transform(X)) for m in self.estimators_])

    @available_if(_member_has("modality_weights"))
    def modality_weights(self, X, *, normalize=False):
        """Return the weight of each stream, the mean over the members.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.
        normalize : bool, default=False
            Take the mean of each member's shares, which are positive and sum to one;
            0 for a clip without streams.

        Returns
        -------
        weights : DataFrame or ndarray of shape (n_clips, n_streams)
            A DataFrame with X's index if X is a DataFrame.
        """
        check_is_fitted(self)
        data = self._read_once(X)
        weights = np.mean(
            [
                np.asarray(member.modality_weights(data, normalize=normalize))
                for member in self.estimators_
            ],
            axis=0,
        )
        if not isinstance(X, pd.DataFrame):
            return weights
        names = list(self.estimators_[0].streams_)
        return pd.DataFrame(weights, index=X.index, columns=names)


# scikit-learn wraps transform when it makes the class, which hides available_if; so
# it comes around the wrapped method.
BaseVoting.transform = available_if(_member_has("transform"))(BaseVoting.transform)
