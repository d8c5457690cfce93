"""Recipes of one network, several of which vote where ``n_seeds`` says so."""

import pickle

import numpy as np
import pytest
from recipe_checks import check_gaps, check_held_out_rows, features, sequences

from skmer.ensemble import SeedVotingClassifier
from skmer.recipes import RECIPES

STREAMS = ("audio", "video__face")
RECIPES_OF_ONE = ["mertools-attention", "foal-net"]


def quick(name, n_seeds=3, random_state=0):
    model = RECIPES[name].make(
        encoders=None, streams=STREAMS, n_seeds=n_seeds, random_state=random_state
    )
    few = {"fuse__max_epochs": 10, "fuse__hidden_size": 16, "fuse__lr": 1e-2}
    if n_seeds > 1:
        few = {k.replace("fuse__", "fuse__estimator__"): few[k] for k in few}
    return model.set_params(**few)


def rows(name):
    of_one = RECIPES[name].needs == "sequences"
    return sequences(streams=STREAMS) if of_one else features(streams=STREAMS)


@pytest.mark.parametrize("name", RECIPES_OF_ONE)
def test_networks_of_several_seeds_vote(name):
    X, y = rows(name)
    model = quick(name).fit(X, y)
    vote = model.named_steps["fuse"]
    assert isinstance(vote, SeedVotingClassifier) and len(vote.estimators_) == 3
    seen = model[:-1].transform(X) if len(model) > 1 else X
    members = [member.predict_proba(seen) for member in vote.estimators_]
    assert not np.allclose(members[0], members[1], atol=1e-4)
    said = model.predict_proba(X)
    np.testing.assert_allclose(said, np.mean(members, axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(quick(name).fit(X, y).predict_proba(X), said)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), said)


@pytest.mark.parametrize("name", RECIPES_OF_ONE)
def test_votes_take_gaps(name):
    check_gaps(quick(name, n_seeds=2), *rows(name))


def test_votes_see_no_held_out_rows():
    name = "mertools-attention"
    check_held_out_rows(quick(name, n_seeds=2), *rows(name))


@pytest.mark.parametrize("name", RECIPES_OF_ONE)
def test_the_grid_is_that_of_the_members(name):
    recipe = RECIPES[name]
    known = recipe.make(n_seeds=2).get_params()
    for key in recipe.param_grid:
        assert key.replace("fuse__", "fuse__estimator__") in known
    assert not isinstance(recipe.make(n_seeds=1)[-1], SeedVotingClassifier)


@pytest.mark.parametrize("name", RECIPES_OF_ONE)
@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "5"])
def test_numbers_of_seeds_that_are_none(name, wrong):
    with pytest.raises(ValueError, match="n_seeds must be an integer of at least 1"):
        RECIPES[name].make(n_seeds=wrong)
