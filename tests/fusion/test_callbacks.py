import _thread
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback, EarlyStopping

from skmer.fusion import AttentionFusionClassifier, SaliencyLog


def small(**params):
    settings = {"hidden_size": 8, "max_epochs": 3, "random_state": 0, **params}
    return AttentionFusionClassifier(**settings)


def logged(net):
    return np.array(
        [[row[f"saliency_{name}"] for name in net.streams_] for row in net.history]
    )


def test_each_epoch_has_the_shares_of_its_weights(clips):
    X, y = clips
    net = small(callbacks=[SaliencyLog()]).fit(X, y)
    shares = logged(net)
    assert shares.shape == (3, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    last = net.saliency(X, normalize=True).mean()
    np.testing.assert_allclose(shares[-1], last, rtol=1e-5)
    assert not np.allclose(shares[0], shares[-1], rtol=1e-3)


def test_training_is_the_same_with_and_without(clips):
    X, y = clips
    net = small(callbacks=[SaliencyLog()], dropout=0.4).fit(X, y)
    plain = small(dropout=0.4).fit(X, y)
    assert np.array_equal(net.predict_proba(X), plain.predict_proba(X))
    assert np.array_equal(logged(net), logged(clone(net).fit(X, y)))


def test_clips_without_a_stream_do_not_count_for_it(clips):
    X, y = clips
    X = X.copy()
    X.iloc[::3, :6] = np.nan
    net = small(callbacks=[SaliencyLog()]).fit(X, y)
    shares = net.saliency(X, normalize=True)
    expected = shares["audio"][X.iloc[:, 0].notna()].mean()
    assert net.history[-1, "saliency_audio"] == pytest.approx(expected, rel=1e-5)


def test_clips_set_aside_may_be_watched_and_few_of_them(clips):
    X, y = clips
    valid = SaliencyLog(dataset="valid")
    net = small(callbacks=[valid], train_split=0.2).fit(X, y)
    train = small(callbacks=[SaliencyLog()], train_split=0.2).fit(X, y)
    assert not np.allclose(logged(net), logged(train), rtol=1e-3)
    few = small(callbacks=[SaliencyLog(max_clips=1)]).fit(X, y)
    whole = small(callbacks=[SaliencyLog(max_clips=None)]).fit(X, y)
    assert not np.allclose(logged(few), logged(whole), rtol=1e-3)
    with pytest.raises(ValueError, match="needs clips that are set aside"):
        small(callbacks=[valid]).fit(X, y)


@pytest.mark.parametrize("params", [{"dataset": "test"}, {"max_clips": 0}])
def test_wrong_parameters_are_refused(clips, params):
    with pytest.raises(ValueError, match="must be"):
        small(callbacks=[SaliencyLog(**params)]).fit(*clips)


def test_shares_are_printed(clips, capsys):
    small(callbacks=[SaliencyLog()], verbose=1, max_epochs=1).fit(*clips)
    assert "saliency_video__face" in capsys.readouterr().out


def test_callbacks_may_end_the_training(clips):
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    net = small(callbacks=[stop], max_epochs=50).fit(*clips)
    assert 1 < len(net.history) < 6


class _Started(Callback):
    """Interrupts the main thread from another one, as Ctrl-C does."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            threading.Timer(0.05, _thread.interrupt_main).start()


def test_an_interrupt_reaches_the_caller_and_leaves_a_net(clips, interruptible):
    net = small(callbacks=[_Started()], max_epochs=10**6)
    with pytest.raises(KeyboardInterrupt) as stop:
        net.fit(*clips)
    done = len(net.history)
    assert 3 <= done < 10**6 and f"in {done} epochs" in stop.value.__notes__[0]
    assert np.isfinite(net.predict_proba(clips[0])).all()
    net.set_params(max_epochs=1, callbacks=None).partial_fit(*clips)
    assert len(net.history) == done + 1


def test_no_half_trained_net_is_scored(clips, interruptible):
    net = small(callbacks=[_Started()], max_epochs=10**6)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(net, *clips, cv=2)
