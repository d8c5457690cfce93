"""Several networks of one make, run as one."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skmer.modules._random import _LEVELS, Dropout


class StackedParameter(NamedTuple):
    """One tensor that holds a parameter of all members.

    Parameters
    ----------
    stacked : torch.nn.Parameter
        The tensor; members along its first dimension.
    members : list of torch.nn.Parameter
        The parameter in each member.
    view : callable
        ``view(tensor, index)`` returns the part of a member, in the member's shape,
        of a tensor shaped like ``stacked``.
    """

    stacked: nn.Parameter
    members: list[nn.Parameter]
    view: Callable[[Tensor, int], Tensor]


class StackedModules(nn.Module):
    """Run several modules that differ in their weights alone as one module.

    A batch of the stack is the members' batches one below the other. Layers with
    weights multiply the rows of each member by its own; all others see one long
    batch, so that a stack of small modules takes hardly more calls of torch than one
    of them. Dropout draws for each member what the member alone would draw, from its
    own source.

    While the stack lives, the members' parameters are views of its own: a step of an
    optimiser on the stack is one on all members.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        The members, built alike, on one device. All their parameters belong to
        ``nn.Linear``, ``nn.LayerNorm`` or layers without any; dropout is
        :class:`Dropout`; their forward treats each row apart from the others; and
        buffers that it reads are equal. A class says so by the attribute
        ``stackable = True``.

    Raises
    ------
    ValueError
        If a module says nothing of the kind, or has parameters elsewhere.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import ConcatFusion, RandomSource, StackedModules
    >>> sources = [RandomSource(0), RandomSource(1)]
    >>> nets = [ConcatFusion({"a": 3}, 2, random_source=s) for s in sources]
    >>> stack = StackedModules(nets).eval()
    >>> x = torch.randn(4, 3)
    >>> both = stack([torch.cat([x, x])])
    >>> torch.allclose(both[4:], nets[1].eval()([x]))
    True
    """

    def __init__(self, modules: Sequence[nn.Module]):
        super().__init__()
        cls = type(modules[0])
        # Not inherited: a subclass may have another forward.
        if not vars(cls).get("stackable", False):
            raise ValueError(
                f"{cls.__name__} does not say that it can be stacked. Set stackable = "
                "True in the class if all its parameters are in linear and "
                "normalising layers and it treats each row apart."
            )
        self.layout = _Layout(len(modules))
        self.body = _stack(list(modules), self.layout)
        entries = list(self.entries())
        if len(entries) > len(list(modules[0].parameters())):
            raise ValueError(
                f"{cls.__name__} has layers that share a weight, which cannot be "
                "stacked."
            )
        for entry in entries:
            for index, parameter in enumerate(entry.members):
                parameter.data = entry.view(entry.stacked.data, index)

    def set_counts(self, counts: Sequence[int]) -> None:
        """Say how many rows of the next batches belong to each member.

        Parameters
        ----------
        counts : sequence of int
            Rows of each member. Each fills as many as the largest; what it has too
            many of stands behind its own and is to be left out of the loss.
        """
        self.layout.counts = tuple(counts)

    def entries(self) -> Iterator[StackedParameter]:
        """Tell which parameters belong together.

        Yields
        ------
        entry : StackedParameter
        """
        for module in self.modules():
            if isinstance(module, (_StackedLinear, _StackedLayerNorm)):
                yield from module.entries()

    def release(self) -> None:
        """Give each member parameters of its own again."""
        for entry in self.entries():
            for parameter in entry.members:
                parameter.data = parameter.data.clone(
                    memory_format=torch.contiguous_format
                )

    def bernoulli(
        self, shape: torch.Size, p: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Draw ones and zeros, each member's from its own generator.

        Parameters
        ----------
        shape : torch.Size
            Shape of the result; its first dimension holds the members' rows.
        p : float
            Probability of a one, exact to 2**-16.
        generators : sequence of torch.Generator
            One a member, all on one device.

        Returns
        -------
        draws : Tensor of shape ``shape``, dtype float32
            For each member what :func:`skmer.modules.bernoulli` draws for its rows.
        """
        return self.layout.bernoulli(shape, p, generators)

    def forward(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Run the members.

        Parameters
        ----------
        streams : sequence of Tensor of shape (n_members * batch, size)
            As the members take them, the members' rows below each other.
        mask : Tensor of shape (n_members * batch, n_streams), dtype bool, or None
            True where a clip has the stream.

        Returns
        -------
        output : Tensor of shape (n_members * batch, ...)
            What the members return.
        """
        return self.body(streams, mask)


class _Layout:
    """How rows belong to members; one object, shared by all layers of a stack."""

    def __init__(self, n_members: int):
        self.n_members = n_members
        self.counts: tuple[int, ...] = (1,) * n_members

    def bernoulli(self, shape, p, generators):
        n = math.prod(shape) // self.n_members
        device = generators[0].device
        threshold = round(p * _LEVELS) - _LEVELS // 2
        if threshold >= _LEVELS // 2:
            return torch.ones(shape, device=device)
        words = torch.empty(
            (self.n_members, (n + 3) // 4), dtype=torch.int64, device=device
        )
        most = max(self.counts)
        for row, count, generator in zip(
            words.unbind(0), self.counts, generators, strict=True
        ):
            if count < most:
                row.zero_()
                row = row[: (n // most * count + 3) // 4]
            row.random_(-(2**63), None, generator=generator)
        out = torch.empty((self.n_members, n), device=device)
        torch.lt(words.view(torch.int16)[:, :n], threshold, out=out)
        return out.view(shape)


class _StackedLinear(nn.Module):
    def __init__(self, layers: list[nn.Linear], layout: _Layout):
        super().__init__()
        self.layout = layout
        # A tuple, which torch does not look into: the members are no parts of it.
        self.layers = tuple(layers)
        # (member, in, out): the gradient of a batched product then lies in memory as
        # the weight does and is not copied.
        weight = torch.stack([layer.weight.detach().t() for layer in layers])
        learns = layers[0].weight.requires_grad
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=learns)
        self.bias = None
        if layers[0].bias is not None:
            bias = torch.stack([layer.bias.detach() for layer in layers]).unsqueeze(1)
            learns = layers[0].bias.requires_grad
            self.bias = nn.Parameter(bias, requires_grad=learns)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.layout.n_members, -1, x.shape[-1])
        if self.bias is None:
            out = torch.bmm(rows, self.weight)
        else:
            out = torch.baddbmm(self.bias, rows, self.weight)
        return out.view(*x.shape[:-1], out.shape[-1])

    def entries(self):
        weights = [layer.weight for layer in self.layers]
        yield StackedParameter(self.weight, weights, lambda whole, j: whole[j].t())
        if self.bias is not None:
            biases = [layer.bias for layer in self.layers]
            yield StackedParameter(self.bias, biases, lambda whole, j: whole[j, 0])


class _StackedLayerNorm(nn.Module):
    def __init__(self, layers: list[nn.LayerNorm], layout: _Layout):
        super().__init__()
        self.layout = layout
        self.layers = tuple(layers)
        self.names = [name for name, p in layers[0].named_parameters(recurse=False)]
        for name in self.names:
            parts = [getattr(layer, name).detach() for layer in layers]
            learns = getattr(layers[0], name).requires_grad
            whole = torch.stack(parts).unsqueeze(1)
            self.register_parameter(name, nn.Parameter(whole, requires_grad=learns))

    def forward(self, x: Tensor) -> Tensor:
        first = self.layers[0]
        shape = first.normalized_shape
        out = nn.functional.layer_norm(x, shape, eps=first.eps)
        out = out.reshape(self.layout.n_members, -1, *shape)
        for name in self.names:
            whole = getattr(self, name)
            out = out * whole if name == "weight" else out + whole
        return out.view(x.shape)

    def entries(self):
        for name in self.names:
            parts = [getattr(layer, name) for layer in self.layers]
            yield StackedParameter(
                getattr(self, name), parts, lambda whole, j: whole[j, 0]
            )


class _StackedDropout(nn.Module):
    def __init__(self, layers: list[Dropout], layout: _Layout):
        super().__init__()
        self.layout = layout
        self.p = layers[0].p
        self.sources = [layer.random_source for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        generators = [source.generator(x.device) for source in self.sources]
        keep = self.layout.bernoulli(x.shape, 1.0 - self.p, generators)
        return x * keep.mul_(1.0 / (1.0 - self.p))


_STACKED = {
    nn.Linear: _StackedLinear,
    nn.LayerNorm: _StackedLayerNorm,
    Dropout: _StackedDropout,
}


def _stack(modules: list[nn.Module], layout: _Layout) -> nn.Module:
    """Return a module like each of ``modules``, with stacked layers in it."""
    first = modules[0]
    if type(first) in _STACKED:
        return _STACKED[type(first)](modules, layout)
    if any(p is not None for p in first._parameters.values()):
        raise ValueError(
            f"{type(first).__name__} has parameters of its own, which cannot be "
            "stacked: only those of Linear and LayerNorm can."
        )
    if isinstance(first, nn.modules.dropout._DropoutNd):
        raise ValueError(
            f"{type(first).__name__} draws for all members together. Use "
            "skmer.modules.Dropout."
        )
    # What the class does in forward stays as it is; only the layers differ.
    stacked = copy.copy(first)
    stacked._modules = {
        name: child
        if child is None
        else _stack([module._modules[name] for module in modules], layout)
        for name, child in first._modules.items()
    }
    return stacked
