"""What holds for the baselines of MERTools and MMSA alike."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skmer.fusion import (
    LateFusionClassifier,
    LowRankFusionClassifier,
    MisaFusionClassifier,
    MmimFusionClassifier,
    MultFusionClassifier,
    TensorFusionClassifier,
)

POOLED = [
    LateFusionClassifier,
    LowRankFusionClassifier,
    MisaFusionClassifier,
    MmimFusionClassifier,
    TensorFusionClassifier,
]
EVERY = [*POOLED, MultFusionClassifier]
every = pytest.mark.parametrize("cls", EVERY)


def small(cls, **params):
    settings = {"hidden_size": 16, "max_epochs": 3, "random_state": 0, **params}
    if cls is MultFusionClassifier:
        settings = {"n_layers": 1, "n_heads": 4, **settings}
    return cls(**settings)


def alone(cls, **params):
    """The net without what the project adds to it."""
    if cls is not MultFusionClassifier:
        params = {"stream_heads": None, **params}
    return small(cls, **params)


@every
def test_it_learns_repeats_and_pickles(clips, cls):
    X, y = clips
    net = alone(cls, max_epochs=20, lr=3e-3).fit(X, y)
    assert net.score(X, y) > 0.85
    proba = net.predict_proba(X)
    again = alone(cls, max_epochs=20, lr=3e-3).fit(X, y)
    assert np.array_equal(again.predict_proba(X), proba)
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict_proba(X), proba)


@every
def test_the_order_of_columns_changes_nothing(clips, cls):
    X, y = clips
    names = ["video__face", "text", "audio"]
    turned = X[[c for name in names for c in X.columns if c.startswith(name)]]
    net, other = small(cls).fit(X, y), small(cls).fit(turned, y)
    assert np.array_equal(net.predict_proba(X), other.predict_proba(turned))


@every
def test_predictions_do_not_depend_on_company(clips, cls):
    X, y = clips
    X = X.copy()
    X.iloc[::4, :6] = np.nan
    net = small(cls).fit(X, y)
    whole = net.predict_proba(X)
    for row in (0, 1, 7):
        own = net.predict_proba(X.iloc[[row]])
        np.testing.assert_allclose(own[0], whole[row], rtol=0, atol=1e-6)
    X.iloc[10, 6:11] = np.nan
    changed = (net.predict_proba(X) != whole).any(axis=1)
    assert changed.nonzero()[0].tolist() == [10]


@every
def test_streams_have_saliency_and_no_weights(clips, cls):
    X, y = clips
    X = X.copy()
    X.iloc[::4, :6] = np.nan
    net = small(cls).fit(X, y)
    saliency = net.saliency(X)
    assert ((saliency["audio"] == 0) == X["audio__0"].isna()).all()
    assert (saliency[["text", "video__face"]] > 0).all(axis=None)
    with pytest.raises(AttributeError, match=r"use saliency\(X\)"):
        net.modality_weights(X)


@every
def test_what_only_training_needs_stays_out_of_validation(clips, cls):
    X, y = clips
    net = small(cls, train_split=3, class_weight="balanced", sampler="balanced")
    net.fit(X, y, sample_weight=np.linspace(0.5, 2, 90))
    assert net.best_epoch_ in (1, 2, 3)
    assert np.isfinite(net.history[:, "valid_loss"]).all()
    codes = net.transform(X)
    assert codes.shape == (90, net.module_.head.in_features)
    assert len(net.get_feature_names_out()) == codes.shape[1]


@every
def test_a_grid_sets_its_parameters(clips, cls):
    search = GridSearchCV(small(cls), {"dropout": [0.1, 0.3]}, cv=2)
    search.fit(*clips)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    with pytest.raises(ValueError, match="The 'dropout' parameter"):
        small(cls, dropout=1.0).fit(*clips)


@every
def test_bfloat16_trains(clips, cls):
    X, y = clips
    net = alone(cls, max_epochs=20, lr=3e-3, dtype="bfloat16").fit(X, y)
    assert net.score(X, y) > 0.85
    assert np.isfinite(net.history[:, "train_loss"]).all()


@every
def test_the_stream_that_tells_is_found_clip_by_clip(planted, cls):
    gains = []
    for seed in range(2):
        X, y, _ = planted(n=750, seed=seed)
        learn, rest = slice(0, 500), slice(500, None)
        net = alone(
            cls,
            hidden_size=32,
            max_epochs=10,
            batch_size=64,
            lr=3e-3 if cls is MultFusionClassifier else 1e-2,
            dropout=0.1,
            random_state=seed,
        ).fit(X[learn], y[learn])
        best = max(
            LogisticRegression()
            .fit(X.iloc[learn, columns], y[learn])
            .score(X.iloc[rest, columns], y[rest])
            for columns in [*net.streams_.values(), slice(None)]
        )
        gains.append(net.score(X[rest], y[rest]) - best)
    assert np.mean(gains) > 0.1


@pytest.mark.parametrize("n_streams", [1, 5])
@every
def test_any_number_of_streams(cls, n_streams):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = pd.DataFrame(
        rng.normal(size=(40, 2 * n_streams)) + 2 * y[:, None],
        columns=[f"s{i // 2}__{i % 2}" for i in range(2 * n_streams)],
    )
    params = {"code_size": 4} if cls is TensorFusionClassifier else {}
    net = alone(cls, max_epochs=15, lr=5e-3, **params).fit(X, y)
    assert net.score(X, y) > 0.8


def test_a_tensor_too_large_is_refused(clips):
    X, y = clips
    with pytest.raises(ValueError, match=r"65\*\*3 = 274,625 numbers a clip"):
        TensorFusionClassifier(code_size=64).fit(X, y)
    net = TensorFusionClassifier(code_size=64, max_product=300_000, max_epochs=1)
    assert net.set_params(hidden_size=2).fit(X, y).module_.fuse[1].in_features == 65**3


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (
            MisaFusionClassifier,
            ["similarity_weight", "difference_weight", "reconstruction_weight"],
        ),
        (MmimFusionClassifier, ["contrast_weight", "information_weight"]),
    ],
)
def test_auxiliary_losses_are_in_the_loss_of_training_alone(clips, cls, names):
    X, y = clips
    settings = {"modality_dropout": 0.0, "dropout": 0.0, "lr": 1e-12, "max_epochs": 1}
    settings["batch_size"] = 90

    def losses(**weights):
        net = alone(cls, train_split=3, **settings, **weights).fit(X, y)
        return net.history[-1, ("train_loss", "valid_loss")]

    nothing = dict.fromkeys(names, 0.0)
    train, valid = losses(**nothing)
    for name in names:
        once, again = (losses(**{**nothing, name: w}) for w in (0.5, 1.0))
        assert once[1] == again[1] == valid
        assert abs(once[0] - train) > 1e-4
        # Loss grows in proportion to its weight.
        np.testing.assert_allclose(again[0] - train, 2 * (once[0] - train), rtol=1e-2)
