"""What a loaded model may reach: devices, folders, servers, code of others."""

import numpy as np

from skmer.exceptions import ModelFormatError

# Other names are those of repositories, whose code transformers would load.
_ATTENTIONS = {
    None,
    "eager",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "sdpa",
}


class Placer:
    """Fits what a model was saved with to where it is loaded.

    Parameters
    ----------
    device : str or None
        Where everything is to run; None keeps what was saved.
    trust : Trust
        What the user trusts.

    Attributes
    ----------
    absent : set of str
        CUDA devices of the model that are not here.
    """

    def __init__(self, device, trust):
        self.device = device
        self.trust = trust
        self.absent = set()

    def __call__(self, name, attributes):
        """Change an object's attributes in place.

        Parameters
        ----------
        name : str
            Class of the object.
        attributes : dict of str to object
            Its attributes, or a net's parameters.

        Raises
        ------
        ModelFormatError
            If the object does what has to be trusted, or its parts do not fit.
        """
        if "device" in attributes:
            attributes["device"] = self._placed(attributes["device"])
            if attributes.get("device_map") is not None and self._moved(attributes):
                attributes["device_map"] = None
        if attributes.get("cache") not in (None, "default"):
            attributes["cache"] = "default"
        for key in ("memory", "callbacks"):
            if attributes.get(key) not in (None, "disable"):
                raise ModelFormatError(
                    f"The model's {name} has {key}={attributes[key]!r}, which "
                    "save_model leaves out. The folder was changed."
                )
        if attributes.get("trust_remote_code"):
            self._ask(
                "trust_remote_code",
                f"{name} runs Python code that {attributes.get('model')!r} brings",
            )
        attention = attributes.get("attn_implementation")
        if attention not in _ATTENTIONS:
            self._ask(
                str(attention),
                f"{name} takes compiled code from a hub "
                f"(attn_implementation={attention!r})",
            )
        for key in ("base_url", "api_key_env"):
            if isinstance(attributes.get(key), str):
                self._ask(
                    attributes[key],
                    f"{name} sends what clips hold to a server "
                    f"({key}={attributes[key]!r})",
                )
        if "_response_method" in attributes:
            _check_scorer(name, attributes)
        if {"support_vectors_", "dual_coef_"} & attributes.keys():
            _check_svm(name, attributes)

    def _placed(self, device):
        if device is None or self.device is not None:
            return self.device or device
        several = device if isinstance(device, (list, tuple)) else [device]
        absent = [str(one) for one in several if not _is_here(str(one))]
        self.absent.update(absent)
        return "cpu" if absent else device

    def _moved(self, attributes):
        """Tell whether the parts of a model can no longer lie where they were."""
        if self.device is not None:
            return True
        places = attributes["device_map"]
        if not isinstance(places, dict):
            return False
        names = (f"cuda:{p}" if isinstance(p, int) else str(p) for p in places.values())
        return not all(map(_is_here, names))

    def _ask(self, word, what):
        if word not in self.trust.words:
            raise ModelFormatError(
                f"The model's {what} when it predicts. If you know who saved it and "
                f"want that, load it with load_model(folder, trusted=[{word!r}])."
            )


def _is_here(name):
    """Tell whether a device is on this machine."""
    if not name.startswith("cuda"):
        return True
    import torch

    if not torch.cuda.is_available():
        return False
    number = name.partition(":")[2]
    return not number.isdigit() or int(number) < torch.cuda.device_count()


def _check_scorer(name, attributes):
    """Let scorers call the usual methods of estimators only."""
    asked = attributes["_response_method"]
    for method in asked if isinstance(asked, (list, tuple)) else [asked]:
        if method not in ("predict", "predict_proba", "decision_function"):
            raise ModelFormatError(
                f"The model's {name} calls {method!r}. The folder was changed."
            )


def _check_svm(name, attributes):
    """Hold a support vector machine's arrays to each other, as libsvm does not."""
    if not name.startswith("sklearn.svm."):
        return
    try:
        vectors = attributes["support_vectors_"]
        counts = attributes["_n_support"]
        n, classes = len(vectors), len(counts)
        support, n_fitted = attributes["support_"], attributes["shape_fit_"][0]
        pairs = classes * (classes - 1) // 2
        right = (
            vectors.ndim == 2
            and vectors.dtype == np.float64
            and vectors.shape[1] in (attributes["shape_fit_"][1], 0)
            and counts.dtype == np.int32
            and counts.min() >= 0
            and counts.sum() == n
            and classes == len(attributes["classes_"])
            and support.shape == (n,)
            and support.dtype == np.int32
            # Of a stored kernel, libsvm reads the columns that these name
            and type(n_fitted) is int
            and (n == 0 or 0 <= support.min() <= support.max() < n_fitted)
            and attributes["_dual_coef_"].shape == (classes - 1, n)
            and attributes["dual_coef_"].shape == (classes - 1, n)
            and attributes["_intercept_"].shape == (pairs,)
            and all(
                attributes[key].shape in ((0,), (pairs,))
                for key in ("_probA", "_probB")
            )
        )
    except (LookupError, AttributeError, TypeError, ValueError):
        right = False
    if not right:
        raise ModelFormatError(
            f"The arrays of the model's {name} do not fit each other: the folder is "
            "damaged or was changed."
        )
