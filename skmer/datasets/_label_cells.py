"""Labels, groups and folds as tables write them."""

import warnings

import pandas as pd

from skmer.datasets._problems import Problems, name_rows
from skmer.exceptions import DataFileError
from skmer.utils import as_object_column

# What programs write where something is missing
_MISSING = frozenset("nan none na n/a null <na> nat #n/a ? -".split())


def is_mark(cell):
    """Return whether a cell is what programs write where something is missing."""
    return cell.casefold() in _MISSING


def read_labels(table, column, unlabelled):
    """Return the labels of a table's rows.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    column : str
        Its column of labels.
    unlabelled : sequence of str or None
        Labels that mark unlabelled clips; None: none, and labels that look like such
        marks are errors.

    Returns
    -------
    target : ndarray of object of shape (n_rows,)
        Strings, None where unlabelled.

    Raises
    ------
    DataFileError
        If a label looks like a missing one, or the labels are no classes.

    Warns
    -----
    UserWarning
        If two labels differ in upper and lower case only.
    """
    marks = set(unlabelled or ()) | {""}
    cells = table.columns[column]
    labels = [None if cell in marks else cell for cell in cells]
    known = sorted({label for label in labels if label is not None})
    if unlabelled is None:
        _refuse_marks(table, column, labels, known)
    if known and all(map(_is_number, known)) and not all(map(_is_whole, known)):
        raise DataFileError(
            f"{table.path}: column {column!r} holds numbers such as {known[0]}, a "
            "scale and no classes. Name the column of classes as label_column, or "
            "write classes such as 'high' and 'low' in their place."
        )
    _warn_of_cases(table, column, labels, known)
    return as_object_column(labels)


def read_groups(table, column, index, required):
    """Return the group of each clip.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    column : str or None
        Its column of groups.
    index : Index
        The clips' ids.
    required : bool
        Whether every clip needs one.

    Returns
    -------
    groups : Series of (str or None), or None
        None where no clip has one.

    Raises
    ------
    DataFileError
        If a clip has none though one is required.
    """
    if column is None or not any(table.columns[column]):
        return None
    cells = [cell or None for cell in table.columns[column]]
    problems = Problems(table.path)
    for cell, row in zip(cells, table.rows, strict=True):
        if required and (cell is None or is_mark(cell)):
            problems.add(
                f"row {row}",
                f"the group (column {column!r}) is {cell or ''!r}. Folds keep a group "
                "together, so write who it is; clips of unknown people can each have "
                "a name of their own, such as 'unknown 1'.",
            )
    problems.raise_any()
    return pd.Series(cells, index=index, name=column, dtype=object)


def read_folds(table, column, index):
    """Return the fold of each clip.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    column : str or None
        Its column of folds.
    index : Index
        The clips' ids.

    Returns
    -------
    folds : Series of int or str, or None
        Missing where a clip has none; None where no clip has one.

    Raises
    ------
    DataFileError
        If a fold looks like a missing one.
    """
    if column is None or not any(table.columns[column]):
        return None
    cells = [None if c in ("", "-1") else c for c in table.columns[column]]
    problems = Problems(table.path)
    for cell, row in zip(cells, table.rows, strict=True):
        if cell is not None and is_mark(cell):
            problems.add(
                f"row {row}",
                f"the fold (column {column!r}) is {cell!r}. Leave the cell of a clip "
                "that is never tested empty.",
            )
    problems.raise_any()
    if all(cell is None or cell.isdecimal() for cell in cells):
        numbers = [pd.NA if cell is None else int(cell) for cell in cells]
        return pd.Series(numbers, index=index, name=column, dtype="Int64")
    return pd.Series(cells, index=index, name=column, dtype=object)


def _refuse_marks(table, column, labels, known):
    marks = {label for label in known if is_mark(label)}
    # Beside words, or as the only number below 0 of more than a pair of classes, -1
    # marks unlabelled rows more often than it is a class.
    negative = [label for label in known if label.startswith("-")]
    if negative == ["-1"] and set(known) - marks not in ({"-1", "1"}, {"-1"}):
        marks.add("-1")
    problems = Problems(table.path)
    for label, row in zip(labels, table.rows, strict=True):
        if label in marks:
            problems.add(
                f"row {row}",
                f"the label (column {column!r}) is {label!r}, which usually marks a "
                "missing one. If the clip is unlabelled, leave the cell empty or pass "
                f"unlabelled=({label!r},); if this is a class, pass unlabelled=().",
            )
    problems.raise_any()


def _warn_of_cases(table, column, labels, known):
    first = {}
    for label in known:
        other = first.setdefault(label.casefold(), label)
        if other != label:
            rows = [
                row
                for row, cell in zip(table.rows, labels, strict=True)
                if cell == min(other, label, key=labels.count)
            ]
            warnings.warn(
                f"{table.path}: the labels {other!r} and {label!r} (column "
                f"{column!r}) count as two classes. If they are one, write both alike: "
                f"{name_rows(rows)}.",
                stacklevel=4,
            )


def _is_whole(label):
    return label.removeprefix("-").isdigit()


def _is_number(label):
    try:
        float(label)
    except ValueError:
        return False
    return True
