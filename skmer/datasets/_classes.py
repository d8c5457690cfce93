"""How many clips the classes have, and whether folds can be made of them."""

from skmer.datasets._problems import name_rows
from skmer.exceptions import DataFileError
from skmer.utils._clip_ids import look_up


def count_classes(target):
    """Return the number of clips of each class, sorted by name.

    Parameters
    ----------
    target : sequence of (str or None)
        Labels, None where unlabelled.

    Returns
    -------
    counts : dict of str to int
    """
    known = [label for label in target if label is not None]
    return {label: known.count(label) for label in sorted(set(known))}


def single_clips(target, rows):
    """Return the classes that have one clip, with its row.

    Parameters
    ----------
    target : sequence of (str or None)
        Labels.
    rows : sequence
        Row of each clip.

    Returns
    -------
    single : dict of str to object
    """
    found = {}
    for label, row in zip(target, rows, strict=True):
        if label is not None:
            found.setdefault(label, []).append(row)
    return {label: where[0] for label, where in found.items() if len(where) == 1}


def refuse_rare_classes(clips, n_splits, *, grouped=False):
    """Raise an error if a class has too few clips to be in every fold.

    Parameters
    ----------
    clips : Bunch
        From ``load_clips``.
    n_splits : int
        Number of folds.
    grouped : bool, default=False
        Whether the folds keep groups together: a class needs as many groups then.

    Raises
    ------
    DataFileError
        Naming the classes, the rows and what can be done.
    """
    units = clips.data.index
    if grouped:
        units = look_up(clips.groups, clips.data.index, "groups").to_numpy()
    found = {}
    for label, row, unit in zip(clips.target, clips.rows, units, strict=True):
        if label is not None:
            found.setdefault(label, []).append((row, unit))
    what = f"{clips.groups.name}s" if grouped else "clips"
    rare = []
    for label, members in sorted(found.items()):
        n_units = len({unit for _, unit in members})
        if n_units < n_splits:
            rows = name_rows([row for row, _ in members])
            whats = what if n_units != 1 else what.removesuffix("s")
            rare.append((n_units, f"{label!r} has {n_units} {whats} ({rows})"))
    if rare:
        most = min(n for n, _ in rare)
        fewer = f"make {most} folds, " if most > 1 else ""
        raise DataFileError(
            f"{clips.filename}: {n_splits} folds need each class in {n_splits} {what}, "
            f"but {'; '.join(text for _, text in rare)}. Add clips, {fewer}give the "
            "class the label of another, or leave its labels empty."
        )
