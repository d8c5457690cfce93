"""From a fitted model to a tree that skops stores and tensors beside it."""

import copy
import functools
import inspect
import io
import os
import sys
import types
from collections import OrderedDict

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from skmer.exceptions import ModelFormatError
from skmer.persistence._fit_only import is_fit_only
from skmer.persistence._records import Record, TensorTable
from skmer.persistence._trust import is_known, name_of

_PLAIN = (str, int, float, bool, type(None))
_DICTS = (dict, OrderedDict, Bunch)
_KEYS = (str, int, float)
_PLAIN_STATES = (object.__getstate__, BaseEstimator.__getstate__)


class Flattener:
    """Makes copies of models without what skops does not store.

    Attributes
    ----------
    nets : list of bytes
        A safetensors file of each fusion classifier.
    tensors : TensorTable
        Tensors of other modules.
    left_out : list of str
        Parameters that only ``fit`` needs and that were replaced by their defaults.
    foreign : set of str
        Types that are not on skmer's lists.
    """

    def __init__(self):
        self.nets = []
        self.tensors = TensorTable()
        self.left_out = []
        self.foreign = set()
        self._done = {}
        self._path = []

    def __call__(self, value, where=""):
        """Return what is stored for a value.

        Parameters
        ----------
        value : object
            A model or anything in it, which stays as it is.
        where : str, default=""
            Name of the attribute that holds it, for messages.

        Returns
        -------
        flat : object
            The same for the same value.
        """
        if type(value) in _PLAIN or isinstance(value, (np.generic, slice)):
            return value
        if id(value) in self._done:
            flat = self._done[id(value)][1]
            if flat is self:
                raise self._refused(f"{_shown(value)} holds itself")
            return flat
        # The value is kept so that its id stays its own; itself marks "not done".
        self._done[id(value)] = value, self
        self._path.append(where)
        flat = self._flatten(value)
        self._path.pop()
        self._done[id(value)] = value, flat
        return flat

    def _flatten(self, value):
        kind = type(value)
        if kind in (list, tuple, set):
            return kind(self(item, f"[{i}]") for i, item in enumerate(value))
        if kind in _DICTS:
            return self._dict(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, (np.dtype, np.random.RandomState)):
            return value
        if isinstance(value, (pd.Series, pd.DataFrame, pd.Index)):
            return self._table(value)
        if isinstance(value, os.PathLike):
            return Record("path", text=os.fspath(value))
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            return self._name(value)
        flat = self._of_torch(value)
        return self._object(value) if flat is None else flat

    def _dict(self, value):
        kinds = {type(key) for key in value}
        if kinds <= {str, np.str_} or len(kinds) == 1 and kinds <= set(_KEYS):
            pairs = value.items()
            flat = type(value)()
            flat.update((_key(key), self(item, str(key))) for key, item in pairs)
            return flat
        # JSON, in which skops writes them, has keys of text only.
        keys = [self(key, "a key") for key in value]
        values = [self(item, str(key)) for key, item in value.items()]
        return Record("dict", keys=keys, values=values)

    def _array(self, value):
        if isinstance(value, np.ma.MaskedArray):
            return Record(
                "masked", data=self(value.data), mask=np.ma.getmaskarray(value)
            )
        if value.dtype.hasobject:
            if value.dtype != object:
                raise self._refused(f"an array of {value.dtype} holds objects")
            items = [self(item, f"[{i}]") for i, item in enumerate(value.flat)]
            return Record("objects", shape=list(value.shape), items=items)
        if value.dtype.itemsize == 0 or type(value) is not np.ndarray:
            # Memory maps of workers, and text without a letter.
            value = np.array(value, dtype=value.dtype if value.itemsize else "<U1")
        return value

    def _table(self, value):
        if isinstance(value, pd.Index):
            if isinstance(value, pd.MultiIndex):
                raise self._refused("an index has several levels")
            return Record("index", values=self._column(value), name=self(value.name))
        if isinstance(value, pd.Series):
            return Record(
                "series",
                values=self._column(value),
                index=self(value.index),
                name=self(value.name),
            )
        columns = [self._column(value.iloc[:, i]) for i in range(value.shape[1])]
        return Record(
            "frame",
            values=columns,
            index=self(value.index),
            columns=self(value.columns),
        )

    def _column(self, values):
        """Return a column as values and the name of their type."""
        values = pd.Series(values)
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype(values.cat.categories.dtype)
        plain = values.dtype.kind in "biuf" and isinstance(values.dtype, np.dtype)
        if not plain and not (values.dtype == object or values.dtype.name == "str"):
            raise self._refused(f"a table has a column of {values.dtype}")
        array = values.to_numpy() if plain else values.to_numpy(dtype=object)
        return Record("column", values=self(array), dtype=values.dtype.name)

    def _name(self, value):
        name = name_of(value)
        found = sys.modules.get(value.__module__)
        if getattr(found, value.__qualname__, None) is not value or "." in (
            value.__qualname__
        ):
            raise self._refused(
                f"{_shown(value)} cannot be found by its name when the model is "
                "loaded. Define it at the top of a module that can be imported"
            )
        if value.__module__ == "__main__":
            raise self._refused(
                f"{_shown(value)} is of the program that runs now, which is another "
                "one when the model is loaded. Define it in a module"
            )
        if not is_known(value):
            self.foreign.add(name)
        return value

    def _of_torch(self, value):
        """Return the record of what torch or skorch holds, None for anything else."""
        torch, skorch = sys.modules.get("torch"), sys.modules.get("skorch")
        if torch is None:
            return None
        if isinstance(value, (torch.device, torch.dtype)):
            return Record("torch", text=str(value))
        if isinstance(value, torch.Tensor):
            return Record("tensor", number=self.tensors.add(value))
        if isinstance(value, torch.nn.Module):
            return self._module(value)
        if "skmer.modules" in sys.modules:
            from skmer.modules import RandomSource

            if isinstance(value, RandomSource):
                return Record("random source", seed=value.seed)
        if skorch is not None and isinstance(value, skorch.NeuralNet):
            return self._net(value)
        return None

    def _module(self, module):
        if not is_known(type(module)):
            raise self._refused(
                f"{_shown(module)} is a torch module that skmer does not know. Let "
                "the estimator's __getstate__ leave it out, and make it again when it "
                "is needed"
            )
        state = vars(module)
        hooks = [key for key in state if key.endswith("_hooks") and state[key]]
        if hooks:
            raise self._refused(f"{_shown(module)} has {hooks[0].strip('_')}")
        attributes = {
            key: self(item, key)
            for key, item in state.items()
            if not key.startswith("_")
        }
        return Record(
            "module",
            type=self._name(type(module)),
            attributes=attributes,
            parameters=self._tensors(module._parameters),
            frozen=[
                key
                for key, item in module._parameters.items()
                if item is not None and not item.requires_grad
            ],
            buffers=self._tensors(module._buffers),
            passing=sorted(module._non_persistent_buffers_set),
            modules={key: self(m, key) for key, m in module._modules.items()},
        )

    def _tensors(self, named):
        return {
            key: None if item is None else self.tensors.add(item)
            for key, item in named.items()
        }

    def _net(self, net):
        from skmer.fusion import FusionClassifier

        if not isinstance(net, FusionClassifier):
            raise self._refused(
                f"{_shown(net)} is a skorch net that is no fusion classifier of "
                "skmer. Derive it from skmer.fusion.FusionClassifier"
            )
        params = {
            key: self(self._kept(net, key, item), key)
            for key, item in net.get_params(deep=False).items()
            if not key.startswith("callbacks__")
        }
        number = None
        if net.initialized_:
            file = io.BytesIO()
            net.save_params(file, use_safetensors=True)
            number = len(self.nets)
            self.nets.append(file.getvalue())
        return Record("net", type=self._name(type(net)), params=params, file=number)

    def _object(self, value):
        kind = type(value)
        problem = None
        if isinstance(value, (np.ufunc, functools.partial, types.MethodType)):
            problem = "is no plain function: write one, with def, in a module"
        elif sparse.issparse(value):
            problem = "is a sparse array: fit on dense ones"
        elif not hasattr(value, "__dict__"):
            problem = "is of a kind that cannot be stored without running code"
        if kind.__module__ == "sklearn.tree._tree":
            # For those who trust it by name
            self.foreign.add(name_of(kind))
            return value
        if problem is None:
            state = value.__getstate__()
            if not isinstance(state, dict) or kind.__new__ is not object.__new__:
                problem = "has more to it than attributes"
        if problem:
            raise self._refused(f"{_shown(value)} {problem}")
        self._name(kind)
        kept = {key: self._kept(value, key, item) for key, item in state.items()}
        kept = {k: self(item, k) for k, item in kept.items() if item is not _DROPPED}
        if kind.__getstate__ not in _PLAIN_STATES:
            # skops would ask the copy for its state, which it may not have.
            return Record("object", type=kind, state=kept)
        flat = kind.__new__(kind)
        flat.__dict__.update(kept)
        return flat

    def _kept(self, owner, key, item):
        """Return an attribute, or what stands for it where only ``fit`` needs it."""
        if key == "cache" and isinstance(item, (str, os.PathLike)):
            # A folder of this machine, which no prediction depends on: there,
            # get_config() says where features go.
            return "default"
        if not is_fit_only(owner, key, item):
            return item
        defaults = inspect.signature(type(owner)).parameters
        if key not in defaults:
            return _DROPPED
        default = defaults[key].default
        self.left_out.append(f"{key} of {type(owner).__name__}")
        return None if default is inspect.Parameter.empty else copy.copy(default)

    def _refused(self, reason):
        where = ".".join(part for part in self._path if part).replace(".[", "[")
        at = f"{where}: " if where else ""
        return ModelFormatError(f"The model cannot be saved. {at}{reason}.")


_DROPPED = object()


def _key(key):
    return str(key) if isinstance(key, np.str_) else key


def _shown(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
