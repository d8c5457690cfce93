import pickle

import numpy as np
import pandas as pd
import pytest

from skmer.fusion import ModalTokenFusionClassifier


def small(**params):
    settings = {"hidden_size": 8, "max_epochs": 3, "random_state": 0, **params}
    return ModalTokenFusionClassifier(**settings)


def layered(clips, pattern="audio__layer{layer}_{i}"):
    """Clips whose second layer of sound tells the class and the others do not."""
    X, y = clips
    rng = np.random.default_rng(0)
    sound = X.filter(like="audio__").to_numpy()
    parts = [rng.normal(size=sound.shape), sound, rng.normal(size=sound.shape)]
    names = [pattern.format(layer=16 + k, i=i) for k in range(3) for i in range(6)]
    X = pd.DataFrame(np.hstack([*parts, X.iloc[:, 6:]]), index=X.index)
    X.columns = [*names, *clips[0].columns[6:]]
    return X, y


@pytest.mark.parametrize(
    ("pattern", "streams"),
    [
        ("audio__layer{layer}_{i}", None),
        ("audio__l{layer}__{i}", ("audio", "text", "video__face")),
    ],
)
def test_layers_are_read_from_the_names_of_columns(clips, pattern, streams):
    X, y = layered(clips, pattern)
    nets = {
        layers: small(layers=layers, streams=streams).fit(X, y)
        for layers in ("weighted", "tokens", "concat")
    }
    sizes = {
        layers: [encoder.enter[1].in_features for encoder in net.module_.encoders]
        for layers, net in nets.items()
    }
    assert sizes["weighted"] == [6, 4, 5]
    assert sizes["tokens"] == [6, 6, 6, 4, 5]
    assert sizes["concat"] == [18, 4, 5]
    for net in nets.values():
        assert list(net.modality_weights(X)) == ["audio", "text", "video__face"]


def test_the_layer_that_tells_gets_the_largest_weight(clips):
    X, y = layered(clips)
    net = small(max_epochs=40, lr=1e-2, dropout=0.1).fit(X, y)
    weights = net.layer_weights_["audio"]
    assert weights.index.tolist() == ["layer16", "layer17", "layer18"]
    assert weights.idxmax() == "layer17"
    assert weights.sum() == pytest.approx(1, rel=1e-5)
    assert small(layers="tokens").fit(X, y).layer_weights_ == {}


def test_layers_cut_by_a_selector_need_tokens_of_their_own(clips):
    X, y = layered(clips)
    X = X.drop(columns=["audio__layer16_0"])
    with pytest.raises(ValueError, match=r"\[5, 6\] columns.*layers='tokens'"):
        small().fit(X, y)
    assert len(small(layers="tokens").fit(X, y).module_.encoders) == 5


def test_layers_that_are_scattered_are_no_layers(clips):
    X, y = layered(clips)
    mixed = X[[*X.columns[:18:2], *X.columns[1:18:2], *X.columns[18:]]]
    net = small().fit(mixed, y)
    assert [e.enter[1].in_features for e in net.module_.encoders] == [18, 4, 5]


def test_streams_without_names_are_tokens(clips):
    X, y = clips
    streams = {"audio": slice(0, 6), "video__face": slice(6, 11)}
    net = small(streams=streams).fit(X.to_numpy(), y)
    assert net.module_.modalities == ["audio", "video"]
    assert net.transform(X.to_numpy()).shape == (90, 16)


@pytest.mark.parametrize(
    "params",
    [{"modal_tokens": "add"}, {"readout": "mean"}, {"attention_dropout": None}],
)
def test_variants_are_other_nets_and_pickle(clips, params):
    X, y = clips
    net = small(**params).fit(X, y)
    proba = net.predict_proba(X)
    assert not np.array_equal(proba, small().fit(X, y).predict_proba(X))
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict_proba(X), proba)


def test_heads_must_divide_the_width(clips):
    with pytest.raises(ValueError, match="multiple of n_heads. Got 8 and 3"):
        small(n_heads=3).fit(*clips)
