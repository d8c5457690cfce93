"""Twenty clips of a newcomer, made once, and a feature cache that all tests share."""

from pathlib import Path

import pandas as pd
import pytest

from skmer.cli import main
from skmer.datasets import make_clips


class Newcomer:
    """A folder with clips and tables of them."""

    def __init__(self, folder, clips):
        self.folder = folder
        self.frame = pd.DataFrame(
            {
                "path": [f"clips/{Path(path).name}" for path in clips.paths],
                "label": clips.target,
                "speaker": clips.groups.to_numpy(),
                "text": clips.data["text"].to_numpy(),
            }
        )

    def table(self, name="clips.csv", frame=None, **options):
        """Write a table beside the clips and return its path."""
        path = self.folder / name
        frame = self.frame if frame is None else frame
        frame.to_csv(path, index=False, **options)
        return str(path)


@pytest.fixture(scope="session")
def _clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomer")
    clips = make_clips(
        20,
        folder / "clips",
        n_speakers=5,
        missing=0.05,
        duration=(0.5, 0.6),
        size=(160, 120),
    )
    return folder, clips, tmp_path_factory.mktemp("features")


@pytest.fixture
def newcomer(_clips, tmp_path, monkeypatch):
    """Twenty clips, with tables in a folder of the test's own."""
    folder, clips, features = _clips
    monkeypatch.setenv("SKMER_CACHE_DIR", str(features))
    own = tmp_path / "data"
    own.mkdir()
    (own / "clips").symlink_to(folder / "clips", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return Newcomer(own, clips)


@pytest.fixture
def skmer(capsys):
    """Run the command in this process; return code, stdout and stderr."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
