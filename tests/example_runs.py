"""Runs examples as a user would, for their tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
EMOTIONS = "(?:angry|happy|neutral|sad|surprise|worried)"


def run(name, folder, *arguments):
    """Return what an example prints; a warning is an error, so is a stray file."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "SKMER_CACHE_DIR": str(folder / "default_cache"),
        },
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} <= {"out", "matplotlib"}
    return done.stdout


def run_small(name, folder, n_clips, *arguments):
    """Return what an example prints on a few clips; it writes to ``out``."""
    small = ["--n-jobs", "1", "--output", "out", "--n-clips", str(n_clips)]
    return run(name, folder, *small, *arguments)


def scores(text):
    """Return the scores of a table, by the names in front of them."""
    found = re.findall(r"^ +(\S.*?) +(\d\.\d{3})(?= |$)", text, re.MULTILINE)
    assert all(0 <= float(score) <= 1 for _, score in found)
    return {name: float(score) for name, score in found}
