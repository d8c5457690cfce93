"""Decisions of people about single clips, and the CSV file that keeps them."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from skmer.label_refinement._lookup import of_clips, written
from skmer.utils._clip_ids import look_up
from skmer.utils._files import written_whole

COLUMNS = ["clip", "decision"]
WORDS = ("keep", "drop")


def read_decisions(path):
    """Read decisions about clips from a CSV file.

    Parameters
    ----------
    path : str or PathLike
        A file in UTF-8, with or without byte order mark, with a header line that
        has ``clip`` and ``decision``, in any case; other columns are left alone.
        Commas or semicolons divide columns, lines may end as on Windows. Spaces
        around a decision do not count.

    Returns
    -------
    decisions : Series of str
        Decision of each clip, indexed by clip id. Clips whose decision is empty,
        those still to be decided, are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a line has no clip or too many cells, or a clip has
        two different decisions. Messages say the line.

    See Also
    --------
    write_decisions : Adds decisions to such a file.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmer.label_refinement import read_decisions, write_decisions
    >>> decisions = pd.Series({"b, 2.mp4": "sad", "a.mp4": "drop"})
    >>> write_decisions("decisions.csv", decisions)  # doctest: +SKIP
    >>> read_decisions("decisions.csv")  # doctest: +SKIP
    """
    rows, _ = _read(path)
    said = {row["clip"]: row["decision"] for row in rows if row["decision"]}
    index = pd.Index(list(said), name="clip", dtype=object)
    return pd.Series(list(said.values()), index=index, name="decision", dtype=object)


def write_decisions(path, decisions, *, overwrite=False):
    """Add decisions about clips to a CSV file, which is made if there is none.

    The file is replaced in one step, so that an interrupted call leaves the old one.
    Lines, their order and other columns of an existing file stay.

    Parameters
    ----------
    path : str or PathLike
        The file.
    decisions : Series indexed by clip id
        A label, ``"keep"`` (the annotation is right) or ``"drop"`` (leave the clip
        out) for each clip; missing values are skipped.
    overwrite : bool, default=False
        Whether a new decision replaces another one about the same clip.

    Raises
    ------
    ValueError
        If a clip has two different decisions, among the new ones or, without
        ``overwrite``, in the file; nothing is written then.

    See Also
    --------
    read_decisions : Reads the file.

    Examples
    --------
    What a refiner changed, and a person then agreed with, as decisions:

    >>> from skmer.label_refinement import write_decisions
    >>> report = refiner.report()  # doctest: +SKIP
    >>> right = report[report["decided_by"] == "sources"]  # doctest: +SKIP
    >>> write_decisions("d.csv", right.set_index("clip")["to"])  # doctest: +SKIP
    """
    refuse_dict(decisions)
    if not isinstance(decisions, pd.Series):
        raise TypeError(
            "decisions must be a Series indexed by clip id. Got "
            f"{type(decisions).__name__}."
        )
    new = look_up(decisions, decisions.dropna().index.unique(), "decisions")
    rows, names = _read(path) if os.path.exists(path) else ([], COLUMNS)
    lines = {row["clip"]: row for row in rows}
    for clip, decision in new.items():
        clip, decision = written(clip), str(decision)
        row = lines.setdefault(clip, dict.fromkeys(names, ""))
        if row["decision"] not in ("", decision) and not overwrite:
            raise ValueError(
                f"{os.fspath(path)} says {row['decision']!r} of clip {clip!r}, the new "
                f"decision is {decision!r}. Change the file, or pass overwrite=True."
            )
        row["clip"], row["decision"] = clip, decision
    _replace(path, names, lines.values())


def refuse_dict(decisions):
    """Say how a dict of decisions becomes a Series."""
    if isinstance(decisions, Mapping):
        raise TypeError(
            "decisions must be a Series indexed by clip id. Got "
            f"{type(decisions).__name__}: pass pd.Series(decisions)."
        )


def _read(path):
    """Return the lines as dicts, one for each clip, and the names of the columns."""
    # File names that are no UTF-8 come back as they were
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline()
        file.seek(0)
        divider = ";" if ";" in first and "," not in first else ","
        reader = csv.reader(file, delimiter=divider)
        where = os.fspath(path)
        names = _names(next(reader, []))
        absent = [name for name in COLUMNS if name not in names]
        if absent:
            raise ValueError(
                f"{where} has no column {absent[0]!r}: its first line must name the "
                f"columns 'clip' and 'decision'. Got {names}."
            )
        found = {}
        for cells in reader:
            line = reader.line_num
            if not any(cells):
                continue
            if len(cells) > len(names):
                raise ValueError(
                    f"{where}, line {line}: {len(cells)} cells for {len(names)} "
                    "columns. Put names that hold the divider in quotes."
                )
            row = dict.fromkeys(names, "") | dict(zip(names, cells, strict=False))
            row["decision"] = row["decision"].strip()
            if not row["clip"]:
                raise ValueError(f"{where}, line {line}: no clip.")
            before = found.setdefault(row["clip"], row)
            if row["decision"] and before["decision"] not in ("", row["decision"]):
                raise ValueError(
                    f"{where}, line {line}: clip {row['clip']!r} is decided as "
                    f"{row['decision']!r} here and {before['decision']!r} above. "
                    "Leave one."
                )
            before["decision"] = before["decision"] or row["decision"]
    return list(found.values()), names


def _names(cells):
    """Return names of columns, of those that are needed in the case they have here."""
    plain = {name.strip().lower(): name for name in reversed(cells)}
    wanted = {plain[name]: name for name in COLUMNS if name in plain}
    exact = [name for name in COLUMNS if name in cells]
    return [
        wanted[name] if name in wanted and wanted[name] not in exact else name
        for name in cells
    ]


def _replace(path, names, rows):
    text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    with written_whole(Path(path), **text) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([row[name] for name in names] for row in rows)


def resolve_decisions(decisions, ids, classes):
    """Return what people have decided about each row.

    Parameters
    ----------
    decisions : Series indexed by clip id, str or PathLike
        Decisions, or the file that holds them.
    ids : Index of length n_rows, or None
        Clip ids.
    classes : ndarray of shape (n_classes,)
        The classes.

    Returns
    -------
    codes : ndarray of shape (n_rows,), dtype int64
        Class decided on; -1 where there is none.
    keep, drop : ndarray of shape (n_rows,), dtype bool

    Raises
    ------
    ValueError
        If a clip has two decisions, or one is no class of y.
    """
    if not isinstance(decisions, pd.Series):
        decisions = read_decisions(decisions)
    decisions = of_clips(decisions, ids, "decisions")
    said = look_up(decisions, ids, "decisions", required=False)
    values = said.to_numpy(dtype=object)
    decided = said.notna().to_numpy()
    taken = [word for word in WORDS if word in classes.tolist()]
    if taken:
        raise ValueError(
            f"y has a class {taken[0]!r}, which means something else in decisions. "
            "Call the class otherwise."
        )
    plain = [value.strip() if isinstance(value, str) else value for value in values]
    keep = np.array([value == "keep" for value in plain], dtype=bool)
    drop = np.array([value == "drop" for value in plain], dtype=bool)
    known = {label: code for code, label in enumerate(classes.tolist())}
    if not all(isinstance(label, str) for label in known):
        # Files hold text
        known |= {str(label): code for label, code in list(known.items())}
    codes = np.full(len(values), -1, dtype=np.int64)
    for row in np.flatnonzero(decided & ~keep & ~drop):
        value = values[row]
        if value not in known and isinstance(value, str):
            value = value.strip()
        if value not in known:
            raise ValueError(
                f"decisions say {value!r} of clip {ids[row]!r}, which is no class of "
                f"y: {', '.join(map(repr, classes.tolist()))}. A decision is a class, "
                "'keep' or 'drop'."
            )
        codes[row] = known[value]
    return codes, keep, drop
