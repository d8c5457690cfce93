"""Clips of the MER challenges, put together from their files."""

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skmer.datasets._files import clip_frame
from skmer.datasets._folders import count_lines, find_below
from skmer.datasets._mer_files import (
    find_videos,
    list_videos,
    read_labels,
    read_names,
    read_words,
)
from skmer.datasets._mertools_sets import MER_CLASSES
from skmer.exceptions import DataFileError
from skmer.utils import as_object_column


def labelled_parts(root, known, asked, unlabelled):
    """Return label and part of each clip of MER2023.

    Parameters
    ----------
    root : str
        Folder of the data set.
    known, asked : sequence of str
        Names of parts: all there are, and those to load. None: those whose label file
        is there.
    unlabelled : bool
        Whether to add the clips of the last part that have no label.

    Returns
    -------
    labels : dict of str to (str or None, float or None)
        Class and valence by name.
    where : dict of str to str
        Part by name.
    """
    files = {part: f"{part}-label.csv" for part in asked or known}
    there = find_below(root, list(files.values()))
    absent = [name for name in files.values() if name not in there]
    if absent and (asked or len(absent) == len(files)):
        raise _no_file(root, absent[0])
    labels, where = {}, {}
    for part, name in files.items():
        if name in there:
            read = read_labels(there[name])
            shared = [clip for clip in read if clip in labels]
            if shared:
                raise DataFileError(
                    f"{root}: {len(shared)} clips, such as {shared[0]!r}, are in the "
                    f"label files of {where[shared[0]]} and of {part}. Load one of "
                    "them, by parts=."
                )
            labels.update(read)
            where.update(dict.fromkeys(read, part))
    if unlabelled:
        own = set(labels)
        if known[-1] not in files:
            # Its labelled clips are not asked for, but are no unlabelled ones
            file = find_below(root, [f"{known[-1]}-label.csv"])
            own = own.union(*(read_names(path) for path in file.values()))
        for name in _list_below(root, [known[-1]]):
            if name not in own:
                labels[name], where[name] = (None, None), known[-1]
    return labels, where


def _list_below(root, folders):
    found = find_below(root, folders)
    if not found:
        raise DataFileError(
            f"There is no folder {' or '.join(folders)} with unlabelled clips in "
            f"{root} or up to three folders below it."
        )
    return list_videos(found.values())


def _no_file(root, name):
    return DataFileError(
        f"There is no {name} in {root} or up to three folders below it. Give the "
        "folder that the data set was unpacked to, with its files as they were named."
    )


def labelled_and_others(root, label_file, candidates, folders, unlabelled):
    """Return label and part of each clip of MER2024 or MER2025.

    Parameters
    ----------
    root : str
        Folder of the data set.
    label_file, candidates : str
        Names of the files of labels and of candidates.
    folders : sequence of str
        Names of the folders with unlabelled clips.
    unlabelled : {"all", "candidates"} or None
        Which of them to add.

    Returns
    -------
    labels : dict of str to (str or None, float or None)
        Class and valence by name.
    where : dict of str to str
        ``"train"`` or ``"unlabelled"`` by name.
    """
    there = find_below(root, [label_file, candidates])
    if label_file not in there:
        raise _no_file(root, label_file)
    labels = read_labels(there[label_file])
    where = dict.fromkeys(labels, "train")
    others = ()
    if unlabelled == "candidates":
        if candidates not in there:
            raise _no_file(root, candidates)
        others = read_names(there[candidates])
    elif unlabelled == "all":
        others = _list_below(root, folders)
    for name in others:
        if name not in labels:
            labels[name], where[name] = (None, None), "unlabelled"
    return labels, where


def make_bunch(title, root, labels, where, folders, transcripts, settings):
    """Return what the loaders return.

    Parameters
    ----------
    title : str
        Name of the data set.
    root : str
        Its folder.
    labels, where : dict
        As :func:`labelled_and_others` returns them.
    folders : sequence of str or None
        Names of the folders with videos; None looks for none.
    transcripts : sequence of str
        Names of files with words, the best first.
    settings : dict
        ``language``, ``transcripts`` and ``on_error`` as the loaders take them.

    Returns
    -------
    clips : Bunch
    """
    names = list(labels)
    index = pd.Index(names, name="clip", dtype=object)
    files = [{}] * len(names)
    if folders is not None:
        # The loader's caller, beyond what checks the loader's parameters
        files = find_videos(root, folders, names, settings["on_error"], stacklevel=4)
    source, words = settings["transcripts"], [None] * len(names)
    if source is None:
        found = find_below(root, transcripts)
        source = next((found[name] for name in transcripts if name in found), None)
    if source is not None:
        words = read_words(source, settings["language"], names)
    target = [labels[name][0] for name in names]
    parts = pd.Series(where, name="part", dtype=object).reindex(index)
    labelled = np.array([label is not None for label in target])
    folds = None
    if parts[labelled].nunique() > 1:
        folds = parts.where(labelled, None).rename("fold")
    valence = [labels[name][1] for name in names]
    clips = Bunch(
        data=clip_frame(files, words, index),
        target=as_object_column(target),
        target_names=list(MER_CLASSES),
        valence=pd.Series(valence, index=index, name="valence", dtype=np.float64),
        groups=None,
        folds=folds,
        parts=parts,
    )
    n_words = int(clips.data["text"].notna().sum())
    told = "no file of words was found" if source is None else f"from {source}"
    clips["DESCR"] = (
        f"{title}: {len(names):,} clips of {root}, {labelled.sum():,} labelled.\n\n"
        f"{count_lines(target)}\n\n"
        f"Parts: {', '.join(f'{p} {n:,}' for p, n in parts.value_counts().items())}.\n"
        f"{n_words:,} clips have words ({told}).\n"
    )
    return clips
