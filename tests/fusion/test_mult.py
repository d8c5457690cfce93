import numpy as np
import pandas as pd
import pytest

from skmer.fusion import MultFusionClassifier
from skmer.utils import as_object_column


def small(**params):
    settings = {"hidden_size": 16, "n_heads": 4, "n_layers": 1, "max_epochs": 12}
    return MultFusionClassifier(**{**settings, "random_state": 0, **params})


@pytest.fixture
def sequences():
    """Clips whose frames tell the class by their order alone, or by text."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2

    def frames(label):
        ramp = np.linspace(-2, 2, rng.integers(4, 9)) * (1 if label else -1)
        return 30 + 10 * (ramp[:, None] + 0.3 * rng.normal(size=(len(ramp), 3)))

    X = pd.DataFrame(
        {
            "video__frames": as_object_column([frames(label) for label in y]),
            "text__0": rng.normal(size=120),
            "text__1": rng.normal(size=120),
        },
        index=[f"clip{i}" for i in range(120)],
    )
    return X, y


def test_the_order_of_frames_is_learnt(sequences):
    X, y = sequences
    net = small(lr=3e-3).fit(X[:80], y[:80])
    assert net.score(X[80:], y[80:]) > 0.9
    assert net.transform(X).shape == (120, 32)


def test_steps_are_standardised_by_those_of_training(sequences):
    X, y = sequences
    net = small(max_epochs=1).fit(X[:80], y[:80])
    steps = np.concatenate(list(X["video__frames"][:80])).astype(np.float32)
    embed = net.module_.embed[list(net.streams_).index("video")]
    np.testing.assert_allclose(embed.mean, steps.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(embed.scale, steps.std(axis=0), rtol=1e-4)
    text = net.module_.embed[list(net.streams_).index("text")]
    expected = X.iloc[:80, 1:].mean()
    np.testing.assert_allclose(text.mean, expected, rtol=1e-3, atol=1e-6)


def test_max_steps_cuts_sequences_off(sequences):
    X, y = sequences
    net = small(max_epochs=1, max_steps={"video": 2}).fit(X, y)
    cut = X.copy()
    cut["video__frames"] = as_object_column([cell[:2] for cell in X["video__frames"]])
    assert np.array_equal(net.predict_proba(cut), net.predict_proba(X))
    with pytest.raises(ValueError, match="max_steps names the stream 'sound'"):
        small(max_steps={"sound": 2}).fit(X, y)


def test_clips_may_lack_their_frames(sequences):
    X, y = sequences
    net = small(max_epochs=2).fit(X, y)
    whole = net.predict_proba(X)
    X = X.copy()
    X.iloc[3, 0] = None
    changed = (net.predict_proba(X) != whole).any(axis=1)
    assert changed.nonzero()[0].tolist() == [3]
    assert net.saliency(X).iloc[3, list(net.streams_).index("video")] == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [({"kernel_size": 2}, "must be odd"), ({"n_heads": 5}, "Got 16 and 5")],
)
def test_what_does_not_fit_is_refused(sequences, params, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(*sequences)
