"""VisualEncoder with models of transformers, against transformers itself."""

import pickle
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from tiny_image_models import FAMILIES, N_LAYERS, image_model
from transformers import AutoImageProcessor, AutoModel

from skmer._pretrained import load_backbone, unload_backbones
from skmer.encoders import VisualEncoder
from skmer.encoders._pooling import pool
from skmer.media import face_crops, read_frames, write_clip


@cache
def whole(name):
    folder = image_model(name)
    processor = AutoImageProcessor.from_pretrained(folder)
    return AutoModel.from_pretrained(folder).eval(), processor


def reference(name, images):
    """Return transformers' own embeddings, hidden states and last hidden state.

    One picture at a time, prepared by the processor; states averaged over patches.
    """
    model, processor = whole(name)
    *_, n_before, _ = FAMILIES[name]
    embeddings, states = [], []
    for image in images:
        inputs = processor(images=image, return_tensors="pt")
        with torch.no_grad():
            vision = getattr(model, "vision_model", model)
            output = vision(**inputs, output_hidden_states=True)
            if hasattr(model, "get_image_features"):
                embedding = model.get_image_features(**inputs).pooler_output
            else:
                embedding = output.last_hidden_state[:, 0]
        assert len(output.hidden_states) == N_LAYERS + 1
        every = [*output.hidden_states, output.last_hidden_state]
        states.append(np.stack([s[0, n_before:].mean(0).numpy() for s in every]))
        embeddings.append(embedding[0].numpy())
    return np.stack(embeddings), np.stack(states)


def shown(path, n_frames, side):
    frames = read_frames(path, n_frames)
    return face_crops(frames, detector="haar", size=side).images, frames.images


def assert_near(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", FAMILIES)
def test_embeddings_are_those_of_transformers(name, small_clips):
    paths = small_clips.paths[:2]
    encoder = VisualEncoder(image_model(name), n_frames=3, cache=None)
    features = encoder.fit_transform(paths)
    side = 40 if name.startswith("dinov2") else 32
    expected = [
        np.concatenate([reference(name, images)[0].mean(0) for images in regions])
        for regions in (shown(path, 3, side) for path in paths)
    ]
    assert_near(features, np.stack(expected))
    width = FAMILIES[name][-1]
    names = list(encoder.get_feature_names_out())
    assert len(names) == 2 * width
    assert names[0] == "face__0" and names[-1] == f"frame__{width - 1}"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_is_that_of_transformers(name, small_clips):
    path = small_clips.paths[0]
    expected = reference(name, read_frames(path, 2).images)[1].mean(0)
    common = {"regions": ["frame"], "n_frames": 2, "cache": None}
    for layer in [*range(N_LAYERS + 1), "last"]:
        for cache_layers in ("asked", "all"):
            encoder = VisualEncoder(
                image_model(name), layers=layer, cache_layers=cache_layers, **common
            )
            row = expected[-1 if layer == "last" else layer]
            assert_near(encoder.transform([path])[0], row)


def test_the_last_state_is_normalised_where_the_model_does_that():
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    for name in FAMILIES:
        _, states = reference(name, images)
        differs = np.abs(states[0, -1] - states[0, -2]).max() > 1e-3
        assert differs == (name != "clip")


@pytest.mark.parametrize("name", ["clip", "dinov2"])
def test_company_in_a_batch_changes_nothing(name):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 40, 60, 3), dtype=np.uint8)
    expected = reference(name, images)[0]
    parts = np.split(images, [2, 5, 17])
    for batch_size in ("auto", 2, 100):
        encoder = VisualEncoder(image_model(name), pooling=None, batch_size=batch_size)
        job = encoder._job()
        found = [{"frame": job.preprocessing.shrink(part)} for part in parts]
        stretches = [stretch for one in found for stretch in job.stretches(one)]
        assert [len(stretch) for stretch in stretches] == [2, 3, 8, 4, 8, 5]
        rows, backbone = {}, job.load("cpu")
        for batch in job.batches(stretches, "cpu"):
            values = job.forward(backbone, [stretches[i] for i in batch])
            rows.update(zip(batch, values, strict=True))
        rows = np.concatenate([rows[i].numpy()[:, 0] for i in range(6)])
        assert_near(rows, expected, 1e-5)


@pytest.mark.parametrize("pooling", ["mean_std", 2, None])
def test_poolings_and_several_layers(pooling, small_clips):
    path = small_clips.paths[0]
    encoder = VisualEncoder(
        image_model("siglip"),
        regions=["frame", "face"],
        n_frames=4,
        layers=[1, "last"],
        layer_pooling="concat",
        pooling=pooling,
    )
    row = encoder.transform([path])[0]
    face, frame = shown(path, 4, 32)
    expected = []
    for images in (frame, face):
        _, states = reference("siglip", images)
        expected.append(pool(np.concatenate([states[:, 1], states[:, -1]], 1), pooling))
    if pooling is None:
        for found, wanted in zip(row, expected, strict=True):
            assert_near(np.asarray(found), wanted)
    else:
        assert_near(row, np.concatenate(expected))
        assert len(encoder.get_feature_names_out()) == len(row)


def test_preset_is_the_mean_over_faces_of_every_frame(small_clips):
    path = small_clips.paths[0]
    encoder = VisualEncoder(image_model("clip"), preset="mertools", n_frames=2)
    every = shown(path, 10_000, 32)[0]
    assert len(every) > 5
    expected = reference("clip", every)[0].mean(0)
    assert_near(encoder.fit_transform([path])[0], expected)
    assert encoder.get_feature_names_out()[0] == "face__0"


def test_preset_keeps_to_regions_that_are_named(small_clips):
    path = small_clips.paths[0]
    common = {"model": image_model("clip"), "cache": None}
    both = VisualEncoder(regions=["face", "frame"], preset="mertools", **common)
    face = VisualEncoder(preset="mertools", **common)
    frame = VisualEncoder(regions="frame", n_frames=None, **common)
    expected = np.hstack([face.transform([path]), frame.transform([path])])
    np.testing.assert_array_equal(both.transform([path]), expected)
    names = both.get_feature_names_out()
    assert [name.split("__")[0] for name in names[[0, -1]]] == ["face", "frame"]


@pytest.mark.parametrize("layers", ["embedding", [1, 2]])
def test_without_a_face_the_frame_remains(layers, tmp_path, small_clips):
    wall = tmp_path / "wall.mp4"
    ground = np.linspace(0, 255, 64 * 48).reshape(48, 64, 1)
    noise = np.random.default_rng(0).normal(0, 4, (5, 48, 64, 3))
    write_clip(wall, frames=np.clip(ground + noise, 0, 255).astype(np.uint8))
    sound = tmp_path / "a.wav"
    write_clip(sound, audio=np.zeros(4000, dtype=np.float32), rate=16000)
    encoder = VisualEncoder(image_model("vit"), layers=layers, n_frames=3)
    for _ in range(2):
        features = encoder.transform([wall, small_clips.paths[0], sound])
        width = features.shape[1] // 2
        assert np.isnan(features[0, :width]).all()
        assert np.isfinite(features[0, width:]).all()
        assert np.isfinite(features[1]).all() and np.isnan(features[2]).all()


def test_grid_over_layers_runs_the_model_once_per_clip(small_clips):
    model = image_model("dinov2")
    backbone = load_backbone("AutoModel", model, device="cpu")
    calls = []
    handle = backbone.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        encoder = VisualEncoder(
            model, regions=["frame"], n_frames=2, cache_layers="all", batch_size=1
        )
        grid = {
            "visualencoder__layers": [1, 3, "last", [2, 4]],
            "visualencoder__layer_pooling": ["mean", "concat"],
        }
        pipeline = make_pipeline(encoder.set_params(layers=1), LogisticRegression())
        y = [0, 1, 0, 1, 0, 1]
        GridSearchCV(pipeline, grid, cv=2).fit(small_clips.paths, y)
    finally:
        handle.remove()
    assert len(calls) == len(small_clips.paths)


def test_early_exit_loads_no_block_in_vain(small_clips):
    unload_backbones()
    for name in FAMILIES:
        encoder = VisualEncoder(image_model(name), layers=2)
        job = encoder._job()
        backbone, depth = job.load("cpu"), job.depth
        blocks = {
            key.split("layer")[1].split(".")[1]
            for key, _ in backbone.model.named_parameters()
            if ".layer." in f".{key}" or ".layers." in f".{key}"
        }
        assert depth == 2 and len(blocks) == 2, name


def test_one_model_for_all_clones_and_none_in_pickles(monkeypatch, small_clips):
    unload_backbones()
    loads = []
    original = AutoModel.from_pretrained.__func__

    def counting(cls, *args, **kwargs):
        loads.append(cls)
        return original(cls, *args, **kwargs)

    monkeypatch.setattr(AutoModel, "from_pretrained", classmethod(counting))
    encoder = VisualEncoder(image_model("clip"), regions=["frame"], cache=None)
    expected = encoder.fit_transform(small_clips.paths[:2])
    for twin in (clone(encoder), pickle.loads(pickle.dumps(encoder))):
        features = twin.transform(small_clips.paths[:2])
        np.testing.assert_array_equal(features, expected)
    assert len(loads) == 1
    assert len(pickle.dumps(encoder)) < 2_000


def test_models_that_are_none_of_images(tmp_path, small_clips):
    import transformers

    config = transformers.BertConfig(num_hidden_layers=1)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="'bert'"):
        VisualEncoder(tmp_path).get_feature_names_out()
