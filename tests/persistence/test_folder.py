"""Folders are written whole or not at all, and replace nothing by accident."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skmer.exceptions import ModelFormatError
from skmer.persistence import load_model, save_model

pytest.importorskip("skops")


@pytest.fixture
def scaler(features):
    return StandardScaler().fit(features[0])


def test_what_is_there_is_not_replaced_unasked(scaler, features, tmp_path):
    folder = save_model(scaler, tmp_path / "model")
    assert folder == tmp_path / "model"
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_model(scaler, str(folder))
    other = StandardScaler(with_std=False).fit(features[0])
    save_model(other, folder, overwrite=True)
    assert load_model(folder).with_std is False
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_no_model_is_never_replaced(scaler, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    with pytest.raises(FileExistsError, match="no saved model"):
        save_model(scaler, clips, overwrite=True)
    (clips / "manifest.json").write_text('{"kind": "holiday"}')
    with pytest.raises(FileExistsError, match="no saved model"):
        save_model(scaler, clips, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="no saved model"):
        save_model(scaler, tmp_path / "file", overwrite=True)
    folder = save_model(scaler, tmp_path / "model")
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    with pytest.raises(FileExistsError, match="no saved model"):
        save_model(scaler, tmp_path / "link", overwrite=True)
    # reading through a link to a folder is the user's own choice
    assert np.array_equal(load_model(tmp_path / "link").mean_, scaler.mean_)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        save_model(scaler, tmp_path / "nowhere" / "model")


def test_a_failed_save_leaves_what_was_there(scaler, tmp_path):
    folder = save_model(scaler, tmp_path / "model")
    scaler.hook_ = lambda: None
    with pytest.raises(ModelFormatError, match="hook_"):
        save_model(scaler, folder, overwrite=True)
    assert np.array_equal(load_model(folder).mean_, scaler.mean_)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_holds_itself(scaler, tmp_path):
    scaler.own_ = [scaler]
    with pytest.raises(ModelFormatError, match="holds itself"):
        save_model(scaler, tmp_path / "model")


_LOOP = """
import sys
import numpy as np
from sklearn.preprocessing import StandardScaler
from skmer.persistence import save_model
kinds = (False, True)
models = [StandardScaler(with_std=n).fit(np.eye(200) + n) for n in kinds]
save_model(models[0], sys.argv[1], overwrite=True)
print("ready", flush=True)
while True:
    for model in models:
        save_model(model, sys.argv[1], overwrite=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as on POSIX")
def test_a_kill_leaves_a_whole_model_or_none(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "model"
    there = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _LOOP, str(folder)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.05 + 0.2 * rng.random())
            process.send_signal(signal.SIGKILL)
        if folder.exists():
            there += 1
            scaler = load_model(folder)
            assert np.array_equal(scaler.mean_, (np.eye(200) + scaler.with_std).mean(0))
    assert there
    others = {path.name for path in tmp_path.iterdir()} - {"model"}
    assert all(name.startswith(".model.") for name in others)
