"""A small part of ``benchmarks/media_faults.py``: no file may end a process."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "media_faults.py"


def test_spoilt_files_are_rows_or_errors():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--n-files", "40", "--step", "4", "--seed", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("40 files")
