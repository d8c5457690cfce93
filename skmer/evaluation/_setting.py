"""What the rows of an ablation have in common, and what each of them changes."""

import inspect
import re
from collections import Counter

import numpy as np
from sklearn.base import BaseEstimator

from skmer._pretrained import model_identity
from skmer._streams import modality_of, stream_of
from skmer.enrichment import Transcriber
from skmer.recipes import RECIPES
from skmer.utils import split_labels

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ADDRESS = re.compile(r" object at 0x[0-9a-f]+")
# Settings are shown whole up to here, which models with long paths are not
_LONG = 120
_LONG_STEP = 600
_DIGITS = re.compile(r"\d+\.\d{5,}(?:e[-+]?\d+)?")
# What rows lack where all clips have labels, in place of what they need
WITHOUT_UNLABELLED = {
    "unlabelled": "all clips are labelled, so there are no pseudo labels to learn from",
    "pseudo labels": "all clips are labelled, so MR-CCL itself runs without pseudo "
    "labels",
}
# Parameters that say how work is done, the same in all rows
_COMMON = ("cache", "device", "n_jobs", "on_error", "random_state", "verbose")


class Setting:
    """Clips, labels and the parameters that all rows are made with.

    Parameters
    ----------
    X, y : indexable
        Clips or features, and labels.
    encoders : "offline", "paper", dict or None
        As recipes take it.
    streams : tuple of str
        Modalities that the clips have.
    annotators : list of transformers or None
        Language models for the rows with their labels.
    models : dict of str to str
        What to load in place of the models that recipes name.
    common : dict
        More parameters of all recipes.
    """

    def __init__(self, X, y, *, encoders, streams, annotators, models, common):
        self.encoders = encoders
        self.annotators = annotators
        self.models = dict(models)
        self.common = common
        self.device = common["device"]
        self.random_state = common["random_state"]
        self.streams = tuple(streams)
        if encoders is None:
            names = getattr(X, "columns", ())
            self.streams = tuple(dict.fromkeys(map(stream_of, names))) or self.streams
        labelled, classes, codes = split_labels(y)
        self.has_unlabelled = not labelled.all()
        counts = Counter(np.asarray(codes)[labelled].tolist())
        order = sorted(counts, key=lambda code: (counts[code], code))
        names = ("rarest", "second rarest", "third rarest")
        labels = classes[order].tolist()
        # The largest class is what the others are brought up to
        self.rare_classes = dict(zip(names, labels[:-1], strict=False))
        self._reasons = {}

    def present(self, streams):
        """Return those of the streams that there are, as recipes name them."""
        streams = (streams,) if isinstance(streams, str) else streams
        return tuple(name for name in streams if self.has(name))

    def has(self, stream):
        """Tell whether clips have a stream, or features columns of it."""
        if self.encoders is None:
            return any(own == stream or own.startswith(f"{stream}__") for own in
                       self.streams)  # fmt: skip
        return modality_of(stream) in map(modality_of, self.streams)

    def make(self, recipe, streams, **options):
        """Make a recipe."""
        if self.encoders is None:
            options.pop("annotators", None)
        return RECIPES[recipe].make(
            encoders=self.encoders, streams=streams, **self.common, **options
        )

    def exchange_models(self, model):
        """Set models by those that the user names for them."""
        params = model.get_params(deep=True)
        exchanged = {
            name: self.models[value]
            for name, value in params.items()
            if isinstance(value, str) and value in self.models
        }
        return model.set_params(**exchanged)

    def lacks(self, row, model=None):
        """Return what a row needs that is not there, as a text; "" for nothing.

        What only its pipeline can tell is left out where that is None.
        """
        params = {} if model is None else model.get_params(deep=True)
        for need in row.needs:
            stream = need.removeprefix("stream ")
            if need in ("layers", "words") and model is None:
                continue
            if need == "annotators":
                if all(isinstance(a, Transcriber) for a in self.annotators or ()):
                    return "a language model: annotators=[ChatAnnotator(...)]"
                if self.encoders is None:
                    return "clips, which annotators work on; X holds features"
            elif need in WITHOUT_UNLABELLED:
                if not self.has_unlabelled:
                    return WITHOUT_UNLABELLED[need]
            elif need == "layers":
                if "encode__audio__layers" not in params:
                    return "a speech model: encoders='paper', or one in encoders="
            elif need == "words":
                if not _HUB_ID.fullmatch(str(params.get("encode__text__model"))):
                    return "a language model of words: encoders='paper'"
            elif need == "3 rare classes":
                if len(self.rare_classes) < 3:
                    return "four or more classes"
            elif stream != need:
                if not self.has(stream):
                    return f"the stream {stream}"
            else:
                return need
        return ""

    def absent_models(self, model):
        """Return the models that cannot be had, with the reason; "" if all can."""
        params = model.get_params(deep=True)
        named = []
        for name, value in params.items():
            owner, _, last = name.rpartition("__")
            if last not in ("model", "audio_backbone") or not isinstance(value, str):
                continue
            # What a server runs need not be here
            served = params.get(f"{owner}__base_url") is not None
            if _HUB_ID.fullmatch(value) and not served:
                named.append(value)
        for name in dict.fromkeys(named):
            if name not in self._reasons:
                self._reasons[name] = _reason_against(name)
            if self._reasons[name] is not None:
                return f"the model {name} ({self._reasons[name]})"
        return ""


def _reason_against(name):
    try:
        model_identity(name)
    except OSError as error:
        return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return None


def changes(model, other):
    """Return what differs between two pipelines, in the names of their parameters.

    Parameters
    ----------
    model, other : Pipeline
        The new one, and the one that it is compared with.

    Returns
    -------
    changes : dict of str to str
        A step that is new or gone stands for all of its parameters, and so does one
        that is of another class.
    """
    new, old, params = _parts(model), _parts(other), model.get_params(deep=True)
    found = {}
    for name in dict.fromkeys([*old, *new]):
        if any(name.startswith(f"{known}__") for known in found):
            continue
        before, after = old.get(name), new.get(name)
        if before is None:
            found[name] = f"new: {_short(_described(params[name]), _LONG_STEP)}"
        elif after is None:
            found[name] = f"gone: {_short(before)}"
        elif before != after:
            found[name] = f"{_short(before)} -> {_short(after)}"
    return found


def varied(models):
    """Return the names of parameters that are not the same in all of some models.

    Parameters
    ----------
    models : list of Pipeline
        A parameter counts in those that have it.

    Returns
    -------
    names : set of str
    """
    found = {}
    for model in models:
        for name, text in _parts(model).items():
            found.setdefault(name, set()).add(text)
    return {name for name, texts in found.items() if len(texts) > 1}


def _parts(model):
    """Return parameters as texts, outer ones first; an estimator by its class."""
    params = model.get_params(deep=True)
    for skipped in ("steps", "memory", "transform_input", "verbose"):
        params.pop(skipped, None)
    names = sorted(params, key=lambda name: (name.count("__"), name))
    return {
        name: type(params[name]).__name__
        if isinstance(params[name], BaseEstimator)
        else _text(params[name])
        for name in names
        if not _is_list(params[name])
    }


def _described(value):
    """Return an estimator with what it is given, but for what all rows are given."""
    if not isinstance(value, BaseEstimator):
        return _text(value)
    defaults = inspect.signature(type(value)).parameters
    given = [
        f"{name}={_described(inner)}"
        for name, inner in value.get_params(deep=False).items()
        if name not in _COMMON
        and (name not in defaults or _text(inner) != _text(defaults[name].default))
    ]
    return f"{type(value).__name__}({', '.join(given)})"


def _is_list(value):
    # ColumnTransformer's triples, whose members are listed by name as well
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], tuple)
        and any(isinstance(part, BaseEstimator) for part in value[0])
    )


def _text(value):
    return _ADDRESS.sub("", " ".join(repr(value).split()))


def _short(text, length=_LONG):
    # The end tells long paths of models apart
    text = _DIGITS.sub(lambda found: f"{float(found[0]):.4g}", text)
    half = (length - 3) // 2
    return text if len(text) <= length else f"{text[:half]}...{text[-half:]}"
