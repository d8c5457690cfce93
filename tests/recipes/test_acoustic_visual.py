"""make_acoustic_visual."""

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

from skmer.encoders import AcousticEncoder, AdaptedSpeechEncoder, SpeechEncoder
from skmer.recipes import ACOUSTIC_VISUAL_PARAM_GRID, make_acoustic_visual


def quick(**settings):
    model = make_acoustic_visual(random_state=0, **settings)
    few = {"fuse__max_epochs": 8, "adapt__max_epochs": 3, "align__max_epochs": 3}
    names = {name for name, _ in model.steps}
    return model.set_params(
        **{key: value for key, value in few.items() if key.split("__")[0] in names}
    )


def names(model):
    return [name for name, _ in model.steps]


def test_steps():
    full = ["clips", "encode", "adapt", "align", "scale", "fuse"]
    assert names(make_acoustic_visual()) == full
    assert names(make_acoustic_visual(adapt=False)) == [
        name for name in full if name != "adapt"
    ]
    assert names(make_acoustic_visual(align=False)) == [
        name for name in full if name != "align"
    ]
    assert names(make_acoustic_visual(encoders=None)) == full[2:]
    model = make_acoustic_visual(streams=("video", "text"))
    assert names(model) == ["clips", "encode", "scale", "fuse"]
    assert model[-1].streams == ("video", "text")
    assert clone(model).get_params().keys() == model.get_params().keys()


def test_the_sound_is_adapted_once():
    paper = make_acoustic_visual(encoders="paper")
    assert names(paper) == ["clips", "encode", "align", "scale", "fuse"]
    parts = {name: part for name, part, _ in paper.named_steps["encode"].transformers}
    assert isinstance(parts["audio"], AdaptedSpeechEncoder)
    frozen = make_acoustic_visual(encoders="paper", adapt=False)
    parts = {name: part for name, part, _ in frozen.named_steps["encode"].transformers}
    assert isinstance(parts["audio"], SpeechEncoder)
    assert list(parts["audio"].layers) == list(range(16, 22))
    own = {"audio": AdaptedSpeechEncoder("some/model")}
    assert "adapt" not in names(make_acoustic_visual(encoders=own, streams="audio"))
    own = {"audio": AcousticEncoder()}
    assert "adapt" in names(make_acoustic_visual(encoders=own, streams="audio"))


def test_grid():
    check_grid(make_acoustic_visual(), ACOUSTIC_VISUAL_PARAM_GRID)


def test_on_clips(small_clips, tmp_path):
    model = quick(sidecar_text=True, cache=tmp_path)
    model.set_params(encode__video__n_frames=2)
    check_raw_clips(model, small_clips, ACOUSTIC_VISUAL_PARAM_GRID)


def test_on_features():
    X, y = features()
    assert cross_val_score(quick(encoders=None), X, y, cv=3).mean() > 0.8


def test_gaps():
    check_gaps(quick(encoders=None), *features())


def test_held_out_rows():
    check_held_out_rows(quick(encoders=None), *features())


def test_unlabelled_clips_teach_the_alignment_and_nothing_else():
    X, y = features()
    some, fewer = y.astype(object), y.astype(object)
    some[40:] = fewer[40:] = None
    others = X.copy()
    others.iloc[40:] = others.iloc[40:].to_numpy()[::-1] * 2
    one, two = (quick(encoders=None).fit(frame, some) for frame in (X, others))
    adapters = [model.named_steps["adapt"].module_.state_dict() for model in (one, two)]
    assert all((adapters[0][k] == adapters[1][k]).all() for k in adapters[0])
    assert one.named_steps["align"].n_pairs_ == 60
    maps = [model.named_steps["align"].module_.state_dict() for model in (one, two)]
    assert any((maps[0][k] != maps[1][k]).any() for k in maps[0])


def test_sound_that_only_aligns():
    X, y = features()
    model = quick(encoders=None, streams=("audio", "video"))
    model.set_params(fuse__streams=("video",)).fit(X, y)
    assert list(model[-1].streams_) == ["video"]
    silent = X.copy()
    silent.loc[:, [c for c in X if c.startswith("audio")]] = np.nan
    np.testing.assert_array_equal(model.predict_proba(silent), model.predict_proba(X))


def test_the_models_of_the_paper_small_and_random(small_clips, tmp_path):
    model = quick(encoders="paper", cache=tmp_path, device="cpu")
    model.set_params(
        encode__audio__model=speech_model("hubert-large"),
        encode__audio__layers=[2, 3],
        encode__audio__max_epochs=1,
        encode__video__model=image_model("clip"),
        encode__text__model=text_model("qwen2"),
    )
    y = np.resize(LABELS, len(small_clips.paths))
    model.fit(small_clips.data, y)
    assert model.predict_proba(small_clips.data).shape == (len(y), 2)
    adapted = model.named_steps["encode"].named_transformers_["audio"]
    assert list(adapted.layer_weights_) == [2, 3]


def test_settings_that_do_not_exist():
    with pytest.raises(ValueError, match="smell"):
        make_acoustic_visual(streams=["smell"])


@pytest.mark.parametrize(
    "streams",
    [
        ("audio", "video__face", "text"),
        ("audio__low", "audio__high", "video__frame", "video__face"),
    ],
)
def test_streams_below_modalities(streams):
    X, y = features(streams=streams)
    model = quick(encoders=None, streams=streams).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.75
    seen = model[:-1].transform(X)
    sound, pictures = streams[0], next(s for s in streams if s.startswith("video"))
    assert model.named_steps["adapt"].stream == sound
    assert any(column.startswith(f"{pictures}__aligned") for column in seen)
    kept = [c for c in X if not c.startswith((sound, pictures))]
    assert set(kept) <= set(seen)
