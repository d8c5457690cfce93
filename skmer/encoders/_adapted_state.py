"""Fitted adapters as one safetensors file."""

import json
import os
import struct
import warnings
from hashlib import blake2b

import numpy as np

from skmer._pretrained import model_identity

_KEY = "skmer"
_FORMAT = 1


def module_digest(module):
    """Return what tells apart modules that give different features, a str."""
    digest = blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + b"\0" + value.cpu().numpy().tobytes())
    return digest.hexdigest()


def save_module(encoder, path):
    """Write the adapters of a fitted encoder.

    Parameters
    ----------
    encoder : AdaptedSpeechEncoder
        Fitted.
    path : str or path
        Where to write; a file that is there is replaced in one step.
    """
    from safetensors.numpy import save

    classes = encoder.classes_
    facts = {
        "format": _FORMAT,
        "estimator": type(encoder).__name__,
        "model": model_identity(encoder.model, encoder.revision),
        "layers": encoder.module_.layers,
        "classes": classes.tolist(),
        "classes_dtype": classes.dtype.str,
    }
    tensors = {
        name: np.ascontiguousarray(value.cpu().numpy())
        for name, value in encoder.module_.state_dict().items()
    }
    path = os.fspath(path)
    with open(f"{path}.part", "wb") as stream:
        stream.write(save(tensors, {_KEY: json.dumps(facts)}))
    os.replace(f"{path}.part", path)


def load_module(encoder, path):
    """Make an encoder the one whose adapters a file holds.

    Parameters
    ----------
    encoder : AdaptedSpeechEncoder
        Made with the parameters of the one that was saved.
    path : str or path
        What :func:`save_module` wrote.

    Returns
    -------
    module : AdaptedLayers
        The adapters.
    classes : ndarray of shape (n_classes,)
        The classes.

    Raises
    ------
    ValueError
        If the file is of something else, or of adapters of other parameters.
    """
    import torch
    from safetensors.numpy import load

    with open(path, "rb") as stream:
        data = stream.read()
    # Eight bytes of length, then the header as JSON.
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    facts = json.loads(header.get("__metadata__", {}).get(_KEY, "{}"))
    name = type(encoder).__name__
    if facts.get("estimator") != name:
        raise ValueError(
            f"{os.fspath(path)} holds no adapters: it was not written by "
            f"{name}.save_adapters."
        )
    if facts["format"] > _FORMAT:
        raise ValueError(
            f"{os.fspath(path)} has format {facts['format']}, this version of skmer "
            f"reads up to {_FORMAT}. Update skmer."
        )
    tensors = {key: torch.from_numpy(value) for key, value in load(data).items()}
    classes = np.array(facts["classes"], dtype=facts["classes_dtype"])
    module = encoder._new_module(len(classes))
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"{os.fspath(path)} holds adapters of layers {facts['layers']}, made with "
            f"other parameters than this {name} has. Make it as the one that was "
            f"saved (get_params()).\n{error}"
        ) from None
    own = model_identity(encoder.model, encoder.revision)
    if facts["model"] != own:
        warnings.warn(
            f"The adapters in {os.fspath(path)} were trained on the model "
            f"{facts['model']}; this {name} has {own}. They fit only if the weights "
            "are the same.",
            UserWarning,
            stacklevel=3,
        )
    return module.eval(), classes
