"""What check_clip_encoder says of encoders that are broken."""

import numpy as np
import pytest

from skmer.clips import ClipEncoder
from skmer.utils.estimator_checks import check_clip_encoder

CLIPS = ["so glad", "go away!", "I see", "oh no, no"]


class Length(ClipEncoder):
    """The number of letters."""

    _column = "text"

    def __init__(
        self,
        *,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _feature_names(self):
        return ["length"]

    def _encode(self, cells):
        return [np.array([float(len(cell))]) for cell in cells]


class Raising(Length):
    def _encode(self, cells):
        raise RuntimeError("no such model")


class Constant(Length):
    def _encode(self, cells):
        return [np.array([1.0]) for _ in cells]


class Counting(Length):
    def fit(self, X, y=None):
        self.verbose += 1
        return super().fit(X, y)


class Bare(Length):
    def __init__(self, unit=1):
        self.unit = unit


@pytest.mark.parametrize(
    ("encoder", "clips", "words"),
    [
        (Raising(), CLIPS, "'fit changes no parameter': RuntimeError: no such model$"),
        (Constant(), CLIPS, "'rows are clips': clips look all the same$"),
        # Of a bare assertion, the line itself
        (Counting(), CLIPS, r"'fit changes no parameter': assert before == \{"),
        (Bare(), CLIPS, "'it is an encoder of clips': its __init__ lacks batch_size, "),
        (
            Length,
            CLIPS,
            "^Length fails the check .* no instance of a child of .*ClipEncoder",
        ),
        (
            "length",
            CLIPS,
            "^str fails the check .* no instance of a child of .*ClipEncoder",
        ),
        (Length(), CLIPS[:3], "at least 4 clips"),
        (Length(), "so glad", "at least 4 clips"),
    ],
)
def test_an_error_names_encoder_and_check(encoder, clips, words):
    with pytest.raises(AssertionError, match=words):
        check_clip_encoder(encoder, clips)


def test_the_cause_is_kept():
    with pytest.raises(AssertionError, match="^Raising fails") as caught:
        check_clip_encoder(Raising(), CLIPS)
    assert isinstance(caught.value.__cause__, RuntimeError)
