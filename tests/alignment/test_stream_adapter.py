"""StreamAdapter on features whose classes a linear layer cannot tell."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmer.alignment import StreamAdapter
from skmer.exceptions import MissingStreamError
from skmer.utils._folds import watched_rows

N = 300


def table(n=N, seed=0):
    """A frame whose sound tells the class by its distance from the middle."""
    rng = np.random.default_rng(seed)
    y = np.array(["calm", "loud"])[rng.integers(0, 2, n)]
    sound = rng.normal(size=(n, 6)) * np.where(y == "loud", 2.5, 0.8)[:, None]
    X = np.hstack([10 * sound + 3, rng.normal(size=(n, 2))])
    names = [f"audio__{i}" for i in range(6)] + ["text__0", "text__1"]
    index = [f"clip{i}" for i in range(n)]
    return pd.DataFrame(X, index=index, columns=names).astype(np.float32), y


def small(**params):
    return StreamAdapter(**{"random_state": 0, "adapter_size": 8, **params})


def test_it_learns_what_no_linear_classifier_does():
    X, y = table()
    learn, test = slice(0, 200), slice(200, N)
    plain = LogisticRegression().fit(X[learn], y[learn]).score(X[test], y[test])
    adapter = small(max_epochs=20, lr=1e-2, train_split=None).fit(X[learn], y[learn])
    module = adapter.module_
    with torch.no_grad():
        adapted = module(torch.tensor(X[test].to_numpy()[:, :6]))
        codes = module.head(module.rebuild(adapted)).argmax(dim=1)
    assert plain < 0.7
    assert (adapter.classes_[codes] == y[test]).mean() > plain + 0.1


def test_what_training_makes_small_falls():
    X, y = table()
    history = small(max_epochs=20).fit(X, y).training_.history
    for name in ("cross_entropy", "reconstruction"):
        assert history[-1][name] < history[0][name]


def test_other_columns_names_and_index_stay():
    X, y = table()
    adapter = small(max_epochs=5).set_output(transform="pandas")
    out = adapter.fit(X, y).transform(X)
    assert out.columns.tolist() == X.columns.tolist() and out.index.equals(X.index)
    pd.testing.assert_frame_equal(out[["text__0", "text__1"]], X.iloc[:, 6:])
    assert (out.dtypes == np.float32).all()
    change = out.iloc[:, :6] - X.iloc[:, :6]
    # Behind the outer ReLU a standardised column only grows
    assert (change > -1e-4).all(axis=None) and (change > 1e-2).any(axis=None)
    both = small(max_epochs=5, outer_relu=False).fit(X, y).transform(X)
    assert (both[:, :6] - X.to_numpy()[:, :6] < -1e-2).any()


def test_clips_without_label_or_sound_have_no_say():
    X, y = table()
    y = y.astype(object)
    y[:60] = None
    X.iloc[60:90, :6] = np.nan
    X.iloc[90:95, 2] = np.nan
    adapter = small(max_epochs=3).fit(X, y)
    assert adapter.n_clips_ == N - 95
    assert list(adapter.classes_) == ["calm", "loud"]
    other, _ = changed_rows(X, np.zeros(N), range(60))
    assert not differences(adapter, small(max_epochs=3).fit(other, y))
    integers = np.where(pd.isna(y), -1, (y == "loud").astype(int))
    again = small(max_epochs=3).fit(X, integers)
    assert list(again.classes_) == [0, 1]
    np.testing.assert_array_equal(again.transform(X), adapter.transform(X))
    out = pd.DataFrame(adapter.transform(X), columns=X.columns, index=X.index)
    assert out.iloc[60:95, :6].isna().all(axis=None)
    assert not out.drop(index=X.index[60:95]).isna().any(axis=None)


def test_held_out_rows_have_no_say():
    X, y = table()
    X2, y2 = changed_rows(X, y, range(200, N))
    fits = [small(max_epochs=3).fit(x[:200], t[:200]) for x, t in ((X, y), (X2, y2))]
    assert not differences(*fits)
    assert differences(fits[0], small(max_epochs=3).fit(X2, y2))
    flipped = np.where(y == "calm", "loud", "calm")
    assert differences(fits[0], small(max_epochs=3).fit(X[:200], flipped[:200]))


def test_seeds_repeat_and_global_randomness_is_left_alone():
    X, y = table()
    before = np.random.mtrand._rand.get_state()[1].copy(), torch.get_rng_state()
    first = small(max_epochs=3).fit(X, y).transform(X)
    assert (np.random.mtrand._rand.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    np.testing.assert_array_equal(first, small(max_epochs=3).fit(X, y).transform(X))
    other = small(max_epochs=3, random_state=1).fit(X, y).transform(X)
    assert not np.array_equal(first, other)


def test_rows_do_not_depend_on_their_batch():
    X, y = table()
    adapter = small(max_epochs=3).fit(X, y)
    alone = np.vstack([adapter.transform(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, adapter.transform(X)[:20], rtol=1e-4, atol=1e-4)


def test_what_is_watched():
    X, y = table()
    assert small(max_epochs=3).fit(X, y).training_.best_epoch is not None
    assert small(max_epochs=3, train_split=None).fit(X, y).training_.best_epoch is None
    assert small(max_epochs=3).fit(X[:15], y[:15]).training_.best_epoch is None
    codes, units = np.repeat([0, 1], 60), np.arange(120) // 3
    watched = watched_rows(codes, units, small().train_split, 0)
    learn = np.setdiff1d(np.arange(120), watched)
    assert not set(units[learn]) & set(units[watched]) and len(watched) == 12
    few = pd.Series(np.arange(N) % 5, index=X.index)
    assert small(max_epochs=2, groups=few).fit(X, y).training_.best_epoch is None


def test_streams_by_position_for_nameless_columns():
    X, y = table()
    named = small(max_epochs=3).fit(X, y).transform(X)
    by_place = small(max_epochs=3, streams={"audio": slice(0, 6)})
    np.testing.assert_array_equal(by_place.fit_transform(X.to_numpy(), y), named)


def test_x_itself_stays():
    X, y = table()
    for values in (X.to_numpy(), X.to_numpy(np.float64)):
        before = values.copy()
        adapter = small(max_epochs=2, streams={"audio": slice(0, 6)})
        out = adapter.fit(values, y).transform(values)
        np.testing.assert_array_equal(values, before)
        assert out.dtype == values.dtype


def test_clone_pickle_and_search():
    X, y = table()
    adapter = small(max_epochs=3).fit(X, y)
    again = pickle.loads(pickle.dumps(adapter))
    np.testing.assert_array_equal(again.transform(X), adapter.transform(X))
    assert not hasattr(clone(adapter), "module_")
    model = make_pipeline(small(max_epochs=2), LogisticRegression())
    search = GridSearchCV(model, {"streamadapter__adapter_size": [2, 4]}, cv=2)
    assert search.fit(X, y).best_score_ > 0


def test_messages():
    X, y = table(40)
    with pytest.raises(MissingStreamError, match="no stream 'sound'"):
        small(stream="sound").fit(X, y)
    with pytest.raises(MissingStreamError, match="no column names"):
        small().fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="does not say which columns 'audio' has"):
        small(streams={"video": slice(0, 3)}).fit(X, y)
    for fit in (small().fit, small().fit_transform, make_pipeline(small()).fit):
        with pytest.raises(ValueError, match="requires y"):
            fit(X)
    silent = X.copy()
    silent.iloc[:, :6] = np.nan
    with pytest.raises(ValueError, match="the stream 'audio'. Got 40 with a label"):
        small().fit(silent, y)
    with pytest.raises(ValueError, match=r"StreamAdapter diverged: .*Lower lr\.$"):
        small(lr=1e30).fit(X, y)
    with pytest.raises(ValueError, match="StreamAdapter needs features"):
        small().fit(["a.mp4"] * 40, y)
    assert len(small(max_epochs=1, stream="text").fit(X, y).columns_) == 2
