import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skmer
from skmer.exceptions import MissingStreamError
from skmer.fusion import AttentionFusionClassifier, FusionClassifier
from skmer.fusion._split import inner_split


def small(**params):
    settings = {"hidden_size": 16, "max_epochs": 6, "random_state": 0, **params}
    return AttentionFusionClassifier(**settings)


def same(a, b, X):
    return np.array_equal(a.predict_proba(X), b.predict_proba(X))


def global_randomness():
    numpys = np.random.get_state()  # noqa: NPY002
    torchs = torch.random.get_rng_state().tolist()
    return torchs, numpys[1].tolist(), numpys[2], random.getstate()


class UserNet(nn.Module):
    """A module as users write them: torch's own layers, global randomness."""

    def __init__(self, stream_sizes, n_classes, width=8):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(sum(stream_sizes.values()), width), nn.ReLU(), nn.Dropout(0.5)
        )
        self.head = nn.Linear(width, n_classes)

    def encode(self, streams, mask=None):
        return self.body(torch.cat(list(streams), dim=1))

    def forward(self, streams, mask=None):
        code = self.encode(streams, mask)
        return self.head(code), {"code": code}


# What comes in and what comes out


@pytest.mark.parametrize("attention", ["joint", "per_stream"])
def test_it_learns_and_says_what_it_learnt_from(clips, attention):
    X, y = clips
    net = small(attention=attention, max_epochs=30, lr=5e-3).fit(X[:60], y[:60])
    assert f1_score(y[60:], net.predict(X[60:]), average="weighted") > 0.8
    assert net.classes_.tolist() == ["angry", "happy", "sad"]
    assert list(net.streams_) == ["audio", "text", "video__face"]
    np.testing.assert_array_equal(net.streams_["text"], [11, 12, 13, 14])
    proba = net.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(net.classes_[proba.argmax(axis=1)], net.predict(X))
    codes = net.transform(X)
    assert codes.shape == (90, 16) and codes.dtype == np.float32
    assert net.get_feature_names_out()[15] == "attentionfusionclassifier15"


def test_float64_arrays_and_frames_give_the_same_net(clips):
    X, y = clips
    streams = {
        "text": [11, 12, 13, 14],
        "audio": slice(0, 6),
        "video__face": slice(6, 11),
    }
    frame = small().fit(X, y)
    array = small(streams=streams).fit(X.to_numpy(np.float64), y)
    assert np.array_equal(
        frame.predict_proba(X), array.predict_proba(X.to_numpy(np.float64))
    )


def test_the_order_of_streams_in_x_changes_nothing(clips):
    X, y = clips
    turned = X[[*X.columns[11:], *X.columns[:6], *X.columns[6:11]]]
    a, b = small().fit(X, y), small().fit(turned, y)
    assert np.array_equal(a.predict_proba(X), b.predict_proba(turned))
    pd.testing.assert_frame_equal(a.modality_weights(X), b.modality_weights(turned))


def test_streams_are_selected_by_name(clips):
    X, y = clips
    net = small(streams=("video", "audio")).fit(X, y)
    assert list(net.streams_) == ["audio", "video"]
    changed = X.copy()
    changed.iloc[:, 11:] = 5.0
    assert np.array_equal(net.predict_proba(X), net.predict_proba(changed))
    with pytest.raises(MissingStreamError, match="no stream 'smell'"):
        small(streams=("audio", "smell")).fit(X, y)
    with pytest.raises(MissingStreamError, match="no\\s+column names"):
        small(streams=("audio",)).fit(X.to_numpy(), y)


@pytest.mark.parametrize("kind", ["int", "str"])
def test_unlabelled_rows_change_nothing(clips, kind):
    X, y = clips
    target = np.arange(90) % 3 if kind == "int" else y.astype(object)
    hidden = np.arange(90) % 4 == 0
    partly = target.copy()
    partly[hidden] = -1 if kind == "int" else None
    a = small().fit(X, partly)
    other = X.copy()
    other[hidden] = 1e6
    b = small().fit(other, partly)
    c = small().fit(X[~hidden], target[~hidden])
    assert len(a.classes_) == 3 and -1 not in a.classes_.tolist()
    assert same(a, b, X) and same(a, c, X)


def test_infinite_values_and_missing_labels_are_refused(clips):
    X, y = clips
    with pytest.raises(ValueError, match="infinity"):
        small().fit(X.replace(X.iloc[0, 0], np.inf), y)
    with pytest.raises(ValueError, match="0 of 90 rows have a label"):
        small().fit(X, np.full(90, -1))


# Missing streams


def test_nan_anywhere_in_a_block_hides_the_stream(clips):
    X, y = clips
    X = X.copy()
    X.iloc[::5, 2] = np.nan
    other = X.copy()
    other.iloc[::5, :6] = np.nan
    a, b = small().fit(X, y), small().fit(other, y)
    assert np.array_equal(a.predict_proba(X), b.predict_proba(other))
    weights = a.modality_weights(X)
    assert (weights["audio"].iloc[::5] == 0).all()
    assert (weights["text"] != 0).all()
    assert (a.saliency(X)["audio"].iloc[::5] == 0).all()


def test_a_clip_without_streams_is_predicted_from_the_classes_shares(clips):
    X, y = clips
    y = np.where(np.arange(90) < 30, "happy", y)
    X = X.copy()
    X.iloc[4] = np.nan
    net = small().fit(X, y)
    learnt = np.delete(y, 4)
    shares = [(learnt == label).mean() for label in net.classes_]
    np.testing.assert_allclose(net.class_prior_, shares)
    np.testing.assert_allclose(net.predict_proba(X)[4], shares)
    assert net.predict(X)[4] == "happy"
    assert same(net, small().fit(X.drop("clip4"), learnt), X)


def test_a_stream_that_no_training_row_has_is_an_error(clips):
    X, y = clips
    X = X.copy()
    X.iloc[:60, 11:] = np.nan
    target = np.where(np.arange(90) < 60, np.arange(90) % 3, -1)
    with pytest.raises(ValueError, match="Stream 'text' has no value in any of the 60"):
        small().fit(X, target)
    small(streams=("audio", "video__face")).fit(X, target)


def test_modality_dropout_makes_a_net_that_stands_missing_streams(clips):
    X, y = clips
    plain = small(max_epochs=3).fit(X, y)
    hidden = small(max_epochs=3, modality_dropout=0.5).fit(X, y)
    assert not same(plain, hidden, X)
    # With one stream nothing is left to hide.
    one = {"streams": ("audio",), "max_epochs": 2, "dropout": 0.0}
    bare = small(**one, modality_dropout=0.0).fit(X, y)
    assert len(bare.predict(X)) == 90


# Weights and samplers


def test_class_weight_is_sample_weight(clips):
    X, y = clips
    weights = {"angry": 1.0, "happy": 2.0, "sad": 0.5}
    by_class = small(class_weight=weights).fit(X, y)
    by_row = small().fit(X, y, sample_weight=[weights[label] for label in y])
    assert same(by_class, by_row, X)
    np.testing.assert_allclose(by_class.class_prior_, [1 / 3.5, 2 / 3.5, 0.5 / 3.5])
    assert not same(by_class, small().fit(X, y), X)


def test_balanced_weights_and_sampling_level_the_classes(clips):
    X, y = clips
    rows = np.flatnonzero((y != "sad") | (np.arange(90) < 12))
    for params in ({"class_weight": "balanced"}, {"sampler": "balanced"}):
        net = small(**params).fit(X.iloc[rows], y[rows])
        np.testing.assert_allclose(net.class_prior_, [1 / 3] * 3)
    orders = torch.cat([y for _, y in _epoch(net, X.iloc[rows], y[rows])])
    counts = np.bincount(orders)
    assert counts.min() > 0.6 * counts.max()


def _epoch(net, X, y):
    dataset = net.get_dataset(X)
    dataset.y = torch.from_numpy(np.searchsorted(net.classes_, y))
    return [b for _ in range(20) for b in net.get_iterator(dataset, training=True)]


def test_zero_weight_drops_a_row_and_scale_does_not_matter(clips):
    X, y = clips
    weight = (np.arange(90) % 5 > 0).astype(float)
    dropped = small().fit(X[weight > 0], y[weight > 0])
    assert same(dropped, small().fit(X, y, sample_weight=weight), X)
    assert same(dropped, small().fit(X, y, sample_weight=1000 * weight), X)


def test_the_loss_is_the_weighted_mean_of_cross_entropies(clips):
    X, y = clips
    weight = np.linspace(0.5, 2, 90)
    net = small(max_epochs=1).fit(X, y)
    dataset = net.get_dataset(X)
    dataset.X.weight = torch.from_numpy(weight)
    codes = torch.from_numpy(np.searchsorted(net.classes_, y))
    with torch.no_grad():
        loss = net.get_loss(net.infer(dataset.X), codes, X=dataset.X).item()
    truth = net.predict_proba(X)[np.arange(90), codes.numpy()]
    assert loss == pytest.approx(np.mean(-weight * np.log(truth)), rel=1e-5)


# Randomness


@pytest.mark.parametrize("module", ["own", "user's"])
def test_fits_repeat_bit_by_bit_also_in_threads(clips, module):
    X, y = clips
    nets = [
        small(modality_dropout=0.2, train_split=0.2, random_state=seed % 3)
        if module == "own"
        else FusionClassifier(UserNet, max_epochs=4, random_state=seed % 3)
        for seed in range(6)
    ]
    alone = [clone(net).fit(X, y).predict_proba(X) for net in nets]
    before = global_randomness()
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(lambda net: net.fit(X, y), nets))
    assert global_randomness() == before
    for net, expected in zip(fitted, alone, strict=True):
        assert np.array_equal(net.predict_proba(X), expected)
    assert not np.array_equal(alone[0], alone[1])
    assert np.array_equal(alone[0], alone[3])


def test_without_a_seed_global_generators_stay_as_they_are(clips):
    X, y = clips
    before = global_randomness()
    a, b = (small(random_state=None, max_epochs=1).fit(X, y) for _ in range(2))
    assert not same(a, b, X)
    assert global_randomness() == before


def test_a_clips_prediction_does_not_depend_on_the_others(clips):
    X, y = clips
    X = X.copy()
    X.iloc[::7, :6] = np.nan
    net = small().fit(X, y)
    together = net.predict_proba(X)
    alone = np.concatenate([net.predict_proba(X.iloc[i : i + 1]) for i in range(90)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


# Early stopping


def test_the_best_epoch_is_kept(clips):
    X, y = clips
    net = small(train_split=0.3, max_epochs=12, patience=None, keep_epochs=True)
    net.fit(X, y)
    scores = net.history[:, "valid_f1_weighted"]
    assert len(scores) == 12
    assert net.best_epoch_ == int(np.argmax(scores)) + 1
    staged = list(net.staged_predict_proba(X))
    assert len(staged) == 12
    assert np.array_equal(staged[net.best_epoch_ - 1], net.predict_proba(X))
    assert not np.array_equal(staged[0], staged[-1])


def test_patience_stops_training(clips):
    X, y = clips
    long = small(train_split=0.3, max_epochs=60, patience=None).fit(X, y)
    short = small(train_split=0.3, max_epochs=60, patience=3).fit(X, y)
    scores = np.array(long.history[:, "valid_f1_weighted"])
    best = np.maximum.accumulate(scores)
    last = next(
        e for e in range(60) if e - int(np.argmax(scores[: e + 1])) >= 3 or e == 59
    )
    assert len(short.history) == last + 1 < 60
    assert short.history[-1, "valid_f1_weighted"] <= best[last]


def test_rows_that_are_watched_teach_nothing(clips):
    X, y = clips
    speaker = pd.Series(np.arange(90) // 9, index=X.index)
    net = small(train_split=0.2, groups=speaker, max_epochs=3, keep_epochs=True)
    net.fit(X, y)
    codes = np.searchsorted(net.classes_, y)
    seed = net.random_source_.seed
    learn, watch = inner_split(0.2, codes, X.index, speaker, seed)
    assert not set(learn // 9) & set(watch // 9)
    other = X.copy()
    other.iloc[watch] *= -3
    again = clone(net).fit(other, y)
    for a, b in zip(net.epoch_states_, again.epoch_states_, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert net.history[:, "valid_loss"] != again.history[:, "valid_loss"]


def test_staged_predictions_need_the_epochs(clips):
    with pytest.raises(ValueError, match="keep_epochs=True"):
        next(small().fit(*clips).staged_predict_proba(clips[0]))


def test_training_that_diverges_says_so(clips):
    X, y = clips
    with pytest.raises(ValueError, match="Training diverged.*gradient_clip_norm"):
        small(lr=1e30).fit(X * 1e6, y)


# Weights and saliency


def test_weights_of_per_stream_attention_sum_to_one(clips):
    X, y = clips
    weights = small(attention="per_stream").fit(X, y).modality_weights(X)
    assert weights.index.equals(X.index)
    assert list(weights.columns) == ["audio", "text", "video__face"]
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    joint = small().fit(X, y)
    shares = joint.modality_weights(X, normalize=True)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    raw = joint.modality_weights(X).to_numpy()
    np.testing.assert_allclose(
        shares, np.abs(raw) / np.abs(raw).sum(1, keepdims=True), rtol=1e-5
    )


def test_saliency_is_gradient_times_input(clips):
    X, y = clips
    net = small(dropout=0.0).fit(X, y)
    saliency = net.saliency(X.iloc[:3])
    module = net.module_.double().eval()

    def logit(row, top):
        streams = [
            torch.from_numpy(row[None, columns]) for columns in net.streams_.values()
        ]
        heads = module.stream_heads
        return heads.join(module(streams), heads(streams))[0, top].item()

    for i in range(3):
        row = X.iloc[i].to_numpy(np.float64)
        top = int(np.argmax([logit(row, k) for k in range(3)]))
        numeric = np.array(
            [
                (logit(row + 1e-6 * e, top) - logit(row - 1e-6 * e, top)) / 2e-6
                for e in np.eye(15)
            ]
        )
        for name, columns in net.streams_.items():
            expected = np.abs(numeric * row)[columns].sum()
            assert saliency[name].iloc[i] == pytest.approx(expected, rel=1e-3)


def test_saliency_finds_the_stream_that_matters(clips):
    X, _ = clips
    y = np.where(X["text__0"] > 0, "up", "down")
    net = small(max_epochs=30, stream_heads=None).fit(X, y)
    assert net.saliency(X).mean().idxmax() == "text"


# As scikit-learn's tools use it


def test_clone_pickle_and_repeated_fits_agree(clips):
    X, y = clips
    net = small(train_split=0.2).fit(X, y)
    assert same(net, clone(net).fit(X, y), X)
    assert same(net, pickle.loads(pickle.dumps(net)), X)
    before = net.predict_proba(X)
    assert np.array_equal(before, net.fit(X, y).predict_proba(X))


def test_a_pickled_net_goes_on_training_as_the_original(clips):
    X, y = clips
    net = small(max_epochs=2).fit(X, y)
    copy = pickle.loads(pickle.dumps(net))
    assert same(net.partial_fit(X, y), copy.partial_fit(X, y), X)
    assert len(net.history) == 4


def test_partial_fit_and_warm_start_go_on_where_fit_ended(clips):
    X, y = clips
    whole = small(max_epochs=6).fit(X, y)
    parts = small(max_epochs=3).partial_fit(X, y).partial_fit(X, y)
    assert same(whole, parts, X)
    warm = small(max_epochs=3, warm_start=True).fit(X, y).fit(X, y)
    assert same(whole, warm, X)
    some = small(max_epochs=1).partial_fit(X[:1], y[:1], classes=["angry", "sad", "x"])
    assert some.predict_proba(X).shape == (90, 3)
    with pytest.raises(ValueError, match="'happy'.*not among the classes"):
        some.partial_fit(X, y)


def test_it_works_in_pipelines_and_grids(clips):
    X, y = clips
    pipe = make_pipeline(StandardScaler(), small(max_epochs=15, lr=1e-2))
    pipe.set_output(transform="pandas")
    assert cross_val_score(pipe, X, y, cv=3, scoring="f1_weighted").mean() > 0.8
    grid = GridSearchCV(
        pipe,
        {
            "attentionfusionclassifier__module__hidden_size": [4, 8],
            "attentionfusionclassifier__lr": [1e-3],
        },
        cv=2,
    ).fit(X, y)
    best = grid.best_estimator_[-1]
    width = grid.best_params_["attentionfusionclassifier__module__hidden_size"]
    assert best.module_.head.in_features == width
    codes = pipe.fit(X, y).transform(X)
    assert codes.index.equals(X.index) and codes.shape == (90, 16)


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_a_last_batch_of_one_row_is_a_batch(clips, rows):
    X, y = clips
    net = small(batch_size=32, max_epochs=2).fit(X[:rows], y[:rows])
    assert len(net.predict(X)) == 90


def test_a_users_module_is_trained_with_inferred_sizes(clips):
    X, y = clips
    net = FusionClassifier(
        UserNet, module__width=12, lr=1e-2, max_epochs=20, random_state=0
    )
    net.fit(X, y)
    assert net.get_params()["module__width"] == 12
    assert net.module_.head.in_features == 12
    assert net.score(X, y) > 0.8
    with pytest.raises(AttributeError, match="no stream weights"):
        net.modality_weights(X)


def test_the_device_comes_from_the_settings(clips):
    X, y = clips
    with skmer.config_context(device="cpu"):
        net = small(max_epochs=1).fit(X, y)
    assert net.device == "auto" and net.device_ == torch.device("cpu")
