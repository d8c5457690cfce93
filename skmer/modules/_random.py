"""Randomness that belongs to one network, and the layers that draw from it."""

import math

import torch
from torch import Tensor, nn

# Dropout compares 16 random bits with a threshold: probabilities are exact to
# 2**-16, and four draws come out of one 64-bit number.
_LEVELS = 2**16


class RandomSource:
    """Random numbers of one network, apart from torch's global generator.

    Networks that share nothing else can then be trained in threads side by side
    and still repeat bit by bit.

    Parameters
    ----------
    seed : int, default=0
        Seed of every generator made, between 0 and 2**63 - 1.
    """

    def __init__(self, seed: int = 0):
        self.seed = int(seed)
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Return the generator of a device, made and seeded at first use.

        Parameters
        ----------
        device : torch.device or str, default="cpu"
            Where the numbers are drawn.

        Returns
        -------
        generator : torch.Generator
            The same object at every call.
        """
        device = torch.device(device)
        generator = self._generators.get(device)
        if generator is None:
            generator = torch.Generator(device).manual_seed(self.seed)
            self._generators[device] = generator
        return generator

    def __getstate__(self) -> dict:
        states = {
            str(device): generator.get_state().numpy()
            for device, generator in self._generators.items()
        }
        return {"seed": self.seed, "states": states}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["seed"])
        for name, value in state["states"].items():
            # A generator of a device that is absent here starts afresh there.
            if torch.device(name).type == "cpu":
                self.generator(name).set_state(torch.tensor(value))


class Dropout(nn.Module):
    """Dropout that draws from the network's own randomness.

    Parameters
    ----------
    p : float
        Probability that a value is set to zero while training, in [0, 1).
    random_source : RandomSource or None, default=None
        Where random numbers come from; None makes a source with seed 0.
    """

    def __init__(self, p: float, random_source: RandomSource | None = None):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"Dropout needs 0 <= p < 1. Got p={p!r}.")
        self.p = p
        self.random_source = random_source or RandomSource()

    def forward(self, x: Tensor) -> Tensor:
        """Set values to zero while training, and scale up the others.

        Parameters
        ----------
        x : Tensor of any shape
            Floats.

        Returns
        -------
        dropped : Tensor of the same shape
            ``x`` itself when not training.
        """
        if not self.training or self.p == 0.0:
            return x
        generator = self.random_source.generator(x.device)
        keep = bernoulli(x.shape, 1.0 - self.p, generator)
        return x * keep.mul_(1.0 / (1.0 - self.p))

    def extra_repr(self) -> str:
        """Return what the layer's repr says besides its name.

        Returns
        -------
        text : str
            The probability.
        """
        return f"p={self.p}"


def bernoulli(shape: torch.Size, p: float, generator: torch.Generator) -> Tensor:
    """Draw ones and zeros.

    Several times as fast on the CPU as ``torch.bernoulli``, which spends more time
    on the dropout of a wide input than the layer behind it takes.

    Parameters
    ----------
    shape : torch.Size
        Shape of the result.
    p : float
        Probability of a one, exact to 2**-16.
    generator : torch.Generator
        Where random numbers come from; the result is on its device.

    Returns
    -------
    draws : Tensor of shape ``shape``, dtype float32
        Ones and zeros.
    """
    n = math.prod(shape)
    threshold = round(p * _LEVELS) - _LEVELS // 2
    if threshold >= _LEVELS // 2:
        return torch.ones(shape, device=generator.device)
    words = torch.empty((n + 3) // 4, dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)
    # Comparing into floats is vectorised on the CPU, comparing into booleans is not.
    out = torch.empty(n, device=generator.device)
    torch.lt(words.view(torch.int16)[:n], threshold, out=out)
    return out.view(shape)


def linear(
    n_in: int, n_out: int, random_source: RandomSource, *, bias: bool = True
) -> nn.Linear:
    """Make a linear layer without touching torch's global generator.

    Parameters
    ----------
    n_in, n_out : int
        Sizes of its input and output.
    random_source : RandomSource
        Where the initial weights come from.
    bias : bool, default=True
        Whether the layer adds a bias.

    Returns
    -------
    layer : torch.nn.Linear
        Initialised as torch does it.
    """
    # skip_init builds on the meta device, which draws nothing.
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)
    generator = random_source.generator("cpu")
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    if bias:
        bound = 1.0 / math.sqrt(n_in)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
