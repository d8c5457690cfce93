"""SpeechEncoder: against transformers itself, and what its cache holds."""

import math
import pickle
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from joblib import parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from tiny_models import N_LAYERS, SPEECH, WIDTH, speech_model

import skmer
from skmer.encoders import SpeechEncoder
from skmer.encoders._pooling import pool
from skmer.encoders._speech_model import SpeechModel
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import read_audio, write_clip

STATES = [*range(N_LAYERS + 1), "last"]
SECONDS = (0.5, 0.9, 0.9, 1.3, 1.7)


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Five sound files of three different lengths and one equal pair."""
    folder = tmp_path_factory.mktemp("noises")
    rng = np.random.default_rng(0)
    return [_write(folder / f"{i}.wav", rng, s) for i, s in enumerate(SECONDS)]


def _write(path, rng, seconds):
    sound = rng.standard_normal(round(seconds * 16000)) * 0.1
    write_clip(path, audio=sound.astype(np.float32), rate=16000)
    return str(path)


@cache
def _loaded(name):
    model = transformers.AutoModel.from_pretrained(speech_model(name))
    return model.eval().requires_grad_(False)


def _reference(name, sound):
    """Return all hidden states of one sound and the last, by transformers alone.

    States are read where the blocks return them, not from ``hidden_states``.
    """
    model = _loaded(name)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(speech_model(name))
    inputs = extractor(sound, sampling_rate=16000, return_tensors="pt")
    encoder = model.encoder
    states = []

    def note(module, args, output):
        if not states:
            states.append(args[0])
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_hook(note) for layer in encoder.layers]
    if name == "whisper":
        last = encoder(inputs.input_features).last_hidden_state
        n_frames = math.ceil(math.ceil(len(sound) / 160) / 2)
    else:
        last = model(inputs.input_values).last_hidden_state
        n_frames = last.shape[1]
    for hook in hooks:
        hook.remove()
    return [state[0, :n_frames].numpy() for state in [*states, last]]


def _close(one, two, tolerance=1e-4):
    scale = np.abs(two).max()
    assert np.abs(one - two).max() <= tolerance * scale


@contextmanager
def _forward_passes(encoder, depth=None):
    """Count the windows that go through a model of the process."""
    backbone = encoder._speech_model().backbone(
        depth, device="cpu", dtype="float32", attn_implementation=None
    )
    passes = []
    hook = backbone.model.register_forward_hook(
        lambda module, args, output: passes.append(len(args[0]))
    )
    yield passes
    hook.remove()


@pytest.mark.parametrize("batch_size", ["auto", 5])
@pytest.mark.parametrize("name", SPEECH)
def test_every_layer_is_that_of_transformers(name, batch_size, noises):
    references = [_reference(name, read_audio(path)) for path in noises]
    pooled = np.stack([[pool(s, "mean") for s in states] for states in references])
    encoder = SpeechEncoder(speech_model(name), batch_size=batch_size, cache=None)
    for index, layer in enumerate(STATES):
        # Cut off after the layer.
        rows = encoder.set_params(layers=layer).fit_transform(noises)
        _close(rows, pooled[:, index], 1e-5)
    encoder.set_params(layers=STATES, layer_pooling="concat", cache_layers="all")
    rows = encoder.transform(noises).reshape(pooled.shape)
    for index in range(len(STATES)):
        _close(rows[:, index], pooled[:, index], 1e-5)


@pytest.mark.parametrize("name", SPEECH)
def test_states_are_raw_outputs_of_blocks(name, noises):
    encoder = SpeechEncoder(
        speech_model(name), layers=STATES, layer_pooling="concat", cache=None
    )
    rows = encoder.transform(noises[:1]).reshape(len(STATES), WIDTH)
    normalised = name == "whisper" or name.endswith("large")
    assert (np.abs(rows[-2] - rows[-1]).max() > 0.01) == normalised
    for i, one in enumerate(rows[:-1]):
        for other in rows[:i]:
            assert np.abs(one - other).max() > 0.01


def test_24_blocks_have_25_states(noises):
    speech = SpeechModel(speech_model("hubert-24"), None, False, 30.0, False)
    assert speech.n_layers == 24
    backbone = speech.backbone(None, device="cpu", dtype="float32")
    (output,) = speech.run(backbone, speech.windows(read_audio(noises[0])))
    assert len(output) == 25 + 1
    backbone = speech.backbone(21, device="cpu", dtype="float32")
    (early,) = speech.run(backbone, speech.windows(read_audio(noises[0])))
    assert len(early) == 22 + 1
    for one, other in zip(early[:22], output[:22], strict=True):
        assert torch.equal(one, other)
    encoder = SpeechEncoder(speech_model("hubert-24"), layers=-4, cache=None)
    expected = pool(output[21].numpy(), "mean")
    _close(encoder.transform(noises[:1])[0], expected, 1e-6)


def test_layers_are_put_together_after_pooling(noises):
    folder = speech_model("hubert-large")

    def rows(**params):
        return SpeechEncoder(folder, cache=None, **params).transform(noises[:2])

    second, last = rows(layers=2), rows(layers="last")
    _close(rows(layers=[2, "last"]), (second + last) / 2, 1e-6)
    _close(rows(layers=[2, "last"], layer_pooling="sum"), second + last, 1e-6)
    both = rows(layers=[2, "last"], layer_pooling="concat")
    np.testing.assert_array_equal(both, np.hstack([second, last]))
    blocks = [rows(layers=i) for i in range(1, N_LAYERS + 1)]
    _close(rows(layers="all"), np.mean(blocks, axis=0), 1e-6)
    np.testing.assert_array_equal(rows(layers=-1), blocks[-1])


@pytest.mark.parametrize("pooling", ["mean", "mean_std", 1, 3, 1000])
@pytest.mark.parametrize("layer_pooling", ["sum", "concat"])
def test_pooling_is_that_of_the_frames(pooling, layer_pooling, noises):
    params = {"layers": [1, 3], "layer_pooling": layer_pooling, "cache": None}
    folder = speech_model("wavlm-large")
    states = _reference("wavlm-large", read_audio(noises[3]))
    frames = [states[1], states[3]]
    encoder = SpeechEncoder(folder, pooling=pooling, **params)
    row = encoder.transform(noises[3:4])[0]
    if layer_pooling == "sum":
        _close(row, sum(pool(f, pooling) for f in frames), 1e-5)
    else:
        _close(row, pool(np.hstack(frames), pooling), 1e-5)
    names = encoder.get_feature_names_out()
    assert len(names) == len(row) == len(set(names))


def test_names():
    encoder = SpeechEncoder(
        speech_model("hubert-large"),
        layers=[3, "last"],
        layer_pooling="concat",
        pooling="mean_std",
    )
    names = list(encoder.get_feature_names_out())
    assert names[0] == "layer3_0_mean"
    assert names[WIDTH] == "last_0_mean"
    assert names[-1] == f"last_{WIDTH - 1}_std"
    encoder.set_params(layer_pooling="sum", pooling="mean")
    assert list(encoder.get_feature_names_out()[:2]) == ["h0", "h1"]


@pytest.mark.parametrize("name", ["hubert-base", "wavlm-large", "whisper"])
def test_long_sound_goes_through_in_windows(name, tmp_path, noises):
    path = _write(tmp_path / "long.wav", np.random.default_rng(1), 3.21)
    sound = read_audio(path)
    window_seconds = 1.1
    pieces = np.array_split(sound, 3)
    if name != "whisper":
        # Normalised as a whole, before it is cut.
        whole = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        pieces = np.array_split(whole, 3)
    frames = []
    for piece in pieces:
        if name == "whisper":
            frames.append(_reference(name, piece)[2])
        else:
            values = torch.tensor(piece)[None]
            output = _loaded(name)(values, output_hidden_states=True)
            frames.append(output.hidden_states[2][0].numpy())
    frames = np.concatenate(frames)
    for pooling in ("mean", "mean_std", 4, None):
        for batch_size in ("auto", 4):
            rows = SpeechEncoder(
                speech_model(name),
                layers=2,
                pooling=pooling,
                window_seconds=window_seconds,
                batch_size=batch_size,
                cache=None,
            ).transform([path, noises[0]])
            row = rows[0, 0] if pooling is None else rows[0]
            _close(row, pool(frames, pooling), 1e-5)


def test_whisper_windows_are_never_longer_than_its_own(tmp_path):
    path = _write(tmp_path / "long.wav", np.random.default_rng(1), 3.9)
    halves = np.array_split(read_audio(path), 2)
    frames = np.concatenate([_reference("whisper", half)[-1] for half in halves])
    row = SpeechEncoder(speech_model("whisper"), cache=None).transform([path])[0]
    _close(row, pool(frames, "mean"), 1e-5)


@pytest.mark.parametrize("seconds", [0.5, 10.0, 12.3])
def test_mertools_preset(seconds, tmp_path):
    path = _write(tmp_path / "clip.wav", np.random.default_rng(2), seconds)
    folder = speech_model("hubert-24")
    sound = read_audio(path)
    whole = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    batch = torch.tensor(whole)[None]
    if len(whole) > 160000:
        batch = torch.zeros(2 * 160000)
        batch[: len(whole)] = torch.tensor(whole)
        batch = batch.view(2, 160000)
    output = _loaded("hubert-24")(batch, output_hidden_states=True)
    h = output.hidden_states
    total = h[21] + h[22] + h[23] + output.last_hidden_state
    expected = total.reshape(-1, WIDTH).double().mean(dim=0).numpy()
    encoder = SpeechEncoder(
        folder, layers=3, layer_pooling="concat", preset="mertools", cache=None
    )
    _close(encoder.transform([path])[0], expected, 1e-5)
    assert len(encoder.get_feature_names_out()) == WIDTH
    frames = encoder.set_params(pooling=None).transform([path])[0, 0]
    _close(frames, total.reshape(-1, WIDTH).numpy(), 1e-5)


def test_padding_would_show_in_models_that_are_batched_by_length(noises):
    # What the batches by equal length are for, and where they are not needed.
    for name, leaks in {"hubert-base": True, "wav2vec2-large": False}.items():
        speech = SpeechModel(speech_model(name), None, False, 30.0, False)
        assert speech.masks_padding != leaks
        backbone = speech.backbone(None, device="cpu", dtype="float32")
        windows = [speech.windows(read_audio(noises[i]))[0] for i in (0, 4)]
        together = speech.run(backbone, windows)[0][2]
        alone = speech.run(backbone, windows[:1])[0][2]
        difference = float((together - alone).abs().max() / alone.abs().max())
        assert difference > 1e-3 if leaks else difference < 1e-5


def test_batches_are_of_like_lengths(noises):
    encoder = SpeechEncoder(speech_model("data2vec"), batch_size=5, cache=None)
    with _forward_passes(encoder) as passes:
        encoder.transform(noises)
    assert sorted(passes) == [1, 1, 1, 2]
    encoder = SpeechEncoder(speech_model("wavlm-large"), batch_size=5, cache=None)
    with _forward_passes(encoder) as passes:
        encoder.transform(noises)
    # 1.7 and 1.3 s, then 0.9 twice, then 0.5: no more than half as long again.
    assert passes == [2, 2, 1]
    encoder = SpeechEncoder(speech_model("whisper"), batch_size=5, cache=None)
    with _forward_passes(encoder) as passes:
        encoder.transform(noises)
    assert passes == [5]


def test_sound_shorter_than_a_frame(tmp_path, noises):
    path = _write(tmp_path / "short.wav", np.random.default_rng(3), 0.004)
    for name in SPEECH:
        encoder = SpeechEncoder(speech_model(name), layers=1, cache=None)
        rows = encoder.transform([path, noises[0]])
        assert np.isfinite(rows).all()
    encoder = SpeechEncoder(speech_model("hubert-large"), pooling=None, cache=None)
    assert encoder.transform([path])[0, 0].shape == (1, WIDTH)


def test_stored_layers_serve_every_choice_of_them(noises, tmp_path):
    encoder = SpeechEncoder(
        speech_model("wavlm-large"), cache_layers="all", cache=tmp_path / "cache"
    )
    with _forward_passes(encoder) as passes:
        for layers in (2, "last", [1, 4], "all", -1):
            for layer_pooling in ("mean", "sum", "concat"):
                params = {"layers": layers, "layer_pooling": layer_pooling}
                rows = clone(encoder).set_params(**params).transform(noises)
                plain = clone(encoder).set_params(cache=None, **params)
                if layers == [1, 4]:
                    n_passes = len(passes)
                    np.testing.assert_array_equal(rows, plain.transform(noises))
                    del passes[n_passes:]
    assert len(passes) == len(noises)
    assert encoder._store().info()["entries"] == len(noises)


def test_a_record_that_lacks_a_layer_is_replaced_by_a_fuller_one(noises, tmp_path):
    encoder = SpeechEncoder(speech_model("hubert-base"), cache=tmp_path / "cache")
    full = SpeechEncoder(speech_model("hubert-base"), cache=None)

    def passes(layers, depth):
        twin = clone(encoder).set_params(layers=layers)
        with _forward_passes(twin, depth) as counted:
            rows = twin.transform(noises)
        expected = full.set_params(layers=layers, cache_layers="all")
        np.testing.assert_array_equal(rows, expected.transform(noises))
        assert encoder._store().info()["entries"] == len(noises)
        return len(counted)

    # Of each row of the list: layers, blocks that are run, whether any are.
    assert passes(2, 2) == 5
    assert passes([0, 1], 1) == 0
    assert passes(2, 2) == 0
    assert passes(3, 3) == 5
    assert passes(1, 1) == 0
    twin = clone(encoder).set_params(layers=[1, "last"])
    with _forward_passes(twin) as counted:
        twin.transform(noises[:2])
        twin.transform(noises)
        # Two clips hold all layers now, and the others after the second call.
        assert len(counted) == len(noises)
        clone(encoder).set_params(layers=4).transform(noises)
        assert len(counted) == len(noises)


def test_search_over_layers_runs_the_model_once_a_clip(small_clips, tmp_path):
    encoder = SpeechEncoder(
        speech_model("hubert-large"), cache_layers="all", cache=tmp_path / "cache"
    )
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=2000))
    clips = small_clips.paths
    labels = [0, 1, 0, 1, 0, 1]
    grid = {
        "speechencoder__layers": [1, 2, [2, 3], "all", "last"],
        "speechencoder__layer_pooling": ["mean", "sum", "concat"],
        "logisticregression__C": [0.1, 1.0],
    }
    with _forward_passes(encoder) as passes:
        search = GridSearchCV(pipeline, grid, cv=2).fit(clips, labels)
        search.predict(clips)
    assert len(search.cv_results_["params"]) == 30
    assert len(passes) == len(clips)


def test_keys(noises, tmp_path):
    folder = speech_model("hubert-base")

    def key(**params):
        return SpeechEncoder(**({"model": folder} | params))._namespace()

    one = key()
    same = [
        {"layers": 3},
        {"layer_pooling": "sum"},
        {"cache_layers": "all"},
        {"device": "cpu"},
        {"batch_size": 7},
    ]
    assert {key(**params) for params in same} == {one}
    other = [
        {"pooling": 2},
        {"dtype": "bfloat16"},
        {"window_seconds": 5.0},
        {"preset": "mertools"},
        {"model": speech_model("hubert-large")},
        {"pooling": None},
        {"pooling": None, "layers": 1},
    ]
    assert len({one, *(key(**params) for params in other)}) == len(other) + 1
    with skmer.config_context(dtype="bfloat16"):
        assert key() == key(dtype="bfloat16") != one


def test_pickles_hold_no_weights(noises):
    encoder = SpeechEncoder(speech_model("whisper"), layers=1)
    expected = encoder.fit_transform(noises)
    data = pickle.dumps(encoder)
    assert len(data) < 2000
    assert b"torch" not in data
    np.testing.assert_array_equal(pickle.loads(data).transform(noises), expected)


def test_settings_reach_worker_processes(noises, warm_workers):
    encoder = SpeechEncoder(speech_model("hubert-large"), cache=None, batch_size=2)
    exact = encoder.transform(noises)
    half = clone(encoder).set_params(dtype="bfloat16").transform(noises)
    _close(half, exact, 0.1)
    assert np.abs(half - exact).max() > 1e-4
    with skmer.config_context(dtype="bfloat16"), parallel_config(n_jobs=2):
        np.testing.assert_array_equal(encoder.transform(noises), half)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"layers": 5}, "to 4"),
        ({"layers": -6}, "to 4"),
        ({"layers": []}, "at least one"),
        ({"layers": [1, -4]}, "none twice"),
        ({"layers": [1.5]}, "whole numbers"),
        ({"layers": "middle"}, "layers"),
        ({"dtype": "int8"}, "dtype"),
        ({"window_seconds": 0.5}, "window_seconds"),
        ({"device": "gpu"}, "device"),
        ({"device": "cuda:99"}, "CUDA devices"),
    ],
)
def test_bad_parameters(params, words, noises):
    encoder = SpeechEncoder(speech_model("hubert-large"), cache=None, **params)
    with pytest.raises(ValueError, match=words):
        encoder.transform(noises[:1])


def test_models_that_do_not_fit(noises, tmp_path):
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    encoder = SpeechEncoder(tmp_path / "bert", cache=None)
    with pytest.raises(ValueError, match="type 'bert'"):
        encoder.transform(noises[:1])
    encoder = SpeechEncoder(speech_model("whisper"), preset="mertools", cache=None)
    with pytest.raises(ValueError, match="Leave the preset out"):
        encoder.transform(noises[:1])


def test_values_that_overflow_are_an_error(noises, tmp_path):
    model = transformers.AutoModel.from_pretrained(speech_model("hubert-base"))
    with torch.no_grad():
        model.encoder.layers[1].final_layer_norm.weight.mul_(math.inf)
    model.save_pretrained(tmp_path / "model")
    transformers.AutoFeatureExtractor.from_pretrained(
        speech_model("hubert-base")
    ).save_pretrained(tmp_path / "model")
    encoder = SpeechEncoder(tmp_path / "model", layers=2, cache=None)
    with pytest.raises(MediaError, match="bfloat16"):
        encoder.transform(noises[:1])
    encoder.set_params(on_error="nan")
    with pytest.warns(ExtractionWarning, match="1 of 1"):
        assert np.isnan(encoder.transform(noises[:1])).all()
