"""make_foal_net."""

import numpy as np
from recipe_checks import (
    LABELS,
    check_gaps,
    check_grid,
    check_held_out_rows,
    check_raw_clips,
    sequences,
)
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from tiny_image_models import image_model
from tiny_models import speech_model

from skmer.recipes import FOAL_NET_PARAM_GRID, make_foal_net


def quick(**settings):
    model = make_foal_net(random_state=0, **settings)
    return model.set_params(fuse__max_epochs=8, fuse__hidden_size=16)


def test_steps():
    model = make_foal_net(n_jobs=2)
    assert [name for name, _ in model.steps] == ["clips", "encode", "fuse"]
    encoders = {
        column: encoder
        for _, encoder, column in model.named_steps["encode"].transformers
    }
    assert {name: encoder.pooling for name, encoder in encoders.items()} == {
        "audio": "windows",
        "video": None,
    }
    assert all(encoder.n_jobs == 2 for encoder in encoders.values())
    assert clone(model).get_params().keys() == model.get_params().keys()


def test_both_losses_can_be_left_out():
    weights = {
        (align, match): (
            make_foal_net(align=align, match=match)[-1].alignment_weight,
            make_foal_net(align=align, match=match)[-1].matching_weight,
        )
        for align in (True, False)
        for match in (True, False)
    }
    assert len(set(weights.values())) == 4
    assert weights[False, False] == (0.0, 0.0)


def test_grid():
    check_grid(make_foal_net(), FOAL_NET_PARAM_GRID)


def test_on_clips(small_clips, tmp_path):
    model = quick(cache=tmp_path)
    model.set_params(encode__video__n_frames=2, fuse__max_epochs=2)
    check_raw_clips(model, small_clips, FOAL_NET_PARAM_GRID)


def test_on_sequences():
    X, y = sequences()
    assert cross_val_score(quick(encoders=None), X, y, cv=3).mean() > 0.8


def test_gaps():
    check_gaps(quick(encoders=None), *sequences())


def test_held_out_rows():
    check_held_out_rows(quick(encoders=None), *sequences())


def test_a_stream_more(small_clips, tmp_path):
    model = quick(
        streams=("audio", "video__frame", "text"), sidecar_text=True, cache=tmp_path
    ).set_params(encode__video__n_frames=2, fuse__max_epochs=1)
    y = np.resize(LABELS, len(small_clips.paths))
    model.fit(small_clips.paths, y)
    assert set(model[-1].streams_) == {"audio", "video__frame", "text"}


def test_the_models_of_the_paper_small_and_random(small_clips, tmp_path):
    model = quick(encoders="paper", cache=tmp_path, device="cpu")
    model.set_params(
        encode__audio__model=speech_model("wavlm-large"),
        encode__video__model=image_model("clip"),
        encode__video__n_frames=2,
        fuse__max_epochs=1,
    )
    y = np.resize(LABELS, len(small_clips.paths))
    model.fit(small_clips.data, y)
    assert model.predict_proba(small_clips.data).shape == (len(y), 2)
