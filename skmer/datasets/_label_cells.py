"""Labels, groups and folds as tables write them."""

import math

import pandas as pd

from skmer.datasets._problems import NAMED, name_rows
from skmer.utils import as_object_column

# What programs write where something is missing
_MISSING = frozenset("nan none na n/a null <na> nat #n/a ? -".split())


def read_labels(table, column, unlabelled, problems):
    """Return the labels of a table's rows.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    column : str
        Its column of labels.
    unlabelled : sequence of str or None
        Labels that mark unlabelled clips; None: none, and labels that look like such
        marks are problems.
    problems : Problems
        Told of labels that cannot be used.

    Returns
    -------
    target : ndarray of object of shape (n_rows,)
        Strings, None where unlabelled.
    """
    marks = set(unlabelled or ()) | {""}
    labels = [None if cell in marks else cell for cell in table.columns[column]]
    known = sorted({label for label in labels if label is not None})
    if unlabelled is None:
        _tell_of_marks(table, column, labels, known, problems)
    numbers = [_number(label) for label in known]
    # pandas writes whole numbers beside missing ones as 1.0
    fractions = [n for n in numbers if n is not None and not n.is_integer()]
    if fractions and None not in numbers:
        problems.add(
            f"row {table.head}",
            f"the column of labels, {column!r}, holds numbers such as {fractions[0]}: "
            "a scale and no classes. Name the column of classes as label_column, or "
            "write classes such as 'high' and 'low' in their place.",
        )
    return as_object_column(labels)


def _tell_of_marks(table, column, labels, known, problems):
    marks = {label for label in known if _is_mark(label)}
    # Beside words, or as the only number below 0 of more than a pair of classes, -1
    # marks unlabelled rows more often than it is a class.
    negative = [label for label in known if label.startswith("-")]
    if negative == ["-1"] and set(known) - marks not in ({"-1", "1"}, {"-1"}):
        marks.add("-1")
    for label, row in zip(labels, table.rows, strict=True):
        if label in marks:
            problems.add(
                f"row {row}",
                f"the label (column {column!r}) is {label!r}, which usually marks a "
                "missing one. If the clip is unlabelled, leave the cell empty or pass "
                f"unlabelled=({label!r},); if this is a class, pass unlabelled=().",
            )


def twins(target, rows):
    """Return sentences on labels that differ in upper and lower case only.

    Parameters
    ----------
    target : sequence of (str or None)
        Labels.
    rows : sequence of str
        Row of each.

    Returns
    -------
    sentences : list of str
    """
    target, first, sentences = list(target), {}, []
    for label in sorted({label for label in target if label is not None}):
        other = first.setdefault(label.casefold(), label)
        if other != label:
            rarer = min(label, other, key=target.count)
            where = [r for r, cell in zip(rows, target, strict=True) if cell == rarer]
            sentences.append(
                f"The labels {other!r} and {label!r} count as two classes. If they "
                f"are one, write them alike: {rarer!r} is in {name_rows(where)}."
            )
    return sentences


def lone_classes(target, rows):
    """Return a sentence on classes that have one clip, if there are any.

    Parameters
    ----------
    target : sequence of (str or None)
        Labels.
    rows : sequence of str
        Row of each.

    Returns
    -------
    sentences : list of str
        One or none.
    """
    found = {}
    for label, row in zip(target, rows, strict=True):
        if label is not None:
            found.setdefault(label, []).append(row)
    lone = {label: rows[0] for label, rows in found.items() if len(rows) == 1}
    if not lone:
        return []
    named = [f"{label!r} (row {row})" for label, row in lone.items()][:NAMED]
    more = f" and {len(lone) - NAMED} more" if len(lone) > NAMED else ""
    has = "A class has" if len(lone) == 1 else f"{len(lone)} classes have"
    return [
        f"{has} one clip: {', '.join(named)}{more}. It can be trained on or tested on, "
        "not both. Add clips of the class, give them the label of another, or leave "
        "the label empty."
    ]


def read_groups(table, column, index, required, problems):
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
    problems : Problems
        Told of clips without a group where it is required.

    Returns
    -------
    groups : Series of (str or None), or None
        None where no clip has one.
    """
    if column is None or not any(table.columns[column]):
        return None
    cells = [cell or None for cell in table.columns[column]]
    for cell, row in zip(cells, table.rows, strict=True):
        if required and (cell is None or _is_mark(cell)):
            problems.add(
                f"row {row}",
                f"the group (column {column!r}) is {cell or ''!r}. Folds keep a group "
                "together, so write who it is; clips of unknown people can each have "
                "a name of their own, such as 'unknown 1'.",
            )
    return pd.Series(cells, index=index, name=column, dtype=object)


def read_folds(table, column, index, problems):
    """Return the fold of each clip.

    Parameters
    ----------
    table : Table
        From ``read_table``.
    column : str or None
        Its column of folds.
    index : Index
        The clips' ids.
    problems : Problems
        Told of folds that look like missing ones.

    Returns
    -------
    folds : Series of int or str, or None
        Missing where a clip has none; None where no clip has one.
    """
    if column is None or not any(table.columns[column]):
        return None
    cells = [None if c in ("", "-1") else c for c in table.columns[column]]
    for cell, row in zip(cells, table.rows, strict=True):
        if cell is not None and _is_mark(cell):
            problems.add(
                f"row {row}",
                f"the fold (column {column!r}) is {cell!r}. Leave the cell of a clip "
                "that is never tested empty.",
            )
    if all(cell is None or cell.isdecimal() for cell in cells):
        numbers = [pd.NA if cell is None else int(cell) for cell in cells]
        return pd.Series(numbers, index=index, name=column, dtype="Int64")
    return pd.Series(cells, index=index, name=column, dtype=object)


def _is_mark(cell):
    """Return whether a cell is what programs write where something is missing."""
    return cell.casefold() in _MISSING


def _number(label):
    """Return the number that a label is, None where it is a word."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
