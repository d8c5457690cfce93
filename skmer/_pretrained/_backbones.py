"""Pretrained models, loaded once per process and shared by all estimators."""

import os
import threading
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from skmer._config import get_config
from skmer._pretrained._models import find_model, has_safe_weights, model_identity
from skmer.utils import import_optional

__all__ = [
    "Backbone",
    "load_backbone",
    "load_config",
    "load_processor",
    "resolve_device",
    "resolve_dtype",
    "unload_backbones",
]

DTYPES = ("float32", "float16", "bfloat16")
# Files of which a processor needs one.
_PREPARATION = ("preprocessor_config.json", "processor_config.json")
_PROCESSOR_FILES = {
    "AutoFeatureExtractor": _PREPARATION,
    "AutoImageProcessor": _PREPARATION,
    "AutoTokenizer": (
        *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json"),
        *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    ),
    "GenerationConfig": ("generation_config.json",),
}
_loaded = {}
_lock = threading.RLock()


@dataclass(eq=False)
class Backbone:
    """A model in evaluation mode, shared by everything in the process.

    Attributes
    ----------
    model : torch.nn.Module
        Frozen, on its device.
    config : transformers.PreTrainedConfig
        Of the whole model, with as many layers as were loaded.
    device, dtype : str
        Where it is and what its weights are.
    """

    model: Any
    config: Any
    device: str
    dtype: str

    def __reduce__(self):
        raise TypeError(
            "A loaded model is not pickled. Keep its name and load it again: "
            "load_backbone gives every process its own."
        )


def resolve_device(device="auto"):
    """Return the name of the device to run on.

    Parameters
    ----------
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` is what
        ``skmer.get_config()`` says, and where that is ``"auto"`` too the first CUDA
        device if there is one.

    Returns
    -------
    device : str
        CUDA devices with their number.

    Raises
    ------
    ValueError
        If it is not the name of a device, or there is none of that name.
    """
    import torch

    if device == "auto":
        device = get_config()["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or 'cuda:1' and so on. "
            f"Got {device!r}."
        ) from error
    if found.type != "cuda":
        others = {
            "cpu": lambda: True,
            "mps": torch.backends.mps.is_available,
            "xpu": torch.xpu.is_available,
        }
        if found.type not in others or not others[found.type]():
            raise ValueError(
                f"device={device!r} is not there, or PyTorch was built without it. "
                "Use 'cpu', 'cuda' or 'cuda:1' and so on, or 'mps' on a Mac."
            )
        return str(found)
    index = 0 if found.index is None else found.index
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise ValueError(
            f"device={device!r} is not there: PyTorch sees {count} CUDA devices. Use "
            "device='auto' or 'cpu', or install a PyTorch built for your GPU."
        )
    return f"cuda:{index}"


def resolve_dtype(dtype="auto", device="cpu"):
    """Return the name of the number format that a model runs in.

    Parameters
    ----------
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        ``"auto"`` is what ``skmer.get_config()`` says, and where that is ``"auto"``
        too float16 on CUDA devices and float32 elsewhere.
    device : str, default="cpu"
        As :func:`resolve_device` returns it.

    Returns
    -------
    dtype : str

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if dtype == "auto":
        dtype = get_config()["dtype"]
    if dtype == "auto":
        return "float16" if device.startswith("cuda") else "float32"
    if dtype not in DTYPES:
        raise ValueError(
            f"dtype must be 'auto', {', '.join(map(repr, DTYPES))}. Got {dtype!r}."
        )
    return dtype


def load_config(model, *, revision=None, trust_remote_code=False):
    """Return the configuration of a model, read once per process.

    Parameters
    ----------
    model, revision, trust_remote_code
        As for :func:`load_backbone`.

    Returns
    -------
    config : transformers.PreTrainedConfig
        Shared: not to be changed.
    """

    def load(transformers, folder):
        return transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )

    return _once("config", model, revision, trust_remote_code, (), load)


def load_processor(kind, model, *, revision=None, trust_remote_code=False, **options):
    """Return what comes with a model besides its weights, loaded once per process.

    Parameters
    ----------
    kind : str
        Class of transformers: ``"AutoFeatureExtractor"``, ``"AutoImageProcessor"``,
        ``"AutoTokenizer"``, ``"GenerationConfig"``.
    model, revision, trust_remote_code
        As for :func:`load_backbone`.
    **options : str, number or bool
        Given to ``from_pretrained``.

    Returns
    -------
    processor : object
        Shared: not to be changed.
    """

    def load(transformers, folder):
        return getattr(transformers, kind).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            **options,
        )

    others = (kind, *sorted(options.items()))
    needs = _PROCESSOR_FILES.get(kind, ())
    return _once("processor", model, revision, trust_remote_code, others, load, needs)


def load_backbone(
    kind,
    model,
    *,
    revision=None,
    device="auto",
    dtype="auto",
    n_layers=None,
    trust_remote_code=False,
    attn_implementation=None,
    compile=False,
    device_map=None,
    part=None,
    config_part=None,
    overrides=None,
):
    """Return a model, loaded at first use and then shared by the whole process.

    Parameters
    ----------
    kind : str
        Class of transformers that loads it, such as ``"AutoModel"``.
    model : str or path
        Folder made by ``save_pretrained``, or id of a model on the hub.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device, dtype : str, default="auto"
        As for :func:`resolve_device` and :func:`resolve_dtype`.
    n_layers : int or None, default=None
        Load the first layers only, the rest being neither read nor run; None loads
        all. Of a composite model, layers of its ``part``.
    trust_remote_code : bool, default=False
        Run Python files that come with the model.
    attn_implementation : str or None, default=None
        Of attention; None leaves it to transformers.
    compile : bool, default=False
        Compile each block by ``torch.compile``, for inputs of any length.
    device_map : str, dict or None, default=None
        As for ``from_pretrained``, in place of one device: where the parts of a
        model are put that no single device holds. Needs accelerate.
    part : str or None, default=None
        Attribute of the loaded model to keep, such as ``"encoder"``.
    config_part : str or None, default=None
        Attribute of the configuration that is the configuration of ``kind``, where
        there is one: the weights of that part alone are loaded.
    overrides : dict or None, default=None
        Attributes of the configuration to set before loading; a name may lead into
        a part of it (``"vision_config.num_hidden_layers"``).

    Returns
    -------
    backbone : Backbone

    Raises
    ------
    OSError
        If the model is not to be found; the message says how to get it.
    ValueError
        If the device is not there, or the model has fewer layers.
    """
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)
    overrides = dict(overrides or {})
    others = (
        *(kind, device, dtype, n_layers, attn_implementation, part, compile),
        *(repr(device_map), config_part, *sorted(overrides.items())),
    )
    if device_map is not None:
        import_optional("accelerate", f"device_map={device_map!r}")

    def load(transformers, folder):
        import torch

        # A fresh one: what load_config returns is shared.
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
        for name, value in overrides.items():
            _set(config, name, value)
        if config_part is not None:
            config = getattr(config, config_part, config)
        if n_layers is not None:
            name = depth_name(config)
            depth = getattr(config, name)
            if not (isinstance(n_layers, Integral) and 1 <= n_layers <= depth):
                raise ValueError(
                    f"{model} has {depth} layers; {n_layers!r} of them cannot be "
                    "loaded."
                )
            setattr(config, name, int(n_layers))
        options = {}
        if attn_implementation is None and not trust_remote_code:
            _refuse_kernels(config, folder)
        if attn_implementation is not None:
            options["attn_implementation"] = attn_implementation
        if device_map is not None:
            options["device_map"] = device_map
        network = _from_pretrained(
            getattr(transformers, kind),
            folder,
            # Only AutoModel loads for features, of which parts go unused
            unused=_UNUSED if kind == "AutoModel" else (),
            config=config,
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            **options,
        )
        if part is not None:
            network = getattr(network, part)
        network = network.eval().requires_grad_(False)
        where = device
        if device_map is None:
            network = network.to(device)
        else:
            where = _first_device(network)
        if compile:
            for block in blocks(network):
                block.compile(dynamic=True)
        return Backbone(network, config, where, dtype)

    return _once("model", model, revision, trust_remote_code, others, load)


def _refuse_kernels(config, folder):
    """Let no checkpoint choose compiled code that is fetched from a hub."""
    parts = (getattr(config, name, None) for name in config.sub_configs)
    for part in (config, *parts):
        asked = getattr(part, "_attn_implementation", None)
        if isinstance(asked, str) and "/" in asked:
            raise OSError(
                f"{folder}: config.json asks for the attention {asked!r}, which is "
                "compiled code of a hub. Pass attn_implementation='sdpa' to do without "
                "it, or that name if you trust it."
            )


def depth_name(config):
    """Return the attribute of a configuration that says how many layers there are."""
    # Encoder-decoders count their encoder's layers apart.
    return "encoder_layers" if hasattr(config, "encoder_layers") else _DEPTH


_DEPTH = "num_hidden_layers"


def _first_device(network):
    """Return the device that a model spread over several takes its input on."""
    import torch

    places = getattr(network, "hf_device_map", None)
    if not places:  # all of it fits one
        return str(next(network.parameters()).device)
    first = next(iter(places.values()))
    return "cpu" if first == "disk" else str(torch.device(first))


def blocks(network):
    """Return the blocks of a model, the longest list of modules in it."""
    from torch import nn

    lists = [m for m in network.modules() if isinstance(m, nn.ModuleList)]
    return max(lists, key=lambda m: sum(p.numel() for p in m.parameters()), default=())


def unload_backbones():
    """Let go of all loaded models; they are loaded again when next used."""
    with _lock:
        _loaded.clear()


def _once(what, model, revision, trust_remote_code, others, load, needs=()):
    """Return the one object of its kind in this process."""
    # By what it is, so that a folder that was replaced is loaded again.
    identity = model_identity(model, revision, trust_remote_code=trust_remote_code)
    key = (what, identity, trust_remote_code, *others)
    # One at a time: two threads must not both hold several gigabytes.
    with _lock:
        if key not in _loaded:
            folder = find_model(
                model, revision, trust_remote_code=trust_remote_code, needs=needs
            )
            _loaded[key] = load(_quiet(), folder)
        return _loaded[key]


def _quiet():
    from skmer._pretrained._models import quiet_transformers

    return quiet_transformers()


def _from_pretrained(kind, folder, *, unused, **options):
    """Load weights without drawing random numbers or logging what is left out."""
    import numpy as np
    import torch
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    state = np.random.get_state()  # noqa: NPY002
    logging.set_verbosity_error()
    try:
        with torch.random.fork_rng(devices=[]):
            network, report = kind.from_pretrained(
                folder,
                use_safetensors=has_safe_weights(folder),
                weights_only=True,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    finally:
        logging.set_verbosity(verbosity)
        np.random.set_state(state)  # noqa: NPY002
    missing = sorted(report["missing_keys"])
    mismatched = sorted(map(str, report["mismatched_keys"]))
    if missing or mismatched:
        _refuse_random_weights(folder, missing + mismatched, unused)
    return network


# Parameters that hidden states in evaluation mode never use.
_UNUSED = ("masked_spec_embed", "pooler.", "lm_head.", "decoder.")


def _refuse_random_weights(folder, names, unused):
    random = [name for name in names if not any(word in name for word in unused)]
    if random:
        raise OSError(
            f"{folder} lacks {len(random)} of the model's weights, the first: "
            f"{random[0]}. Its results would be random. Use a checkpoint of the "
            "whole model."
        )


def _set(config, name, value):
    *path, last = name.split(".")
    for step in path:
        config = getattr(config, step)
    setattr(config, last, value)


def _after_fork_in_child():
    # Another thread may have held a lock; CUDA does not survive a fork at all.
    global _lock
    _lock = threading.RLock()
    _loaded.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
