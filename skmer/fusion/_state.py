"""Fitted state in one safetensors file: weights and what predicting needs besides."""

import io
import json
import os
import struct

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from sklearn.utils.validation import check_is_fitted

from skmer.fusion._precision import resolve_dtype

_KEY = "skmer"
_FORMAT = 1
# What comes of reading a header that says anything but what it should.
_LIES = (AttributeError, KeyError, TypeError, ValueError, RecursionError, struct.error)


class SavedState:
    """The part of a fusion net that writes and reads its fitted state."""

    def save_params(self, f_params=None, use_safetensors=False, **files):
        """Save the weights, in safetensors with all that a prediction needs.

        Parameters
        ----------
        f_params : path or file, default=None
            Where to write the module's weights.
        use_safetensors : bool, default=False
            Write safetensors instead of torch's format. The file then holds classes,
            streams and column names too, and loads into a net that was never fitted.
        **files : dict
            ``f_history``, ``f_optimizer`` and others, as in skorch.
        """
        if use_safetensors and f_params is not None:
            check_is_fitted(self)
            to_safetensors(self, f_params)
            if not files:
                return
            f_params = None
        super().save_params(f_params=f_params, use_safetensors=use_safetensors, **files)

    def load_params(self, f_params=None, use_safetensors=False, **files):
        """Load what ``save_params`` wrote.

        Parameters
        ----------
        f_params : path or file, default=None
            The module's weights. Those in torch's format need a net that was fitted
            before. From safetensors any net with the parameters of the one that was
            saved predicts as that one did; a ``partial_fit`` starts a new optimiser.
        use_safetensors : bool, default=False
            Whether the file is safetensors.
        **files : dict
            ``f_history``, ``f_optimizer`` and others, as in skorch.

        Raises
        ------
        ValueError
            If the weights do not fit the net's parameters.
        """
        if use_safetensors and f_params is not None:
            facts, tensors = read_safetensors(f_params)
            if facts is None:
                check_is_fitted(self)
                self.module_.load_state_dict(tensors)
            else:
                restore(self, facts, tensors)
            if not files:
                return
            f_params = None
        # skorch looks for the device in the parameter, where "auto" may stand.
        device, self.device = self.device, str(getattr(self, "device_", "cpu"))
        try:
            super().load_params(
                f_params=f_params, use_safetensors=use_safetensors, **files
            )
        finally:
            self.device = device


def to_safetensors(net, file):
    """Write the weights and facts of a fitted net.

    Parameters
    ----------
    net : FusionClassifier
        Fitted.
    file : path or binary file
        Where to write.
    """
    classes = net.classes_
    names = getattr(net, "feature_names_in_", None)
    facts = {
        "format": _FORMAT,
        "estimator": type(net).__name__,
        "classes": classes.tolist(),
        "classes_dtype": classes.dtype.str,
        "class_counts": net._class_counts.tolist(),
        "streams": {name: c.tolist() for name, c in net.streams_.items()},
        "stream_kinds": net._stream_kinds,
        "n_features_in": int(net.n_features_in_),
        "feature_names_in": None if names is None else names.tolist(),
        "n_features_out": int(net._n_features_out),
        "best_epoch": net.best_epoch_,
    }
    tensors = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in net.module_.state_dict().items()
    }
    data = save(tensors, {_KEY: json.dumps(facts, default=int)})
    if isinstance(file, (str, os.PathLike)):
        with open(file, "wb") as stream:
            stream.write(data)
    else:
        file.write(data)


def read_safetensors(file):
    """Read a file that :func:`to_safetensors` or skorch wrote.

    Parameters
    ----------
    file : path or binary file
        What to read.

    Returns
    -------
    facts : dict or None
        None where the file holds weights only.
    tensors : dict of str to Tensor
        On the CPU.

    Raises
    ------
    ValueError
        If it is no such file, or a later version of skmer wrote it.
    """
    name = "the file"
    if isinstance(file, (str, os.PathLike)):
        name = os.fspath(file)
        with open(file, "rb") as stream:
            data = stream.read()
    else:
        data = file.read()
    try:
        tensors = load(data)
        # Eight bytes of length, then the header as JSON.
        (length,) = struct.unpack("<Q", data[:8])
        header = json.load(io.BytesIO(data[8 : 8 + length]))
        text = header.get("__metadata__", {}).get(_KEY)
        facts = None if text is None else dict(json.loads(text))
        later = facts is not None and facts["format"] > _FORMAT
    except (SafetensorError, *_LIES) as error:
        raise ValueError(
            f"{name} holds no weights that save_params wrote as safetensors, or is "
            f"damaged ({error})."
        ) from None
    if later:
        raise ValueError(
            f"The file has format {facts['format']}, this version of skmer reads up to "
            f"{_FORMAT}. Update skmer."
        )
    return facts, tensors


def restore(net, facts, tensors):
    """Make a net the one whose facts and weights these are.

    Parameters
    ----------
    net : FusionClassifier
        Made with the parameters of the net that was saved.
    facts, tensors : dict
        As :func:`read_safetensors` returns them.

    Raises
    ------
    ValueError
        If the net's parameters make another module.
    """
    net._validate_params()
    net.classes_inferred_ = np.array(facts["classes"], dtype=facts["classes_dtype"])
    net._class_counts = np.array(facts["class_counts"])
    net.class_prior_ = net._class_counts / net._class_counts.sum()
    net.streams_ = {
        name: np.array(columns, dtype=np.int64)
        for name, columns in facts["streams"].items()
    }
    net._stream_kinds = {
        name: tuple(kind) for name, kind in facts["stream_kinds"].items()
    }
    net.n_features_in_ = facts["n_features_in"]
    if facts["feature_names_in"] is not None:
        net.feature_names_in_ = np.array(facts["feature_names_in"], dtype=object)
    elif hasattr(net, "feature_names_in_"):
        del net.feature_names_in_
    net.device_ = net._resolve_device()
    net.dtype_ = resolve_dtype(net.dtype, net.device_)
    net._scaler_state = None
    net._trimmed_for_prediction = False
    net._start(resume=False)
    with net._threads(), net._randomness():
        net.initialize()
    try:
        net.module_.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"The weights are those of a {facts['estimator']} with other parameters "
            f"than this {type(net).__name__}. Make it as the one that was saved "
            f"(get_params()).\n{error}"
        ) from None
    net.best_epoch_ = facts["best_epoch"]
    net._n_features_out = facts["n_features_out"]
