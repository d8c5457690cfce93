"""Load labels and features in the files of the MERTools toolkit."""

import os
import warnings

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skmer.datasets._files import clip_frame
from skmer.datasets._folders import count_lines
from skmer.datasets._mer_files import find_videos, read_words
from skmer.datasets._mertools_sets import (
    MER_CLASSES,
    SETS,
    groups_of,
    guess_set,
    sessions_of,
)
from skmer.datasets._npz import read_dicts
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.utils import as_object_column
from skmer.utils._sklearn import StrOptions, validate_params

# What stands for "no valence"
_ABSENT = -10
_NOT_IN_NAMES = frozenset("/\\\0")
_NAMED = 3


@validate_params(
    {
        "label_npz": [str, os.PathLike],
        "features": [dict, None],
        "corpus": [str, list, tuple, None],
        "dataset": [StrOptions(set(SETS)), None],
        "videos": [str, os.PathLike, None],
        "transcripts": [str, os.PathLike, None],
        "language": [StrOptions({"chinese", "english"})],
        "placeholders": [StrOptions({"unlabelled", "keep"})],
    },
    prefer_skip_nested_validation=True,
)
def load_mertools(
    label_npz,
    features=None,
    corpus=None,
    *,
    dataset=None,
    videos=None,
    transcripts=None,
    language="chinese",
    placeholders="unlabelled",
):
    """Load a data set from the label file and feature folders of MERTools.

    The toolkit keeps the labels of MER2023, MER2024, MER2025, IEMOCAP, MELD, CMU-MOSI,
    CMU-MOSEI, CH-SIMS and CH-SIMS v2 [1]_ in one ``label*.npz`` each, and features in
    folders such as ``features/chinese-hubert-large-UTT/<name>.npy``.

    Parameters
    ----------
    label_npz : str or PathLike
        The label file. What is pickled in it is read by an unpickler that knows
        dicts, strings and numbers only; nothing in it is run.
    features : dict of str to (str or PathLike), default=None
        Folder of features of each stream, such as ``{"audio":
        "features/chinese-hubert-large-UTT"}``.
    corpus : str or sequence of str, default=None
        Which parts to load: ``"train_corpus"``, ``"val_corpus"``, ``"test_corpus"``,
        ``"test1_corpus"`` ..., ``"whole_corpus"``. ``_corpus`` may be left out. None:
        all.
    dataset : {"MER2023", "MER2024", "MER2025", "IEMOCAPFour", "IEMOCAPSix", "MELD", \
            "CMUMOSI", "CMUMOSEI", "SIMS", "SIMSv2"}, default=None
        What the labels are of: some files number the classes, or hold a sentiment.
        None: seen from the file, for all but the last four.
    videos : str or PathLike, default=None
        Folder with the clips, ``<name>.mp4`` or the like. None: the cells of ``data``
        are empty, which is enough for features.
    transcripts : str or PathLike, default=None
        ``transcription-engchi-polish.csv`` or the like: columns ``name``,
        ``chinese``, ``english``.
    language : {"chinese", "english"}, default="chinese"
        Which of its columns to take.
    placeholders : {"unlabelled", "keep"}, default="unlabelled"
        What to do with a test part where every label is ``neutral``: the toolkit
        writes that where labels were never given out. ``"keep"`` takes them for
        labels.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` and ``text``, each of str or None, indexed by
            clip id, which is the toolkit's name of the clip.
        target : ndarray of object of shape (n_clips,)
            Names of classes, None where unlabelled. Of sentiments: ``"negative"`` or
            ``"positive"``, None where the sentiment is 0, which the toolkit's score
            leaves out as well.
        target_names : list of str
            The classes, in the order of their numbers in the toolkit.
        valence : Series of float of shape (n_clips,), or None
            Valence, or sentiment, by clip id; NaN where the file has -10. None where
            it has nothing else.
        groups : Series of str of shape (n_clips,), or None
            By clip id: the speaker (IEMOCAP), dialogue (MELD) or video (sentiments)
            that names tell; None for MER.
        folds : Series of shape (n_clips,), or None
            By clip id: the session, 1 to 5 (IEMOCAP), else the part (``"train"``,
            ``"val"``, ``"test"``, ``"test1"``...) where more than one part has labels.
        corpora : Series of str of shape (n_clips,)
            Part of each clip, by clip id, without ``_corpus``.
        features : dict of str to dict
            Parameters of :class:`~skmer.encoders.PrecomputedEncoder` for each stream.
        dataset : str or None
            What the labels are of, None where it is neither given nor seen.
        DESCR : str
            Description.

    Raises
    ------
    DataFileError
        If files are missing or hold something else, or the classes are numbered and
        ``dataset`` is needed.

    Warns
    -----
    ExtractionWarning
        If some clips have no features, or no file in ``videos``.

    See Also
    --------
    skmer.encoders.write_mertools : Writes such folders.
    skmer.recipes.make_mertools_attention : The toolkit's baseline.

    Notes
    -----
    The given parts of MELD and the sentiments are compared by
    ``ReferenceFolds(clips.folds, test="test", train="train")``; IEMOCAP's sessions by
    ``ReferenceFolds(clips.folds)``.

    References
    ----------
    .. [1] Z. Lian et al. (2024). MERBench: A unified evaluation benchmark for
       multimodal emotion recognition. arXiv:2401.03429.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skmer.datasets import load_mertools
    >>> from skmer.encoders import PrecomputedEncoder
    >>> from skmer.recipes import make_mertools_attention
    >>> folder = tempfile.TemporaryDirectory()
    >>> labels = {f"clip{i}": {"emo": ["sad", "happy"][i % 2]} for i in range(8)}
    >>> np.savez(Path(folder.name, "label-6way.npz"), train_corpus=labels)
    >>> hubert = Path(folder.name, "features", "chinese-hubert-large-UTT")
    >>> hubert.mkdir(parents=True)
    >>> for i, name in enumerate(labels):
    ...     np.save(hubert / f"{name}.npy", np.array([i % 2, 1.0]))
    >>> clips = load_mertools(
    ...     Path(folder.name, "label-6way.npz"), features={"audio": hubert}
    ... )
    >>> encoders = {
    ...     stream: PrecomputedEncoder(**settings, cache=None)
    ...     for stream, settings in clips.features.items()
    ... }
    >>> model = make_mertools_attention(
    ...     encoders=encoders, streams=["audio"], random_state=0
    ... )
    >>> model.fit(clips.data, clips.target).predict(clips.data).tolist()
    ['sad', 'happy', 'sad', 'happy', 'sad', 'happy', 'sad', 'happy']
    >>> folder.cleanup()
    """
    path = os.fspath(label_npz)
    labels, parts = _read_labels(path, corpus)
    names = list(labels)
    found = dataset or guess_set(list(dict.fromkeys(parts)), labels)
    target, classes = _target(path, labels, found)
    if placeholders == "unlabelled":
        emotions = [label["emo"] for label in labels.values()]
        target = _without_placeholders(target, emotions, parts)
    index = pd.Index(names, name="clip", dtype=object)
    files = [{}] * len(names)
    if videos is not None:
        files = find_videos(os.fspath(videos), (), names, "nan", stacklevel=3)
    words = [None] * len(names)
    if transcripts is not None:
        words = read_words(transcripts, language, names)
    groups = groups_of(names, found)
    clips = Bunch(
        data=clip_frame(files, words, index),
        target=as_object_column(target),
        target_names=classes,
        valence=_valence(labels, index),
        groups=groups and pd.Series(groups, index=index, name="group", dtype=object),
        folds=_folds(found, names, parts, target, index),
        corpora=pd.Series(_short(parts), index=index, name="corpus", dtype=object),
        features=_feature_settings(features or {}, names),
        dataset=found,
    )
    clips["DESCR"] = _describe(clips, path)
    return clips


def _read_labels(path, corpus):
    """Return the label and the part of each clip."""
    parts = {
        name: part
        for name, part in read_dicts(path).items()
        if part is not None and name.endswith("_corpus")
    }
    if not parts:
        raise DataFileError(
            f"{path} holds no labels of MERTools: there is no train_corpus, "
            "whole_corpus or the like in it."
        )
    if corpus is not None:
        asked = [corpus] if isinstance(corpus, str) else list(corpus)
        asked = [f"{name.removesuffix('_corpus')}_corpus" for name in asked]
        absent = [name for name in asked if name not in parts]
        if absent or not asked:
            raise DataFileError(
                f"{path} has no {absent[0] if absent else 'part of that name'}. It "
                f"has {', '.join(parts)}."
            )
        parts = {name: parts[name] for name in asked}
    labels, where = {}, []
    for part, members in parts.items():
        for name, label in members.items():
            if not isinstance(name, str) or not isinstance(label, dict):
                raise DataFileError(
                    f"{path}, {part}: {name!r} has the label {label!r}, not a dict "
                    "with 'emo' (and 'val')."
                )
            # Files of features and clips are looked for by this name
            if not name.strip(".") or set(name) & _NOT_IN_NAMES:
                raise DataFileError(
                    f"{path}, {part}: {name!r} is no name of a clip, as it cannot be "
                    "that of a file without a folder."
                )
            if name in labels:
                other = where[list(labels).index(name)]
                raise DataFileError(
                    f"{path}: the clip {name!r} is in {other} and in {part}. Load one "
                    f"of them, by corpus={part!r}."
                )
            if not isinstance(label.get("emo"), (str, int, float)):
                raise DataFileError(
                    f"{path}, {part}: {name!r} has no 'emo', or one that is neither a "
                    f"string nor a number: {label!r}."
                )
            labels[name] = label
            where.append(part)
    if not labels:
        raise DataFileError(f"{path} holds no clips in {', '.join(parts)}.")
    return labels, where


def _target(path, labels, found):
    """Return the class of each clip, and the classes."""
    label_set = SETS.get(found)
    emotions = [label["emo"] for label in labels.values()]
    if label_set is not None and label_set.scale is not None:
        return _signs(path, labels, label_set.scale), ["negative", "positive"]
    if all(isinstance(emotion, str) for emotion in emotions):
        known = sorted(set(emotions))
        if set(known) <= set(MER_CLASSES):
            known = [name for name in MER_CLASSES if name in known]
        return emotions, known
    if label_set is None or not label_set.classes:
        raise DataFileError(
            f"{path} holds numbers for classes, such as {emotions[0]}, which differ "
            "between data sets. Say which one it is by dataset=, one of "
            f"{', '.join(SETS)}."
        )
    classes = label_set.classes
    for name, emotion in zip(labels, emotions, strict=True):
        if isinstance(emotion, str) or emotion not in range(len(classes)):
            raise DataFileError(
                f"{path}: the class of {name!r} is {emotion!r}, but {found} has "
                f"{len(classes)}, numbered from 0. Check dataset=."
            )
    return [classes[int(emotion)] for emotion in emotions], list(classes)


def _signs(path, labels, scale):
    target = []
    for name, label in labels.items():
        value = label.get("val")
        if not isinstance(value, (int, float)) or not scale[0] <= value <= scale[1]:
            raise DataFileError(
                f"{path}: the sentiment of {name!r} is {value!r}, not from {scale[0]} "
                f"to {scale[1]}. Check dataset=."
            )
        target.append("positive" if value > 0 else "negative" if value < 0 else None)
    return target


def _without_placeholders(target, emotions, parts):
    found = {part: set() for part in parts}
    for part, emotion in zip(parts, emotions, strict=True):
        found[part].add(emotion)
    # Where classes are numbered they were given out
    fake = {p for p, e in found.items() if p.startswith("test") and e == {"neutral"}}
    return [
        None if part in fake else label
        for part, label in zip(parts, target, strict=True)
    ]


def _valence(labels, index):
    values = [label.get("val", _ABSENT) for label in labels.values()]
    values = [np.nan if value in (_ABSENT, None) else float(value) for value in values]
    series = pd.Series(values, index=index, name="valence", dtype=np.float64)
    return None if series.isna().all() else series


def _folds(found, names, parts, target, index):
    if found in ("IEMOCAPFour", "IEMOCAPSix"):
        sessions = sessions_of(names)
        return sessions and pd.Series(sessions, index=index, name="session")
    labelled = {p for p, label in zip(parts, target, strict=True) if label is not None}
    if len(labelled) < 2:
        return None
    folds = [part if part in labelled else None for part in parts]
    return pd.Series(_short(folds), index=index, name="fold", dtype=object)


def _short(parts):
    return [part and part.removesuffix("_corpus") for part in parts]


def _feature_settings(features, names):
    """Return the parameters of PrecomputedEncoder for each stream, files looked for."""
    settings = {}
    for stream, folder in features.items():
        folder = os.path.abspath(folder)
        if not os.path.isdir(folder):
            raise DataFileError(
                f"There is no folder {folder!r} with features of {stream!r}."
            )
        there = set(os.listdir(folder))
        absent = [name for name in names if f"{name}.npy" not in there]
        if len(absent) == len(names):
            has = sorted(there)[:_NAMED]
            raise DataFileError(
                f"{folder} has features of none of the {len(names)} clips: no "
                f"{names[0]}.npy, but {', '.join(has) or 'nothing at all'}. Give the "
                "folder of the .npy files, such as features/chinese-hubert-large-UTT."
            )
        if absent:
            warnings.warn(
                f"{folder} lacks features of {len(absent)} of {len(names)} clips, such "
                f"as {', '.join(absent[:_NAMED])}. PrecomputedEncoder(on_error='nan') "
                "takes them for missing streams; the default raises an error.",
                ExtractionWarning,
                stacklevel=4,
            )
        settings[stream] = {"root": folder, "column": "index"}
    return settings


def _describe(clips, path):
    title = SETS[clips.dataset].title if clips.dataset else "Labels of MERTools"
    lines = [title, "", f"{len(clips.target)} clips of {path}:"]
    for part, number in clips.corpora.value_counts(sort=False).items():
        labelled = clips.target[(clips.corpora == part).to_numpy()]
        n_labelled = sum(label is not None for label in labelled)
        lines.append(f"    {part:<8} {number:>7,}, {n_labelled:,} labelled")
    return "\n".join([*lines, "Classes:", count_lines(clips.target)]) + "\n"
