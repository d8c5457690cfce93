"""``skmer doctor`` looks at what is really there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skmer.cache import Record, make_key, open_store, text_id
from skmer.cli import _machine, main


@pytest.fixture(scope="module")
def found():
    return _machine.examine()


def test_this_machine_is_well(found):
    assert found["problems"] == []
    assert found["decoding"]["frames"] == 12
    assert 0.9 < found["decoding"]["seconds"] < 1.2
    assert found["packages"]["scikit-learn"].startswith("1.")
    assert found["devices"]["auto"] in ("cpu", "cuda:0")
    assert found["models"]["answers"] is None


def test_json_and_text_say_the_same(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert facts["cache"]["path"] == os.environ["SKMER_CACHE_DIR"]
    for told in (
        facts["cache"]["path"],
        facts["data_home"]["path"],
        facts["packages"]["torch"],
        "device='auto' is " + facts["devices"]["auto"],
        *facts["models"]["paper"],
    ):
        assert told in text
    assert "All that skmer needs is there." in text
    assert not Path(facts["cache"]["path"]).exists()


def test_counts_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKMER_CACHE_DIR", str(tmp_path))
    key = make_key(text_id("so happy"), bytes(16))
    open_store(tmp_path).put_many([(key, Record("ok", {"mean": np.arange(3.0)}))])
    cache = _machine._cache([])
    assert cache["entries"] == 1 and cache["bytes"] > 0
    assert cache["exists"] and cache["writable"]
    open_store(tmp_path).close()


def test_a_cache_that_cannot_be_made_is_advice(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SKMER_CACHE_DIR", str(tmp_path / "file" / "features"))
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "NOT writable" in text and "! The feature cache" in text


def test_extras_name_the_command_that_brings_them(monkeypatch):
    wanted = {"plot": ["pandas"], "moon": ["no-such-thing", "numpy"]}
    monkeypatch.setattr(_machine, "_requirements", lambda: ({}, wanted))
    found = _machine.examine()
    assert found["extras"]["plot"]["there"]
    assert found["extras"]["moon"]["missing"] == ["no-such-thing"]
    assert found["extras"]["moon"]["install"] == 'pip install "skmer[moon]"'
    assert "pip install -e ." in found["advice"][0]


def test_wrong_versions_and_missing_packages_are_problems(monkeypatch):
    core = {"numpy": ">=99", "no-such-thing": ">=1", "pandas": ">=3"}
    monkeypatch.setattr(_machine, "_requirements", lambda: (core, {}))
    problems = _machine.examine()["problems"]
    assert len(problems) == 2
    assert 'pip install "numpy>=99"' in problems[0]
    assert "no-such-thing is not installed" in problems[1]


def test_what_is_missing_does_not_hide_the_rest():
    missing = ["lmdb", "huggingface_hub", "packaging", "torch", "av"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing}));"
        "from skmer.cli import main; sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and not done.stderr
    for name in ("lmdb", "huggingface-hub", "torch", "av"):
        assert f"! {name} is not installed. Run: pip install" in done.stdout
    assert "cache        cannot be looked at: ModuleNotFoundError" in done.stdout
    assert "extras       " in done.stdout


def test_requirements_are_those_of_setup_cfg():
    core, extras = _machine._requirements()
    assert core["torch"] == ">=2.6" and core["scikit-learn"]
    assert extras["plot"] == ["matplotlib"] and "test" not in extras


def test_decoders_that_spoil_sound_or_picture_are_found(monkeypatch, capsys):
    import skmer.media

    reads = skmer.media.read_audio
    monkeypatch.setattr(skmer.media, "read_audio", lambda *a, **k: reads(*a, **k)[::2])
    assert main(["doctor"]) == 1
    assert "! Video cannot be written and read" in capsys.readouterr().out
    monkeypatch.setattr(skmer.media, "read_audio", reads)
    frames = skmer.media.read_frames

    def darker(path, n_frames):
        found = frames(path, n_frames)
        return type(found)(found.images // 2, found.times)

    monkeypatch.setattr(skmer.media, "read_frames", darker)
    with pytest.raises(ValueError, match="other colours"):
        _machine.round_trip()


def test_models_in_the_hub_cache_are_found(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name = "openai/clip-vit-large-patch14"
    before = _machine._models(False, [])["paper"]
    assert not before[name]["there"] and "mertools-attention" in before[name]["recipes"]
    repo = tmp_path / "models--openai--clip-vit-large-patch14"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text("{}")
    assert not _machine._models(False, [])["paper"][name]["there"]
    (snapshot / "model.safetensors").write_bytes(b"")
    assert _machine._models(False, [])["paper"][name]["there"]


def test_hub_is_asked_on_request_only(monkeypatch):
    # A port of this machine where nobody listens
    assert _machine._answers("http://127.0.0.1:9") is False
    asked = []
    monkeypatch.setattr(_machine, "_answers", lambda endpoint: asked.append(endpoint))
    _machine._models(False, [])
    assert not asked
    _machine._models(True, [])
    assert len(asked) == 1
