"""Pre-training of a fusion module without labels, and its reuse."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from skmer.modules import RandomSource, Training, shuffled_batches, train


@dataclass(frozen=True, eq=False)
class ContrastivePretraining:
    """Encoders that learnt without labels, to start classifiers from.

    Made by :meth:`ContrastiveFusionClassifier.pretrain`, and by its ``fit``, which
    keeps it as ``pretraining_``. It never changes: clones share it.

    Parameters
    ----------
    stream_sizes : dict of str to int
        Number of columns of each stream.
    n_clips : int
        Number of clips that were learnt from.
    weights : dict of str to Tensor
        Weights of the module, without its heads.
    training : skmer.modules.Training
        The losses of each epoch, and why it ended.
    """

    stream_sizes: dict[str, int]
    n_clips: int
    weights: dict[str, torch.Tensor] = field(repr=False)
    training: Training = field(repr=False)

    def __deepcopy__(self, memo):
        return self


class PretrainedFusion:
    """What fusion classifiers with label-free pre-training share."""

    def pretrain(self, X):
        """Learn from X without labels, for the ``pretrained`` of other classifiers.

        This classifier itself stays as it is. A ``fit`` with the same integer
        ``random_state`` on the same rows does the same by itself. Of rows with the
        same clip id (the index of X) the first one counts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features as the last step of a pipeline gets them, standardised; NaN where
            a clip lacks a stream.

        Returns
        -------
        pretraining : ContrastivePretraining
            The encoders' weights.

        Raises
        ------
        MissingStreamError
            If X lacks a stream that ``streams`` asks for.
        ValueError
            If no clip has a stream, or training diverges.
        """
        net = clone(self).set_params(pretrained=None)
        net._validate_params()
        table = net._validated(X, reset=True)
        net._set_streams(table)
        # The module asks for classes; pre-training has no use for them.
        net.classes_inferred_ = np.arange(1)
        clips = X.index if isinstance(X, pd.DataFrame) else None
        rows = net._one_of_each(clips, np.arange(len(table)))
        return net._learn_without_labels(table, rows, net._start(resume=False))

    def _pretrain(self, table, rows):
        self.pretraining_ = self._given_pretraining()
        if self.pretraining_ is None and self.pretrain_epochs > 0:
            self.pretraining_ = self._learn_without_labels(
                table, rows, self.random_source_.seed
            )
        if self.pretraining_ is not None:
            self._load(self.pretraining_)

    def _given_pretraining(self):
        """Return the pre-training that ``pretrained`` holds, or None."""
        given = self.pretrained
        if given is None or isinstance(given, ContrastivePretraining):
            return given
        found = getattr(given, "pretraining_", None)
        if found is None:
            raise ValueError(
                f"pretrained={given!r} has no pre-training: it is not fitted (clone, "
                "and so cross-validation, makes an unfitted copy of a classifier given "
                "as parameter) or was fitted with pretrain_epochs=0. Pass what "
                "pretrain(X) returns, its pretraining_, or FrozenEstimator(classifier)."
            )
        return found

    def _learn_without_labels(self, table, rows, seed):
        """Pre-train a module of its own, which knows nothing of y."""
        # A generator of its own as well: what labels teach, and how many there are,
        # must not even change the order of batches.
        source = RandomSource(seed)
        data = self._stream_data(table if len(rows) == len(table) else table[rows])
        some = data.present().any(dim=1)
        if not bool(some.all()):
            data = data.take(some.nonzero().squeeze(1))
        arguments = {
            **self.get_params_for("module"),
            "stream_sizes": self._stream_sizes(),
            "n_classes": 1,
            "random_source": source,
        }
        module = self.module(**arguments).to(self.device_)

        def loss(rows):
            batch = data.take(rows)
            return module.pretraining_losses(batch.streams(), batch.mask)

        training = train(
            module,
            loss,
            shuffled_batches(len(data), self.pretrain_batch_size),
            random_source=source,
            lr=self.pretrain_lr,
            weight_decay=self.weight_decay,
            max_epochs=self.pretrain_epochs,
            patience=self.pretrain_patience,
            gradient_clip_norm=self.gradient_clip_norm,
            gradient_clip_value=self.gradient_clip_value,
            n_threads=self.n_threads,
            verbose=self.verbose,
            description=f"Pre-training of {type(self).__name__}",
        )
        return ContrastivePretraining(
            self._stream_sizes(), len(data), module.label_free_state(), training
        )

    def _stream_sizes(self):
        return {name: len(columns) for name, columns in self.streams_.items()}

    def _load(self, pretraining):
        sizes = self._stream_sizes()
        if pretraining.stream_sizes != sizes:
            raise ValueError(
                f"The pre-training is of streams {pretraining.stream_sizes}, but X has "
                f"{sizes}. Pre-train on the same columns: a step that selects features "
                "in each fold leaves others in each."
            )
        shapes = {name: v.shape for name, v in self.module_.label_free_state().items()}
        given = {name: v.shape for name, v in pretraining.weights.items()}
        if shapes != given:
            raise ValueError(
                "The pre-training is of a module of other sizes. Pre-train with the "
                "same variant, hidden_size and n_layers."
            )
        self.module_.load_state_dict(pretraining.weights, strict=False)
