"""Load IEMOCAP from its release: two actors in conversation, utterance by utterance."""

import os
import warnings
from numbers import Integral
from pathlib import Path

import pandas as pd
from sklearn.utils import Bunch

from skmer._config import get_config
from skmer.datasets._files import clip_frame
from skmer.datasets._folders import check_root, count_lines, has_content
from skmer.datasets._iemocap_files import (
    EMOTIONS,
    find_sessions,
    read_turns,
    read_words,
)
from skmer.datasets._iemocap_video import cut_turns
from skmer.exceptions import DataFileError, ExtractionWarning
from skmer.utils import as_object_column
from skmer.utils._sklearn import StrOptions, validate_params

_FOUR = ("happy", "sad", "neutral", "angry")
_SIX = (*_FOUR, "excited", "frustrated")
_ALL = tuple(sorted(filter(None, EMOTIONS.values())))
# How many failures a message names
_NAMED = 3


@validate_params(
    {
        "root": [str, os.PathLike],
        "classes": [StrOptions({"four", "six", "all"})],
        "video": ["boolean"],
        "data_home": [str, os.PathLike, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def load_iemocap(
    root,
    *,
    classes="four",
    video=True,
    data_home=None,
    on_error="raise",
    n_jobs=None,
    verbose=False,
):
    """Load IEMOCAP from its release and cut its videos into clips.

    Ten actors in five sessions of two, in scripted and improvised dialogues, rated
    utterance by utterance [1]_. Of the release these files are read::

        IEMOCAP_full_release/Session1/ ... Session5/
            dialog/EmoEvaluation/Ses01F_impro01.txt     labels and ratings
            dialog/transcriptions/Ses01F_impro01.txt    words
            dialog/avi/DivX/Ses01F_impro01.avi          both actors, side by side
            sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

    The first call cuts the video of each dialogue to the times of its utterances and
    to the half with the speaker, and keeps the clips. That takes about a fifth of the
    dialogues' twelve hours on one core. A call that was interrupted goes on where it
    stopped, later calls cut what is new.

    Parameters
    ----------
    root : str or PathLike
        The folder ``IEMOCAP_full_release``, or the one above it. Sessions that are not
        there are left out.
    classes : {"four", "six", "all"}, default="four"
        ``"four"``: happy (with excited), sad, neutral, angry, the 5,531 utterances of
        most papers. ``"six"``: these with excited by itself, and frustrated; 7,380.
        ``"all"``: every utterance; where raters did not agree it is unlabelled.
    video : bool, default=True
        Whether to give clips, cutting those that are not there. False gives sound and
        words only.
    data_home : str or PathLike, default=None
        Folder that clips are kept under, as ``iemocap/Session1/...mp4``. None:
        ``skmer.get_config()["data_home"]``. Files that are there, and not empty, are
        kept as they are: delete them after the release was repaired.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of utterances whose sound is not there or whose dialogue's video
        cannot be read: an error after all others are cut, or a missing cell and one
        warning.
    n_jobs : int, default=None
        Number of processes that cut, as in joblib.
    verbose : int or bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video`` (without sound), ``audio`` (paths) and ``text``, each of
            str or None, indexed by clip id such as ``"Ses01F_impro01_M003"``.
        target : ndarray of object of shape (n_clips,)
            The emotions; None where raters did not agree (``classes="all"``).
        target_names : list of str
            The classes.
        groups : Series of str of shape (n_clips,)
            Speaker of each clip by clip id, ten in all.
        folds : Series of int of shape (n_clips,)
            Session of each clip by clip id, 1 to 5:
            :class:`~skmer.model_selection.ReferenceFolds` leaves one session out.
        frame : DataFrame
            ``session``, ``dialogue``, ``scenario`` (``"improvised"`` or
            ``"scripted"``), ``speaker``, ``start`` and ``stop`` (seconds into the
            dialogue), ``emotion`` (code of the release), and the mean ratings
            ``valence``, ``activation`` and ``dominance`` (1 to 5), by clip id.
        ratings : DataFrame
            What each rater said: ``clip``, ``rater``, ``categories`` (joined by
            ``"; "``) or ``valence``, ``activation`` and ``dominance``, and
            ``comment``. Raters ``F...`` and ``M...`` are the actors themselves.
        root : str
            The folder given.
        DESCR : str
            Description with the number of clips of each class.

    Raises
    ------
    DataFileError
        If files of the release are not there or lines in them make no sense; the
        message names file and line, or the dialogues whose video cannot be read.
    OSError
        If clips cannot be written.

    Warns
    -----
    ExtractionWarning
        If sounds or videos are missing and ``on_error="nan"``.

    See Also
    --------
    skmer.model_selection.ReferenceFolds : Splits by ``folds``.
    skmer.media.cut_video : Cuts other recordings.

    Notes
    -----
    The picture's left half shows the actor whose letter (F or M) is the sixth of the
    dialogue's name, the right half the other one. It is cut at half of its width.

    Papers on emotion in conversation count 7,433 utterances of six classes, as
    :func:`load_mertools` finds them in the label file of MERTools. That set comes from
    features others gave out, with 648 happy utterances; by the release's own labels
    595 are.

    Clips that are cut again have the same bytes on one machine.

    References
    ----------
    .. [1] C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang,
       S. Lee and S. S. Narayanan, "IEMOCAP: interactive emotional dyadic motion
       capture database", Language Resources and Evaluation 42:335-359, 2008.
       :doi:`10.1007/s10579-008-9076-6`
    """
    root = check_root(root, "IEMOCAP's sessions")
    sessions = find_sessions(root)
    turns, ratings, words = [], [], {}
    for session in sessions.values():
        more_turns, more_ratings = read_turns(session)
        turns += more_turns
        ratings += more_ratings
        words |= read_words(session)
    names, labels = _labels(turns, classes)
    kept = [i for i, label in enumerate(labels) if label is not False]
    turns, labels = [turns[i] for i in kept], [labels[i] for i in kept]
    if not turns:
        raise DataFileError(
            f"The tables of {root} hold no utterance of the classes "
            f"{', '.join(names)}. Unpack the release again."
        )
    files, failures = _find_sounds(turns, sessions)
    if video:
        home = get_config()["data_home"] if data_home is None else data_home
        folder = Path(home).expanduser().absolute() / "iemocap"
        clips, failed = cut_turns(turns, sessions, folder, n_jobs, verbose)
        for name, path in clips.items():
            files[name]["video"] = path
        failures |= failed
    if failures:
        _tell(failures, on_error)
    frame = _frame(turns)
    target = as_object_column(labels)
    return Bunch(
        data=clip_frame(
            [files[turn.name] for turn in turns],
            [words.get(turn.name) for turn in turns],
            frame.index,
        ),
        target=target,
        target_names=list(names),
        groups=frame["speaker"].rename("speaker"),
        folds=frame["session"].rename("session"),
        frame=frame,
        ratings=_ratings(ratings, frame.index),
        root=root,
        DESCR=_describe(frame, target),
    )


def _labels(turns, classes):
    """Return the names of the classes, and each turn's; False for one left out."""
    names = {"four": _FOUR, "six": _SIX, "all": _ALL}[classes]
    labels = [EMOTIONS[turn.emotion] for turn in turns]
    if classes == "all":
        return names, labels
    if classes == "four":
        labels = ["happy" if label == "excited" else label for label in labels]
    return names, [label if label in names else False for label in labels]


def _find_sounds(turns, sessions):
    files, failures = {}, {}
    for turn in turns:
        path = os.path.join(
            sessions[turn.session], "sentences", "wav", turn.dialogue, turn.name
        )
        files[turn.name] = {"audio": f"{path}.wav"}
        if not has_content(f"{path}.wav"):
            files[turn.name] = {}
            failures[turn.name] = f"no file {path}.wav, or an empty one"
    return files, failures


def _tell(failures, on_error):
    reasons = {}
    for name, reason in failures.items():
        reasons.setdefault(reason, []).append(name)
    told = [
        f"{reason} ({', '.join(names[:_NAMED])}" for reason, names in reasons.items()
    ]
    told = [
        f"{text}, {len(names)} in all)" if len(names) > _NAMED else f"{text})"
        for text, names in zip(told, reasons.values(), strict=True)
    ]
    more = f"\n  and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    what = (
        f"IEMOCAP: sound or video of {len(failures)} utterances is missing:\n  "
        + "\n  ".join(told[:_NAMED])
        + more
    )
    if on_error == "raise":
        raise DataFileError(
            f"{what}\nCopy these files from the release again, or pass on_error='nan' "
            "to go on without them, or video=False where videos are not wanted."
        )
    warnings.warn(what, ExtractionWarning, stacklevel=4)


def _frame(turns):
    rows = [
        {
            "session": turn.session,
            "dialogue": turn.dialogue,
            "scenario": "improvised" if "_impro" in turn.dialogue else "scripted",
            "speaker": turn.speaker,
            "start": turn.start,
            "stop": turn.stop,
            "emotion": turn.emotion,
            "valence": turn.valence,
            "activation": turn.activation,
            "dominance": turn.dominance,
        }
        for turn in turns
    ]
    names = [turn.name for turn in turns]
    frame = pd.DataFrame(rows, index=pd.Index(names, name="clip", dtype=object))
    strings = ["dialogue", "scenario", "speaker", "emotion"]
    return frame.astype(dict.fromkeys(strings, object))


def _ratings(ratings, index):
    strings = ["clip", "rater", "categories", "comment"]
    scales = ["valence", "activation", "dominance"]
    kept = [rating for rating in ratings if rating["clip"] in index]
    columns = [*strings[:3], *scales, strings[3]]
    frame = pd.DataFrame(kept, columns=columns, dtype=object)
    return frame.astype(dict.fromkeys(scales, float))


def _describe(frame, target):
    minutes = (frame["stop"] - frame["start"]).sum() / 60
    return (
        "IEMOCAP: two actors in conversation (Busso et al., 2008)\n\n"
        f"{len(frame):,} utterances, {minutes:,.0f} minutes, of "
        f"{frame['dialogue'].nunique()} dialogues of "
        f"{frame['speaker'].nunique()} speakers in {frame['session'].nunique()} "
        "sessions.\n\n"
        f"{count_lines(target)}\n\n"
        "Folds leave one session out, so no speaker is in training and test. Groups\n"
        "are speakers. A session's two speakers talk to each other: keep them in one\n"
        "part. The release is licensed by its authors; skmer holds none of it.\n"
    )
