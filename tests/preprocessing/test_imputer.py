"""ModalityImputer."""

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skmer.exceptions import MissingStreamError
from skmer.preprocessing import ModalityImputer


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    names = ["audio__0", "audio__1", "text__0", "text__1"]
    X = pd.DataFrame(rng.normal(size=(20, 4)).astype(np.float32), columns=names)
    X.index = [f"clip{i}" for i in range(20)]
    X.iloc[3, :2] = np.nan
    X.iloc[5, 2:] = np.nan
    X.iloc[7, 0] = np.nan
    return X


def test_means_are_those_of_scikit_learn(X):
    expected = SimpleImputer().fit_transform(X)
    imputer = ModalityImputer().fit(X)
    np.testing.assert_allclose(imputer.transform(X), expected, rtol=1e-6)
    np.testing.assert_allclose(imputer.statistics_, X.mean(), rtol=1e-6)


def test_frame_in_frame_out(X):
    frame = ModalityImputer().set_output(transform="pandas").fit_transform(X)
    assert list(frame.columns) == list(X.columns) and list(frame.index) == list(X.index)
    assert (frame.dtypes == np.float32).all()
    assert not frame.isna().any(axis=None)
    known = X.notna()
    pd.testing.assert_frame_equal(frame[known], X[known])


def test_indicator_marks_whole_blocks_only(X):
    imputer = ModalityImputer(add_indicator=True).set_output(transform="pandas")
    frame = imputer.fit_transform(X)
    assert list(frame.columns[4:]) == ["audio__missing", "text__missing"]
    assert frame.index[frame["audio__missing"] == 1].tolist() == ["clip3"]
    assert frame.index[frame["text__missing"] == 1].tolist() == ["clip5"]


def test_test_rows_do_not_matter(X):
    train, test = X.iloc[:12], X.iloc[12:]
    one = ModalityImputer().fit(train)
    before = one.statistics_.copy()
    one.transform(test * 100)
    assert (one.statistics_ == before).all()
    assert (before == ModalityImputer().fit(train).statistics_).all()


def test_a_column_nobody_has_becomes_zero(X):
    X["audio__1"] = np.float32(np.nan)
    filled = ModalityImputer().fit_transform(X)
    assert (filled[:, 1] == 0).all()


def test_named_streams(X):
    imputer = ModalityImputer(streams=["text"], add_indicator=True).fit(X)
    assert list(imputer.get_feature_names_out()[4:]) == ["text__missing"]
    with pytest.raises(MissingStreamError, match="video"):
        ModalityImputer(streams=["video"]).fit(X)


def test_lets_estimators_in_that_refuse_nan(X):
    y = np.arange(20) % 2
    with pytest.raises(ValueError, match="NaN"):
        LogisticRegression().fit(X, y)
    model = make_pipeline(ModalityImputer(), LogisticRegression()).fit(X, y)
    assert model.predict(X).shape == (20,)
