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


CLIPS = pd.DataFrame({"video": [f"{i}.mp4" for i in range(6)], "label": "glad"})
LABELS = ["glad", "sad"] * 3


@by_name
@pytest.mark.parametrize("X", [CLIPS, list(CLIPS["video"])], ids=["frame", "paths"])
def test_clips_are_refused_where_features_are_wanted(name, X):
    model = RECIPES[name].make(encoders=None)
    with pytest.raises(ValueError, match="needs features.*mp4.*leave encoders=None"):
        model.fit(X, LABELS)


@pytest.mark.parametrize("name", ["mertools-attention", "ecmf"])
def test_clips_are_refused_in_predictions_from_features(name):
    model = RECIPES[name].make(encoders=None, streams=("audio", "text"), random_state=0)
    rng = np.random.default_rng(0)
    names = ["audio__0", "audio__1", "text__0"]
    model = clone(model[-2:]).fit(
        pd.DataFrame(rng.random((6, 3)), columns=names), LABELS
    )
    with pytest.raises(ValueError, match="Scaler needs features.*0.mp4"):
        model.predict(CLIPS)


@by_name
@pytest.mark.parametrize(
    ("X", "words"),
    [
        (pd.DataFrame(np.eye(6)).add_prefix("audio__"), "'audio__0'.*encoders=None"),
        (np.eye(6), "encoders=None"),
        (
            CLIPS.assign(text="so glad").rename(columns={"video": "path"}),
            "AcousticEncoder: none .* X has no column 'video' or 'audio', but path, "
            "label, text. Rename 'path' to 'video', or use skmer.datasets.load_clips, "
            r".*streams=\('text',\)",
        ),
        (
            CLIPS.assign(text="so").rename(columns={"video": "Video"}),
            "Rename 'Video' to 'video', or use",
        ),
    ],
    ids=["features", "numbers", "path", "Video"],
)
def test_what_is_no_table_of_clips(name, X, words):
    with pytest.raises(ValueError, match=words):
        RECIPES[name].make(cache=None).fit(X, LABELS)


def test_words_alone_need_no_paths():
    words = {"text": TextEncoder(n_features=8, cache=None)}
    X = CLIPS.assign(text="so glad").rename(columns={"video": "path"})
    model = RECIPES["mertools-attention"].make(encoders=words, streams="text")
    assert model[:2].fit_transform(X).shape == (6, 8)
    with pytest.raises(ValueError, match="given. Rename the column 'Text' to 'text'"):
        model.fit(X.rename(columns={"text": "Text", "path": "video"}), LABELS)
    with pytest.raises(ValueError, match=r"sidecar_text=True, .*\('audio', 'video'\)"):
        model.fit(list(CLIPS["video"]), LABELS)
