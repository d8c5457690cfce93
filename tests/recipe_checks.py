"""What every recipe must pass, as functions that tests of recipes call."""

import pickle

import numpy as np
import pandas as pd
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid

from skmer.utils import as_object_column

LABELS = np.array(["glad", "sad"])


def features(n=60, streams=("audio", "video__face", "text"), seed=0):
    """Return a frame of features that tell two classes, and the labels."""
    rng = np.random.default_rng(seed)
    y = LABELS[np.arange(n) % 2]
    names = [f"{stream}__{i}" for stream in streams for i in range(4)]
    X = rng.normal(size=(n, len(names))) + (y == "sad")[:, None] * 1.5
    index = [f"clip{i}" for i in range(n)]
    return pd.DataFrame(X, index=index, columns=names).astype(np.float32), y


def sequences(n=60, streams=("audio", "video__face"), seed=0):
    """Return a frame of sequences that tell two classes, and the labels."""
    rng = np.random.default_rng(seed)
    y = LABELS[np.arange(n) % 2]
    X = pd.DataFrame(index=[f"clip{i}" for i in range(n)])
    for stream in streams:
        cells = [
            rng.normal(label == "sad", size=(rng.integers(2, 9), 4)).astype(np.float32)
            for label in y
        ]
        X[f"{stream}__frames"] = pd.Series(as_object_column(cells), index=X.index)
    return X, y


def check_grid(model, param_grid):
    """Every key is a parameter, and every value one that it takes."""
    assert set(param_grid) <= set(model.get_params())
    for key, values in param_grid.items():
        assert len(values) > 1
        for value in values:
            clone(model).set_params(**{key: value})
    assert len(ParameterGrid(param_grid)) > 3


def check_raw_clips(model, clips, param_grid):
    """Clips go through a search, clone and pickle, and repeat."""
    y = np.resize(LABELS, len(clips.paths))
    key, values = next(iter(param_grid.items()))
    search = GridSearchCV(model, {key: values[:2]}, cv=2, error_score="raise")
    search.fit(clips.paths, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    expected = best.predict_proba(clips.paths)
    assert expected.shape == (len(y), 2)
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-5)
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict_proba(clips.paths), expected)
    assert set(again.predict(clips.data)) <= set(LABELS)
    repeated = clone(best).fit(clips.data, y).predict_proba(clips.data)
    np.testing.assert_array_equal(repeated, expected)


def check_gaps(model, X, y):
    """Missing streams and unlabelled rows are dealt with in fit and in predict."""
    expected = y
    X, y = X.copy(), y.astype(object)
    y[1::4] = None
    y[2::4] = None
    first = [c for c in X if c.startswith("audio")]
    second = [c for c in X if c.startswith("video")]
    nothing = None if pd.api.types.is_object_dtype(X.dtypes.iloc[0]) else np.nan
    X.loc[X.index[:6], first] = nothing
    X.loc[X.index[6:12], second] = nothing
    model = clone(model).fit(X, y)
    assert list(model.classes_) == list(LABELS)
    assert (model.predict(X) == expected).mean() > 0.75
    integers = np.where(pd.isna(y), -1, (y == "sad").astype(int))
    model = clone(model).fit(X, integers)
    assert list(model.classes_) == [0, 1]
    lacking = X.iloc[12:20].copy()
    lacking.loc[:, first] = nothing
    assert np.isfinite(model.predict_proba(lacking)).all()


def check_held_out_rows(model, X, y):
    """Rows that are not in the training part leave everything fitted as it is."""
    train, test = np.arange(len(y) - 20), np.arange(len(y) - 20, len(y))
    X2, y2 = changed_rows(X, y, test)

    def learnt(X, y, rows):
        fits = []

        def keep(estimator, X, y):
            fits.append(estimator)
            return 0.0

        grid = GridSearchCV(model, {}, cv=[(rows, test)], scoring=keep, refit=False)
        grid.fit(X, y)
        return fits[0]

    one = learnt(X, y, train)
    assert not differences(one, learnt(X2, y2, train))
    # The check sees what it ought to: one training row more changes the model
    assert differences(one, learnt(X2, y2, np.append(train, test[0])))
