"""Fetch RAVDESS: two sentences spoken and sung by 24 actors in eight emotions."""

import os
import warnings
from numbers import Integral, Real
from pathlib import Path

import pandas as pd
from sklearn.utils import Bunch

from skmer._config import get_config
from skmer.datasets._download import Patience
from skmer.datasets._files import clip_frame
from skmer.datasets._folders import count_lines
from skmer.datasets._ravdess_files import (
    ACTORS,
    CHANNELS,
    archive_names,
    complete,
    cure,
    find_archives,
    find_trials,
    trial_names,
)
from skmer.exceptions import DataFileError
from skmer.utils import as_object_column
from skmer.utils._sklearn import Interval, StrOptions, validate_params

_EMOTIONS = (
    *("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
)
_SENTENCES = ("Kids are talking by the door", "Dogs are sitting by the door")
# Fold of actors 1 to 24 in Luna-Jimenez et al., Applied Sciences 12(1):327, 2022
_FOLDS = (4, 0, 1, 4, 0, 1, 1, 3, 4, 2, 2, 2, 1, 0, 0, 0, 3, 1, 2, 2, 3, 4, 3, 3)
_RECORD = "https://zenodo.org/api/records/1188976"


@validate_params(
    {
        "data_home": [str, os.PathLike, None],
        "modality": [StrOptions({"audio-video", "video", "audio"})],
        "channel": [StrOptions({"speech", "song", "both"})],
        "actors": ["array-like", None],
        "download_if_missing": ["boolean"],
        "n_retries": [Interval(Integral, 0, None, closed="left")],
        "delay": [Interval(Real, 0, None, closed="left")],
        "url": [str],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_ravdess(
    *,
    data_home=None,
    modality="audio-video",
    channel="speech",
    actors=None,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
    url=_RECORD,
    verbose=False,
):
    """Fetch RAVDESS, downloading what is not there.

    24 actors speak two sentences in eight emotions, all but neutral at two
    intensities, and sing them in six (actor 18 does not sing) [1]_. Each recording,
    here a trial, is there as a video with sound, as a video without and as sound.
    The files are in one archive for the sound of all actors (0.2 GB) and one for the
    videos of each actor (0.5 GB; 13 GB for all who speak).

    A download that was interrupted goes on where it stopped. Archives are checked
    against the list of files of their Zenodo record, unpacked and deleted.

    Parameters
    ----------
    data_home : str or PathLike, default=None
        Folder whose files are used, in whatever folders below it they lie and
        converted to whatever format, as long as their names are those of the data
        set; downloads go to ``ravdess`` below it. None:
        ``skmer.get_config()["data_home"] / "ravdess"`` for both.
    modality : {"audio-video", "video", "audio"}, default="audio-video"
        Which of the three recordings of each trial.
    channel : {"speech", "song", "both"}, default="speech"
        Spoken trials (1,440), sung ones (1,012), or both.
    actors : array-like of int, default=None
        Actors, 1 to 24. None: all.
    download_if_missing : bool, default=True
        False uses what is there: archives that lie in ``data_home`` or ``ravdess``
        are unpacked, nothing is downloaded.
    n_retries : int, default=3
        How often a connection that brings nothing is tried again.
    delay : float, default=1.0
        Seconds before the first of these; doubled for each further one. Where the
        server says how long to wait, that counts, five minutes at most.
    url : str, default="https://zenodo.org/api/records/1188976"
        Where the list of files is: a record of Zenodo's API, or a mirror of it.
    verbose : int or bool, default=False
        Whether to show progress bars.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` (paths) and ``text`` (the sentence, which is
            the same in all emotions), each of str or None, indexed by clip id: the
            name of the file without its first number, such as
            ``"01-05-02-01-01-12"``, so that it is the same for all modalities.
        target : ndarray of object of shape (n_clips,)
            The emotions.
        target_names : list of str of length 8
            neutral, calm, happy, sad, angry, fearful, disgust, surprised.
        groups : Series of int of shape (n_clips,)
            Actor of each clip by clip id, 1 to 24.
        folds : Series of int of shape (n_clips,)
            Part 0 to 4 that each clip is tested in, by clip id: the five folds of
            [2]_, which have no actor in two.
        intensity, statement, repetition : Series of int of shape (n_clips,)
            1 or 2, by clip id; intensity 2 is the stronger one.
        frame : DataFrame
            These, ``channel``, ``emotion``, ``actor`` and ``sex``, by clip id.
        DESCR : str
            Description with the number of clips of each class.

    Raises
    ------
    OSError
        If files are not there and cannot be downloaded; the message says which files
        to put where.
    DataFileError
        If an archive is damaged or not that of the record.

    Warns
    -----
    UserWarning
        If ``download_if_missing=False`` and some of the trials are not there.

    See Also
    --------
    skmer.model_selection.ReferenceFolds : Splits by ``folds``.

    Notes
    -----
    The list of files is kept as ``record.json`` beside the archives and not asked for
    again; delete it to have it downloaded anew. RAVDESS is licensed under CC BY-NC-SA
    4.0.

    References
    ----------
    .. [1] S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of
       Emotional Speech and Song (RAVDESS)", PLoS ONE 13(5):e0196391, 2018.
       :doi:`10.1371/journal.pone.0196391`
    .. [2] C. Luna-Jimenez, R. Kleinlein, D. Griol, Z. Callejas, J. M. Montero and
       F. Fernandez-Martinez, "A Proposal for Multimodal Emotion Recognition Using
       Aural Transformers and Action Units on RAVDESS Dataset", Applied Sciences
       12(1):327, 2022. :doi:`10.3390/app12010327`
    """
    channels = list(CHANNELS) if channel == "both" else [channel]
    actors = _check_actors(actors)
    wanted = trial_names(channels, actors)
    if not wanted:
        raise ValueError(
            "Actor 18 does not sing. Give other actors, or channel='both'."
        )
    root, folder = _folders(data_home)
    found = find_trials(root, modality) if root.is_dir() else {}
    missing = [trial for trial in wanted if trial not in found]
    archives = find_archives(archive_names(missing, modality), root, folder)
    if missing and (download_if_missing or archives):
        patience = Patience(int(n_retries), float(delay))
        source = url if download_if_missing else None
        complete(wanted, modality, root, folder, source, patience, verbose)
        found = find_trials(root, modality)
        missing = [trial for trial in wanted if trial not in found]
    if missing:
        _tell(missing, wanted, modality, root, folder, download_if_missing)
    trials = [trial for trial in wanted if trial in found]
    frame = _frame(trials)
    paths = [found[trial] for trial in trials]
    column = "audio" if modality == "audio" else "video"
    data = clip_frame(
        [{column: path} for path in paths],
        [_SENTENCES[number - 1] for number in frame["statement"]],
        frame.index,
    )
    if modality == "video":
        # These files have no sound
        data["audio"] = as_object_column([None] * len(data))
    target = as_object_column(frame["emotion"].tolist())
    folds = [_FOLDS[actor - 1] for actor in frame["actor"]]
    return Bunch(
        data=data,
        target=target,
        target_names=list(_EMOTIONS),
        groups=frame["actor"],
        folds=pd.Series(folds, index=frame.index, name="fold"),
        intensity=frame["intensity"],
        statement=frame["statement"],
        repetition=frame["repetition"],
        frame=frame,
        DESCR=_describe(frame, target, modality),
    )


def _check_actors(actors):
    if actors is None:
        return list(ACTORS)
    chosen = list(actors)
    if not chosen or any(actor not in ACTORS for actor in chosen):
        raise ValueError(f"actors must be whole numbers from 1 to 24. Got {actors!r}.")
    return sorted({int(actor) for actor in chosen})


def _folders(data_home):
    """Return where files are looked for, and where downloads go."""
    if data_home is None:
        folder = get_config()["data_home"].absolute() / "ravdess"
        return folder, folder
    root = Path(data_home).expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"data_home={str(root)!r} is a file. Give a folder.")
    return root, root / "ravdess"


def _tell(missing, wanted, modality, root, folder, downloaded):
    names = archive_names(missing, modality)
    if downloaded:
        raise DataFileError(
            f"{', '.join(names[:3])} lack {len(missing)} recordings that they should "
            f"hold, such as {missing[0]}. If you put them into {root} or {folder} "
            "yourself, delete them there and call again."
        )
    what = f"{len(missing)} of {len(wanted)} recordings ({modality}) are not in {root}"
    if len(missing) == len(wanted):
        raise OSError(
            f"{what}. Pass download_if_missing=True, or {cure(names, folder)}."
        )
    warnings.warn(
        f"{what}, such as {missing[0]}. Give the actors that are there as actors=, or "
        f"{cure(names, folder)}.",
        stacklevel=4,
    )


def _frame(trials):
    fields = [[int(field) for field in trial.split("-")] for trial in trials]
    columns = ["channel", "emotion", "intensity", "statement", "repetition", "actor"]
    index = pd.Index(trials, name="clip", dtype=object)
    frame = pd.DataFrame(fields, columns=columns, index=index)
    names = {number: name for name, number in CHANNELS.items()}
    channel = [names[number] for number in frame["channel"]]
    emotion = [_EMOTIONS[number - 1] for number in frame["emotion"]]
    sex = ["male" if actor % 2 else "female" for actor in frame["actor"]]
    return frame.assign(
        channel=as_object_column(channel),
        emotion=as_object_column(emotion),
        sex=as_object_column(sex),
    )


def _describe(frame, target, modality):
    channels = " and ".join(frame["channel"].unique())
    return (
        "RAVDESS: two sentences in eight emotions (Livingstone and Russo, 2018)\n\n"
        f"{len(frame):,} recordings ({channels}; {modality}) of "
        f"{frame['actor'].nunique()} actors.\n\n"
        f"{count_lines(target)}\n\n"
        "The words carry no emotion. Folds are the five of Luna-Jimenez et al., 2022,\n"
        "no actor in two of them; groups are actors. Licence: CC BY-NC-SA 4.0.\n"
    )
