"""Torch's global generator, lent to code that can use no other."""

import contextlib
import threading
from collections.abc import Iterator

import torch

# Held while the global generator is in use: forking it is not safe between threads.
_lock = threading.RLock()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str) -> Iterator[None]:
    """Seed torch's global generator, and put it back as it was.

    Parameters
    ----------
    seed : int
        Seed within.
    device : torch.device or str
        Where random numbers are drawn besides the CPU.

    Yields
    ------
    None
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with _lock, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
