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
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skmer.ensemble._members import fit_members, inputs_of_last_steps
from skmer.utils import split_labels
from skmer.utils._available import available_if
from skmer.utils._fit_inputs import refuse_complex, require_y
from skmer.utils._instances import check_instances
from skmer.utils._pipelines import last_step
from skmer.utils._scoring import LabelledScore


def _member_has(name, of_last_step=False):
    def check(self):
        for asked in getattr(self, "estimators_", None) or [self.estimator]:
            getattr(last_step(asked) if of_last_step else asked, name)
        return True

    return check


def _stream_names(estimator):
    """Return the streams of a network, or of all networks in an ensemble."""
    estimator = last_step(estimator)
    if hasattr(estimator, "streams_"):
        return list(estimator.streams_)
    names = [name for m in estimator.estimators_ for name in _stream_names(m)]
    return list(dict.fromkeys(names))


def _has_proba(self):
    if self.voting == "hard":
        raise AttributeError(
            f"with voting='hard', votes of {type(self).__name__} are labels. Use "
            "voting='soft' or 'logit'."
        )
    return _member_has("predict_proba")(self)


class BaseVoting(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    LabelledScore,
    ClassifierMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Members that differ in seeds and rows, and how they vote.

    Subclasses have the parameters ``estimator``, ``voting`` and ``n_jobs`` and, in
    ``fit``, call :meth:`_fit_members`.
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
        require_y(type(self).__name__, y)
        check_instances(estimator=self.estimator)
        (X,) = indexable(X)
        refuse_complex(X)
        labelled, classes, codes = split_labels(y)
        check_consistent_length(X, codes)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        self.classes_ = classes
        return X, labelled, codes, sample_weight

    def _fit_members(self, groups):
        """Fit the members, which come in groups that differ in their seeds alone."""
        for members, _ in groups:
            self._check_votes(members[0])
        return self._keep(fit_members(groups, self.n_jobs))

    def _keep(self, fitted):
        """Set the members, and what they say of columns and classes."""
        self.estimators_ = fitted
        self._check_classes()
        first = self.estimators_[0]
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(first, name):
                setattr(self, name, getattr(first, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def _check_votes(self, member):
        """Raise if a member, not yet fitted, will lack the probabilities to vote."""
        if self.voting == "hard":
            return
        try:
            member.predict_proba  # noqa: B018
        except AttributeError as error:
            while error.__cause__ is not None:
                error = error.__cause__
            raise ValueError(
                f"voting={self.voting!r} needs members with probabilities: "
                f"{str(error).rstrip('.')}. Else pass voting='hard' to "
                f"{type(self).__name__}, or use a classifier with probabilities; "
                "sklearn.calibration.CalibratedClassifierCV gives them to any."
            ) from None

    def _check_classes(self):
        labels = set(self.classes_.tolist())
        for member in self.estimators_:
            known = np.asarray(getattr(member, "classes_", [])).tolist()
            foreign = [label for label in known if label not in labels]
            if foreign:
                raise ValueError(
                    f"{type(last_step(member)).__name__} took the mark of unlabelled "
                    f"rows, {foreign[0]!r}, for a class. Put "
                    "skmer.over_sampling.DropUnlabeled before it, in a pipeline of "
                    "imbalanced-learn."
                )

    def _inputs(self, X):
        """Return X as each member sees it."""
        return [X] * len(self.estimators_)

    def _asked(self, X):
        """Return the last step of each member and what it gets to see of X."""
        pairs = inputs_of_last_steps(self.estimators_, self._inputs(X))
        return list(zip(*pairs, strict=True))

    @property
    def _n_features_out(self):
        return sum(
            len(member.get_feature_names_out())
            if not hasattr(member, "_n_features_out")
            else member._n_features_out
            for member in self.estimators_
        )

    def _probabilities(self, asked):
        """Return the members' probabilities and which classes each knows."""
        known = np.zeros((len(self.estimators_), len(self.classes_)), dtype=bool)
        parts = []
        for index, (member, data) in enumerate(asked):
            part = member.predict_proba(data)
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
        proba, known = self._probabilities(self._asked(X))
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
        asked = self._asked(X)
        proba = None
        if all(hasattr(member, "predict_proba") for member in self.estimators_):
            proba, _ = self._probabilities(asked)
        votes = 0.0
        for index, (member, data) in enumerate(asked):
            if proba is not None and hasattr(member, "_fit_together"):
                # A network says what is most probable; others may have a threshold
                codes = proba[index].argmax(axis=1)
            else:
                codes = np.searchsorted(self.classes_, member.predict(data))
            votes = votes + np.eye(len(self.classes_))[codes]
        if proba is not None:
            # Less than a vote in all: it only breaks ties
            votes += 0.5 * proba.mean(axis=0)
        return self.classes_[votes.argmax(axis=1)]

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
        return np.hstack([np.asarray(m.transform(data)) for m, data in self._asked(X)])

    @available_if(_member_has("modality_weights", of_last_step=True))
    def modality_weights(self, X, *, normalize=False):
        """Return the weight of each stream, the mean over the members.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        normalize : bool, default=False
            Take the mean of each member's shares, which are positive and sum to one;
            0 for a clip without streams.

        Returns
        -------
        weights : DataFrame or ndarray of shape (n_clips, n_streams)
            A DataFrame with X's index if X is a DataFrame. A stream that a member
            was not given counts 0 for it.
        """
        return self._mean_per_stream("modality_weights", X, normalize)

    @available_if(_member_has("saliency", of_last_step=True))
    def saliency(self, X, *, normalize=False):
        """Return how much each stream counts for what members predict, the mean.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        normalize : bool, default=False
            Take the mean of each member's shares, which sum to one: members that are
            surer have larger gradients. 0 for a clip without streams.

        Returns
        -------
        saliency : DataFrame or ndarray of shape (n_clips, n_streams)
            A DataFrame with X's index if X is a DataFrame. A stream that a member
            was not given counts 0 for it.
        """
        return self._mean_per_stream("saliency", X, normalize)

    def _mean_per_stream(self, method, X, normalize):
        check_is_fitted(self)
        asked = self._asked(X)
        names = _stream_names(self)
        total = 0.0
        for member, data in asked:
            part = np.asarray(getattr(member, method)(data, normalize=normalize))
            whole = np.zeros((len(part), len(names)))
            whole[:, [names.index(name) for name in _stream_names(member)]] = part
            total = total + whole
        mean = total / len(asked)
        if not isinstance(X, pd.DataFrame):
            return mean
        return pd.DataFrame(mean, index=X.index, columns=names)


# scikit-learn wraps transform when it makes the class, which hides available_if; so
# it comes around the wrapped method.
_transforms = available_if(_member_has("transform"))
BaseVoting.transform = _transforms(BaseVoting.transform)
BaseVoting.fit_transform = _transforms(BaseVoting.fit_transform)
