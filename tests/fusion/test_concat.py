import numpy as np
import pytest

from skmer.fusion import ConcatFusionClassifier


def test_layers_are_as_wide_as_asked(clips):
    X, y = clips
    net = ConcatFusionClassifier(
        hidden_sizes=[12, 7], max_epochs=20, dropout=0.1, lr=5e-3, random_state=0
    ).fit(X, y)
    # fifteen columns and three numbers that say which streams are there
    assert [p.shape for p in net.module_.parameters()][0] == (12, 18)
    assert net.transform(X).shape == (90, 7)
    assert net.score(X, y) > 0.8
    bare = ConcatFusionClassifier(hidden_sizes=(), max_epochs=1).fit(X, y)
    assert bare.transform(X).shape == (90, 18)


def test_whether_a_stream_is_there_can_be_learnt_from(clips):
    X, y = clips
    X = X.copy() * 0.0
    X.loc[y == "angry", X.columns[:6]] = np.nan
    net = ConcatFusionClassifier(
        max_epochs=30, lr=1e-2, modality_dropout=0.0, random_state=0
    ).fit(X, y)
    assert (net.predict(X[y == "angry"]) == "angry").all()
    assert (net.predict(X[y != "angry"]) != "angry").all()


def test_it_has_no_weights_but_saliency(clips):
    X, y = clips
    net = ConcatFusionClassifier(max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(AttributeError, match=r"use saliency\(X\)"):
        net.modality_weights(X)
    shares = net.saliency(X, normalize=True)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    raw = net.saliency(X).to_numpy()
    np.testing.assert_allclose(shares, raw / raw.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability(clips, dropout):
    with pytest.raises(ValueError, match="The 'input_dropout' parameter"):
        ConcatFusionClassifier(input_dropout=dropout).fit(*clips)
