"""Finished folds on disk, so that an evaluation goes on where it was stopped."""

import contextlib
import hashlib
import io
import json
import os
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from skmer.evaluation._fold import FoldResult
from skmer.utils._files import written_whole

_FORMAT = 1
_PARTS = "finished"
_ABOUT = "about.json"
_FOLD = re.compile(r"\d+-\d+\.npz")
_RUN = re.compile(r"[0-9a-f]{32}\.json")
# What a report consists of; the first says that the rest is there
REPORT = (
    "report.json",
    "report.md",
    "report.html",
    "predictions.csv",
    "folds.csv",
    "confusion.png",
    "references.png",
    "robustness.png",
    "weights.png",
    "reliability.png",
)
_WHAT = {
    "model": "another model, or the same with other parameters",
    "data": "other clips, features, labels or groups",
    "folds": "other folds",
    "settings": "other settings of evaluate",
    "versions": "other versions of the packages",
}


class AnotherEvaluationError(FileExistsError, ValueError):
    """A folder holds what another evaluation left there."""


def write_whole(path, content):
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : Path
        File to write; one that exists is replaced.
    content : bytes or callable
        The content, or what writes it to a file.
    """
    with written_whole(path, "wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content)


def fingerprint(model, X, y, groups, splits, settings, versions):
    """Return what tells one evaluation from another, by kind of difference.

    Parameters
    ----------
    model : estimator
        Unfitted.
    X : indexable
        Clips or features that the model is fitted on.
    y, groups : ndarray
        Of the rows.
    splits : list of tuple of ndarray
        Folds.
    settings, versions : dict
        JSON.

    Returns
    -------
    prints : dict of str to str

    Raises
    ------
    ValueError
        If the model or X cannot be pickled.
    """
    try:
        prints = {
            "model": joblib.hash(model),
            "data": joblib.hash([_content(X), y, groups]),
        }
    except Exception as error:
        raise ValueError(
            "folder= keeps finished folds for the same model and clips only, and this "
            f"model cannot be told from others: it does not pickle ({error}). Leave "
            "folder out, and save the report."
        ) from error
    return {
        **prints,
        "folds": joblib.hash(splits),
        "settings": _digest(settings),
        "versions": _digest(versions),
    }


def _digest(value):
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _content(X):
    """Return X as what can be hashed; files count by name, size and time.

    Not by the time at which the file itself changed, as in skmer.cache: folds are
    kept for long, and new rights or a copy of all files would make them another's.
    """
    if isinstance(X, pd.DataFrame):
        cells = [_content(X.iloc[:, i]) for i in range(X.shape[1])]
        return [list(map(str, X.index)), list(map(str, X.columns)), cells]
    values = X.to_numpy() if isinstance(X, pd.Series) else X
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind in "OUT" and getattr(values, "ndim", 1) == 1:
        return [_of_cell(cell) for cell in values]
    return np.asarray(values)


def _of_cell(cell):
    if isinstance(cell, (str, os.PathLike)):
        with contextlib.suppress(OSError, ValueError):
            known = os.stat(cell)
            return [os.fspath(cell), known.st_size, known.st_mtime_ns]
        return os.fspath(cell)
    return cell


def claim(folder, prints, kept, *, overwrite, report=None):
    """Make a folder that of an evaluation's results, unless it is so already.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    prints : dict of str to str
        From :func:`fingerprint`.
    kept : Pattern
        Names of the files that hold results.
    overwrite : bool
        Remove results of another evaluation; files that are not skmer's stay.
    report : Path, default=None
        Folder of the report that is made of the results, and removed with them.

    Raises
    ------
    AnotherEvaluationError
        If there are results of another evaluation, and they are not to be removed
        or nothing says that skmer wrote them.
    """
    wanted = {"format": _FORMAT, **prints}
    old = [path for path in _files_in(folder) if kept.fullmatch(path.name)]
    has_report = report is not None and os.path.lexists(report / REPORT[0])
    other, own = _other_in(folder, wanted, old, report if has_report else None)
    if other and not (overwrite and own):
        cure = "Give another folder, or pass overwrite=True to replace it."
        if not own:
            cure = "skmer cannot tell that it wrote all of it: give another folder, or "
            cure += f"remove {folder} yourself."
        raise AnotherEvaluationError(f"{other}. {cure}")
    if other:
        # The note stays until the end: after a stop it says what is left
        for name in REPORT if has_report else ():
            (report / name).unlink(missing_ok=True)
        for path in old:
            path.unlink(missing_ok=True)
    if other or not os.path.lexists(folder / _ABOUT):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _ABOUT, json.dumps(wanted, indent=1).encode())


def _other_in(folder, wanted, old, report):
    """Return what of another evaluation is there, "" for nothing, and if it is ours."""
    about, own = folder / _ABOUT, True
    if os.path.lexists(about):
        found = _json_of(about, {"format", "model"})
        differs = [key for key in wanted if (found or {}).get(key) != wanted[key]]
        if not differs:
            return "", True
        own = found is not None
        why = ", and ".join(_WHAT.get(key, "another format") for key in differs)
        why = f"it was made with {why}" if own else f"{about} is not as skmer wrote it"
        other = f"{folder} holds finished folds of another evaluation: {why}"
    elif old:
        own = False
        other = f"{folder} holds finished folds of another evaluation: no {_ABOUT}"
    elif report is not None:
        other = f"{report} holds a report of another evaluation"
    else:
        return "", True
    if report is not None:
        own = own and _json_of(report / REPORT[0], {"facts", "tables"}) is not None
    return other, own


def _files_in(folder):
    # A link is a file here, whatever it leads to
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_symlink() or path.is_file()]


def _json_of(path, keys):
    """Return a file's JSON if it is a dict with some keys, else None."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and keys <= set(found) else None


class FinishedFolds:
    """Folder of the folds that are done.

    Parameters
    ----------
    folder : str or PathLike or None
        Folder of the report; None keeps nothing.
    prints : dict of str to str
        From :func:`fingerprint`.
    overwrite : bool, default=False
        Remove folds and report of another evaluation.

    Raises
    ------
    AnotherEvaluationError
        If the folder holds such, and they are not to be removed or are not skmer's.
    """

    def __init__(self, folder, prints, *, overwrite=False):
        self.path = None
        if folder is not None:
            self.path = Path(folder) / _PARTS
            claim(self.path, prints, _FOLD, overwrite=overwrite, report=Path(folder))

    def read(self, number):
        """Return a finished fold, None where there is none that can be read."""
        if self.path is None:
            return None
        path = self.path / f"{number}.npz"
        try:
            # Of a damaged file numpy would leave its handle open
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            return FoldResult(arrays, **about)
        except Exception:  # numpy tells of damage in a dozen ways
            return None

    def write(self, number, result):
        """Keep a finished fold."""
        if self.path is None:
            return
        about = {
            "seconds": result.seconds,
            "facts": result.facts,
            "notes": result.notes,
        }
        arrays = {**result.arrays, "about": np.array(json.dumps(about))}
        write_whole(self.path / f"{number}.npz", lambda f: np.savez(f, **arrays))


class FinishedRuns:
    """Folder of scores of whole runs, by what was run.

    Parameters
    ----------
    folder : Path or None
        Made where it is not there; None keeps nothing.
    prints : dict of str to str
        From :func:`fingerprint`.
    overwrite : bool, default=False
        Remove scores of another evaluation.

    Raises
    ------
    AnotherEvaluationError
        If the folder holds such, and they are not to be removed or are not skmer's.
    """

    def __init__(self, folder, prints, *, overwrite=False):
        self.path = folder
        if folder is not None:
            claim(folder, prints, _RUN, overwrite=overwrite)

    def score(self, of, run):
        """Return the score of a run, which is run if it is not there.

        Parameters
        ----------
        of : dict
            What tells the run from others.
        run : callable
            Returns the score, a float.
        """
        if self.path is None:
            return run()
        path = self.path / f"{joblib.hash(of)}.json"
        found = _json_of(path, {"score"}) or {}
        if not isinstance(found.get("score"), float):
            found = {**of, "score": run()}
            write_whole(path, json.dumps(found, default=repr).encode())
        return found["score"]
