"""What encoders that run a pretrained model on request share."""

import os
from abc import abstractmethod
from inspect import signature

from joblib.parallel import get_active_backend

from skmer._config import get_config
from skmer._pretrained import (
    DTYPES,
    load_backbone,
    load_config,
    load_processor,
    model_identity,
    resolve_device,
)
from skmer.clips import ClipEncoder
from skmer.encoders._engine import encode_ahead, encode_with
from skmer.utils._sklearn import StrOptions

# Clips of a task for workers of other machines, which may have GPUs.
_REMOTE_CLIPS = 32


class PretrainedEncoder(ClipEncoder):
    """Encoder whose parameter ``model`` is a model to load, or something built in.

    A child names what is built in, if anything (``_built_in``), and has the
    parameters ``model``, ``revision``, ``device``, ``dtype``, ``compile``,
    ``attn_implementation`` and ``trust_remote_code``.

    On a CPU, tasks of a few clips are read and run one after the other, in joblib's
    workers. Other devices, or several, are driven from this process, while joblib's
    settings say how many read clips for them; but with dask, ray and the like, whole
    tasks go to the workers all the same.
    """

    _built_in = None
    _parameter_constraints: dict = {
        "revision": [str, None],
        "device": [str, "array-like"],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "compile": ["boolean"],
        "attn_implementation": [str, None],
        "trust_remote_code": ["boolean"],
        **ClipEncoder._parameter_constraints,
    }

    @property
    def _is_built_in(self):
        return isinstance(self.model, str) and self.model == self._built_in

    def _validate_params(self):
        super()._validate_params()
        if not self._is_built_in:
            return
        defaults = signature(type(self)).parameters
        for name in ("layers", "preset"):
            if getattr(self, name) != defaults[name].default:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is for models, and model="
                    f"{self.model!r} is none: name one by the parameter 'model' of "
                    f"{type(self).__name__}."
                )

    @property
    def _source(self):
        return {
            "model": self.model,
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
        }

    def _config(self):
        return load_config(**self._source)

    def _processor(self, kind):
        return load_processor(kind, **self._source)

    @property
    def _loading(self):
        """Arguments of ``load_backbone`` that all encoders have."""
        return {
            "dtype": self.dtype,
            "attn_implementation": self.attn_implementation,
            "compile": self.compile,
        }

    def _loader(self, **what):
        """Return a function that loads the model on a device."""
        options = {**self._source, **self._loading, **what}
        return lambda device: load_backbone("AutoModel", device=device, **options)

    def _model_key(self):
        """Return what of the model decides its output."""
        return {
            "model": model_identity(**self._source),
            "dtype": get_config()["dtype"] if self.dtype == "auto" else self.dtype,
            "attn_implementation": self.attn_implementation,
            "trust_remote_code": self.trust_remote_code,
        }

    def _devices(self):
        """Return the names of the devices that models run on."""
        given = [self.device] if isinstance(self.device, str) else list(self.device)
        if not given:
            raise ValueError(
                f"The 'device' parameter of {type(self).__name__} must be the name of "
                "a device or a list of names. Got an empty list instead."
            )
        return [resolve_device(device) for device in given]

    @abstractmethod
    def _job(self):
        """Return what a call of the model has to do, a Job."""

    def _encode(self, cells):
        devices = self._devices()
        # Of several, the workers of a machine take one each, in turn.
        device = devices[os.getpid() % len(devices)]
        return encode_with(self._job(), cells, device)

    def _clips_per_task(self):
        if self.batch_size == "auto" and not self._is_built_in and self.device != "cpu":
            if not _works_here():
                return _REMOTE_CLIPS
        return super()._clips_per_task()

    def _results(self, cells, stop):
        # Other machines have devices of their own.
        if self._is_built_in or not _works_here():
            return super()._results(cells, stop)
        devices = self._devices()
        if isinstance(self.device, str) and devices == ["cpu"]:
            return super()._results(cells, stop)
        return encode_ahead(self._job(), cells, devices, self.n_jobs, stop)


def _works_here():
    """Tell whether joblib's workers are processes or threads of this machine."""
    return type(get_active_backend()[0]).__module__ == "joblib._parallel_backends"
