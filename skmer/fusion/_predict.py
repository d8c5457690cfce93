"""What a fitted fusion net tells: labels, codes, weights and saliency."""

import copy
from numbers import Integral

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from skmer.fusion._data import StreamData, StreamDataset, to_stream_data
from skmer.fusion._sequences import (
    CellTable,
    SequenceData,
    sequence_columns,
    to_sequence_data,
)
from skmer.fusion._skorch import StreamNet, _logits
from skmer.fusion._state import SavedState
from skmer.utils._features import refuse_clips
from skmer.utils._scoring import LabelledScore


class StreamPredictor(LabelledScore, SavedState, StreamNet):
    """The predicting half of :class:`skmer.fusion.FusionClassifier`.

    It reads ``module_``, ``streams_``, ``class_prior_``, ``classes_inferred_`` and
    ``epoch_states_``, which fitting writes.
    """

    # Of each stream, whether it holds sequences and how many numbers a step has.
    _stream_kinds = {}

    @property
    def classes_(self):
        """Labels that the classifier knows."""
        try:
            return self.classes_inferred_
        except AttributeError:
            raise AttributeError(
                f"{type(self).__name__} has no classes_ before it is fitted."
            ) from None

    @property
    def _takes_sequences(self):
        return getattr(self.module, "takes_sequences", False)

    def _validated(self, X, reset):
        """Return X as a checked array, or as a table of cells if it has sequences."""
        refuse_clips(self, X)
        holding = sequence_columns(X)
        if holding and not self._takes_sequences:
            name = X.columns[holding[0]] if isinstance(X, pd.DataFrame) else holding[0]
            raise ValueError(
                f"{type(self).__name__} takes numbers, but column {name!r} of X holds "
                "sequences. Let the encoder pool them over time (pooling='mean', "
                "'mean_std' or a number of parts), or use "
                "CrossAttentionFusionClassifier or MultFusionClassifier, which take "
                "sequences."
            )
        kinds = {} if reset else self._stream_kinds
        if holding or any(sequences for sequences, _ in kinds.values()):
            validate_data(self, X, skip_check_array=True, reset=reset)
            if not len(X):
                raise ValueError(
                    f"Found array with 0 sample(s) while a minimum of 1 is required by "
                    f"{type(self).__name__}."
                )
            return CellTable.of(X)
        return validate_data(
            self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=reset
        )

    def _stream_data(self, table, reset=False):
        if not self._takes_sequences:
            return to_stream_data(table, self.streams_, self.device_)
        data, kinds = to_sequence_data(
            table,
            self.streams_,
            self.device_,
            limits=self._step_limits(),
            kinds=None if reset else self._stream_kinds,
            names=getattr(self, "feature_names_in_", None),
        )
        if reset:
            self._stream_kinds = kinds
        return data

    def _step_limits(self):
        """Return how many steps of each stream to use, where not all."""
        limits = getattr(self, "max_steps", None)
        if limits is None:
            return {}
        if not isinstance(limits, dict):
            return dict.fromkeys(self.streams_, limits)
        for name, steps in limits.items():
            if name not in self.streams_:
                raise ValueError(
                    f"max_steps names the stream {name!r}. X has "
                    f"{', '.join(self.streams_)}."
                )
            if not (isinstance(steps, Integral) and steps > 0):
                raise ValueError(
                    f"max_steps[{name!r}] must be an int above 0. Got {steps!r}."
                )
        return limits

    def get_dataset(self, X, y=None):
        """Return X as tensors on the device; what is that already stays as it is."""
        if isinstance(X, StreamDataset):
            return X
        if isinstance(X, (StreamData, SequenceData)):
            return StreamDataset(X)
        return StreamDataset(self._stream_data(self._validated(X, reset=False)))

    def _map(self, function, X):
        """Apply a function of a batch to all of X; return one ndarray."""
        dataset = self.get_dataset(X)
        self._set_training(False)
        with self._threads(), torch.no_grad():
            parts = [function(batch) for batch, _ in self.get_iterator(dataset)]
        return torch.cat(parts).cpu().numpy()

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.

        Returns
        -------
        proba : ndarray of shape (n_clips, n_classes), dtype float64
            Rows sum to one; ``class_prior_`` where a clip lacks every stream.
        """
        check_is_fitted(self)
        dataset = self.get_dataset(X)
        # skorch's scoring callbacks put cached outputs in place of forward_iter.
        with self._threads():
            outputs = self.forward_iter(dataset, training=False, device="cpu")
            logits = torch.cat([_logits(output) for output in outputs])
        return self._probabilities(logits, dataset)

    def _probabilities(self, logits, dataset):
        proba = logits.detach().double().softmax(dim=1).cpu().numpy()
        empty = ~dataset.X.present().any(dim=1).cpu().numpy()
        proba[empty] = self.class_prior_
        return proba

    def predict(self, X):
        """Return the most probable label of each clip.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.

        Returns
        -------
        labels : ndarray of shape (n_clips,)
        """
        codes = self.predict_proba(X).argmax(axis=1)
        # Scoring callbacks hand in datasets, whose y is positions, not labels.
        internal = isinstance(X, (StreamData, SequenceData, StreamDataset))
        return codes if internal else self.classes_[codes]

    def staged_predict_proba(self, X):
        """Yield what :meth:`predict_proba` would have said after each epoch.

        Needs ``keep_epochs=True``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.

        Yields
        ------
        proba : ndarray of shape (n_clips, n_classes)
        """
        check_is_fitted(self)
        if not self.epoch_states_:
            raise ValueError(
                "staged_predict_proba needs the weights of every epoch. Fit with "
                "keep_epochs=True."
            )
        dataset = self.get_dataset(X)
        module = copy.deepcopy(self.module_).eval()
        for state in self.epoch_states_:
            module.load_state_dict(state)
            with self._threads(), torch.no_grad():
                logits = [
                    _logits(self._infer_with(module, batch))
                    for batch, _ in self.get_iterator(dataset)
                ]
            yield self._probabilities(torch.cat(logits), dataset)

    def _encode(self, batch):
        return self._run(self.module_.encode, batch)

    def modality_weights(self, X, *, normalize=False):
        """Return the weight that the module gives to each stream.

        Stream heads, which vote beside the module, have no part in it.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.
        normalize : bool, default=False
            Return each weight's share of the clip's sum of absolute weights; 0
            for a clip without streams.

        Returns
        -------
        weights : DataFrame or ndarray of shape (n_clips, n_streams)
            A DataFrame with X's index if X is a DataFrame; columns as in
            ``streams_``. 0 where a clip lacks the stream.

        Raises
        ------
        AttributeError
            If the module has no weights to show.
        """
        check_is_fitted(self)
        if not hasattr(self.module_, "weights"):
            raise AttributeError(
                f"{type(self.module_).__name__} has no stream weights: give it a "
                "method weights(streams, mask), or use saliency(X)."
            )
        weights = self._map(lambda b: self._run(self.module_.weights, b), X)
        return self._per_stream(_shares(weights) if normalize else weights, X)

    def saliency(self, X, *, normalize=False):
        """Return how much each stream counts for the predicted class.

        The gradient of the predicted class's logit times the input, its absolute
        values summed over the columns, and the steps, of each stream.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.
        normalize : bool, default=False
            Return each stream's share of the clip's sum: logits of nets that are
            surer are larger, and so are their gradients. 0 for a clip without
            streams.

        Returns
        -------
        saliency : DataFrame or ndarray of shape (n_clips, n_streams)
            A DataFrame with X's index if X is a DataFrame; columns as in
            ``streams_``. 0 where a clip lacks the stream.
        """
        check_is_fitted(self)

        def of_batch(batch):
            streams = [x.detach().clone().requires_grad_() for x in batch.streams()]
            with torch.enable_grad():
                view = batch.with_streams(streams)
                top = _logits(self.infer(view)).max(dim=1).values
                gradients = torch.autograd.grad(
                    top.sum(), streams, allow_unused=True, materialize_grads=True
                )
            pairs = zip(gradients, streams, strict=True)
            parts = [(g * x).detach().abs().flatten(1).sum(dim=1) for g, x in pairs]
            return torch.stack(parts, dim=1)

        saliency = self._map(of_batch, X)
        return self._per_stream(_shares(saliency) if normalize else saliency, X)

    def _per_stream(self, values, X):
        if not isinstance(X, pd.DataFrame):
            return values
        return pd.DataFrame(values, index=X.index, columns=list(self.streams_))


def _shares(values):
    """Divide absolute values by their sum in each row; rows of zeros stay so."""
    values = np.abs(values)
    total = values.sum(axis=1, keepdims=True)
    return values / np.where(total > 0, total, 1)
