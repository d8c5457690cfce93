"""Fitted adapters as one safetensors file."""

import json
import os
import struct
import warnings
from hashlib import blake2b
from pathlib import Path

import numpy as np

from skmer._pretrained import model_identity
from skmer.utils._files import written_whole

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
        **_model(encoder),
        "parameters": _parameters(encoder, encoder.module_),
        "classes": classes.tolist(),
        "classes_dtype": classes.dtype.str,
    }
    tensors = {
        name: np.ascontiguousarray(value.cpu().numpy())
        for name, value in encoder.module_.state_dict().items()
    }
    with written_whole(Path(path), "wb") as stream:
        stream.write(save(tensors, {_KEY: json.dumps(facts)}))


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

    path = os.fspath(path)
    with open(path, "rb") as stream:
        data = stream.read()
    name = type(encoder).__name__
    facts = _facts(data)
    if facts.get("estimator") != name or not isinstance(facts.get("format"), int):
        raise ValueError(_foreign(path))
    if facts["format"] > _FORMAT:
        raise ValueError(
            f"{path} has format {facts['format']}, this version of skmer reads up to "
            f"{_FORMAT}. Update skmer."
        )
    try:
        arrays = load(data)
        there = dict(facts["parameters"])
        model, identity = facts["model"], facts["model_identity"]
        classes = np.array(facts["classes"], dtype=facts["classes_dtype"])
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise ValueError(_foreign(path, error)) from None
    module = encoder._new_module(len(classes))
    here = _parameters(encoder, module)
    differing = [key for key in here if there.get(key) != here[key]]
    own = _model(encoder)
    models = (
        f"trained on the model {model} ({identity}); this {name} has "
        f"{own['model']} ({own['model_identity']})"
    )
    if differing:
        because = "" if identity == own["model_identity"] else f" They were {models}."
        raise ValueError(
            f"The adapters in {path} were made with other parameters: the file has "
            f"{_listed(there, differing)}; this {name} has "
            f"{_listed(here, differing)}. Make it as the one that was saved.{because}"
        )
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(_foreign(path, error)) from None
    if identity != own["model_identity"]:
        warnings.warn(
            f"The adapters in {path} were {models}. They fit only if the weights are "
            "the same.",
            UserWarning,
            stacklevel=3,
        )
    return module.eval(), classes


def _parameters(encoder, module):
    """Return all that features depend on besides weights, by parameter.

    What a module shows is taken from it: parameters may have changed since ``fit``.
    """
    down = next(iter(module.adapters.values())).down
    return {
        "width": down.in_features,
        "layers": module.layers,
        "adapter_size": down.out_features,
        "outer_relu": bool(module.outer_relu),
        # Only there is what is to be rebuilt taken as given.
        "variant": "sound" if module.frozen_target else "paper",
        "window_seconds": float(encoder.window_seconds),
    }


def _listed(parameters, keys):
    return ", ".join(f"{key} {parameters.get(key)!r}" for key in keys)


def _model(encoder):
    """Return the name of the model, and what tells its weights from others."""
    identity = model_identity(encoder.model, encoder.revision)
    name = str(encoder.model)
    if identity.startswith("folder:"):
        # Where it lies is of no use elsewhere.
        name = Path(name).resolve().name
    return {"model": name, "model_identity": identity}


def _foreign(path, error=None):
    because = "" if error is None else f" ({error})"
    return f"{path} is not a file that save_adapters wrote, or is damaged{because}."


def _facts(data):
    """Return what a file says of itself; nothing where it is of something else."""
    try:
        # Eight bytes of length, then the header as JSON.
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length].decode())
        return dict(json.loads(header["__metadata__"][_KEY]))
    except (struct.error, ValueError, LookupError, TypeError, RecursionError):
        return {}
