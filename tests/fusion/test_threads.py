"""A fit keeps to its threads and leaves the process's setting alone."""

import threading

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skmer.fusion import AttentionFusionClassifier

SETTING = torch.get_num_threads()


class Watch(Callback):
    """Note the number of threads in force while a net trains."""

    def __init__(self):
        self.seen = []

    def on_epoch_begin(self, net, **kwargs):
        self.seen.append(torch.get_num_threads())


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(SETTING)


@pytest.mark.parametrize(("n_threads", "expected"), [(1, 1), (2, 2), (None, 2)])
def test_threads_of_a_fit(two_threads, n_threads, expected):
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    watch = Watch()
    net = AttentionFusionClassifier(
        max_epochs=2, n_threads=n_threads, callbacks=[("watch", watch)]
    )
    net.fit(X, np.arange(20) % 2).predict(X)
    seen = dict(net.callbacks_)["watch"].seen
    assert seen == [expected, expected]
    assert torch.get_num_threads() == 2


def test_other_threads_keep_theirs(two_threads):
    seen = []

    class Other(Callback):
        def on_epoch_begin(self, net, **kwargs):
            thread = threading.Thread(
                target=lambda: seen.append(torch.get_num_threads())
            )
            thread.start()
            thread.join()

    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    AttentionFusionClassifier(max_epochs=1, callbacks=[("other", Other())]).fit(
        X, np.arange(20) % 2
    )
    assert seen and set(seen) != {1}
