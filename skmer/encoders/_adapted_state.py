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
        "outer_relu": bool(encoder.module_.outer_relu),
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
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with open(path, "rb") as stream:
        data = stream.read()
    name = type(encoder).__name__
    facts = _facts(data)
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
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}.") from None
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    classes = np.array(facts["classes"], dtype=facts["classes_dtype"])
    module = encoder._new_module(len(classes))
    problem = None
    if module.outer_relu != facts["outer_relu"]:
        # No weight tells.
        problem = f"outer_relu is {facts['outer_relu']} there."
    else:
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            problem = str(error)
    if problem is not None:
        raise ValueError(
            f"{os.fspath(path)} holds adapters of layers {facts['layers']}, made with "
            f"other parameters than this {name} has. Make it as the one that was "
            f"saved (get_params()).\n{problem}"
        )
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


def _facts(data):
    """Return what a file says of itself; nothing where it is of something else."""
    try:
        # Eight bytes of length, then the header as JSON.
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length].decode())
        return dict(json.loads(header["__metadata__"][_KEY]))
    except (struct.error, ValueError, LookupError, TypeError):
        return {}
