"""Settings: defaults, context, threads, bad names."""

import threading
from pathlib import Path

import pytest

import skmer


def test_defaults_follow_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SKMER_CACHE_DIR", str(tmp_path / "a"))
    assert skmer.get_config()["cache_dir"] == tmp_path / "a"
    monkeypatch.delenv("SKMER_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert skmer.get_config()["cache_dir"] == tmp_path / "skmer" / "features"


def test_context_restores_even_after_an_error():
    before = skmer.get_config()
    with pytest.raises(KeyError), skmer.config_context(device="cuda:1"):
        assert skmer.get_config()["device"] == "cuda:1"
        raise KeyError
    assert skmer.get_config() == before


def test_new_threads_start_from_the_process_setting(tmp_path):
    seen = []
    with skmer.config_context(cache_dir=str(tmp_path)):
        thread = threading.Thread(
            target=lambda: seen.append(skmer.get_config()["cache_dir"])
        )
        thread.start()
        thread.join()
    assert seen == [Path(tmp_path)]
    assert skmer.get_config()["cache_dir"] != tmp_path


def test_set_config_lasts(tmp_path):
    skmer.set_config(data_home=tmp_path)
    try:
        assert skmer.get_config()["data_home"] == tmp_path
    finally:
        skmer.set_config(data_home=None)


def test_bad_settings_are_refused():
    with pytest.raises(TypeError, match="'cache'"):
        skmer.set_config(cache="x")
    with pytest.raises(ValueError, match="float64"):
        skmer.set_config(dtype="float64")
    assert skmer.get_config()["dtype"] == "auto"
