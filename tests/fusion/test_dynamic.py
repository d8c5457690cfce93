import numpy as np
import pytest

from skmer.fusion import DynamicWeightingFusionClassifier


def small(**params):
    settings = {"hidden_size": 8, "max_epochs": 3, "random_state": 0, **params}
    return DynamicWeightingFusionClassifier(**settings)


def test_variants_are_three_nets(clips):
    X, y = clips
    tokens, gated, letter = (
        small(**params).fit(X, y)
        for params in ({}, {"gate": True}, {"variant": "paper"})
    )
    for net in (tokens, gated, letter):
        assert net.transform(X).shape == (90, 24)
    np.testing.assert_allclose(tokens.modality_weights(X).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(gated.modality_weights(X).sum(axis=1), 1, rtol=1e-5)
    assert (letter.modality_weights(X) == 1).all(axis=None)
    assert not np.array_equal(tokens.predict_proba(X), gated.predict_proba(X))
    assert not np.array_equal(tokens.predict_proba(X), letter.predict_proba(X))


def test_a_missing_stream_has_no_weight(clips):
    X, y = clips
    X = X.copy()
    X.iloc[::4, :6] = np.nan
    weights = small().fit(X, y).modality_weights(X)
    assert (weights["audio"].iloc[::4] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_the_order_of_streams_changes_nothing(clips):
    X, y = clips
    turned = X[X.columns[::-1]]
    streams = {
        name: [c for c in X.columns if c.startswith(name)] for name in ("audio", "text")
    }
    a = small(streams=streams).fit(X, y)
    b = small(streams=dict(reversed(streams.items()))).fit(turned, y)
    assert np.array_equal(a.predict_proba(X), b.predict_proba(turned))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_heads": 3}, "multiple of n_heads. Got 8 and 3"),
        ({"variant": "paper", "gate": True}, "needs variant='sound'"),
        ({"variant": "code"}, "The 'variant' parameter"),
    ],
)
def test_what_does_not_fit_is_refused(clips, params, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(*clips)
