"""What encoders that run a pretrained model on request share."""

from sklearn.base import clone

from skmer._config import get_config
from skmer._pretrained import (
    DTYPES,
    load_backbone,
    load_config,
    load_processor,
    model_identity,
    resolve_device,
    resolve_dtype,
)
from skmer.clips import ClipEncoder
from skmer.utils._sklearn import StrOptions


class PretrainedEncoder(ClipEncoder):
    """Encoder whose parameter ``model`` is a model to load, or something built in.

    A child names what is built in, if anything (``_built_in``), and has the
    parameters ``model``, ``revision``, ``device``, ``dtype`` and
    ``trust_remote_code``.
    """

    _built_in = None
    _parameter_constraints: dict = {
        "revision": [str, None],
        "device": [str],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "trust_remote_code": ["boolean"],
        **ClipEncoder._parameter_constraints,
    }

    @property
    def _is_built_in(self):
        return isinstance(self.model, str) and self.model == self._built_in

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

    def _backbone(self, **options):
        device = resolve_device(self.device)
        dtype = resolve_dtype(self.dtype, device)
        return load_backbone(
            "AutoModel", **self._source, device=device, dtype=dtype, **options
        )

    def _model_key(self):
        """Return what of the model decides its output."""
        return {
            "model": model_identity(**self._source),
            "dtype": get_config()["dtype"] if self.dtype == "auto" else self.dtype,
            "trust_remote_code": self.trust_remote_code,
        }

    def _on_cpu(self):
        return resolve_device(self.device) == "cpu"

    def _for_workers(self):
        if self._is_built_in:
            return self
        config = get_config()
        pinned = {
            name: config[name]
            for name in ("device", "dtype")
            if getattr(self, name) == "auto" and config[name] != "auto"
        }
        return clone(self).set_params(**pinned) if pinned else self


def infinite_values():
    """Return why a record is refused that is not finite."""
    return (
        "the model gives infinite values. In float16 large values overflow: set "
        "dtype='bfloat16' or 'float32'"
    )
