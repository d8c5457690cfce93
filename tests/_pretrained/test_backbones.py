"""Pretrained models: one per process, found without surprises."""

import json
import os
import pickle
import random
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from sklearn.base import clone
from tiny_models import speech_model

import skmer
from skmer._pretrained import (
    _backbones,
    _models,
    load_backbone,
    load_config,
    load_processor,
    model_identity,
    resolve_device,
    resolve_dtype,
    unload_backbones,
)
from skmer.encoders import SpeechEncoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    """A copy of a tiny model, to be changed."""
    return Path(copytree(speech_model("hubert-base"), tmp_path / "model"))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty local cache of the hub, and no network."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{_free_port()}")
    return cache


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _models_held():
    return [v for v in _backbones._loaded.values() if hasattr(v, "model")]


def test_one_model_for_everything_in_the_process(small_clips):
    unload_backbones()
    encoder = SpeechEncoder(speech_model("wavlm-base"), layers=2, cache=None)
    twins = [clone(encoder) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda e: e.transform(small_clips.paths[:2]), twins))
    for row in rows:
        np.testing.assert_array_equal(row, rows[0])
    assert len(_models_held()) == 1
    assert len(_models_held()[0].model.encoder.layers) == 2


def test_what_tells_models_apart():
    folder = speech_model("hubert-base")
    one = load_backbone("AutoModel", folder, device="cpu")
    assert load_backbone("AutoModel", folder) is one
    assert load_backbone("AutoModel", Path(folder), dtype="float32") is one
    others = [
        load_backbone("AutoModel", folder, n_layers=1),
        load_backbone("AutoModel", folder, dtype="bfloat16"),
        load_backbone("AutoModel", folder, part="encoder"),
        load_backbone("AutoModel", folder, overrides={"layerdrop": 0.5}),
        load_backbone("AutoModel", folder, attn_implementation="eager"),
    ]
    assert len({id(one), *map(id, others)}) == 6
    assert next(others[1].model.parameters()).dtype == torch.bfloat16
    assert not one.model.training
    assert not any(p.requires_grad for p in one.model.parameters())
    extractor = load_processor("AutoFeatureExtractor", folder)
    assert load_processor("AutoFeatureExtractor", folder) is extractor
    assert load_config(folder) is load_config(folder)
    assert load_config(folder).num_hidden_layers == 4
    unload_backbones()
    assert load_backbone("AutoModel", folder) is not one


def test_models_are_not_pickled():
    backbone = load_backbone("AutoModel", speech_model("hubert-base"))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(backbone)


def test_more_layers_than_there_are():
    for n_layers in (0, 5, 1.0):
        with pytest.raises(ValueError, match="has 4 layers"):
            load_backbone("AutoModel", speech_model("whisper"), n_layers=n_layers)


def test_loading_leaves_random_states_alone(folder):
    # Weights of the head are not there, and are drawn.
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    python = random.getstate()
    load_backbone("AutoModel", folder)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert random.getstate() == python


def test_identity_of_a_folder_is_its_content(folder, tmp_path):
    one = model_identity(folder)
    assert model_identity(speech_model("hubert-base")) == one
    assert model_identity(copytree(folder, tmp_path / "moved")) == one
    (folder / "README.md").write_text("notes")
    assert model_identity(folder) == one
    (folder / "modeling_own.py").write_text("")
    assert model_identity(folder) == one
    assert model_identity(folder, trust_remote_code=True) != one
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    two = model_identity(folder)
    assert two != one
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert model_identity(folder) not in {one, two}


def test_a_folder_that_was_replaced_is_loaded_again(folder):
    one = load_backbone("AutoModel", folder)
    copytree(speech_model("wav2vec2-base"), folder, dirs_exist_ok=True)
    assert type(load_backbone("AutoModel", folder).model) is not type(one.model)


def test_pickled_weights_are_read_without_running_them(folder, tmp_path):
    from safetensors.torch import load_file

    expected = load_backbone("AutoModel", folder).model.state_dict()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_backbone("AutoModel", folder, n_layers=1)
    (folder / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match="weights_only=True"):
        found = load_backbone("AutoModel", folder).model.state_dict()
    for name, value in expected.items():
        assert torch.equal(found[name], value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_backbone("AutoModel", folder, n_layers=1)

    witness = tmp_path / "witness"
    torch.save({"w": _Hostile(witness)}, folder / "pytorch_model.bin")
    with pytest.raises(pickle.UnpicklingError):
        load_backbone("AutoModel", folder)
    assert not witness.exists()
    # The file is one that would have run.
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert witness.exists()


class _Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_weights_that_are_not_there_are_not_drawn(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if "layers.2.attention" in n)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match=r"layers\.2\.attention"):
        load_backbone("AutoModel", folder)


def test_folders_without_a_model(folder, tmp_path):
    with pytest.raises(OSError, match="There is no folder"):
        load_backbone("AutoModel", "/nowhere/model")
    with pytest.raises(OSError, match="There is no folder"):
        load_backbone("AutoModel", Path("nowhere"))
    with pytest.raises(OSError, match=r"needs config\.json"):
        load_backbone("AutoModel", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(OSError, match=r"lacks preprocessor_config\.json"):
        load_processor("AutoFeatureExtractor", folder)


def test_the_hub_is_given_up_soon(hub_cache, monkeypatch, small_clips):
    encoder = SpeechEncoder("someone/speech", revision="v2")
    start = time.monotonic()
    with pytest.raises(OSError, match="ConnectError") as caught:
        encoder.transform(small_clips.paths)
    assert "hf download someone/speech --revision v2" in str(caught.value)
    # A port that takes the call and never answers.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(_models, "_REACH_SECONDS", 0.3)
        with pytest.raises(OSError, match="ReadTimeout"):
            encoder.get_feature_names_out()
    assert time.monotonic() - start < 5


def test_offline_asks_nobody(hub_cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="HF_HUB_OFFLINE is set"):
        model_identity("someone/speech")


def _fill(cache, name, source, commit=COMMIT):
    """Lay a model out as the hub's client does."""
    place = cache / f"models--{name.replace('/', '--')}"
    copytree(source, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)


def test_the_local_cache_of_the_hub_needs_no_network(hub_cache, small_clips):
    _fill(hub_cache, "someone/speech", speech_model("hubert-base"))
    assert model_identity("someone/speech") == f"someone/speech@{COMMIT}"
    assert model_identity("someone/speech", COMMIT) == f"someone/speech@{COMMIT}"
    clips = small_clips.paths[:2]
    rows = SpeechEncoder("someone/speech", cache=None).transform(clips)
    expected = SpeechEncoder(speech_model("hubert-base"), cache=None).transform(clips)
    np.testing.assert_array_equal(rows, expected)
    # Half a download is none.
    (hub_cache / f"models--someone--speech/snapshots/{COMMIT}/config.json").unlink()
    with pytest.raises(OSError, match="cannot be reached"):
        load_backbone("AutoModel", "someone/speech")


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for one model."""

    source = None
    #: Name of a file of which half arrives.
    cut = None

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        files = sorted(path.name for path in self.source.iterdir())
        if "/tree/" in self.path:
            entries = [
                {"type": "file", "path": path.name, "oid": "0", "size": len(data)}
                for path in sorted(self.source.iterdir())
                for data in [path.read_bytes()]
            ]
            content = json.dumps(entries).encode()
        elif self.path.startswith("/api/models/someone/speech"):
            siblings = [{"rfilename": name} for name in files]
            data = {"id": "someone/speech", "sha": COMMIT, "siblings": siblings}
            content = json.dumps(data).encode()
        elif f"/resolve/{COMMIT}/" in self.path:
            content = (self.source / self.path.rpartition("/")[2]).read_bytes()
        else:
            content = b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{hash(content) & 0xFFFFFF:x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            cut = self.cut is not None and self.path.endswith(self.cut)
            self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = True


@contextmanager
def _serving(folder, monkeypatch, cut=None):
    handler = type("Hub", (_Hub,), {"source": folder, "cut": cut})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    try:
        with monkeypatch.context() as patch:
            patch.setattr(constants, "ENDPOINT", address)
            patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_model_is_downloaded_once(hub_cache, folder, monkeypatch):
    (folder / "modeling_own.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"not wanted beside safetensors")
    with _serving(folder, monkeypatch):
        backbone = load_backbone("AutoModel", "someone/speech")
    place = hub_cache / "models--someone--speech"
    names = {path.name for path in (place / "snapshots" / COMMIT).iterdir()}
    assert names == {"config.json", "preprocessor_config.json", "model.safetensors"}
    # From now on without the network.
    assert load_backbone("AutoModel", "someone/speech") is backbone
    assert model_identity("someone/speech") == f"someone/speech@{COMMIT}"
    # A cache filled by someone who wanted the weights only.
    (place / "snapshots" / COMMIT / "preprocessor_config.json").unlink()
    unload_backbones()
    with pytest.raises(OSError, match="cannot be reached"):
        load_processor("AutoFeatureExtractor", "someone/speech")
    with _serving(folder, monkeypatch):
        load_processor("AutoFeatureExtractor", "someone/speech")
    assert load_backbone("AutoModel", "someone/speech") is not backbone


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json"])
def test_a_download_that_breaks_off(name, hub_cache, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda s: None)
    with _serving(folder, monkeypatch, cut=name):
        with pytest.raises(OSError, match="the download failed"):
            load_backbone("AutoModel", "someone/speech")
    # Half a file is under no name by which it would be read.
    place = hub_cache / "models--someone--speech" / "snapshots"
    for path in place.rglob(name):
        assert path.read_bytes() == (folder / name).read_bytes()
    with _serving(folder, monkeypatch):
        backbone = load_backbone("AutoModel", "someone/speech")
        load_processor("AutoFeatureExtractor", "someone/speech")
    expected = load_backbone("AutoModel", folder)
    for one, other in zip(
        backbone.model.parameters(), expected.model.parameters(), strict=True
    ):
        assert (one == other).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_models_are_loaded_anew():
    code = (
        "import os, sys, threading\n"
        "from skmer._pretrained import _backbones as b\n"
        "one = b.load_backbone('AutoModel', sys.argv[1])\n"
        "held = threading.Event()\n"
        "def hold():\n"
        "    with b._lock:\n"
        "        held.set()\n"
        "        threading.Event().wait()\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        "held.wait()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(b.load_backbone('AutoModel', sys.argv[1]) is one)\n"
        "os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, speech_model("hubert-base")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_devices_and_dtypes():
    has_gpu = torch.cuda.is_available()
    assert resolve_device("auto") == ("cuda:0" if has_gpu else "cpu")
    assert resolve_device("cpu") == "cpu"
    with skmer.config_context(device="cpu", dtype="bfloat16"):
        assert resolve_device() == "cpu"
        assert resolve_dtype() == "bfloat16"
        assert resolve_dtype("float32") == "float32"
    assert resolve_dtype("auto", "cpu") == "float32"
    assert resolve_dtype("auto", "cuda:0") == "float16"
    with pytest.raises(ValueError, match="Got 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(ValueError, match="PyTorch sees"):
        resolve_device("cuda:64")
    with pytest.raises(ValueError, match="Got 'int8'"):
        resolve_dtype("int8")
