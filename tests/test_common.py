"""scikit-learn's common checks, and skmer's own for encoders of clips."""

from pathlib import Path

import pytest
from instances import CLIP_ENCODERS, EXPECTED_FAILURES, NUMERIC
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmer.utils.estimator_checks import clip_encoder_checks


def _expected(estimator):
    return EXPECTED_FAILURES.get(type(estimator), {})


@parametrize_with_checks(NUMERIC, expected_failed_checks=_expected, xfail_strict=True)
def test_sklearn_checks(estimator, check):
    check(estimator)


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
    for estimator, reasons in EXPECTED_FAILURES.items():
        assert len(reasons) <= 3, f"{estimator.__name__} lists too many"
        assert all(len(reason) > 30 for reason in reasons.values()), "say why"
