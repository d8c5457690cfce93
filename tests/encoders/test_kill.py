"""The whole path, from sound files to the cache, killed again and again."""

import shutil
import sys
from itertools import count

import numpy as np
import pytest
from killed_runs import fork_server
from tiny_models import speech_model

from skmer.cache import open_store
from skmer.media import write_clip

KILLS = 20
# More than the runs that are killed can get through, see below.
N_CLIPS = 72
# Clips that are stored together.
BATCH = 2


def _noises(folder):
    """Write sound files that differ in length; return them by length."""
    rng = np.random.default_rng(0)
    clips = {}
    for length in range(3200, 3200 + 32 * N_CLIPS, 32):
        sound = rng.standard_normal(length).astype(np.float32) * 0.1
        clips[length] = str(folder / f"{length}.wav")
        write_clip(clips[length], audio=sound, rate=16000)
    return clips


def _n_entries(folder):
    store = open_store(folder)
    n_entries = store.info()["entries"]
    store.close()
    return n_entries


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="forks after importing torch, which is safe on Linux alone",
)
def test_a_run_killed_again_and_again(tmp_path):
    clips = _noises(tmp_path)
    folder, copy = tmp_path / "cache", tmp_path / "copy"
    numbers = count()

    with fork_server(speech_model("hubert-base"), list(clips.values())) as fork:

        def run(cache, pause=0.0, delay=None):
            """Return rows, or None where killed, and what entered the model, when."""
            number = next(numbers)
            log, rows = tmp_path / f"{number}.log", tmp_path / f"{number}.npy"
            cache = None if cache is None else str(cache)
            killed = fork(
                cache=cache, log=str(log), rows=str(rows), pause=pause, delay=delay
            )
            assert killed == (delay is not None)
            lines = log.read_text().splitlines() if log.exists() else []
            entered = [line.split() for line in lines]
            lengths = [int(length) for length, _ in entered]
            assert len(set(lengths)) == len(lengths)
            times = [float(seconds) for _, seconds in entered]
            return None if killed else np.load(rows), set(lengths), times

        expected, entered, times = run(None)
        assert entered == set(clips) and np.isfinite(expected).all()
        rng = np.random.default_rng(0)
        stored, n_entered, n_forward = set(), 0, 0
        for _ in range(KILLS):
            # A kill comes within three times what a run takes to its first clip, and
            # each clip takes a third of that: on average a run gets through two at
            # most, and the clips would last for more than 30 runs on any machine.
            start = times[0]
            _, entered, _ = run(folder, start / 3, rng.uniform(0, 3 * start))
            assert not entered & stored
            n_entered += len(entered)
            # What is in the cache now is what a run on a copy need not compute.
            if folder.exists():
                shutil.copytree(folder, copy)
            n_stored = _n_entries(copy)
            rows, absent, times = run(copy)
            assert n_stored == N_CLIPS - len(absent)
            np.testing.assert_array_equal(rows, expected)
            shutil.rmtree(copy)
            assert stored <= set(clips) - absent <= stored | entered
            n_forward += stored < set(clips) - absent
            stored = set(clips) - absent
            # The batch in hand is lost, and one whose commit was under way.
            assert len(entered - stored) <= 2 * BATCH
        rows, entered, _ = run(folder)

    np.testing.assert_array_equal(rows, expected)
    assert entered == set(clips) - stored
    # Kills came while runs were at work, not only at their start or never.
    assert n_forward >= 3 and n_entered > len(stored)
    assert _n_entries(folder) == N_CLIPS
