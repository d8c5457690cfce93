"""What is said of members that cannot vote, before they are fitted."""

import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skmer.ensemble import (
    FoldVotingClassifier,
    SeedVotingClassifier,
    SVMEnsembleClassifier,
    VariantVotingClassifier,
)

X = pd.DataFrame({"audio__0": range(12), "text__0": [0, 1] * 6}, dtype=float)
Y = ["happy", "sad"] * 6
KINDS = [SeedVotingClassifier, FoldVotingClassifier, VariantVotingClassifier]


class Unfitted(ClassifierMixin, BaseEstimator):
    """A classifier without probabilities whose fit must not be reached."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        raise AssertionError("fitted")

    def predict(self, X):
        raise AssertionError("asked")


@pytest.mark.parametrize("voting", ["soft", "logit"])
@pytest.mark.parametrize("kind", KINDS)
def test_members_without_probabilities_are_refused_before_fitting(kind, voting):
    told = rf"voting='{voting}' needs.*'Unfitted' object has no.*voting='hard' to"
    for estimator in (Unfitted(), make_pipeline(StandardScaler(), Unfitted())):
        with pytest.raises(ValueError, match=told):
            kind(estimator, voting=voting).fit(X, Y)


def test_a_member_that_could_have_probabilities_says_how():
    with pytest.raises(ValueError, match="voting='hard', votes.*Use voting='soft'"):
        SeedVotingClassifier(SVMEnsembleClassifier(voting="hard")).fit(X, Y)
    hard = {"voting": "hard"}
    vote = VariantVotingClassifier(
        SVMEnsembleClassifier(n_seeds=1, voting="soft", n_folds=2),
        variants=[{}, hard],
        voting="soft",
    )
    with pytest.raises(
        ValueError, match="voting='hard', votes of SVMEnsembleClassifier"
    ):
        vote.fit(X, Y)
    vote.set_params(voting="hard", random_state=0).fit(X, Y)
    assert len(vote.predict(X)) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_refused(kind):
    told = "estimator must be an estimator, not the class LogisticRegression"
    with pytest.raises(TypeError, match=told):
        kind(LogisticRegression).fit(X, Y)


@pytest.mark.parametrize("kind", KINDS)
def test_why_there_are_no_probabilities(kind):
    vote = kind(LogisticRegression(), voting="hard")
    told = f"^This '{kind.__name__}' has no attribute 'predict_proba': .*voting='soft'"
    with pytest.raises(AttributeError, match=told):
        vote.predict_proba(X)
    told = "has no attribute 'predict_proba': .*'SVC' has no attribute"
    with pytest.raises(AttributeError, match=told):
        kind(SVC(), voting="soft").predict_proba(X)
    with pytest.raises(AttributeError, match="'LogisticRegression' object has no"):
        kind(LogisticRegression()).transform(X)
