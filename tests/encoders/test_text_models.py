"""TextEncoder with models of transformers, against transformers itself."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from tiny_text_models import FAMILIES, N_LAYERS, TEXTS, WIDTH, text_model
from transformers import AutoModel, AutoTokenizer

from skmer._pretrained import load_backbone, unload_backbones
from skmer._pretrained._backbones import blocks
from skmer.encoders import TextEncoder
from skmer.encoders._pooling import pool
from skmer.encoders._text_states import _room

LONG = "It went on and on, and no one knew why. " * 12


def reference(name, text):
    """Return transformers' own hidden states of the tokens of one text."""
    folder = text_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
    special = inputs.pop("special_tokens_mask")[0].bool()
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    assert len(states) == N_LAYERS + 1
    return torch.stack([state[0, ~special] for state in states]).numpy()


def assert_near(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_is_that_of_transformers(name):
    expected = [reference(name, text) for text in TEXTS]
    model = text_model(name)
    for layer in range(N_LAYERS + 1):
        for cache_layers in ("asked", "all"):
            features = TextEncoder(
                model, layers=layer, cache_layers=cache_layers, cache=None
            ).transform(TEXTS)
            means = np.stack([states[layer].mean(axis=0) for states in expected])
            assert_near(features, means)
    last = TextEncoder(model, cache=None).transform(TEXTS)
    assert_near(last, np.stack([states[-1].mean(axis=0) for states in expected]))


@pytest.mark.parametrize("name", FAMILIES)
def test_padded_batches_are_exact(name):
    encoder = TextEncoder(
        text_model(name),
        layers=list(range(N_LAYERS + 1)),
        layer_pooling="concat",
        pooling=None,
        max_length=150,
        batch_size=len(TEXTS),
        cache=None,
    )
    backbone = load_backbone("AutoModel", text_model(name), device="cpu")
    sizes = []
    handle = backbone.model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    try:
        padded = encoder.transform(TEXTS)[:, 0]
    finally:
        handle.remove()
    assert max(sizes) > 1
    for text, tokens in zip(TEXTS, padded, strict=True):
        states = reference(name, text).transpose(1, 0, 2).reshape(len(tokens), -1)
        assert_near(tokens, states, 1e-5)


@pytest.mark.parametrize("name", ["bert", "qwen2"])
def test_special_tokens_are_no_part_of_the_text(name):
    (tokens,) = TextEncoder(text_model(name), pooling=None).transform(["go home"])[0]
    n_tokens = len(AutoTokenizer.from_pretrained(text_model(name)).tokenize("go home"))
    assert tokens.shape == (n_tokens, WIDTH)
    np.testing.assert_allclose(
        np.asarray(tokens), reference(name, "go home")[-1], rtol=1e-4, atol=1e-5
    )


def test_preset_sums_the_last_four_states():
    features = TextEncoder(text_model("roberta"), preset="mertools").transform(TEXTS)
    expected = [reference("roberta", text)[-4:].sum(0).mean(0) for text in TEXTS]
    assert_near(features, np.stack(expected))
    shallow = TextEncoder(text_model("bert", 3), preset="mertools")
    with pytest.raises(ValueError, match="last four"):
        shallow.transform(TEXTS)


@pytest.mark.parametrize("pooling", ["mean", "mean_std", 3])
def test_poolings_and_names(pooling):
    encoder = TextEncoder(
        text_model("bert"), layers=[1, 4], layer_pooling="concat", pooling=pooling
    )
    features = encoder.set_output(transform="pandas").transform(TEXTS)
    names = list(encoder.get_feature_names_out())
    assert list(features.columns) == names
    for row, text in zip(features.to_numpy(), TEXTS, strict=True):
        states = reference("bert", text)
        both = np.concatenate([states[1], states[4]], axis=1)
        assert_near(row, pool(both, pooling))
    assert names[0].startswith("layer1_0") and names[-1].startswith("layer4_15")


@pytest.mark.parametrize("name", ["roberta", "llama"])
@pytest.mark.parametrize("pooling", ["mean", "mean_std", 2, None])
def test_long_texts_go_in_windows(name, pooling):
    tokenizer = AutoTokenizer.from_pretrained(text_model(name))
    model = AutoModel.from_pretrained(text_model(name)).eval()
    whole = tokenizer(LONG)["input_ids"]
    content = tokenizer(LONG, add_special_tokens=False)["input_ids"]
    start = whole.index(content[0])
    before, after = whole[:start], whole[start + len(content) :]
    limit = 60
    n_windows = -(-len(content) // (limit - len(before) - len(after)))
    assert n_windows > 3
    frames = []
    for part in np.array_split(content, n_windows):
        ids = torch.tensor([[*before, *part.tolist(), *after]])
        assert ids.shape[1] <= limit
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states[2]
        frames.append(states[0, len(before) : len(before) + len(part)].numpy())
    encoder = TextEncoder(
        text_model(name), layers=2, pooling=pooling, max_length=limit, cache=None
    )
    row = encoder.transform([LONG, "no"])[0]
    row = row[0] if pooling is None else row
    assert_near(row, pool(np.concatenate(frames), pooling))


def test_windows_heed_the_positions_of_the_model():
    assert _room(1000, load_backbone("AutoModel", text_model("bert"))) == 160
    # Position 0 and that of padding are never given to a token.
    assert _room(1000, load_backbone("AutoModel", text_model("roberta"))) == 158
    for name in ("bert", "roberta"):
        features = TextEncoder(text_model(name), max_length=1000).transform([LONG])
        assert np.isfinite(features).all()
    with pytest.raises(ValueError, match="max_length=2 .*Raise max_length"):
        TextEncoder(text_model("bert"), max_length=2).transform(["so"])


def test_grid_over_layers_runs_the_model_once_per_text(tmp_path, monkeypatch):
    backbone = load_backbone("AutoModel", text_model("bert"), device="cpu")
    calls = []
    handle = backbone.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        model = make_pipeline(
            TextEncoder(text_model("bert"), cache_layers="all"), LogisticRegression()
        )
        grid = {
            "textencoder__layers": [1, 3, "last", [2, 4]],
            "textencoder__layer_pooling": ["mean", "concat"],
            "logisticregression__C": [0.1, 1.0],
        }
        X = [f"{text} {i}" for i in range(2) for text in TEXTS[:4]]
        GridSearchCV(model, grid, cv=2).fit(X, [0, 1, 0, 1] * 2)
    finally:
        handle.remove()
    assert len(calls) == len(X)


def test_asking_for_a_higher_layer_computes_again():
    model = text_model("llama")
    low = TextEncoder(model, layers=1).transform(TEXTS)
    high = TextEncoder(model, layers=4).transform(TEXTS)
    assert_near(low, np.stack([reference("llama", t)[1].mean(0) for t in TEXTS]))
    assert_near(high, np.stack([reference("llama", t)[4].mean(0) for t in TEXTS]))
    np.testing.assert_array_equal(TextEncoder(model, layers=1).transform(TEXTS), low)


def test_early_exit_runs_no_block_in_vain():
    encoder = TextEncoder(text_model("bert"), layers=2)
    assert encoder._blocks_to_load(2, N_LAYERS) == 2
    decoder = TextEncoder(text_model("qwen2"), layers=2)
    assert decoder._blocks_to_load(2, N_LAYERS) == 3
    assert decoder._blocks_to_load(N_LAYERS - 1, N_LAYERS) is None


def test_one_model_for_all_clones_and_none_in_pickles(monkeypatch):
    unload_backbones()
    loads = []
    original = AutoModel.from_pretrained.__func__

    def counting(cls, *args, **kwargs):
        loads.append(cls)
        return original(cls, *args, **kwargs)

    monkeypatch.setattr(AutoModel, "from_pretrained", classmethod(counting))
    encoder = TextEncoder(text_model("bert"), cache=None)
    expected = encoder.fit_transform(TEXTS)
    for twin in (clone(encoder), pickle.loads(pickle.dumps(encoder))):
        np.testing.assert_array_equal(twin.transform(TEXTS), expected)
    assert len(loads) == 1
    assert len(pickle.dumps(encoder)) < 2_000


def test_half_precision_and_overflow():
    expected = TextEncoder(text_model("qwen2"), cache=None).transform(TEXTS)
    rough = TextEncoder(text_model("qwen2"), dtype="bfloat16", cache=None)
    found = rough.transform(TEXTS)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_models_that_are_none_of_text(tmp_path):
    import transformers

    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1)
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="'vit'"):
        TextEncoder(tmp_path).transform(["so"])
    with pytest.raises(OSError, match="no folder"):
        TextEncoder("no/such/folder").transform(["so"])


def test_importing_brings_no_torch():
    code = (
        "import sys, skmer.encoders as e; "
        "e.TextEncoder(cache=None).fit_transform(['so', 'no']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_spread_over_several_places(tmp_path):
    pytest.importorskip("accelerate", reason="device_map needs accelerate")
    encoder = TextEncoder(text_model("llama"), layers="all", cache=None)
    expected = encoder.transform(TEXTS)
    where = {f"layers.{i}": "cpu" for i in range(N_LAYERS)}
    where |= {"embed_tokens": "cpu", "norm": "cpu", "rotary_emb": "cpu"}
    for device_map in ("auto", where, {**where, "layers.1": "disk"}):
        spread = encoder.set_params(device_map=device_map).transform(TEXTS)
        np.testing.assert_array_equal(spread, expected)
    with pytest.raises(ValueError, match="one of them"):
        encoder.set_params(device=["cpu", "cpu"]).transform(TEXTS)


def test_attention_and_compiling_are_choices():
    expected = TextEncoder(text_model("bert"), cache=None).transform(TEXTS)
    eager = TextEncoder(text_model("bert"), attn_implementation="eager", cache=None)
    assert_near(eager.transform(TEXTS), expected, 1e-5)
    with pytest.raises(ValueError, match="fast_one"):
        eager.set_params(attn_implementation="fast_one").transform(TEXTS)


# PyTorch's compiler uses what PyTorch deprecates.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compiled_models_are_the_same():
    expected = TextEncoder(text_model("bert"), cache=None).transform(TEXTS)
    compiled = TextEncoder(text_model("bert"), compile=True, cache=None)
    assert_near(compiled.transform(TEXTS), expected, 1e-5)
    model = load_backbone("AutoModel", text_model("bert"), compile=True).model
    assert all(block._compiled_call_impl is not None for block in blocks(model))
