"""Load a table of clips that a user wrote."""

import os
import warnings

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skmer.datasets._columns import find_column, need_column
from skmer.datasets._csv import read_table
from skmer.datasets._files import clip_frame, find_files
from skmer.datasets._folders import count_lines
from skmer.datasets._label_cells import (
    lone_classes,
    read_folds,
    read_groups,
    read_labels,
    twins,
)
from skmer.datasets._paths import Root
from skmer.datasets._problems import Problems, name_rows
from skmer.exceptions import DataFileError
from skmer.utils._sklearn import validate_params


@validate_params(
    {
        "csv": [str, os.PathLike],
        "root": [str, os.PathLike, None],
        "path_column": [str],
        "label_column": [str],
        "group_column": [str, None],
        "text_column": [str, None],
        "fold_column": [str, None],
        "id_column": [str, None],
        "unlabelled": [tuple, list, set, frozenset, None],
        "require_labels": ["boolean"],
        "allow_absolute": ["boolean"],
        "check_files": ["boolean"],
        "delimiter": [str, None],
        "encoding": [str, None],
    },
    prefer_skip_nested_validation=True,
)
def load_clips(
    csv,
    *,
    root=None,
    path_column="path",
    label_column="label",
    group_column=None,
    text_column=None,
    fold_column=None,
    id_column=None,
    unlabelled=None,
    require_labels=True,
    allow_absolute=False,
    check_files=True,
    delimiter=None,
    encoding=None,
):
    """Load clips listed in a CSV file.

    The first row names the columns, each further row is a clip::

        path,label,speaker,text
        clips/a.mp4,happy,anna,What a day!
        clips/b.mp4,sad,ben,

    All that is wrong with the file is told at once, by row.

    Parameters
    ----------
    csv : str or PathLike
        The file: CSV as editors, spreadsheets and pandas write it (comma, semicolon,
        tab or bar between cells, with or without byte order mark, any line ends), or
        TSV.
    root : str or PathLike, default=None
        Folder that relative paths start from. None: the folder of the file.
    path_column : str, default="path"
        Column with the files, video or sound. Where the table has no such column, the
        columns ``video`` and ``audio`` are taken; a cell of one of the two may be
        empty.
    label_column : str, default="label"
        Column with the classes. An empty cell is an unlabelled clip.
    group_column : str, default=None
        Column with what folds must not divide, such as the speaker. None: ``speaker``
        or else ``group``, where the table has it.
    text_column : str, default=None
        Column with the words. None: ``text``, where the table has it. An empty cell
        is a clip without words.
    fold_column : str, default=None
        Column with the part that a clip is tested in. None: ``fold``, where the table
        has it. An empty cell or -1 is a clip that is never tested.
    id_column : str, default=None
        Column with the clips' ids. None: ``id``, where the table has it and it does
        not just count rows, else the path relative to ``root``.
    unlabelled : sequence of str, default=None
        Labels that mark unlabelled clips besides an empty cell, such as ``("?",)``;
        all others are classes then. None: labels such as ``nan``, ``None`` and
        ``N/A``, and ``-1`` where it is probably no class, are errors, as they may be
        either.
    require_labels : bool, default=True
        Whether a table without the column ``label_column``, or without any label, is
        an error. False is for clips to be predicted.
    allow_absolute : bool, default=False
        Whether files outside of ``root`` may be read. Off by default, so that a table
        from elsewhere cannot name any file of this computer.
    check_files : bool, default=True
        Whether every file must exist. False is for features that were computed
        before (:class:`~skmer.encoders.PrecomputedEncoder`).
    delimiter : str, default=None
        What stands between cells, one sign. None: seen from the header.
    encoding : str, default=None
        Encoding of the file, such as ``"gb18030"``. None: UTF-8, or what the file's
        byte order mark says.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` (absolute paths) and ``text``, each of str or
            None, indexed by clip id. The sound of a video file is in that file, so
            ``audio`` names it too.
        target : ndarray of object of shape (n_clips,)
            The labels as the file writes them, always str; None where unlabelled.
        target_names : list of str
            The classes, sorted.
        groups : Series of str of shape (n_clips,), or None
            Group of each clip by clip id.
        folds : Series of shape (n_clips,), or None
            Fold of each clip by clip id, as
            :class:`~skmer.model_selection.ReferenceFolds` takes them: int where all
            are whole numbers, else str; missing for none.
        frame : DataFrame of str
            All columns of the file, by clip id.
        rows : Series of str of shape (n_clips,)
            The clips' rows in the file, by clip id, as a spreadsheet numbers them:
            the header is row 1.
        filename, root : str
            The file, and the folder that paths start from.
        DESCR : str
            Description with the number of clips of each class.

    Raises
    ------
    DataFileError
        If the file or rows of it cannot be used. The message names the rows and says
        what to do.
    ValueError
        If ``delimiter`` is not one sign.

    Warns
    -----
    UserWarning
        If a class has one clip only, or two labels differ in upper and lower case
        only.

    See Also
    --------
    make_clips : Makes clips and all that is known of them.
    skmer.clips.ClipTable : Takes ``data``, first step of every recipe.

    Notes
    -----
    A clip's id is the same on every computer and in every table with the same root,
    so that folds, groups and decisions that are kept by clip id stay valid. A path
    may be written ``clips\\a.mp4``, ``./clips/a.mp4`` or, within the root, absolute;
    it counts as one clip. Links in the folder are followed wherever they lead.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skmer.datasets import load_clips
    >>> folder = tempfile.TemporaryDirectory()
    >>> table = Path(folder.name, "clips.csv")
    >>> _ = table.write_text(
    ...     "path,label,text\\na.wav,sad,Oh no\\nb.wav,glad,\\nc.wav,sad,\\nd.wav,glad,"
    ... )
    >>> clips = load_clips(table, check_files=False)
    >>> clips.data.index.tolist(), clips.target.tolist()
    (['a.wav', 'b.wav', 'c.wav', 'd.wav'], ['sad', 'glad', 'sad', 'glad'])
    >>> folder.cleanup()
    """
    table = read_table(csv, delimiter=delimiter, encoding=encoding)
    folder = root if root is not None else os.path.dirname(os.path.abspath(csv))
    if not os.path.isdir(folder):
        raise DataFileError(
            f"There is no folder {os.fspath(folder)!r}. Pass the folder that the paths "
            f"of {table.path} start from as root."
        )
    problems = Problems(table.path)
    columns = {
        "label": _label_column(table, problems, label_column, require_labels),
        "group": _column(table, problems, group_column, "group", "speaker", "group"),
        "text": _column(table, problems, text_column, "text", "text"),
        "fold": _column(table, problems, fold_column, "fold", "fold"),
        "id": _column(table, problems, id_column, "id", "id"),
    }
    media = _media_columns(table, problems, path_column)
    problems.raise_any()
    root = Root(folder, allow_absolute)
    files, names = find_files(table, media, root, check_files, problems)
    # Row numbers mean another clip in every table
    if columns["id"] and (id_column or not _counts(table.columns[columns["id"]])):
        names = _given_ids(table, columns["id"], problems)
    index = pd.Index(names, name="clip", dtype=object)
    target = np.full(len(table), None, dtype=object)
    if columns["label"]:
        target = read_labels(table, columns["label"], unlabelled, problems)
    _tell_of_doubles(table, names, files, target, problems)
    groups = read_groups(table, columns["group"], index, require_labels, problems)
    folds = read_folds(table, columns["fold"], index, problems)
    if require_labels and all(label is None for label in target):
        problems.add(
            name_rows(table.rows),
            f"no clip has a label (column {columns['label']!r}). Name the column of "
            "the classes as label_column, or pass require_labels=False for clips to "
            "be predicted.",
        )
    problems.raise_any()
    if require_labels:
        sentences = twins(target, table.rows) + lone_classes(target, table.rows)
        for sentence in sentences:
            warnings.warn(f"{table.path}: {sentence}", stacklevel=3)
    words = table.columns[columns["text"]] if columns["text"] else [""] * len(table)
    clips = Bunch(
        data=clip_frame(files, [word or None for word in words], index),
        target=target,
        target_names=sorted({label for label in target if label is not None}),
        groups=groups,
        folds=folds,
        frame=pd.DataFrame(table.columns, index=index, dtype=object),
        rows=pd.Series(table.rows, index=index, name="row", dtype=object),
        filename=table.path,
        root=root.folder,
    )
    clips["DESCR"] = _describe(clips)
    return clips


def _column(table, problems, name, parameter, *usual):
    """Return a column that is asked for, or is there under a usual name, or None."""
    if name is not None:
        what = f"what {parameter}_column asks for"
        return need_column(table, problems, name, f"{parameter}_column", usual[0], what)
    found = (find_column(table, other) for other in usual)
    return next((column for column in found if column is not None), None)


def _label_column(table, problems, name, required):
    if not required:
        return find_column(table, name)
    what = "the classes (clips to be predicted need none: require_labels=False)"
    return need_column(table, problems, name, "label_column", "label", what)


def _media_columns(table, problems, path_column):
    """Return the columns of files, by kind."""
    found = find_column(table, path_column)
    if found is not None:
        return {"path": found}
    kinds = {kind: find_column(table, kind) for kind in ("video", "audio")}
    kinds = {kind: column for kind, column in kinds.items() if column is not None}
    if kinds and path_column == "path":
        return kinds
    what = "the clips' files"
    need_column(table, problems, path_column, "path_column", "path", what)
    return {}


def _counts(cells):
    numbers = [str(i) for i in range(len(cells) + 1)]
    return cells in (numbers[:-1], numbers[1:])


def _given_ids(table, column, problems):
    for cell, row in zip(table.columns[column], table.rows, strict=True):
        if not cell:
            problems.add(
                f"row {row}",
                f"the id (column {column!r}) is empty. Every clip needs one, or delete "
                "the column: the path is the id then.",
            )
    return [cell or None for cell in table.columns[column]]


def _tell_of_doubles(table, names, files, target, problems):
    told = set()
    for kind, keys in (("clip", names), ("file", map(_key, files))):
        positions = {}
        for i, key in enumerate(keys):
            if key:
                positions.setdefault(key, []).append(i)
        for where in positions.values():
            if len(where) == 1 or tuple(where) in told:
                continue
            # One file twice under one id is told once
            told.add(tuple(where))
            labels = list(dict.fromkeys(target[i] for i in where))
            cure = "Leave one of them"
            if len({_key(files[i]) for i in where}) > 1:
                cure = "Give each clip an id of its own"
            which = names[where[0]]
            if kind == "file":
                which = next(iter(files[where[0]].values()))
            text = f"one {kind}, {which!r}, is in these rows"
            if len(labels) > 1:
                text += f" with different labels ({', '.join(map(repr, labels))})"
            problems.add(name_rows([table.rows[i] for i in where]), f"{text}. {cure}.")


def _key(files):
    return tuple(sorted(files.items()))


def _describe(clips):
    words = clips.data["text"].notna().sum()
    lines = [
        f"{len(clips.target)} clips of {clips.filename}, files below {clips.root}.",
        "",
        count_lines(clips.target),
        "",
        f"{words} clips have words.",
    ]
    if clips.groups is not None:
        lines.append(
            f"Groups (column {clips.groups.name!r}): {clips.groups.nunique()}."
        )
    if clips.folds is not None:
        lines.append(f"Folds (column {clips.folds.name!r}): {clips.folds.nunique()}.")
    return "\n".join(lines) + "\n"
