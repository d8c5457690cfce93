"""Load MELD: utterances of a television series, with their video clips."""

import os
import warnings

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skmer.datasets._csv import read_table
from skmer.datasets._files import clip_frame
from skmer.datasets._folders import check_root, count_lines, find_below
from skmer.datasets._problems import Problems
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.utils import as_object_column
from skmer.utils._sklearn import StrOptions, validate_params

_EMOTIONS = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
_SENTIMENTS = ("negative", "neutral", "positive")
# Part -> table, folder of clips, archive that the folder comes in
_PARTS = {
    "train": ("train_sent_emo.csv", "train_splits", "train.tar.gz"),
    "val": ("dev_sent_emo.csv", "dev_splits_complete", "dev.tar.gz"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test", "test.tar.gz"),
}
_COLUMNS = (
    *("Dialogue_ID", "Utterance_ID", "Speaker", "Utterance", "Emotion", "Sentiment"),
)
# Files of the release that hold no usable clip, and one that is not in it
_DAMAGED = {"train_dia125_utt3", "test_dia279_utt15"}
_ABSENT = {"val_dia110_utt7"}
# How many clips a message names
_NAMED = 3


@validate_params(
    {
        "root": [str, os.PathLike],
        "split": [StrOptions(set(_PARTS)), list, tuple, None],
        "video": ["boolean"],
        "on_error": [StrOptions({"raise", "nan"})],
    },
    prefer_skip_nested_validation=True,
)
def load_meld(root, *, split=None, video=True, on_error="raise"):
    """Load MELD from its released files.

    13,708 utterances of 1,432 dialogues from a television series with one of seven
    emotions and one of three sentiments each, in three given parts [1]_. The release
    holds a table and a folder of clips for each part::

        MELD.Raw/
            train_sent_emo.csv    dev_sent_emo.csv      test_sent_emo.csv
            train_splits/         dev_splits_complete/  output_repeated_splits_test/
                dia0_utt0.mp4         dia0_utt0.mp4         dia0_utt0.mp4
                ...                   ...                   ...

    They are found up to three folders below ``root``.

    Parameters
    ----------
    root : str or PathLike
        Folder with the unpacked release.
    split : {"train", "val", "test"} or sequence of these, default=None
        Which parts. None: all three.
    video : bool, default=True
        Whether to give the clips. False needs the tables only; ``video`` and
        ``audio`` are missing then.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip whose file is not there, other than those known to be
        unusable: an error, or a clip of words alone and one warning.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` (paths, the sound being in the video file)
            and ``text``, each of str or None, indexed by clip id such as
            ``"train_dia0_utt0"``.
        target : ndarray of object of shape (n_clips,)
            The emotions.
        target_names : list of str of length 7
            anger, joy, sadness, neutral, disgust, fear, surprise.
        sentiment : Series of str of shape (n_clips,)
            negative, neutral or positive, by clip id.
        groups : Series of str of shape (n_clips,)
            Dialogue of each clip by clip id, such as ``"train_dia0"``.
        folds : Series of str of shape (n_clips,)
            Part of each clip by clip id, for ``ReferenceFolds(folds, test="test",
            train=["train", "val"])``.
        frame : DataFrame
            All columns of the tables as str, and ``split``, by clip id.
        missing : Series of str
            Why there is no video, by id of the clips that have none.
        root : str
            The folder.
        DESCR : str
            Description with the number of clips of each class.

    Raises
    ------
    DataFileError
        If a table or a folder of clips is not there, rows of a table make no sense,
        or clips are missing and ``on_error="raise"``.

    Warns
    -----
    ExtractionWarning
        If clips are missing and ``on_error="nan"``.

    See Also
    --------
    skmer.model_selection.ReferenceFolds : Splits by ``folds``.

    Notes
    -----
    Three clips have words only: ``train_dia125_utt3`` and ``test_dia279_utt15`` are
    damaged in the release, ``val_dia110_utt7`` is not in it. Some others are cut at
    the wrong place; ``test_dia38_utt4`` and ``test_dia220_utt0`` last minutes. They
    are kept as they are. Files without a row in the tables and what macOS adds
    (``._*``) are left aside.

    Beside some clips of the test part, such as ``dia108_utt0.mp4``, lies a file
    ``final_videos_testdia108_utt0.mp4``. Users found that the words fit these better;
    MELD's authors advise to leave them aside, and published baselines do, as is done
    here.

    Quotation marks and dashes that the tables hold as bytes of Windows-1252 are
    turned into the signs that are meant.

    References
    ----------
    .. [1] S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria and R. Mihalcea,
       "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in
       Conversations", ACL 2019. :doi:`10.18653/v1/P19-1050`
    """
    root = check_root(root, "MELD's tables (train_sent_emo.csv...)")
    parts = _check_split(split)
    names = [name for part in parts for name in _PARTS[part]]
    found = find_below(root, names)
    frame = pd.concat([_read_part(root, part, found) for part in parts])
    if video:
        files, missing = _find_clips(root, frame, found)
        _tell_missing(missing, on_error)
    else:
        files, missing = [{}] * len(frame), {}
    text = [words or None for words in frame["Utterance"]]
    target = as_object_column(frame["Emotion"].tolist())
    groups = frame["split"] + "_dia" + frame["Dialogue_ID"]
    return Bunch(
        data=clip_frame(files, text, frame.index),
        target=target,
        target_names=list(_EMOTIONS),
        sentiment=frame["Sentiment"].rename("sentiment"),
        groups=groups.rename("dialogue"),
        folds=frame["split"].rename("fold"),
        frame=frame,
        missing=pd.Series(missing, name="reason", dtype=object).rename_axis("clip"),
        root=root,
        DESCR=_describe(frame, target, missing),
    )


def _check_split(split):
    if split is None:
        return list(_PARTS)
    parts = [split] if isinstance(split, str) else list(split)
    unknown = [part for part in parts if part not in _PARTS]
    if unknown or not parts or len(set(parts)) < len(parts):
        raise ValueError(
            f"split must be of {', '.join(_PARTS)}, each at most once. Got {split!r}."
        )
    return sorted(parts, key=list(_PARTS).index)


def _read_part(root, part, found):
    name, _, archive = _PARTS[part]
    if name not in found:
        raise DataFileError(
            f"There is no {name} in {root} or the folders below it."
            f"{_hint_of(archive, found)} Give the folder that MELD was unpacked to."
        )
    table = read_table(found[name], encoding=_encoding_of(found[name]))
    lacking = [column for column in _COLUMNS if column not in table.columns]
    if lacking:
        raise DataFileError(
            f"{table.path} has no column {lacking[0]!r}. It has "
            f"{', '.join(map(repr, table.columns))}. MELD's own tables have "
            f"{', '.join(_COLUMNS)}: copy the table again."
        )
    frame = pd.DataFrame(table.columns, dtype=object)
    frame["Utterance"] = [_mend(words) for words in frame["Utterance"]]
    frame["Speaker"] = [_mend(words) for words in frame["Speaker"]]
    problems, ids = Problems(table.path), []
    for place, row in enumerate(table.rows):
        cells = {column: frame[column].iat[place] for column in _COLUMNS}
        ids.append(_clip_id(part, cells))
        for problem in _problems_of(cells):
            problems.add(f"row {row}", problem)
    first = {}
    for clip, row in zip(ids, table.rows, strict=True):
        if first.setdefault(clip, row) != row:
            problems.add(
                f"row {row}",
                f"the same dialogue and utterance as row {first[clip]}. Delete one.",
            )
    problems.raise_any()
    frame["Dialogue_ID"] = [str(int(number)) for number in frame["Dialogue_ID"]]
    frame["Utterance_ID"] = [str(int(number)) for number in frame["Utterance_ID"]]
    for column in ("Emotion", "Sentiment"):
        frame[column] = [label.lower() for label in frame[column]]
    frame["split"] = np.full(len(frame), part, dtype=object)
    frame.index = pd.Index(ids, name="clip", dtype=object)
    return frame.astype(object)


def _problems_of(cells):
    for column in ("Dialogue_ID", "Utterance_ID"):
        if not _is_number(cells[column]):
            yield f"{column} must be a whole number, not {cells[column]!r}."
    for column, known in (("Emotion", _EMOTIONS), ("Sentiment", _SENTIMENTS)):
        if cells[column].lower() not in known:
            yield f"{column} is {cells[column]!r}; it may be {', '.join(known)}."


def _clip_id(part, cells):
    dialogue, utterance = cells["Dialogue_ID"], cells["Utterance_ID"]
    if _is_number(dialogue) and _is_number(utterance):
        dialogue, utterance = int(dialogue), int(utterance)
    return f"{part}_dia{dialogue}_utt{utterance}"


def _is_number(cell):
    return cell.isascii() and cell.isdigit()


def _encoding_of(path):
    """Return None for UTF-8, else Windows-1252, which older copies are in."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return None if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "cp1252"
    return None


def _mend(words):
    """Turn control signs U+0080 to U+009F into what Windows-1252 has there."""
    signs = (
        sign.encode("latin-1").decode("cp1252", "ignore")
        if "\x80" <= sign <= "\x9f"
        else sign
        for sign in words
    )
    return " ".join("".join(signs).split())


def _find_clips(root, frame, found):
    """Return the files of each clip, and why those without any have none."""
    files = {}
    for part in frame["split"].unique():
        _, folder, archive = _PARTS[part]
        if folder not in found or not os.path.isdir(found[folder]):
            raise DataFileError(
                f"There is no folder {folder} in {root} or the folders below it: it "
                f"holds the clips of the part {part!r}.{_hint_of(archive, found)} Give "
                "the folder that MELD was unpacked to, or video=False for words only."
            )
        files[part] = found[folder], set(os.listdir(found[folder]))
    clips, missing = [], {}
    for clip, part in zip(frame.index, frame["split"], strict=True):
        folder, there = files[part]
        name = f"{clip.removeprefix(part + '_')}.mp4"
        if clip in _DAMAGED:
            missing[clip] = "damaged in the release"
        elif name not in there:
            reason = f"no file {os.path.join(folder, name)}"
            missing[clip] = "not in the release" if clip in _ABSENT else reason
        path = os.path.join(folder, name)
        clips.append({} if clip in missing else {"video": path})
    return clips, missing


def _hint_of(archive, found):
    if archive not in found:
        return ""
    return f" It is still packed in {found[archive]}: unpack that (tar xzf)."


def _tell_missing(missing, on_error):
    unknown = [clip for clip in missing if clip not in _DAMAGED | _ABSENT]
    if not unknown:
        return
    told = "; ".join(f"{clip}: {missing[clip]}" for clip in unknown[:_NAMED])
    what = f"{len(unknown)} clips of MELD are not there ({told}"
    what += "; ...)." if len(unknown) > _NAMED else ")."
    if on_error == "raise":
        raise DataFileError(
            f"{what} The release was perhaps not unpacked to the end: unpack it again, "
            "or pass on_error='nan' to go on without these."
        )
    warnings.warn(f"{what} They have words only.", ExtractionWarning, stacklevel=4)


def _describe(frame, target, missing):
    parts = ", ".join(
        f"{part} {number:,}"
        for part, number in frame["split"].value_counts(sort=False).items()
    )
    return (
        "MELD: utterances of a television series (Poria et al., ACL 2019)\n\n"
        f"{len(frame):,} clips ({parts}) of {frame['Speaker'].nunique():,} speakers, "
        f"{len(missing):,} of them without video.\n\n"
        f"{count_lines(target)}\n\n"
        "Folds are the given parts: train, val, test. Groups are dialogues. The same\n"
        "speakers are in all parts. Licence of the tables: GPL-3.0.\n"
    )
