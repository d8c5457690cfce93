"""Seeding estimators, whole pipelines included."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state


def draw_seeds(random_state, n):
    """Draw seeds without touching numpy's global generator.

    Parameters
    ----------
    random_state : int, RandomState or None
        Where seeds come from; None takes fresh ones from the operating system.
    n : int
        How many.

    Returns
    -------
    seeds : list of int
    """
    if random_state is None:
        return np.random.default_rng().integers(2**31 - 1, size=n).tolist()
    return check_random_state(random_state).randint(2**31 - 1, size=n).tolist()


def seeded_clone(estimator, seed):
    """Clone an estimator and seed all of it.

    Parameters
    ----------
    estimator : estimator
        What to clone; a pipeline, for example.
    seed : int
        Every ``random_state`` in it becomes a number that follows from this one.

    Returns
    -------
    member : estimator
    """
    member = clone(estimator)
    names = random_parts(member)
    drawn = np.random.RandomState(seed).randint(2**31 - 1, size=len(names))
    return member.set_params(**dict(zip(names, drawn.tolist(), strict=True)))


def freshly_seeded(estimator):
    """Clone an estimator; parts without a seed get one from the operating system.

    They would draw from numpy's global generator.

    Parameters
    ----------
    estimator : estimator
        A sampler, for example.

    Returns
    -------
    member : estimator
    """
    member = clone(estimator)
    given = member.get_params(deep=True)
    unset = [name for name in random_parts(member) if given[name] is None]
    seeds = draw_seeds(None, len(unset))
    return member.set_params(**dict(zip(unset, seeds, strict=True)))


def random_parts(estimator):
    """Return the names of all seeds in an estimator, in alphabetical order.

    Parameters
    ----------
    estimator : estimator
        A pipeline, for example.

    Returns
    -------
    names : list of str
        As :meth:`get_params` has them.
    """
    names = sorted(estimator.get_params(deep=True))
    return [name for name in names if f"__{name}".endswith("__random_state")]
