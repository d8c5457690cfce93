"""From the tree that skops loaded back to a fitted model."""

import inspect
import io
import math
import types
from pathlib import Path

import numpy as np
import pandas as pd

from skmer.exceptions import ModelFormatError
from skmer.persistence._records import Record
from skmer.persistence._trust import MODULES, NETS, name_of, untrusted

# What holds no records.
_FINISHED = (
    str,
    int,
    float,
    np.generic,
    np.ndarray,
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
)
_PREFIXES = ("module__", "criterion__", "optimizer__")


class Rebuilder:
    """Puts back, in place, what records stand for.

    Parameters
    ----------
    nets : list of bytes
        Safetensors files of the fusion classifiers.
    tensors : dict of str to Tensor
        Tensors of other modules.
    placer : Placer
        Adapts attributes to this machine.
    trust : Trust
        What the user trusts.
    """

    def __init__(self, nets, tensors, placer, trust):
        self.nets = nets
        self.tensors = tensors
        self.placer = placer
        self.trust = trust
        self._done = {}

    def __call__(self, value):
        """Return what a stored value stands for; the same for the same value.

        Parameters
        ----------
        value : object
            From skops.

        Returns
        -------
        value : object
            Containers and objects are the ones given, changed.
        """
        if isinstance(value, _FINISHED):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = value, None
            self._done[id(value)] = value, self._rebuild(value)
        return self._done[id(value)][1]

    def _rebuild(self, value):
        if isinstance(value, Record):
            return self._record(value)
        if isinstance(value, list):
            value[:] = [self(item) for item in value]
        elif isinstance(value, tuple):
            return tuple(self(item) for item in value)
        elif isinstance(value, dict):
            for key in value:
                value[key] = self(value[key])
        elif not isinstance(value, (np.random.RandomState, set)) and hasattr(
            value, "__dict__"
        ):
            state = vars(value)
            for key in list(state):
                state[key] = self(state[key])
            self.placer(name_of(type(value)), state)
        return value

    def _record(self, record):
        make = getattr(self, "_make_" + str(record.kind).replace(" ", "_"), None)
        facts = record.facts
        if make is None or not isinstance(facts, dict):
            raise ModelFormatError(
                f"The model holds a record of kind {record.kind!r}, which this "
                "version of skmer does not know. Update skmer."
            )
        try:
            return make(**facts)
        except ModelFormatError:
            raise
        except Exception as error:
            raise ModelFormatError(
                f"The model's {record.kind} cannot be made again: {error}"
            ) from error

    def _make_path(self, text):
        return Path(text)

    def _make_dict(self, keys, values):
        pairs = zip(self(keys), self(values), strict=True)
        return dict(pairs)

    def _make_masked(self, data, mask):
        return np.ma.MaskedArray(self(data), mask)

    def _make_objects(self, shape, items):
        if math.prod(shape) != len(items):
            raise ValueError(f"{len(items)} items for shape {shape}")
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            array[i] = self(item)
        return array.reshape(shape)

    def _make_column(self, values, dtype):
        return pd.Series(self(values), dtype=dtype)

    def _make_index(self, values, name):
        return pd.Index(self(values), name=name)

    def _make_series(self, values, index, name):
        return pd.Series(self(values).array, index=self(index), name=name)

    def _make_frame(self, values, index, columns):
        parts = {i: self(column).array for i, column in enumerate(values)}
        frame = pd.DataFrame(parts, index=self(index))
        frame.columns = self(columns)
        return frame

    def _make_torch(self, text):
        import torch

        kind = getattr(torch, text.removeprefix("torch."), None)
        return kind if isinstance(kind, torch.dtype) else torch.device(text)

    def _make_tensor(self, number):
        return self.tensors[number]

    def _make_object(self, type, state):
        if name_of(type) not in self.trust.objects():
            raise untrusted([name_of(type)])
        made = type.__new__(type)
        state = self(state)
        self.placer(name_of(type), state)
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            vars(made).update(state)
        return made

    def _make_random_source(self, seed):
        from skmer.modules import RandomSource

        return RandomSource(seed)

    def _make_module(
        self, type, attributes, parameters, frozen, buffers, passing, modules
    ):
        from torch import nn

        if name_of(type) not in MODULES:
            raise untrusted([name_of(type)])
        module = type.__new__(type)
        nn.Module.__init__(module)
        for key, item in attributes.items():
            # Not by setattr, which files parts of a module away.
            vars(module)[_plain_name(key)] = self(item)
        for key, number in parameters.items():
            part = None
            if number is not None:
                part = nn.Parameter(self.tensors[number], key not in frozen)
            module.register_parameter(_plain_name(key), part)
        for key, number in buffers.items():
            part = None if number is None else self.tensors[number]
            module.register_buffer(_plain_name(key), part, key not in passing)
        for key, part in modules.items():
            module.add_module(key, self(part))
        return module.eval()

    def _make_net(self, type, params, file):
        from skmer.fusion import FusionClassifier

        name = name_of(type)
        if name not in NETS and name not in self.trust.names:
            raise untrusted([name])
        if not issubclass(type, FusionClassifier):
            raise ValueError(f"{name} is no fusion classifier")
        params = self(params)
        known = inspect.signature(type).parameters
        for key in params:
            if key not in known and not key.startswith(_PREFIXES):
                raise ValueError(f"{name} has no parameter {key!r}")
        self.placer(name, params)
        net = type(**params)
        if file is not None:
            net.load_params(io.BytesIO(self.nets[file]), use_safetensors=True)
        return net


def _plain_name(key):
    if key.startswith("_"):
        raise ValueError(f"a module has the attribute {key!r}")
    return key
