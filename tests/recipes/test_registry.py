"""RECIPES: every recipe by name."""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline
from sklearn.base import clone
from tiny_image_models import image_model

import skmer.recipes
from skmer.encoders import TextEncoder
from skmer.recipes import RECIPES

by_name = pytest.mark.parametrize("name", RECIPES)
# What all take, so that the command line need not know which recipe it calls
COMMON = [
    "encoders",
    "streams",
    "annotators",
    "sidecar_text",
    "cache",
    "on_error",
    "n_jobs",
    "device",
    "random_state",
    "verbose",
]


def test_every_recipe_has_a_name():
    public = {
        getattr(skmer.recipes, name)
        for name in skmer.recipes.__all__
        if name.startswith("make_")
    }
    assert {recipe.make for recipe in RECIPES.values()} == public
    for name, recipe in RECIPES.items():
        assert recipe.make.__name__ == f"make_{name.replace('-', '_')}"


@by_name
def test_a_recipe_makes_an_unfitted_pipeline_of_its_parameters(name):
    recipe = RECIPES[name]
    parameters = inspect.signature(recipe.make).parameters
    assert list(parameters)[: len(COMMON)] == COMMON
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    model = recipe.make(random_state=0)
    assert isinstance(model, Pipeline) and not model.__sklearn_is_fitted__()
    known = clone(model).get_params()
    assert recipe.param_grid and set(recipe.param_grid) <= set(known)
    assert recipe.needs in {"features", "sequences"}
    assert 20 < len(recipe.title) < 80


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES["ecmf"].title = "other"


@by_name
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoders": {"text": TextEncoder}}, r"\['text'\] must be a transformer"),
        ({"encoders": {"text": "drop"}}, "'drop'.*left out of streams"),
        ({"encoders": {"text": None}}, "must be a transformer of clips"),
        ({"encoders": {"video__face": TextEncoder()}}, "no column of a clip table"),
        ({"encoders": {}}, "No encoder for the modality 'text'"),
        ({"streams": None}, "streams must be a name.* Got None"),
        ({"streams": ["text", 3]}, "streams has 3"),
    ],
)
def test_encoders_and_streams_that_no_recipe_takes(name, settings, words):
    with pytest.raises(ValueError, match=words):
        RECIPES[name].make(**{"streams": "text", **settings})


@by_name
def test_the_first_two_steps_make_the_features(name):
    words = TextEncoder(n_features=8, cache=None)
    model = RECIPES[name].make(encoders={"text": words}, streams="text")
    clips = pd.DataFrame({"text": ["so glad", "go away"]}, index=["a", "b"])
    features = model[:2].fit_transform(clips, ["glad", "angry"])
    assert list(features.columns) == [f"text__{i}" for i in range(8)]
    assert list(features.index) == ["a", "b"]
    rest = RECIPES[name].make(encoders=None, streams="text")
    assert list(rest.named_steps) == list(model.named_steps)[2:]


@by_name
def test_pictures_of_the_paper_are_of_the_streams_that_are_named(name):
    streams = ("audio", "video__face", "video__frame")
    model = RECIPES[name].make(encoders="paper", streams=streams)
    parts = {name: part for name, part, _ in model.named_steps["encode"].transformers}
    names = parts["video"].set_params(model=image_model("clip")).get_feature_names_out()
    assert {name.partition("__")[0] for name in names} == {"face", "frame"}


@by_name
def test_switches_that_are_neither_on_nor_off(name):
    make = RECIPES[name].make
    switches = [
        parameter.name
        for parameter in inspect.signature(make).parameters.values()
        if isinstance(parameter.default, bool) and parameter.name not in COMMON
    ]
    for switch in switches:
        with pytest.raises(ValueError, match="Got 'no'"):
            make(**{switch: "no"})
        assert make(**{switch: np.False_}).get_params().keys() == (
            make(**{switch: False}).get_params().keys()
        )
