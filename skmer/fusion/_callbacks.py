"""Callbacks that watch a fusion net while it trains."""

import numpy as np
from skorch.callbacks import Callback, PrintLog


def _say(text):
    print(text, flush=True)


class EpochLog(PrintLog):
    """skorch's table of epochs, also where Python's print is another now.

    skorch tells by ``print`` itself whether it is to be quiet with ``verbose=0``. In a
    process that uses Ray it is Ray's: epochs were printed unasked, and a net could
    not be pickled.
    """

    def __init__(
        self,
        keys_ignored=None,
        sink=_say,
        tablefmt="simple",
        floatfmt=".4f",
        stralign="right",
    ):
        super().__init__(keys_ignored, sink, tablefmt, floatfmt, stralign)

    def on_epoch_end(self, net, **kwargs):
        """Print one epoch, with a sink of the user's in any case."""
        if net.verbose or self.sink is not _say:
            super().on_epoch_end(net, **kwargs)


class SaliencyLog(Callback):
    """Record after each epoch how much each stream counts for the predictions.

    The mean over clips of :meth:`FusionClassifier.saliency`, each clip's as shares of
    its streams. It goes to ``history`` as ``saliency_<stream>``, is printed with
    ``verbose=1`` and drawn by :class:`skmer.metrics.TrainingHistoryDisplay`.

    Parameters
    ----------
    dataset : {"train", "valid"}, default="train"
        Which clips to look at: those that are learnt from, or those that
        ``train_split`` sets aside.
    max_clips : int or None, default=1024
        Look at the first that many clips only; None looks at all.

    Notes
    -----
    Nothing that is trained changes. A clip that lacks a stream does not count towards
    the stream's mean; a stream that none of the clips has is recorded as NaN. MMEF-Net
    [1]_ watches the saliency of modalities during training to choose layers.

    References
    ----------
    .. [1] H. Dubey and M. Kadwal, "MMEF-Net: Multimodal Emotion Feature Network with
       Contextual Enrichment and Dynamic Modality Weighting".

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.fusion import ConcatFusionClassifier, SaliencyLog
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 6))
    >>> net = ConcatFusionClassifier(
    ...     streams={"audio": slice(0, 3), "text": slice(3, 6)},
    ...     callbacks=[SaliencyLog()],
    ...     max_epochs=2,
    ...     random_state=0,
    ... ).fit(X, X[:, 0] > 0)
    >>> shares = net.history[:, ("saliency_audio", "saliency_text")]
    >>> len(shares), round(sum(shares[-1]), 5)
    (2, 1.0)
    """

    def __init__(self, dataset="train", max_clips=1024):
        self.dataset = dataset
        self.max_clips = max_clips

    def initialize(self):
        """Check the parameters."""
        if self.dataset not in ("train", "valid"):
            raise ValueError(
                f"dataset must be 'train' or 'valid'. Got {self.dataset!r}."
            )
        if self.max_clips is not None and self.max_clips < 1:
            raise ValueError(f"max_clips must be at least 1. Got {self.max_clips!r}.")
        return self

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Record the shares of one epoch."""
        dataset = dataset_train if self.dataset == "train" else dataset_valid
        if dataset is None:
            raise ValueError(
                "SaliencyLog(dataset='valid') needs clips that are set aside. Pass "
                "train_split, or dataset='train'."
            )
        clips = dataset.X.take(slice(self.max_clips))
        shares = net.saliency(clips, normalize=True)
        there = clips.present().cpu().numpy()
        for index, name in enumerate(net.streams_):
            own = shares[there[:, index], index]
            mean = float(np.mean(own, dtype=np.float64)) if own.size else np.nan
            net.history.record(f"saliency_{name}", mean)
