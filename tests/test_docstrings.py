"""Public docstrings are numpydoc and say what a user needs."""

import importlib
import inspect

import pytest
from numpydoc.docscrape import FunctionDoc, NumpyDocString
from numpydoc.validate import validate

import skmer

# What users call on a net; its other methods are skorch's hooks, described there.
CALLED = {
    "fit",
    "fit_transform",
    "partial_fit",
    "predict",
    "predict_proba",
    "set_params",
}

PACKAGES = [
    "cache",
    "cli",
    "clips",
    "datasets",
    "encoders",
    "enrichment",
    "ensemble",
    "evaluation",
    "exceptions",
    "feature_selection",
    "fusion",
    "label_refinement",
    "media",
    "metrics",
    "model_selection",
    "modules",
    "over_sampling",
    "persistence",
    "preprocessing",
    "recipes",
    "utils",
    "utils.estimator_checks",
]
# What numpydoc's own checks are held to; the rest is taste (a capital letter, a
# full stop after a fragment) or is checked below with better messages.
CHECKED = {
    "GL01", "GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL09", "GL10",
    "SS01", "SS03", "SS04", "SS05", "SS06",
    "PR01", "PR02", "PR03", "PR04", "PR05", "PR07", "PR10",
    "RT01", "YD01",
}  # fmt: skip


# Made by functions that describe what goes in; nobody calls their constructors.
MADE_ELSEWHERE = {"skmer.cache.FeatureStore", "skmer.cache.RecordBatch"}


def _public():
    yield "skmer", "get_config"
    yield "skmer", "set_config"
    yield "skmer", "config_context"
    for package in PACKAGES:
        module = importlib.import_module(f"skmer.{package}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield module.__name__, name


def _own_methods(cls):
    for name, member in inspect.getmembers(cls):
        function = inspect.unwrap(getattr(member, "__func__", member))
        if (
            not name.startswith("_")
            and inspect.isfunction(function)
            and function.__module__.startswith("skmer")
            and (name in CALLED or not _is_skorch_hook(cls, name))
        ):
            yield name


def _is_skorch_hook(cls, name):
    bases = [base for base in cls.__mro__ if base.__module__.startswith("skorch.")]
    return any(name in vars(base) for base in bases)


def _targets():
    for module, name in _public():
        target = getattr(importlib.import_module(module), name)
        yield f"{module}.{name}"
        if inspect.isclass(target):
            for method in _own_methods(target):
                yield f"{module}.{name}.{method}"


TARGETS = sorted(set(_targets()))


@pytest.mark.parametrize("target", TARGETS)
def test_numpydoc(target):
    checked = CHECKED - {"PR01"} if target in MADE_ELSEWHERE else CHECKED
    found = [
        f"{code}: {text}"
        for code, text in validate(target)["errors"]
        if code in checked
    ]
    assert not found, f"{target}: {found}"


def _classes():
    for module, name in _public():
        target = getattr(importlib.import_module(module), name)
        if inspect.isclass(target) and hasattr(target, "get_params"):
            yield target


@pytest.mark.parametrize("cls", sorted(_classes(), key=lambda c: c.__name__))
def test_every_parameter_and_no_other_is_documented(cls):
    documented = [p.name for p in NumpyDocString(inspect.getdoc(cls))["Parameters"]]
    names = [name.strip() for entry in documented for name in entry.split(",")]
    actual = [
        name for name in inspect.signature(cls.__init__).parameters if name != "self"
    ]
    assert [name.lstrip("*") for name in names] == actual


@pytest.mark.parametrize("cls", sorted(_classes(), key=lambda c: c.__name__))
def test_defaults_in_the_docstring_are_the_defaults(cls):
    parameters = inspect.signature(cls.__init__).parameters
    for entry in NumpyDocString(inspect.getdoc(cls))["Parameters"]:
        _, said, default = entry.type.partition("default=")
        parameter = parameters.get(entry.name)
        if parameter is None or not said:
            continue
        assert _means(default.strip(), parameter.default), (
            f"{cls.__name__}.{entry.name}: {default} is not {parameter.default!r}"
        )


def _means(said, value):
    if isinstance(value, float):
        return float(said) == value
    return said in _spellings(value)


def _spellings(value):
    spelled = {repr(value), str(value)}
    if isinstance(value, str):
        spelled.add(f'"{value}"')
    if isinstance(value, tuple):
        spelled.add(repr(value).replace("'", '"'))
    if isinstance(value, type):
        public = value.__module__
        for private in (".modules.loss", ".adamw", ".adam"):
            public = public.replace(private, "")
        spelled |= {value.__name__, f"{public}.{value.__name__}"}
    return spelled


def test_the_walk_finds_what_is_public():
    assert "skmer.clips.ClipTable.transform" in TARGETS
    assert "skmer.get_config" in TARGETS
    assert FunctionDoc(skmer.get_config)["Summary"]
