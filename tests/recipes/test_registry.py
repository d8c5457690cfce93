"""RECIPES: every recipe by name."""

import dataclasses
import inspect

import pytest
from imblearn.pipeline import Pipeline
from sklearn.base import clone

import skmer.recipes
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
