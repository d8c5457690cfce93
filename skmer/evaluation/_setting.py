"""What the rows of an ablation have in common, and what each of them changes."""

import re
from collections import Counter

import numpy as np
from sklearn.base import BaseEstimator

from skmer._pretrained import model_identity
from skmer._streams import modality_of, stream_of
from skmer.recipes import RECIPES
from skmer.utils import split_labels

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ADDRESS = re.compile(r" object at 0x[0-9a-f]+")
_LONG = 60


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
        """Make a recipe, with the models of the user in place of those it names."""
        if self.encoders is None:
            options.pop("annotators", None)
        model = RECIPES[recipe].make(
            encoders=self.encoders, streams=streams, **self.common, **options
        )
        return self.exchange_models(model)

    def exchange_models(self, model):
        """Set models by those that the user names for them."""
        params = model.get_params(deep=True)
        exchanged = {
            name: self.models[value]
            for name, value in params.items()
            if isinstance(value, str) and value in self.models
        }
        return model.set_params(**exchanged)

    def lacks(self, row, model):
        """Return what a row needs that is not there, as a text; "" for nothing."""
        params = {} if model is None else model.get_params(deep=True)
        for need in row.needs:
            stream = need.removeprefix("stream ")
            if need == "annotators":
                if not self.annotators:
                    return "a language model: annotators=[ChatAnnotator(...)]"
            elif need == "unlabelled":
                if not self.has_unlabelled:
                    return "unlabelled clips: -1 or None in y"
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
        named = [
            value
            for name, value in model.get_params(deep=True).items()
            if name.rpartition("__")[2] in ("model", "audio_backbone")
            and isinstance(value, str)
            and _HUB_ID.fullmatch(value)
        ]
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
    new, old = _parts(model), _parts(other)
    found = {}
    for name in dict.fromkeys([*old, *new]):
        if any(name.startswith(f"{known}__") for known in found):
            continue
        before, after = old.get(name), new.get(name)
        if before is None:
            found[name] = f"new: {_shown(model.get_params()[name], 3 * _LONG)}"
        elif after is None:
            found[name] = f"gone: {before}"
        elif before != after:
            found[name] = f"{before} -> {after}"
    return found


def _parts(model):
    """Return parameters as texts, outer ones first; an estimator by its class."""
    params = model.get_params(deep=True)
    for skipped in ("steps", "memory", "transform_input", "verbose"):
        params.pop(skipped, None)
    names = sorted(params, key=lambda name: (name.count("__"), name))
    return {name: _text(params[name]) for name in names if not _is_list(params[name])}


def _is_list(value):
    # ColumnTransformer's triples, whose members are listed by name as well
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], tuple)
        and any(isinstance(part, BaseEstimator) for part in value[0])
    )


def _text(value):
    if isinstance(value, BaseEstimator):
        return type(value).__name__
    return _shown(value, _LONG)


def _shown(value, length):
    text = _ADDRESS.sub("", " ".join(repr(value).split()))
    return text if len(text) <= length else f"{text[: length - 3]}..."
