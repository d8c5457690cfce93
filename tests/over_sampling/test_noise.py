"""Copies of clips with noise."""

import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import make_pipeline
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skmer.exceptions import MissingStreamError
from skmer.fusion import ConcatFusionClassifier
from skmer.model_selection import UnlabeledInTrain
from skmer.modules import noise_schedule
from skmer.over_sampling import NoiseEmbeddingSampler, at_least


def _data(n=40, unlabelled=8):
    rng = np.random.default_rng(0)
    names = ["audio__0", "audio__1", "video__face__0", "text__0"]
    X = pd.DataFrame(
        rng.normal([0, 100, -3, 1e-3], [1, 20, 0.1, 1e-4], size=(n, 4)),
        index=[f"clip_{i}" for i in range(n)],
        columns=names,
    ).astype(np.float32)
    X.iloc[::5, 2] = np.nan
    y = np.array(["happy", "sad"], dtype=object)[(np.arange(n) % 4 == 0).astype(int)]
    y[rng.permutation(n)[:unlabelled]] = None
    return X, y


@pytest.mark.parametrize("schedule", ["scaled_linear", "linear"])
def test_schedule_is_that_of_the_network(schedule):
    X, y = _data()
    sampler = NoiseEmbeddingSampler(schedule=schedule, n_steps=60, last=0.2).fit(X, y)
    theirs = noise_schedule(60, 0.001, 0.2, schedule).numpy()
    np.testing.assert_allclose(sampler.signal_, theirs, rtol=1e-12)


def test_signal_at_published_steps():
    X, y = _data()
    signal = NoiseEmbeddingSampler().fit(X, y).signal_
    np.testing.assert_allclose(
        signal[[9, 24, 49, 74, 99]], [0.980, 0.887, 0.542, 0.174, 0.022], atol=5e-4
    )


def test_formula_by_hand():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    sampler = NoiseEmbeddingSampler(
        sampling_strategy=None, n_copies=1, step=50, random_state=0
    )
    copies = sampler.fit_resample(X, np.arange(4000) % 2)[0][4000:]
    signal = sampler.signal_[49]
    noise = (copies - np.sqrt(signal) * X) / np.sqrt(1 - signal)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(noise.std(axis=0), 1, atol=0.05)
    for a in range(2):
        for b in range(2):
            assert abs(np.corrcoef(noise[:, a], X[:, b])[0, 1]) < 0.05


def test_noise_is_in_units_of_the_columns():
    X, y = _data(400, 0)
    sampler = NoiseEmbeddingSampler(sampling_strategy=None, n_copies=1, random_state=0)
    copies = sampler.fit_resample(X, y)[0].iloc[400:]
    moved = (copies.to_numpy() - X.to_numpy()) / X.std().to_numpy()
    spread = np.nanstd(moved, axis=0)
    assert (spread > 0.5).all() and (spread < 1.5).all()
    # So that a column keeps where it is and how wide it is
    np.testing.assert_allclose(copies.mean(), X.mean(), atol=0.2 * X.std().max())
    np.testing.assert_allclose(copies.std() / X.std(), 1, atol=0.15)


def test_steps_are_drawn_by_row_and_stream():
    n = 300
    X = np.zeros((n, 400))
    X[::2] = 1.0
    y = np.arange(n) % 2
    streams = {"a": slice(0, 200), "b": slice(200, 400)}
    settings = {"sampling_strategy": None, "n_copies": 1, "random_state": 0}

    def widths(**more):
        sampler = NoiseEmbeddingSampler(streams=streams, **settings, **more)
        copies = sampler.fit_resample(X, y)[0][n:]
        # The standard deviation of every column is a half
        noise = np.stack([copies[:, :200], copies[:, 200:]]).std(axis=2) / 0.5
        return noise, np.sqrt(1 - sampler.signal_)

    by_row, levels = widths()
    assert abs(np.corrcoef(by_row)[0, 1]) < 0.2 and by_row.std() > 0.2
    assert by_row.min() < 0.1 and by_row.max() > 0.9
    by_call, _ = widths(step="call")
    assert by_call.std(axis=1).max() < 0.1
    assert np.ptp(by_call.mean(axis=1)) > 0.02
    fixed, _ = widths(step=25)
    np.testing.assert_allclose(fixed.mean(axis=1), levels[24], rtol=0.02)
    limited, _ = widths(max_step=10)
    assert limited.max() < levels[9] * 1.3


def test_copies_have_their_clips_ids_and_labels():
    X, y = _data()
    sampler = NoiseEmbeddingSampler(random_state=0)
    X_out, y_out = sampler.fit_resample(X, y)
    pd.testing.assert_frame_equal(X_out.iloc[:40], X)
    assert X_out.index.equals(X.index[sampler.sample_indices_])
    assert y_out.tolist() == y[sampler.sample_indices_].tolist()
    assert (y_out == "sad").sum() == (y_out == "happy").sum() == (y == "happy").sum()
    assert (X_out.dtypes == np.float32).all()
    # Missing stays missing, and only there
    before = X.iloc[sampler.sample_indices_].isna()
    assert before.iloc[40:].any(axis=None)
    assert np.array_equal(X_out.isna(), before)
    assert not np.isclose(X_out.iloc[40:], X.loc[X_out.index[40:]]).all(axis=1).any()
    # Each row takes its turn
    turns = pd.Series(sampler.sample_indices_[40:]).value_counts()
    assert (
        turns.max() - turns.reindex(np.flatnonzero(y == "sad"), fill_value=0).min() < 2
    )
    for train, test in UnlabeledInTrain(3).split(X_out, y_out):
        assert not set(X_out.index[train]) & set(X_out.index[test])


def test_copies_are_counted_by_the_strategy():
    X, y = _data(40, 0)

    def counts(**settings):
        y_out = NoiseEmbeddingSampler(**settings).fit_resample(X, y)[1]
        return (y_out == "happy").sum(), (y_out == "sad").sum()

    assert counts() == (30, 30)
    assert counts(sampling_strategy=None) == (30, 10)
    assert counts(sampling_strategy=None, n_copies=2) == (90, 30)
    assert counts(n_copies=1) == (60, 60)
    assert counts(sampling_strategy=at_least({"sad": 15})) == (30, 15)
    assert counts(sampling_strategy=at_least({"sad": 15}), n_copies=1) == (60, 20)
    assert counts(sampling_strategy={"happy": 31, "sad": 47}) == (31, 47)


def test_streams_that_are_not_named_get_no_noise():
    X, y = _data()
    X_out, _ = NoiseEmbeddingSampler(streams=["video", "text"]).fit_resample(X, y)
    same = X_out.iloc[40:].to_numpy() == X.loc[X_out.index[40:]].to_numpy()
    assert same[:, :2].all() and not same[:, 2:].any()
    with pytest.raises(MissingStreamError, match="no stream 'words'"):
        NoiseEmbeddingSampler(streams=["words"]).fit_resample(X, y)


def test_columns_without_spread_or_values_stay():
    X, y = _data()
    X["audio__0"] = np.float32(0.1)
    X["text__0"] = np.float32(np.nan)
    X_out, _ = NoiseEmbeddingSampler(random_state=0).fit_resample(X, y)
    assert (X_out["audio__0"] == np.float32(0.1)).all() and X_out[
        "text__0"
    ].isna().all()


def test_unlabelled_rows_stay_and_do_not_matter():
    X, y = _data()
    hidden = np.flatnonzero(pd.isna(y))
    changed, _ = changed_rows(X, y, hidden)
    one, two = (NoiseEmbeddingSampler(random_state=0, n_copies=1) for _ in range(2))
    first, labels = one.fit_resample(X, y)
    second, _ = two.fit_resample(changed, y)
    assert differences(one, two) == []
    assert not first.iloc[hidden].equals(second.iloc[hidden])
    pd.testing.assert_frame_equal(first[pd.notna(labels)], second[pd.notna(labels)])
    assert pd.isna(labels).sum() == len(hidden)


def test_which_rows_are_copied_is_drawn():
    X, y = _data()
    copied = set()
    for seed in range(10):
        sampler = NoiseEmbeddingSampler(
            sampling_strategy=at_least({"sad": 14}), random_state=seed
        )
        copied |= set(sampler.fit(X, y).sample_indices_[40:].tolist())
    assert copied == set(np.flatnonzero(y == "sad"))


def test_seeds():
    X, y = _data()

    def sampled(seed):
        return NoiseEmbeddingSampler(random_state=seed).fit_resample(X, y)[0]

    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert sampled(0).equals(sampled(0)) and not sampled(0).equals(sampled(1))
    assert not sampled(None).equals(sampled(None))
    assert np.random.random() == expected  # noqa: NPY002


def test_other_numbers_and_types():
    X, y = _data()
    labels = (y == "sad").astype(int)
    mixed = X.astype({"audio__0": np.float64, "text__0": np.int64})
    kinds = NoiseEmbeddingSampler().fit_resample(mixed, labels)[0].dtypes
    expected = [np.float64, np.float32, np.float32, np.float64]
    assert kinds.tolist() == expected
    rows, more = NoiseEmbeddingSampler().fit_resample(
        X.to_numpy().tolist(), list(labels)
    )
    assert isinstance(rows, list) and isinstance(more, list)
    wrong = pd.DataFrame({"video": ["a.mp4", "b.mp4"]})
    with pytest.raises(ValueError, match="needs features.*a.mp4.*encoders"):
        NoiseEmbeddingSampler().fit_resample(wrong, [0, 1])


def test_in_pipelines_and_searches():
    X, y = _data(60, 10)
    model = make_pipeline(
        NoiseEmbeddingSampler(random_state=0),
        ConcatFusionClassifier(max_epochs=2, random_state=0),
    )
    grid = {"noiseembeddingsampler__max_step": [10, 50]}
    search = GridSearchCV(model, grid, cv=UnlabeledInTrain(2), error_score="raise")
    fitted = search.fit(X, y).best_estimator_
    assert fitted[-1].streams_.keys() == {"audio", "video__face", "text"}
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(X), fitted.predict(X))
    for train, test in UnlabeledInTrain(2).split(X, y):
        X_other, y_other = changed_rows(X, y, test)
        one = clone(model).fit(X.iloc[train], y[train])
        two = clone(model).fit(X_other.iloc[train], y_other[train])
        assert differences(one, two) == []
    assert differences(one, clone(model).fit(X_other, y_other))


def test_one_class_and_one_row():
    X, y = _data(6, 0)
    y[:] = "happy"
    with pytest.raises(ValueError, match="more than 1 class"):
        NoiseEmbeddingSampler().fit_resample(X, y)
    only = NoiseEmbeddingSampler(sampling_strategy=None, n_copies=1)
    assert len(only.fit_resample(X, y)[0]) == 12
    y[0] = "sad"
    assert (NoiseEmbeddingSampler().fit_resample(X, y)[1] == "sad").sum() == 5


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"first": 0.5}, "first <= last"),
        ({"step": 101}, "step <= max_step <= n_steps"),
        ({"step": 20, "max_step": 10}, "step <= max_step"),
        ({"max_step": 101}, "max_step <= n_steps"),
        ({"step": "batch"}, "'step' parameter"),
        ({"n_copies": -1}, "'n_copies' parameter"),
        ({"sampling_strategy": {"sad": 1}}, "greater or equal to the original"),
        ({"sampling_strategy": {"surprise": 9}}, "not present in the data"),
    ],
)
def test_messages(settings, match):
    X, y = _data()
    with pytest.raises(ValueError, match=match):
        NoiseEmbeddingSampler(**settings).fit_resample(X, y)
    with pytest.raises(ValueError, match="None of the 40 rows is labelled"):
        NoiseEmbeddingSampler().fit_resample(X, [None] * 40)
