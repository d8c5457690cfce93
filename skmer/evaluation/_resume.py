"""Finished folds on disk, so that an evaluation goes on where it was stopped."""

import contextlib
import hashlib
import json
import os
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from skmer.evaluation._fold import FoldResult
from skmer.utils._files import written_whole

_FORMAT = 1
_PARTS = "finished"
_WHAT = {
    "model": "another model, or the same with other parameters",
    "data": "other clips, features, labels or groups",
    "folds": "other folds",
    "settings": "other settings of evaluate",
    "versions": "other versions of the packages",
}


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
    """Return X as what can be hashed; files count by name, size and time."""
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


class FinishedFolds:
    """Folder of the folds that are done.

    Parameters
    ----------
    folder : str or PathLike or None
        Folder of the report; None keeps nothing.
    prints : dict of str to str
        From :func:`fingerprint`.

    Raises
    ------
    ValueError
        If the folder holds folds of another evaluation.
    FileExistsError
        If it holds a report and no folds.
    """

    def __init__(self, folder, prints):
        self.path = None if folder is None else Path(folder) / _PARTS
        if self.path is None:
            return
        about = self.path / "about.json"
        wanted = {"format": _FORMAT, **prints}
        if not about.exists():
            if (self.path.parent / "report.json").exists():
                raise FileExistsError(
                    f"{self.path.parent} holds a report of another evaluation. Give "
                    "another folder."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(about, json.dumps(wanted, indent=1).encode())
            return
        try:
            found = json.loads(about.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            found = {}
        differs = [key for key in wanted if found.get(key) != wanted[key]]
        if differs:
            why = ", and ".join(_WHAT.get(key, "another format") for key in differs)
            raise ValueError(
                f"{self.path} holds finished folds of another evaluation: it was made "
                f"with {why}. Give another folder, or remove {self.path} to begin anew."
            )

    def read(self, number):
        """Return a finished fold, None where there is none that can be read."""
        if self.path is None:
            return None
        path = self.path / f"{number}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            return FoldResult(arrays, **about)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
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
