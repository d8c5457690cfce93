"""Cut IEMOCAP's videos of dialogues into clips of one speaker."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sklearn.utils.parallel import delayed
from tqdm.auto import tqdm

from skmer.datasets._folders import has_content
from skmer.exceptions import MediaError
from skmer.media import Cut, cut_video
from skmer.utils._parallel import results_of

_LEFT, _RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
# A clip that holds less of its turn counts as cut off
_LEAST = 0.5
# Seconds after which nobody writes a file any more; writing one takes some
_ABANDONED = 3600


@dataclass(frozen=True)
class _Dialogue:
    video: str
    turns: list
    targets: list


def cut_turns(turns, sessions, folder, n_jobs, verbose):
    """Write a clip of the speaker for each turn, unless it is there and not empty.

    Parameters
    ----------
    turns : list of Turn
        What to cut.
    sessions : dict of int to str
        Folders of the sessions.
    folder : Path
        Where to write, made where it is absent.
    n_jobs : int or None
        Number of processes as in joblib.
    verbose : int or bool
        Whether to show a progress bar.

    Returns
    -------
    paths : dict of str to str
        File by name of the turn, of those that could be cut.
    failures : dict of str to str
        Why not, by name of the turn: the dialogue's video and the reason.
    """
    paths, todo = {}, {}
    for turn in turns:
        target = folder / f"Session{turn.session}" / f"{turn.name}.mp4"
        paths[turn.name] = str(target)
        # A computer that went down may leave an empty one
        if not has_content(target):
            todo.setdefault(turn.dialogue, []).append((turn, target))
    jobs = []
    for dialogue, missing in todo.items():
        session = sessions[missing[0][0].session]
        video = os.path.join(session, "dialog", "avi", "DivX", f"{dialogue}.avi")
        turns, targets = zip(*missing, strict=True)
        jobs.append(_Dialogue(video, list(turns), list(targets)))
    for target_folder in {target.parent for job in jobs for target in job.targets}:
        target_folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target_folder)
    failures = {}
    work = results_of((delayed(_cut_dialogue)(job) for job in jobs), n_jobs)
    total = sum(len(job.turns) for job in jobs)
    with tqdm(
        total=total, desc="load_iemocap", unit="clip", disable=not verbose
    ) as bar:
        for job, failed in zip(jobs, work, strict=True):
            failures |= failed
            bar.update(len(job.turns))
    return {name: p for name, p in paths.items() if name not in failures}, failures


def _remove_leftovers(folder):
    """Remove what killed processes began to write; others may be writing now."""
    for path in folder.glob(".*.mp4"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _cut_dialogue(job):
    """Cut the turns of one dialogue; return why some of them failed."""
    cuts = [
        Cut(target, turn.start, turn.stop, _LEFT if turn.is_left else _RIGHT)
        for turn, target in zip(job.turns, job.targets, strict=True)
    ]
    try:
        seconds = cut_video(job.video, cuts)
    except MediaError as error:
        return {turn.name: str(error) for turn in job.turns}
    failures = {}
    for turn, target, length in zip(job.turns, job.targets, seconds, strict=True):
        if length < _LEAST * (turn.stop - turn.start):
            Path(target).unlink(missing_ok=True)
            failures[turn.name] = (
                f"{job.video}: it ends before {turn.name} does ({turn.start:g} to "
                f"{turn.stop:g} s), so it is cut off. Copy it from the release again"
            )
    return failures
