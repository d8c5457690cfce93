"""Common checks: scikit-learn's, imbalanced-learn's, and skmer's for encoders."""

from pathlib import Path

import pytest
from imblearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    estimator_checks_generator,
)
from instances import (
    CLIP_ENCODERS,
    EXPECTED_FAILURES,
    EXPECTED_SAMPLER_FAILURES,
    MADE_UP_ROWS,
    NUMERIC,
    SAMPLERS,
)
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmer.utils.estimator_checks import clip_encoder_checks


def _expected(estimator):
    return EXPECTED_FAILURES.get(type(estimator), {})


# Features of some checks are far from standardised, which solvers complain of.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    NUMERIC + SAMPLERS, expected_failed_checks=_expected, xfail_strict=True
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def _sampler_checks():
    for sampler in SAMPLERS + MADE_UP_ROWS:
        reasons = EXPECTED_SAMPLER_FAILURES[type(sampler)]
        yield from estimator_checks_generator(
            sampler, expected_failed_checks=reasons, mark="xfail"
        )


# Not imbalanced-learn's own decorator, whose iterator pytest gives up on
@pytest.mark.parametrize(
    ("sampler", "check"),
    list(_sampler_checks()),
    ids=lambda part: part.func.__name__ if hasattr(part, "func") else repr(part),
)
def test_sampler_checks(sampler, check):
    check(sampler)


@pytest.mark.parametrize(
    "check", [check_param_validation, check_dataframe_column_names_consistency]
)
@pytest.mark.parametrize("sampler", SAMPLERS + MADE_UP_ROWS, ids=repr)
def test_checks_that_samplers_are_not_given(sampler, check):
    check(type(sampler).__name__, sampler)


def _name(encoder):
    """Return the repr without the folder of the model, another in each process."""
    if encoder.get_params().get("model") is not None:
        encoder = clone(encoder).set_params(model=Path(encoder.model).name)
    return " ".join(repr(encoder).split())


@pytest.mark.parametrize("check", clip_encoder_checks(), ids=lambda c: c.__name__[1:])
@pytest.mark.parametrize("encoder", CLIP_ENCODERS, ids=_name)
def test_clip_checks(encoder, check, small_clips):
    cells = {
        "audio": small_clips.paths,
        "video": small_clips.paths,
        "text": list(small_clips.data["text"]),
    }
    check(encoder, cells[encoder._column])


def test_expected_failures_stay_few():
    for estimator, reasons in [
        *EXPECTED_FAILURES.items(),
        *EXPECTED_SAMPLER_FAILURES.items(),
    ]:
        assert len(reasons) <= 3, f"{estimator.__name__} lists too many"
        assert all(len(reason) > 30 for reason in reasons.values()), "say why"
