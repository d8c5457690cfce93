"""evaluate: against scikit-learn's own cross-validation, and without leaks."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.ensemble import StreamVotingClassifier
from skmer.evaluation import evaluate
from skmer.preprocessing import ModalityImputer

N = 90


@pytest.fixture(scope="module")
def data():
    """Features of three modalities, three classes, some clips without a face."""
    rng = np.random.default_rng(0)
    y = np.array(["angry", "happy", "sad"], dtype=object)[np.arange(N) % 3]
    names = [f"{m}__{i}" for m in ("audio", "video", "text") for i in range(3)]
    index = [f"clip{i}.mp4" for i in range(N)]
    X = pd.DataFrame(rng.normal(size=(N, 9)), columns=names, index=index)
    X["audio__0"] += 2 * (y == "sad")
    X["text__1"] += 2 * (y == "angry")
    X.iloc[:6, 3:6] = np.nan
    return X, y


def test_references_are_scikit_learns_cross_validation(data):
    X, y = data
    cv = StratifiedKFold(4, shuffle=True, random_state=1)
    report = evaluate(
        make_pipeline(ModalityImputer(), LogisticRegression()),
        X,
        y,
        cv=cv,
        n_bootstraps=20,
    )
    by_hand = {
        "LogisticRegression": make_pipeline(ModalityImputer(), LogisticRegression()),
        "concat + LR": make_pipeline(
            ModalityImputer(), StandardScaler(), LogisticRegression(max_iter=1000)
        ),
        "product of LRs": make_pipeline(
            ModalityImputer(),
            StandardScaler(),
            StreamVotingClassifier(LogisticRegression(C=0.1, max_iter=1000)),
        ).set_output(transform="pandas"),
    }
    for name, model in by_hand.items():
        predicted = cross_val_predict(model, X, y, cv=cv)
        row = report.references.loc[name]
        assert row["WAF"] == pytest.approx(
            f1_score(y, predicted, average="weighted"), abs=1e-15
        )
        assert row["UA"] == pytest.approx(balanced_accuracy_score(y, predicted))
        assert row["WA"] == accuracy_score(y, predicted)
        if name == "LogisticRegression":
            assert report.predictions["predicted"].tolist() == predicted.tolist()
