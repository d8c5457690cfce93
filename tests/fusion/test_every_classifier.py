"""What the networks with one token or one code a stream find in planted clips."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from skmer.fusion import (
    DynamicWeightingFusionClassifier,
    ModalTokenFusionClassifier,
)

SETTINGS = {
    "hidden_size": 32,
    "max_epochs": 10,
    "batch_size": 64,
    "lr": 1e-2,
    "dropout": 0.1,
}


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (DynamicWeightingFusionClassifier, {}),
        (DynamicWeightingFusionClassifier, {"gate": True}),
        (ModalTokenFusionClassifier, {}),
    ],
)
def test_the_stream_that_tells_is_found_clip_by_clip(planted, cls, params):
    gains, hits = [], []
    for seed in range(2):
        X, y, telling = planted(n=750, seed=seed)
        learn, rest = slice(0, 500), slice(500, None)
        net = cls(**SETTINGS, **params, random_state=seed).fit(X[learn], y[learn])
        plain = [
            LogisticRegression().fit(X.iloc[learn, columns], y[learn])
            for columns in [*net.streams_.values(), slice(None)]
        ]
        best = max(
            model.score(X.iloc[rest, columns], y[rest])
            for model, columns in zip(
                plain, [*net.streams_.values(), slice(None)], strict=True
            )
        )
        gains.append(net.score(X[rest], y[rest]) - best)
        weights = net.modality_weights(X[rest], normalize=True).to_numpy()
        hits.append(np.mean(weights.argmax(axis=1) == telling[rest]))
    assert np.mean(gains) > 0.1
    assert np.mean(hits) > 0.85
