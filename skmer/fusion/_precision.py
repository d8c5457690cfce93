"""Mixed precision: where the module may compute in 16 bits, and how it trains then."""

import contextlib

import torch

from skmer._config import get_config

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_dtype(dtype, device):
    """Return the format in which a module's products are computed.

    Parameters
    ----------
    dtype : {"auto", "float32", "bfloat16", "float16"}
        ``"auto"`` is what ``skmer.get_config()`` says, and where that is ``"auto"``
        too bfloat16 on a GPU and float32 elsewhere.
    device : torch.device
        Where the module lives.

    Returns
    -------
    dtype : torch.dtype
    """
    if dtype == "auto":
        dtype = get_config()["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if device.type == "cuda" else "float32"
    return DTYPES[dtype]


def autocast(dtype, device):
    """Return the context in which a module runs.

    Parameters
    ----------
    dtype : torch.dtype
        As :func:`resolve_dtype` returns it.
    device : torch.device
        Where the module lives.

    Returns
    -------
    context : context manager
    """
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def as_float32(output):
    """Return what a module returned with its 16-bit tensors as float32.

    Losses and probabilities are computed from it, and NumPy has no bfloat16.

    Parameters
    ----------
    output : Tensor, or tuple, list or dict of such
        What a module returned.

    Returns
    -------
    output : as given
    """
    if isinstance(output, torch.Tensor):
        halved = output.dtype in (torch.bfloat16, torch.float16)
        return output.float() if halved else output
    if isinstance(output, dict):
        return {key: as_float32(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return type(output)(as_float32(value) for value in output)
    return output


def gradient_scaler(dtype, device, state):
    """Return what keeps small gradients from vanishing in float16.

    Parameters
    ----------
    dtype : torch.dtype
        As :func:`resolve_dtype` returns it.
    device : torch.device
        Where the module lives.
    state : dict or None
        What ``state_dict()`` of an earlier scaler returned, to go on from there.

    Returns
    -------
    scaler : torch.amp.GradScaler or None
        None where the format has the exponents of float32.
    """
    if dtype != torch.float16:
        return None
    scaler = torch.amp.GradScaler(device.type)
    if state is not None:
        scaler.load_state_dict(state)
    return scaler
