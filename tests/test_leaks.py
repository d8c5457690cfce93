"""The comparison that tests of leaks rest on sees a leak where there is one."""

import numpy as np
import pandas as pd
from leaks import changed_rows, differences
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def _data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(40, 4)), index=[f"clip{i}" for i in range(40)])
    X.columns = [f"audio__{i}" for i in range(4)]
    X["path"] = [f"{i}.mp4" for i in range(40)]
    return X, np.tile(["happy", "sad"], 20).astype(object)


def test_rows_change_where_asked_and_only_there():
    X, y = _data()
    X2, y2 = changed_rows(X, y, range(30, 40))
    pd.testing.assert_frame_equal(X.iloc[:30], X2.iloc[:30])
    assert (X.iloc[30:] != X2.iloc[30:]).to_numpy().all()
    assert (y[:30] == y2[:30]).all() and (y[30:] != y2[30:]).all()
    assert X.index.equals(X2.index)


def test_what_was_fitted_on_other_rows_differs():
    X, y = _data()
    X = X.drop(columns="path")
    X2, y2 = changed_rows(X, y, range(30, 40))

    def fit(X, y):
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)

    assert not differences(fit(X[:30], y[:30]), fit(X2[:30], y2[:30]))
    found = " ".join(differences(fit(X, y), fit(X2, y2)))
    assert "mean_" in found and "coef_" in found
