"""Make video clips with a drawn face, a synthetic voice and words."""

import os
import secrets
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch
from sklearn.utils.parallel import delayed
from tqdm.auto import tqdm

from skmer.datasets._evidence import (
    EMOTIONS,
    MODALITIES,
    bayes_scores,
    confusion,
    describe,
)
from skmer.datasets._face import Look, draw_clip
from skmer.datasets._parameters import (
    check_duration,
    check_missing,
    check_reliability,
    check_size,
    check_weights,
    entropy_of,
    make_folder,
)
from skmer.datasets._voice import Throat, speak
from skmer.datasets._words import say
from skmer.media import write_clip
from skmer.utils._parallel import results_of
from skmer.utils._sklearn import Interval, Options, validate_params

__all__ = ["make_clips"]

# First key of the random streams that SeedSequence derives from the seed.
_PLAN, _SPEAKER, _CLIP = range(3)
# Raised when the same seed draws something else, so that the default folder of
# the one is not taken for that of the other.
_VERSION = 1
_RATES = {8000, 16000, 22050, 24000, 32000, 44100, 48000}


@validate_params(
    {
        "n_clips": [Interval(Integral, 1, None, closed="left")],
        "directory": [str, os.PathLike, None],
        "n_speakers": [Interval(Integral, 1, None, closed="left")],
        "weights": ["array-like", None],
        "reliability": [Interval(Real, 0, 1, closed="right"), dict, None],
        "missing": [Interval(Real, 0, 1, closed="both"), dict],
        "duration": [tuple, list],
        "size": [tuple, list],
        "fps": [Interval(Real, 1, 60, closed="both")],
        "rate": [Options(Integral, _RATES)],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def make_clips(
    n_clips=240,
    directory=None,
    *,
    n_speakers=12,
    weights=None,
    reliability=None,
    missing=0.05,
    duration=(1.0, 2.0),
    size=(320, 240),
    fps=12,
    rate=16000,
    random_state=0,
    n_jobs=None,
    verbose=False,
):
    """Make labelled video clips of speakers who show, voice and say emotions.

    Every clip is a real MP4 file (H.264 and AAC) of a drawn face that face
    detectors find, with a voice from a formant source, and its words in a ``.txt``
    file of the same stem. Labels are right; what is uncertain is the evidence.
    Each modality draws the emotion it shows from its own P(shown | class),
    independently of the other modalities given the class, and different
    modalities mistake different classes. So one modality alone gets only so far,
    all together much further, and how far is known exactly: see ``scores``.

    Speakers differ in face, colours and voice. Speaker, scene, light, place of the
    face, duration, mouth movement of speaking and topic say nothing about the
    class.

    Parameters
    ----------
    n_clips : int, default=240
        Number of clips.
    directory : str or PathLike, default=None
        Folder to write to, made where it is absent. None takes a folder named
        after the parameters under ``skmer.get_config()["data_home"]``. Files are
        always written anew, each replaced in one step; others in the folder are
        left alone.
    n_speakers : int, default=12
        Number of speakers. Each has about as many clips as the next, whatever
        their classes.
    weights : array-like of shape (6,), default=None
        Proportions of the classes, in the order of ``target_names``; None makes
        them equal. Counts are exact up to rounding.
    reliability : float or dict of str to float, default=None
        Probability in (0, 1] that a modality (``"video"``, ``"audio"``,
        ``"text"``) shows the class itself; a number stands for all three. A
        modality that a dict leaves out, and None, take the default, 0.74.
    missing : float or dict of str to float, default=0.05
        Fraction of clips that lack a modality, exact up to rounding: no face in
        sight (``"video"``), no sound stream (``"audio"``), no words
        (``"text"``). A number stands for each of the three; a dict's absent keys
        are 0. No clip lacks two, so they sum to at most 1.
    duration : tuple of float, default=(1.0, 2.0)
        Shortest and longest clip in seconds, from 0.5 to 60.
    size : tuple of int, default=(320, 240)
        Width and height of the picture in pixels, even and at least 64.
    fps : float, default=12
        Frames a second, 1 to 60.
    rate : {8000, 16000, 22050, 24000, 32000, 44100, 48000}, default=16000
        Samples of sound a second.
    random_state : int, RandomState instance or None, default=0
        Seed. The same int gives the same bytes on one machine, whatever
        ``n_jobs``. None draws from the operating system, never from NumPy's
        global state.
    n_jobs : int, default=None
        Number of processes as in joblib; None means 1 unless in a
        :func:`joblib.parallel_config` context.
    verbose : int or bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` (paths) and ``text`` (the words),
            indexed by clip id, which is the path. ``audio`` is missing where the
            file has no sound, ``text`` where there are no words; ``video`` is
            always there, as the file has pictures even where no face is in them.
        target : ndarray of str of shape (n_clips,)
            The emotions.
        target_names : list of str of length 6
            neutral, angry, happy, sad, worried, surprise.
        paths : list of str of length n_clips
            The video files.
        groups : Series of str of shape (n_clips,)
            Speaker of each clip, indexed by clip id.
        folds : None
            There are none; :meth:`ReferenceFolds.from_labels()
            <skmer.model_selection.ReferenceFolds.from_labels>` makes them.
        evidence : DataFrame of shape (n_clips, 5)
            What was drawn, indexed by clip id: the emotion that ``video``,
            ``audio`` and ``text`` show (missing where the modality is), the
            median ``pitch`` of the voice in Hz (NaN without sound) and the
            ``duration`` in seconds. For tests; no model may look at it.
        scores : DataFrame of shape (5, 2)
            ``accuracy`` and ``weighted_f1`` of the classifier of least error
            that knows P(shown | class) and reads without mistakes what is shown:
            each modality on the clips that have it, all three on the ``complete``
            clips, and what there is on ``every`` clip.
        directory : str
            Where the files are.
        DESCR : str
            Description with these figures.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    ValueError
        If a parameter is out of range.

    See Also
    --------
    skmer.media.write_clip : Writes one clip from arrays.

    Notes
    -----
    The voice speaks nonsense syllables, not the words, and the lips do not follow
    it: anything that one modality did after another would carry evidence over.

    The voice is a source of glottal pulses through four formant resonators in a
    row, after Klatt [1]_, the resonators following vowels drawn at random.

    References
    ----------
    .. [1] D. H. Klatt, "Software for a cascade/parallel formant synthesizer",
       Journal of the Acoustical Society of America 67(3):971-995, 1980.
       :doi:`10.1121/1.383940`

    Examples
    --------
    >>> import tempfile
    >>> from skmer.datasets import make_clips
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clips = make_clips(6, folder, random_state=0)
    >>> clips.data.shape
    (6, 3)
    >>> sorted(clips.target.tolist())
    ['angry', 'happy', 'neutral', 'sad', 'surprise', 'worried']
    """
    n_clips, n_speakers = int(n_clips), int(n_speakers)
    priors = check_weights(weights)
    reliability = check_reliability(reliability)
    lacking = check_missing(missing, n_clips)
    media = {
        "duration": check_duration(duration),
        "size": check_size(size),
        "fps": float(fps),
        "rate": int(rate),
    }
    entropy = entropy_of(random_state)
    settings = (n_clips, n_speakers, priors, reliability, lacking, media, entropy)
    folder = make_folder(directory, (*settings, _VERSION))
    counts = _shares(priors, n_clips)
    tables = {name: confusion(name, reliability[name]) for name in MODALITIES}
    jobs = _plan(counts, n_speakers, tables, lacking, folder, entropy, media)
    work = results_of((delayed(_make_clip)(job) for job in jobs), n_jobs)
    bar = tqdm(work, total=n_clips, desc="make_clips", unit="clip", disable=not verbose)
    paths = [job.path for job in jobs]
    made = pd.DataFrame(list(bar), index=pd.Index(paths, name="clip"))
    data = pd.DataFrame(
        {
            "video": paths,
            "audio": [None if job.absent == "audio" else job.path for job in jobs],
            "text": made["words"],
        },
        index=made.index,
    )
    scores = bayes_scores(
        counts / n_clips,
        tables,
        {name: number / n_clips for name, number in lacking.items()},
    )
    digits = max(2, len(str(n_speakers - 1)))
    groups = [f"speaker_{job.speaker:0{digits}d}" for job in jobs]
    return Bunch(
        data=data,
        target=np.array(EMOTIONS)[[job.label for job in jobs]],
        target_names=list(EMOTIONS),
        paths=paths,
        groups=pd.Series(groups, index=made.index, name="speaker"),
        folds=None,
        evidence=made[[*MODALITIES, "pitch", "duration"]],
        scores=scores,
        directory=str(folder),
        DESCR=describe(n_clips, n_speakers, counts, lacking, tables, scores),
    )


@dataclass(frozen=True)
class _Job:
    """All that one clip depends on."""

    path: str
    entropy: int
    index: int
    label: int
    speaker: int
    chances: dict
    absent: str | None
    media: dict

    def rng(self, *key):
        """Return the generator of a part of this data set."""
        return np.random.default_rng(
            np.random.SeedSequence(self.entropy, spawn_key=key)
        )

    def streams(self):
        """Return a generator for each modality.

        Nothing drawn for one moves the draws of another.
        """
        return {
            name: self.rng(_CLIP, self.index, k)
            for k, name in enumerate(MODALITIES, start=1)
        }

    def draw_shown(self, streams):
        """Draw the emotion each modality shows; None where it is missing."""
        shown = {
            name: EMOTIONS[_choose(streams[name], self.chances[name])]
            for name in MODALITIES
        }
        return {name: None if name == self.absent else shown[name] for name in shown}


def _plan(counts, n_speakers, tables, lacking, folder, entropy, media):
    """Draw class, speaker and gap of every clip."""
    n_clips = int(counts.sum())
    rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(_PLAN,)))
    labels = rng.permutation(np.repeat(np.arange(len(EMOTIONS)), counts))
    speakers = rng.permutation(np.arange(n_clips) % n_speakers)
    absent = [None] * n_clips
    order = iter(rng.permutation(n_clips).tolist())
    for name, number in lacking.items():
        for _ in range(number):
            absent[next(order)] = name
    digits = max(4, len(str(n_clips - 1)))
    return [
        _Job(
            path=str(folder / f"clip_{i:0{digits}d}.mp4"),
            entropy=entropy,
            index=i,
            label=int(labels[i]),
            speaker=int(speakers[i]),
            chances={name: tables[name][labels[i]] for name in MODALITIES},
            absent=absent[i],
            media=media,
        )
        for i in range(n_clips)
    ]


def _make_clip(job):
    """Write the files of a clip and return what was drawn."""
    fps, rate = job.media["fps"], job.media["rate"]
    streams = job.streams()
    shown = job.draw_shown(streams)
    seconds = job.rng(_CLIP, job.index, 0).uniform(*job.media["duration"])
    n_frames = max(1, round(seconds * fps))
    look = Look.draw(job.rng(_SPEAKER, job.speaker, 0))
    frames = draw_clip(
        shown["video"], look, n_frames, fps, job.media["size"], streams["video"]
    )
    sound, pitch = None, np.nan
    if shown["audio"] is not None:
        throat = Throat.draw(job.rng(_SPEAKER, job.speaker, 1))
        n_samples = round(n_frames / fps * rate)
        sound, pitch = speak(shown["audio"], throat, n_samples, rate, streams["audio"])
    words = None if shown["text"] is None else say(shown["text"], streams["text"])
    write_clip(job.path, frames, sound, fps=fps, rate=rate, preset="ultrafast")
    _write_words(Path(job.path).with_suffix(".txt"), words)
    return {**shown, "pitch": pitch, "duration": n_frames / fps, "words": words}


def _choose(rng, chances):
    # The last value of a cumulative sum may fall a rounding error short of one.
    edges = np.cumsum(chances)[:-1]
    return int(np.searchsorted(edges, rng.random(), side="right"))


def _write_words(path, words):
    if words is None:
        path.unlink(missing_ok=True)
        return
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.txt")
    try:
        part.write_text(words + "\n", encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _shares(priors, n_clips):
    """Divide the clips among the classes by largest remainder."""
    exact = np.asarray(priors) * n_clips
    counts = np.floor(exact).astype(int)
    # Rounded, so that equal remainders are equal and go in the order of classes.
    order = np.argsort(-np.round(exact - counts, 9), kind="stable")
    counts[order[: n_clips - counts.sum()]] += 1
    return counts
