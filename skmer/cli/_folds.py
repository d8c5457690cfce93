"""Folds as the command line asks for them."""

from skmer.cli._console import UsageError, counted, note, plainly

_USUAL = 5


def groups_of(args):
    """Return the column of groups for ``load_clips``; None takes the usual ones."""
    return None if args.groups == "none" else args.groups


def folds_of(args, clips):
    """Return the folds, and take groups off the clips where none are wanted.

    Parameters
    ----------
    args : Namespace
        With cv, fold_file, fold_column, groups and seed.
    clips : Bunch
        From :func:`skmer.datasets.load_clips`.

    Returns
    -------
    folds : ReferenceFolds

    Raises
    ------
    UsageError
        If folds cannot be made, or do not fit the clips.
    """
    from skmer.exceptions import DataFileError
    from skmer.model_selection import ReferenceFolds

    given = [args.cv is not None, args.fold_file is not None]
    given.append(args.fold_column is not None)
    if sum(given) > 1:
        raise UsageError("Give one of --cv, --fold-file and --fold-column.")
    _leave_groups(args, clips)
    try:
        if args.fold_file is not None:
            folds = ReferenceFolds.read(args.fold_file)
            told = f"those of {args.fold_file}"
        elif clips.folds is not None and args.cv is None:
            _refuse_constant(clips)
            folds = ReferenceFolds(clips.folds)
            told = f"those of the column {clips.folds.name!r}"
        else:
            return _new_folds(args, clips)
        splits = list(folds.split(clips.data, clips.target))
    except (DataFileError, ValueError, OSError) as error:
        raise UsageError(plainly(error)) from error
    note(args, f"Folds: {told}, {len(splits)}.{_unknown_groups(args, clips)}")
    _tell_of_split_groups(args, clips, splits)
    return folds


def _refuse_constant(clips):
    folds = clips.folds
    if folds.notna().any() and folds.nunique(dropna=False) == 1:
        raise UsageError(
            f"{clips.filename}: the column {folds.name!r} holds only one value, "
            f"{str(folds.iloc[0])!r}, and folds need two or more, as one is tested by "
            f"training on the others. Write others, or divide the clips by --cv "
            f"{_USUAL}."
        )


def _unknown_groups(args, clips):
    """Say that one person may be on both sides, where that cannot be known."""
    if clips.groups is not None or args.groups == "none":
        return ""
    return (
        " Nobody knows who speaks (no column speaker), so one person's clips may be on "
        "both sides."
    )


def _tell_of_split_groups(args, clips, splits):
    from skmer.evaluation._folds import count_split_groups, told_of_split_groups

    if clips.groups is None:
        return
    n_split = count_split_groups(splits, clips.groups)
    n_groups, name = clips.groups.nunique(), clips.groups.name
    told = told_of_split_groups(n_split, n_groups, name)
    if told and n_groups > 1:
        n_folds = min(_USUAL, n_groups)
        told += f" To keep each in one fold, divide the clips by --cv {n_folds}."
    if told:
        note(args, told)


def check_number(args, clips, *, more=0):
    """Refuse a number of folds that the clips do not allow, and lone classes.

    Parameters
    ----------
    args : Namespace
        With cv and groups.
    clips : Bunch
        From :func:`skmer.datasets.load_clips`; groups are taken off it where none
        are wanted.
    more : int, default=0
        Folds that are needed beside those asked for.

    Raises
    ------
    UsageError
        With the rows of the clips that are too few.
    """
    _leave_groups(args, clips)
    _refuse_lone(args, clips)
    _refuse_many(args, clips, more)


def _leave_groups(args, clips):
    if args.groups == "none":
        clips.groups = None


def _new_folds(args, clips):
    from skmer.model_selection import ReferenceFolds

    n_splits = args.cv
    if n_splits is None:
        _refuse_lone(args, clips)
        n_splits = _fitting(args, clips)
    else:
        check_number(args, clips)
    folds = ReferenceFolds.from_labels(
        clips.target,
        clips=clips.data,
        groups=clips.groups,
        n_splits=n_splits,
        hold_out_groups=clips.groups is not None,
        random_state=args.seed,
    )
    apart = "" if clips.groups is None else f", each {clips.groups.name} in one"
    told = f"Folds: {n_splits}, stratified{apart}."
    note(args, f"{told}{_unknown_groups(args, clips)}")
    return folds


def _fitting(args, clips):
    """Return how many folds the clips allow, the usual number at most."""
    label, rows = _smallest(clips)
    allowed = {f"the class {label!r} has {counted(len(rows), 'clip')}": len(rows)}
    if clips.groups is not None:
        n_groups = _n_groups(clips)
        allowed[f"there are {counted(n_groups, clips.groups.name)}"] = n_groups
    why, most = min(allowed.items(), key=lambda item: item[1])
    if most < _USUAL:
        note(args, f"{most} folds in place of {_USUAL}: {why} only.")
    return min(_USUAL, most)


def _n_groups(clips):
    labelled = [label is not None for label in clips.target]
    return clips.groups[labelled].nunique()


def _refuse_many(args, clips, more=0):
    label, rows = _smallest(clips)
    wanted = args.cv + more
    asked = f"--cv {args.cv}"
    if more:
        asked += f" (some rows of the table have {wanted} folds)"
    if len(rows) < wanted:
        fewer = f"Use --cv {len(rows) - more}, a" if len(rows) - more > 1 else "A"
        raise UsageError(
            f"{clips.filename}: {asked} needs {wanted} clips of each class, "
            f"{label!r} has {len(rows)} (rows {', '.join(rows)}). {fewer}dd clips of "
            "it, give it the label of another class, or leave its label empty, so "
            "that it counts as unlabelled."
        )
    if clips.groups is not None and _n_groups(clips) < wanted:
        name, n_groups = clips.groups.name, _n_groups(clips)
        fewer = f"--cv {n_groups - more}, or " if n_groups - more > 1 else ""
        raise UsageError(
            f"{clips.filename}: {asked} needs {wanted} of {name!r}, labelled clips "
            f"have {n_groups}. Use {fewer}--groups none, which lets a {name} be "
            "trained on and tested on."
        )


def _smallest(clips):
    """Return the class with the fewest clips, and their rows."""
    rows = {label: [] for label in clips.target_names}
    for label, row in zip(clips.target, clips.rows, strict=True):
        if label is not None:
            rows[label].append(str(row))
    return min(rows.items(), key=lambda item: len(item[1]))


def _refuse_lone(args, clips):
    """Refuse classes of one clip and clips of one group; warn of classes of one."""
    if clips.groups is not None and _n_groups(clips) < 2:
        name = clips.groups.name
        raise UsageError(
            f"{clips.filename}: all labelled clips have one {name}, so there is no "
            f"other to test on. Add clips of other {name}s, or let --groups none "
            "divide them."
        )
    for label in clips.target_names:
        mine = [i for i, other in enumerate(clips.target) if other == label]
        rows = ", ".join(str(clips.rows.iloc[i]) for i in mine[:10])
        if len(mine) == 1:
            raise UsageError(
                f"{clips.filename}: the class {label!r} has one clip (row {rows}), "
                "which can be trained on or tested on, not both. Add clips of it, give "
                "it the label of another class, or leave its label empty, so that it "
                "counts as unlabelled."
            )
        if clips.groups is not None and clips.groups.iloc[mine].nunique() == 1:
            what = clips.groups.name
            note(
                args,
                f"The class {label!r} has one {what} (rows {rows}): where it is tested "
                "nothing is trained on the class, so all count as mistakes. Add clips "
                f"of other {what}s, or let --groups none divide them.",
            )
