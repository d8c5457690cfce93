"""make_mr_ccl."""

import numpy as np
import pytest
from recipe_checks import (
    LABELS,
    check_gaps,
    check_grid,
    check_held_out_rows,
    check_raw_clips,
    features,
)
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from tiny_image_models import image_model
from tiny_models import speech_model
from tiny_text_models import text_model

from skmer.recipes import MR_CCL_PARAM_GRID, make_mr_ccl


def quick(**settings):
    model = make_mr_ccl(random_state=0, **settings)
    return model.set_params(
        classify__estimator__max_epochs=8,
        classify__estimator__hidden_size=32,
        classify__estimator__pretrain_epochs=(
            2 if settings.get("pretrain", True) else 0
        ),
        classify__partner__max_epochs=8,
    )


def half(y):
    y = y.astype(object)
    y[len(y) // 2 :] = None
    return y


def test_steps():
    model = make_mr_ccl()
    assert [name for name, _ in model.steps] == ["clips", "encode", "scale", "classify"]
    assert clone(model).get_params().keys() == model.get_params().keys()


def test_grid():
    check_grid(make_mr_ccl(), MR_CCL_PARAM_GRID)


def test_on_clips(small_clips, tmp_path):
    model = quick(sidecar_text=True, cache=tmp_path)
    model.set_params(encode__video__n_frames=2)
    check_raw_clips(model, small_clips, MR_CCL_PARAM_GRID)


def test_on_features():
    X, y = features()
    assert cross_val_score(quick(encoders=None), X, y, cv=3).mean() > 0.8


def test_gaps():
    check_gaps(quick(encoders=None), *features())


def test_held_out_rows():
    check_held_out_rows(quick(encoders=None), *features())


def test_nothing_is_said_where_every_clip_has_a_label(recwarn):
    X, y = features()
    model = quick(encoders=None).fit(X, y)
    assert not recwarn.list
    assert model[-1].n_iter_ == 0 and model[-1].partner_ is None


def test_sure_clips_are_learnt_from_at_a_lower_rate():
    X, y = features(100)
    model = quick(encoders=None).fit(X, half(y))
    classify = model[-1]
    taken = classify.labeled_iter_ == 1
    assert taken.any() and not taken[:50].any()
    assert (classify.transduction_[taken] == y[taken]).mean() > 0.9
    assert classify.estimator_.lr < make_mr_ccl()[-1].estimator.lr
    # Pre-trained on clips with and without a label
    assert classify.estimator_.pretraining_.n_clips == 100


def test_parts_that_can_be_left_out():
    X, y = features(100)
    y = half(y)
    full = quick(encoders=None).fit(X, y)
    without = {
        name: quick(encoders=None, **{name: False}).fit(X, y)
        for name in ("pretrain", "noise", "self_training", "oversample")
    }
    assert without["pretrain"][-1].estimator_.pretraining_ is None
    assert without["self_training"][-1].n_iter_ == 0
    for name in ("pretrain", "noise", "self_training"):
        assert (without[name].predict_proba(X) != full.predict_proba(X)).any()
    assert without["oversample"][-1].sampler is None


@pytest.mark.parametrize(
    ("oversample", "n_sad"),
    [(True, 28), (False, 10), (1.0, 40), (25, 25), ({"sad": 0.5}, 20)],
)
def test_rare_classes_are_brought_up(oversample, n_sad):
    X, y = features(80)
    rows = np.r_[np.flatnonzero(y == "glad"), np.flatnonzero(y == "sad")[:10]]
    model = quick(encoders=None, oversample=oversample).fit(X.iloc[rows], y[rows])
    prior = model[-1].estimator_.class_prior_
    assert prior[1] == pytest.approx(n_sad / (40 + n_sad))


def test_the_models_of_the_paper_small_and_random(small_clips, tmp_path):
    model = quick(encoders="paper", cache=tmp_path, device="cpu")
    model.set_params(
        encode__audio__model=speech_model("hubert-large"),
        encode__video__model=image_model("clip"),
        encode__text__model=text_model("qwen2"),
    )
    y = np.resize(LABELS, len(small_clips.paths)).astype(object)
    y[-2:] = None
    # Of two clips without a label, the default share is none
    model.set_params(classify__n_per_class=None).fit(small_clips.data, y)
    assert model.predict_proba(small_clips.data).shape == (len(y), 2)
