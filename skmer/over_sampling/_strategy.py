"""How many rows of each class a sampler is to make."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from skmer.utils import split_labels


def at_least(wanted):
    """Return a strategy that brings small classes up and leaves large ones alone.

    imbalanced-learn's own strategies make all classes as large as the largest, or
    take numbers that fail where a class is larger already. This one is for the
    parameter ``sampling_strategy`` of any over-sampler.

    Parameters
    ----------
    wanted : int, float or dict of class to int or float
        An int is a number of rows; a float above 0 and up to 1 is a share of the rows
        of the largest class: 1.0 makes all classes as large, 1 is one row, which every
        class has. A share means the same in a fold with 4/5 of the rows, where a
        number of rows is more of them. A dict wants that of the classes it names;
        classes it does not name are left alone, and so are those that are absent from
        a fold.

    Returns
    -------
    strategy : callable
        Takes y, returns a dict of class to number of rows with the classes that have
        fewer; it pickles, compares equal to its like, and counts no unlabelled rows.

    Raises
    ------
    ValueError
        If a number is not as described; when called, if y has none of the classes of
        a dict.

    Warns
    -----
    UserWarning
        If a number is the int 1, which changes nothing.

    See Also
    --------
    LabeledSampler : Runs a sampler on the labelled rows.

    Examples
    --------
    MR-CCL brings the classes sad, worried and surprise of MER2024 (730, 616 and 190 of
    5,030 clips; the largest class has 1,248) up to 850 clips each.

    >>> from imblearn.over_sampling import RandomOverSampler
    >>> from skmer.over_sampling import at_least
    >>> classes = ["sad", "worried", "surprise"]
    >>> strategy = at_least(dict.fromkeys(classes, 850 / 1248))
    >>> sampler = RandomOverSampler(sampling_strategy=strategy, random_state=0)
    >>> y = ["neutral"] * 1248 + ["sad"] * 730 + ["surprise"] * 190
    >>> X, y = sampler.fit_resample([[0.0]] * len(y), y)
    >>> y.count("neutral"), y.count("sad"), y.count("surprise")
    (1248, 850, 850)

    All classes as large as the largest:

    >>> at_least(1.0)(y)
    {'sad': 1248, 'surprise': 1248}
    """
    if isinstance(wanted, Mapping):
        if not wanted:
            raise ValueError("at_least was given an empty dict. Name classes.")
        items = tuple((label, _checked(number)) for label, number in wanted.items())
        strategy = _AtLeast(items, by_class=True)
        numbers = [number for _, number in items]
    else:
        strategy = _AtLeast(_checked(wanted), by_class=False)
        numbers = [strategy.wanted]
    if any(isinstance(number, int) and number == 1 for number in numbers):
        warnings.warn(
            f"{strategy} asks for 1 row of a class, which changes nothing: 1 is a "
            "number of rows. 1.0 makes classes as large as the largest.",
            UserWarning,
            stacklevel=2,
        )
    return strategy


@dataclass(frozen=True)
class _AtLeast:
    """The strategy; a class of its own, so that it pickles."""

    wanted: object
    by_class: bool

    def __call__(self, y):
        labelled, classes, codes = split_labels(y)
        sizes = np.bincount(codes[labelled], minlength=len(classes)).tolist()
        size_of = dict(zip(classes.tolist(), sizes, strict=True))
        if self.by_class:
            wanted = {label: n for label, n in self.wanted if label in size_of}
            if not wanted:
                named = ", ".join(repr(label) for label, _ in self.wanted)
                raise ValueError(
                    f"at_least names the classes {named}, but y has "
                    f"{', '.join(map(repr, size_of))}: not one of them."
                )
        else:
            wanted = dict.fromkeys(size_of, self.wanted)
        largest = max(sizes, default=0)
        rows = {label: _rows(number, largest) for label, number in wanted.items()}
        return {label: n for label, n in rows.items() if n > size_of[label]}

    def __repr__(self):
        return f"at_least({dict(self.wanted) if self.by_class else self.wanted!r})"


def _checked(number):
    whole = isinstance(number, Integral)
    right = isinstance(number, Real) and not isinstance(number, bool | np.bool_)
    if not right or not (number >= 1 if whole else 0 < number <= 1):
        raise ValueError(
            "at_least takes a whole number of rows from 1 on, or a share of the "
            f"largest class above 0 and up to 1.0. Got {number!r}."
        )
    return int(number) if whole else float(number)


def _rows(number, largest):
    if isinstance(number, int):
        return number
    # 0.07 * 100 is a little more than 7 and must not become 8
    return math.ceil(round(number * largest, 6))
