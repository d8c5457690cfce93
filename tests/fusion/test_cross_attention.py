import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tiny_models import speech_model

from skmer.cache import CachedArray, Record, open_store
from skmer.fusion import AttentionFusionClassifier, CrossAttentionFusionClassifier
from skmer.utils import as_object_column


def small(**params):
    settings = {
        "hidden_size": 16,
        "projection_size": 8,
        "max_epochs": 4,
        "random_state": 0,
        **params,
    }
    return CrossAttentionFusionClassifier(**settings)


def make_frames(n=60, seed=0, sizes=(6, 4), shift=1.0):
    """Clips of three classes, whose sound and pictures both show them."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    columns = []
    for size in sizes:
        cells = [rng.normal(size=(rng.integers(2, 9), size)) for _ in range(n)]
        for cell, code in zip(cells, codes, strict=True):
            cell[:, code] += shift
        columns.append(as_object_column([cell.astype(np.float32) for cell in cells]))
    index = pd.Index([f"clip{i}" for i in range(n)])
    X = pd.DataFrame(
        {"audio__frames": columns[0], "video__frames": columns[1]}, index=index
    )
    return X, np.array(["angry", "happy", "sad"])[codes]


@pytest.fixture(scope="module")
def data():
    return make_frames()


@pytest.fixture(scope="module")
def fitted(data):
    return small().fit(*data)


def same(a, b, X):
    return np.array_equal(a.predict_proba(X), b.predict_proba(X))


def test_it_learns_from_sequences(data):
    X, y = data
    net = small(max_epochs=15, lr=3e-3).fit(X[:45], y[:45])
    assert net.score(X[45:], y[45:]) > 0.8
    assert list(net.streams_) == ["audio", "video"]
    codes = net.transform(X)
    assert codes.shape == (60, 32) and codes.dtype == np.float32
    weights = net.modality_weights(X)
    assert list(weights.columns) == ["audio", "video"]
    assert weights.index.equals(X.index)
    assert (net.saliency(X).to_numpy() > 0).all()
    assert net.get_feature_names_out()[0] == "crossattentionfusionclassifier0"


def test_a_fit_repeats_and_touches_no_global_generator(data, fitted):
    X, y = data
    before = torch.random.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    with ThreadPoolExecutor(2) as threads:
        nets = list(threads.map(lambda _: small().fit(X, y), range(2)))
    assert all(same(fitted, net, X) for net in nets)
    assert not same(fitted, small(random_state=1).fit(X, y), X)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()


def test_clips_are_predicted_alike_in_any_company(data, fitted):
    X, _ = data
    together = fitted.predict_proba(X)
    alone = np.vstack([fitted.predict_proba(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


def test_a_missing_stream_changes_only_its_clip(data, fitted):
    X, y = data
    holes = X.copy()
    holes.iloc[3, 1] = None
    holes.iloc[5] = None
    changed = (fitted.predict_proba(holes) != fitted.predict_proba(X)).any(axis=1)
    close = np.isclose(fitted.predict_proba(holes), fitted.predict_proba(X), atol=1e-6)
    assert np.flatnonzero(~close.all(axis=1)).tolist() == [3, 5]
    assert changed[[3, 5]].all()
    weights = fitted.modality_weights(holes)
    assert weights["video"].iloc[3] == 0 and (weights.iloc[5] == 0).all()
    np.testing.assert_allclose(fitted.predict_proba(holes)[5], 1 / 3)
    net = small().fit(holes, y)
    assert np.isfinite(net.predict_proba(holes)).all()
    # Nothing but None is left of a stream in what is predicted.
    holes["audio__frames"] = as_object_column([None] * len(X))
    assert np.isfinite(net.predict_proba(holes)).all()
    with pytest.raises(
        ValueError, match="'audio' has no value .*their cells hold None"
    ):
        small().fit(holes, y)


def test_no_clips_are_an_error_in_words(data, fitted):
    with pytest.raises(ValueError, match=r"0 sample\(s\) while a minimum of 1 is"):
        fitted.predict(data[0].iloc[:0])


def test_the_order_of_streams_and_unlabelled_rows_change_nothing(data, fitted):
    X, y = data
    turned = X[["video__frames", "audio__frames"]]
    assert np.array_equal(
        fitted.predict_proba(X), small().fit(turned, y).predict_proba(turned)
    )
    more, _ = make_frames(9, seed=7, shift=50.0)
    both = pd.concat([X, more])
    partly = np.array([*y, *[None] * 9], dtype=object)
    assert same(fitted, small().fit(both, partly), X)


def test_cached_arrays_give_the_same_net(data, fitted, tmp_path, monkeypatch):
    X, y = data
    store = open_store(str(tmp_path))
    cached = X.copy()
    for name in X.columns:
        keys = [f"{name}{i}".encode() for i in range(len(X))]
        store.put_many(
            [
                (key, Record("ok", {"frames": array}))
                for key, array in zip(keys, X[name], strict=True)
            ]
        )
        cached[name] = as_object_column(
            [CachedArray(store.path, key, "frames") for key in keys]
        )
    assert same(fitted, small().fit(cached, y), X)
    monkeypatch.setattr("skmer.fusion._sequences.RESIDENT_BYTES", 1000)
    net = small().fit(cached, y)
    assert same(fitted, net, X)
    assert np.array_equal(net.predict_proba(cached), fitted.predict_proba(X))
    store.close()


def test_scikit_learns_tools_take_sequences(data):
    X, y = data
    net = small(max_epochs=2)
    grid = GridSearchCV(net, {"variant": ["sound", "paper"], "n_layers": [1]}, cv=2)
    grid.fit(X, y)
    assert grid.best_params_["n_layers"] == 1 and len(grid.predict(X)) == 60
    pipeline = make_pipeline(FunctionTransformer(), clone(net))
    assert cross_val_predict(pipeline, X, y, cv=2).shape == (60,)
    assert (cross_val_score(net, X, y, cv=2) > 0.2).all()


def test_it_pickles_and_goes_on(data, fitted):
    X, y = data
    again = pickle.loads(pickle.dumps(fitted))
    assert same(fitted, again, X)
    more = clone(fitted).fit(X, y).partial_fit(X, y)
    assert len(more.history) == 8 and not same(more, fitted, X)
    halves = small(max_epochs=2).fit(X, y).partial_fit(X, y)
    assert same(halves, fitted, X)


def test_object_arrays_and_numbers_beside_sequences(data, fitted):
    X, y = data
    streams = {"audio": [0], "video": [1]}
    array = X.to_numpy()
    net = small(streams=streams).fit(array, y)
    assert np.array_equal(net.predict_proba(array), fitted.predict_proba(X))
    with pytest.raises(ValueError, match="Stream 'all' has 2 columns"):
        small().fit(array, y)
    rng = np.random.default_rng(0)
    mixed = X.assign(text__0=rng.normal(size=60), text__1=rng.normal(size=60))
    mixed.iloc[4, 2] = np.nan
    net = small().fit(mixed, y)
    assert net.modality_weights(mixed)["text"].iloc[4] == 0
    assert net.modality_weights(mixed).shape == (60, 3)


def test_early_stopping_and_staged_predictions(data):
    X, y = data
    net = small(train_split=3, keep_epochs=True, modality_dropout=0.3).fit(X, y)
    staged = list(net.staged_predict_proba(X))
    assert len(staged) == 4
    assert np.array_equal(staged[net.best_epoch_ - 1], net.predict_proba(X))
    # Nothing of the watched rows enters the statistics.
    assert {"valid_loss", "train_loss"} <= set(net.history[-1])


@pytest.mark.parametrize("name", ["stream_heads", "group_mixing"])
def test_what_is_for_whole_clips_is_no_parameter(name):
    with pytest.raises(TypeError, match=name):
        CrossAttentionFusionClassifier(**{name: 1})


def test_steps_are_standardised_by_the_training_rows(data, fitted, tmp_path):
    X, y = data
    moved = X.copy()
    for name, scale in (("audio__frames", 8.0), ("video__frames", 0.25)):
        moved[name] = as_object_column([cell * scale + 64 for cell in X[name]])
    net = small().fit(moved, y)
    np.testing.assert_allclose(
        net.predict_proba(moved), fitted.predict_proba(X), atol=1e-3
    )
    steps = np.concatenate(list(X["audio__frames"]))
    np.testing.assert_allclose(fitted.module_.mean_0, steps.mean(axis=0), atol=1e-5)
    plain = small(variant="paper").fit(X, y)
    assert plain.module_.mean_0.abs().sum() == 0
    # Going on with other clips, the net stays used to the first ones' scale.
    before = net.module_.mean_0.clone()
    net.partial_fit(X, y)
    assert torch.equal(net.module_.mean_0, before)
    net.save_params(tmp_path / "net.safetensors", use_safetensors=True)
    loaded = small()
    loaded.load_params(tmp_path / "net.safetensors", use_safetensors=True)
    loaded.partial_fit(X, y)
    assert torch.equal(loaded.module_.mean_0, before)


def test_predicting_pads_no_more_clips_together_than_training(data):
    net = small(batch_size=7).fit(*data)
    sizes = [len(batch) for batch, _ in net.get_iterator(net.get_dataset(data[0]))]
    assert sizes == [7] * 8 + [4]


def test_max_steps_cuts_sequences_off(data, fitted):
    X, y = data
    cut = X.copy()
    cut["audio__frames"] = as_object_column([cell[:3] for cell in X["audio__frames"]])
    net = small(max_steps={"audio": 3}).fit(X, y)
    assert np.array_equal(net.predict_proba(X), small().fit(cut, y).predict_proba(cut))
    assert not same(net, fitted, X)
    cut["video__frames"] = as_object_column([cell[:3] for cell in X["video__frames"]])
    net = small(max_steps=3).fit(X, y)
    assert np.array_equal(net.predict_proba(X), small().fit(cut, y).predict_proba(cut))
    with pytest.raises(ValueError, match="stream 'smell'. X has audio, video"):
        small(max_steps={"smell": 3}).fit(X, y)
    with pytest.raises(ValueError, match=r"max_steps\['audio'\] must be an int"):
        small(max_steps={"audio": 0}).fit(X, y)


@pytest.mark.parametrize(
    "params",
    [
        {"variant": "paper"},
        {"variant": "code"},
        {"negatives": "sampled"},
        {"alignment_weight": 0.0},
        {"matching_weight": 0.0},
        {"matching_weight": 5.0, "alignment_weight": 0.0},
        {"sampler": None},
        {"hidden_size": None},
    ],
)
def test_every_option_makes_another_net(data, fitted, params):
    X, y = data
    assert not same(small(**params).fit(X, y), fitted, X)


def test_the_loss_adds_its_parts(data):
    X, y = data
    net = small(alignment_weight=0.5, matching_weight=3.0, dropout=0.0).fit(X, y)
    codes = torch.from_numpy(np.searchsorted(net.classes_, y))
    batch = net.get_dataset(X).X.take(slice(0, 20))
    net.module_.train()
    for module in net.module_.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    with torch.no_grad():
        output = net.infer(batch)
        total = net.get_loss(output, codes[:20], X=batch, training=True)
        plain = net.get_loss(output, codes[:20], X=batch, training=False)
        alignment, matching = net.module_.auxiliary_losses(output[1], codes[:20])
        expected = plain + 0.5 * alignment.mean() + 3 * matching.mean()
        torch.testing.assert_close(total, expected)
        assert alignment.mean() > 0 and matching.mean() > 0
        batch.weight = torch.arange(20.0)
        weighted = net.get_loss(output, codes[:20], X=batch, training=True)
        losses = torch.nn.functional.cross_entropy(
            output[0], codes[:20], reduction="none"
        )
        losses = losses + 0.5 * alignment + 3 * matching
        torch.testing.assert_close(weighted, (losses * batch.weight).mean())


def test_matching_weights_and_negatives_follow_the_variant():
    found = {
        variant: (net._weight_of_matching(), net._module_params()["negatives"])
        for variant in ("sound", "paper", "code")
        for net in [CrossAttentionFusionClassifier(variant=variant)]
    }
    assert found == {
        "sound": (0.1, "hard"),
        "paper": (0.01, "hard"),
        "code": (0.1, "sampled"),
    }


def test_networks_of_numbers_say_what_to_do_with_sequences(data):
    X, y = data
    with pytest.raises(ValueError, match="'audio__frames' of X holds.*pooling='mean'"):
        AttentionFusionClassifier().fit(X, y)


def planted(seed, n=400):
    """Clips whose class shows in one of two streams, and a mark says in which."""
    rng = np.random.default_rng(seed)
    codes, where = rng.integers(3, size=n), rng.integers(2, size=n)
    columns = []
    for stream in range(2):
        cells = []
        for code, informative in zip(codes, where == stream, strict=True):
            shown = code if informative else rng.integers(3)
            cell = 0.7 * rng.normal(size=(rng.integers(3, 7), 5))
            cell[:, shown] += 2.0
            # Both streams show a class; what is marked shows the right one.
            cell[:, 3] += 2.0 if informative else -2.0
            cells.append(cell)
        columns.append(as_object_column(cells))
    X = pd.DataFrame({"audio__frames": columns[0], "video__frames": columns[1]})
    return X, codes, where


def test_it_finds_which_stream_to_believe():
    X, y, where = planted(0)
    net = small(max_epochs=15, lr=5e-3, modality_dropout=0.2).fit(X[:300], y[:300])
    pooled = [np.stack([cell.mean(axis=0) for cell in X[name]]) for name in X]
    plain = make_pipeline(StandardScaler(), LogisticRegression())
    best = max(
        plain.fit(table[:300], y[:300]).score(table[300:], y[300:])
        for table in (*pooled, np.hstack(pooled))
    )
    assert net.score(X[300:], y[300:]) > best + 0.05
    weights = net.modality_weights(X[300:]).to_numpy()
    assert (weights.argmax(axis=1) == where[300:]).mean() > 0.8


@pytest.mark.parametrize("backbone", [False, True])
def test_mixed_precision(data, sounds, backbone):
    X, y = sounds if backbone else data
    make = speaking if backbone else small
    net, full = make(dtype="bfloat16").fit(X, y), make().fit(X, y)
    assert not same(net, full, X)
    np.testing.assert_allclose(net.predict_proba(X), full.predict_proba(X), atol=0.2)
    assert net.module_.head.weight.dtype == torch.float32


# Sound through a model that learns too


@pytest.fixture(scope="module")
def sounds():
    X, y = make_frames(24)
    rng = np.random.default_rng(0)
    audio = [rng.normal(size=rng.integers(1500, 3000)) for _ in range(24)]
    # Each class has a pitch.
    for cell, code in zip(audio, np.arange(24) % 3, strict=True):
        cell += 3 * np.sin(np.arange(len(cell)) * (0.2 + 0.5 * code))
    X = X.rename(columns={"audio__frames": "audio__sound"})
    X["audio__sound"] = as_object_column([cell.astype(np.float32) for cell in audio])
    return X, y


def speaking(**params):
    return small(audio_backbone=speech_model("wavlm-large"), max_epochs=2, **params)


def test_the_speech_model_is_fine_tuned_apart_from_its_convolutions(sounds):
    from transformers import AutoModel

    X, y = sounds
    before = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    net = speaking().fit(X, y)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    with torch.random.fork_rng():
        original = AutoModel.from_pretrained(speech_model("wavlm-large")).state_dict()
    backbone = net.module_.backbones["0"].model
    for name, value in backbone.state_dict().items():
        frozen = name.startswith("feature_extractor")
        if frozen or name.endswith("attention.k_proj.weight"):
            assert torch.equal(value, original[name]) == frozen, name
    assert same(net, speaking().fit(X, y), X)
    again = pickle.loads(pickle.dumps(net))
    assert same(net, again, X)
    np.testing.assert_allclose(
        net.predict_proba(X[:1]), net.predict_proba(X)[:1], rtol=1e-4, atol=1e-5
    )
    first = speaking(max_steps={"audio": 1000}).fit(X, y)
    assert not same(first, net, X)
    assert (net.saliency(X).to_numpy() > 0).all()
    # A parameter group of its own.
    slow = speaking(optimizer__param_groups=[("backbones*", {"lr": 1e-12})]).fit(X, y)
    moved = slow.module_.backbones["0"].model.state_dict()
    name = "encoder.layers.0.attention.k_proj.weight"
    torch.testing.assert_close(moved[name], original[name], rtol=0, atol=1e-9)


def test_normalisation_of_sound_follows_the_variant(sounds):
    X, y = sounds
    X, y = X[:6], y[:6]
    found = [
        speaking(variant=variant, max_steps=500).fit(X, y).module_.backbones["0"]
        for variant in ("sound", "code")
    ]
    assert [backbone.normalize for backbone in found] == [True, False]


def test_what_a_backbone_needs_is_said(sounds, data):
    X, y = sounds
    with pytest.raises(ValueError, match="It holds 6 numbers a step"):
        speaking().fit(*data)
    with pytest.raises(ValueError, match=r"one stream of the modality 'audio'.*none"):
        speaking().fit(X.rename(columns={"audio__sound": "sound__x"}), y)
    whisper = small(audio_backbone=speech_model("whisper"))
    with pytest.raises(ValueError, match="model of type 'whisper'"):
        whisper.fit(X, y)
