"""The file of folds."""

import csv
import json
import os
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd

from skmer.utils._files import written_whole

_FIRST = "# skmer folds, format "
_FORMAT = 1
_HEAD = ["clip", "fold"]


def write_folds(path, names, codes, settings):
    """Write folds to a file, whole or not at all.

    Parameters
    ----------
    path : str or PathLike
        File to write.
    names : list of int or list of str
        Names of the folds.
    codes : Series of int indexed by clip id
        Number of each clip's fold in ``names``, -1 for none.
    settings : dict of str to object
        What else to keep, as JSON.
    """
    paths = _are_paths(codes.index)
    clips = [os.fspath(clip) if paths else int(clip) for clip in codes.index]
    if "" in clips:
        raise ValueError("A clip id is empty. Give every clip one.")
    sizes = np.bincount(codes[codes != -1], minlength=len(names)).tolist()
    facts = {
        **settings,
        "clip_ids": "paths" if paths else "numbers",
        "fold_names": names,
        "fold_sizes": sizes,
        "n_clips": len(clips),
    }
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent} does not exist, so {path.name} cannot be "
            "written there. Make it first."
        )
    with written_whole(path, encoding="utf-8", newline="") as file:
        file.write(f"{_FIRST}{_FORMAT}\n")
        for key, value in facts.items():
            file.write(f"# {key}: {_json(key, value)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEAD)
        for clip, code in zip(clips, codes.tolist(), strict=True):
            writer.writerow([clip, "" if code == -1 else names[code]])


def read_folds(path):
    """Read folds from a file.

    Parameters
    ----------
    path : str or PathLike
        File that :func:`write_folds` wrote.

    Returns
    -------
    folds : Series indexed by clip id
        Fold of each clip, NA or None for none.
    settings : dict of str to object
        What else was kept.
    """
    with open(path, encoding="utf-8", newline="") as file:
        facts, n_lines = _read_facts(file, path)
        clips, folds = _read_rows(file, path, n_lines, facts)
    names, sizes = facts.pop("fold_names"), facts.pop("fold_sizes")
    counted = [folds.count(name) for name in names]
    n_clips = facts.pop("n_clips")
    if len(clips) != n_clips or counted != sizes:
        raise ValueError(
            f"{path} should hold {n_clips} clips in folds of {sizes} and holds "
            f"{len(clips)} in folds of {counted}: rows were lost or changed."
        )
    numbers = all(isinstance(name, int) for name in names)
    series = pd.Series(
        folds,
        index=pd.Index(clips, name=_HEAD[0]),
        dtype="Int64" if numbers else object,
        name=_HEAD[1],
    )
    facts.pop("clip_ids")
    return series, facts


def _read_facts(file, path):
    """Return the facts above the table, and how many lines they take."""
    first = file.readline()
    version = first.removeprefix(_FIRST).strip()
    if not first.startswith(_FIRST) or not version.isdigit():
        raise ValueError(
            f"{path} is no file of folds: its first line is not '{_FIRST}{_FORMAT}'. "
            "ReferenceFolds.save writes such files; a table of your own goes into "
            "ReferenceFolds as a Series."
        )
    if int(version) != _FORMAT:
        raise ValueError(
            f"{path} is of format {version}; this version of skmer reads format "
            f"{_FORMAT}. Update skmer, or make the file anew."
        )
    facts, n_lines = {}, 1
    for line in file:
        n_lines += 1
        if not line.startswith("# "):
            break
        key, _, value = line.removeprefix("# ").partition(": ")
        try:
            facts[key] = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{path}, line {n_lines}: {key!r} is no JSON.") from error
    else:
        line = ""
    if line.strip().split(",") != _HEAD:
        raise ValueError(
            f"{path}, line {n_lines}: the columns must be '{','.join(_HEAD)}'. Got "
            f"{line.strip()!r}."
        )
    kinds = {
        "test": list | None,
        "train": list | None,
        "facts": dict | None,
        "clip_ids": str,
        "fold_names": list,
        "fold_sizes": list,
        "n_clips": int,
    }
    for key, kind in kinds.items():
        if key not in facts or not isinstance(facts[key], kind):
            raise ValueError(f"{path}: the line '# {key}: ...' is missing or wrong.")
    return {key: facts[key] for key in kinds}, n_lines


def _read_rows(file, path, n_lines, facts):
    """Return clip ids and folds."""
    names = {str(name): name for name in facts["fold_names"]}
    lines = {}
    folds = []
    reader = csv.reader(file, strict=True)
    try:
        for row in reader:
            line = n_lines + reader.line_num
            if len(row) != 2 or not row[0]:
                raise ValueError(
                    f"{path}, line {line}: a row is a clip and its fold. Got {row}."
                )
            clip, fold = row
            if facts["clip_ids"] == "numbers":
                if not clip.removeprefix("-").isdigit():
                    raise ValueError(
                        f"{path}, line {line}: clips are numbers here. Got {clip!r}."
                    )
                clip = int(clip)
            if clip in lines:
                raise ValueError(
                    f"{path}, line {line}: clip {clip!r} stands in line {lines[clip]} "
                    "already."
                )
            if fold and fold not in names:
                raise ValueError(
                    f"{path}, line {line}: there is no fold {fold!r}, only "
                    f"{', '.join(names)}."
                )
            lines[clip] = line
            folds.append(names.get(fold))
    except csv.Error as error:
        line = n_lines + reader.line_num
        raise ValueError(f"{path}, line {line}: {error}.") from error
    return list(lines), folds


def _are_paths(index):
    """Return if clip ids are strings, else whole numbers."""
    if all(isinstance(clip, str | os.PathLike) for clip in index):
        return True
    if all(isinstance(clip, Integral) for clip in index):
        return False
    raise ValueError(
        "Clip ids that are kept in a file must be all strings or all whole numbers. "
        f"Got {', '.join(sorted({type(clip).__name__ for clip in index}))}."
    )


def _json(key, value):
    try:
        return json.dumps(value, ensure_ascii=True, default=_plain)
    except TypeError as error:
        raise ValueError(
            f"{key} must hold strings, numbers, lists and dicts of these, to be kept "
            f"in the file. Got {value!r}."
        ) from error


def _plain(value):
    """Return the Python number that a NumPy number is."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON.")
