"""Fitted state without pickles."""

import io

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from skmer.fusion import AttentionFusionClassifier, ModalTokenFusionClassifier

CLASSES = [AttentionFusionClassifier, ModalTokenFusionClassifier]


def small(cls=AttentionFusionClassifier, **params):
    settings = {"hidden_size": 8, "max_epochs": 2, "random_state": 0, **params}
    return cls(**settings)


@pytest.mark.parametrize("labels", ["str", "int", "bool", "object"])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_net_that_was_never_fitted_predicts_from_the_file(
    clips, tmp_path, cls, labels
):
    X, y = clips
    y = {
        "str": y,
        "int": np.arange(90) % 3 + 5,
        "bool": np.arange(90) % 2 == 0,
        "object": y.astype(object),
    }[labels]
    X = X.copy()
    X.iloc[3] = np.nan
    net = small(cls, train_split=0.2).fit(X, y)
    path = tmp_path / "net.safetensors"
    net.save_params(path, use_safetensors=True)
    before = torch.random.get_rng_state()
    other = small(cls, random_state=7)
    other.load_params(f_params=path, use_safetensors=True)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(other.predict_proba(X), net.predict_proba(X))
    assert np.array_equal(other.predict(X), net.predict(X))
    assert other.predict(X).dtype == net.predict(X).dtype
    assert np.array_equal(other.transform(X), net.transform(X))
    assert other.modality_weights(X).equals(net.modality_weights(X))
    assert other.get_feature_names_out().tolist() == list(net.get_feature_names_out())
    assert other.best_epoch_ == net.best_epoch_ and other.device == "auto"
    with pytest.raises(ValueError, match="feature names"):
        other.predict(X.rename(columns={"audio__0": "audio__x"}))
    other.partial_fit(X, y)
    assert not np.array_equal(other.predict_proba(X), net.predict_proba(X))


def test_the_file_is_weights_to_anyone_else(clips, tmp_path):
    X, y = clips
    net = small().fit(X, y)
    net.save_params(tmp_path / "net.safetensors", use_safetensors=True)
    tensors = load_file(tmp_path / "net.safetensors")
    state = net.module_.state_dict()
    assert set(tensors) == set(state)
    assert all(torch.equal(tensors[name], state[name]) for name in state)
    # and weights alone load into a net that knows its streams
    save_file(tensors, tmp_path / "bare.safetensors")
    other = small(random_state=1).fit(X, y)
    other.load_params(tmp_path / "bare.safetensors", use_safetensors=True)
    assert np.array_equal(other.predict_proba(X), net.predict_proba(X))


def test_open_files_and_a_history_beside_it(clips, tmp_path):
    X, y = clips
    net = small().fit(X.to_numpy(), y)
    file = io.BytesIO()
    history = str(tmp_path / "history.json")
    net.save_params(file, use_safetensors=True, f_history=history)
    file.seek(0)
    other = small()
    other.load_params(file, use_safetensors=True, f_history=history)
    assert np.array_equal(other.predict(X.to_numpy()), net.predict(X.to_numpy()))
    assert other.history[:, "train_loss"] == net.history[:, "train_loss"]


def test_weights_of_another_net_are_refused(clips, tmp_path):
    net = small().fit(*clips)
    net.save_params(tmp_path / "net.safetensors", use_safetensors=True)
    with pytest.raises(ValueError, match="AttentionFusionClassifier with other param"):
        small(hidden_size=4).load_params(
            tmp_path / "net.safetensors", use_safetensors=True
        )


def test_what_was_never_fitted_has_no_state(tmp_path):
    with pytest.raises(Exception, match="not fitted"):
        small().save_params(tmp_path / "net.safetensors", use_safetensors=True)
