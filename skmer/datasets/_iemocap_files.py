"""The text files of IEMOCAP's release: labels, ratings and transcripts."""

import os
import re
from dataclasses import dataclass

from skmer.datasets._folders import is_junk
from skmer.datasets._problems import Problems
from skmer.exceptions import DataFileError

EMOTIONS = {
    "neu": "neutral",
    "hap": "happy",
    "exc": "excited",
    "sad": "sad",
    "ang": "angry",
    "fru": "frustrated",
    "sur": "surprised",
    "fea": "fearful",
    "dis": "disgusted",
    "oth": "other",
    # The raters did not agree
    "xxx": None,
}
_NUMBER = r"\s*(\d+(?:\.\d*)?)\s*"
_TURN_LINE = re.compile(
    rf"\[{_NUMBER}-{_NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*"
)
# Names become paths: letters, digits and underscores only
_TURN = re.compile(r"(Ses0([1-5])([FM])_[A-Za-z0-9_]+)_([FM])[A-Za-z0-9]+", re.ASCII)
_RATER_LINE = re.compile(r"([CA])-(\w+)\s*:(.*)")
_SCALES = {"valence": "val", "activation": "act", "dominance": "dom"}
_WORDS_LINE = re.compile(r"(Ses\w+)\s*\[[^\]]*\]\s*:?(.*)")


@dataclass(frozen=True)
class Turn:
    """An utterance.

    Parameters
    ----------
    name : str
        Such as ``"Ses01F_impro01_M003"``.
    start, stop : float
        Seconds from the beginning of the dialogue.
    emotion : str
        Code of the emotion most raters chose.
    valence, activation, dominance : float
        Mean ratings, 1 to 5.
    """

    name: str
    start: float
    stop: float
    emotion: str
    valence: float
    activation: float
    dominance: float

    @property
    def dialogue(self):
        return _TURN.fullmatch(self.name)[1]

    @property
    def session(self):
        return int(_TURN.fullmatch(self.name)[2])

    @property
    def speaker(self):
        """Who speaks, one of ten."""
        found = _TURN.fullmatch(self.name)
        return f"Ses0{found[2]}{found[4]}"

    @property
    def is_left(self):
        """Whether the speaker is in the left half of the picture.

        Dialogues are named after the actor who wears the markers, who is there.
        """
        found = _TURN.fullmatch(self.name)
        return found[3] == found[4]


def find_sessions(root):
    """Return the folders of the sessions.

    Parameters
    ----------
    root : str
        The release, or the folder above it.

    Returns
    -------
    sessions : dict of int to str
        Path by number, of those that are there.

    Raises
    ------
    DataFileError
        If there is none.
    """
    for folder in (root, os.path.join(root, "IEMOCAP_full_release")):
        paths = {n: os.path.join(folder, f"Session{n}") for n in range(1, 6)}
        sessions = {n: path for n, path in paths.items() if os.path.isdir(path)}
        if sessions:
            return sessions
    raise DataFileError(
        f"There are no folders Session1 to Session5 in {root}. Give the folder "
        "IEMOCAP_full_release of the unpacked release."
    )


def read_turns(session):
    """Read the labels and ratings of a session.

    Parameters
    ----------
    session : str
        Its folder.

    Returns
    -------
    turns : list of Turn
        By dialogue, then by time.
    ratings : list of dict
        What each rater said of each turn.

    Raises
    ------
    DataFileError
        If there are no such files, or lines in one that make no sense.
    """
    turns, ratings, seen = [], [], {}
    name = os.path.basename(session)
    for path in _text_files(session, "EmoEvaluation"):
        problems, found, current = Problems(path), [], None
        for number, line in _lines(path):
            if line.startswith("%"):
                continue
            rater = _RATER_LINE.match(line)
            if rater is not None:
                if current is not None:
                    ratings.append(_rating(current.name, *rater.groups()))
            elif line.startswith("[") or "Ses0" in line:
                current, problem = _turn_of(line)
                if current is not None and f"Session{current.session}" != name:
                    problem = f"{current.name} is no turn of {name}"
                elif current is not None:
                    first = seen.setdefault(current.name, f"{path}, line {number}")
                    if first != f"{path}, line {number}":
                        problem = f"{current.name} is also in {first}"
                if problem:
                    problems.add(
                        f"line {number}",
                        f"{problem} ({line[:60]!r}). Copy the file from the release "
                        "again.",
                    )
                else:
                    found.append(current)
        problems.raise_any()
        turns += sorted(found, key=lambda turn: (turn.start, turn.name))
    return turns, ratings


def read_words(session):
    """Read the transcripts of a session.

    Parameters
    ----------
    session : str
        Its folder.

    Returns
    -------
    words : dict of str to str
        Words by name of the turn; none for turns without.

    Raises
    ------
    DataFileError
        If there are no such files, or lines in one that make no sense.
    """
    words = {}
    for path in _text_files(session, "transcriptions"):
        problems = Problems(path)
        for number, line in _lines(path):
            # Some lines give a speaker (F: or M:) and no turn
            if not line.startswith("Ses"):
                continue
            found = _WORDS_LINE.fullmatch(line)
            if found is None:
                problems.add(
                    f"line {number}",
                    f"expected 'turn [start-end]: words', got {line[:60]!r}. Copy the "
                    "file from the release again.",
                )
            elif found[2].strip():
                words[found[1]] = " ".join(found[2].split())
        problems.raise_any()
    return words


def _text_files(session, kind):
    folder = os.path.join(session, "dialog", kind)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = [n for n in names if n.endswith(".txt") and not is_junk(n)]
    if not names:
        raise DataFileError(
            f"There are no .txt files in {folder}. Unpack the release again, or give "
            "the folder that holds all of it."
        )
    return [os.path.join(folder, name) for name in names]


def _lines(path):
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.strip():
            yield number, line.strip()


def _turn_of(line):
    """Return the Turn of a line and what is wrong with it, one of the two None."""
    found = _TURN_LINE.fullmatch(line)
    if found is None:
        return None, "expected '[start - end] turn emotion [valence, act., dom.]'"
    start, stop, name, emotion, *ratings = found.groups()
    if _TURN.fullmatch(name) is None:
        return None, f"{name!r} is no turn such as Ses01F_impro01_F000"
    if emotion not in EMOTIONS:
        return None, f"{emotion!r} is none of the emotions {', '.join(EMOTIONS)}"
    if not float(start) < float(stop):
        return None, "the turn ends before it starts"
    return Turn(name, float(start), float(stop), emotion, *map(float, ratings)), None


def _rating(turn, kind, rater, text):
    """Return what one rater said: categories, or values on three scales."""
    said, _, comment = text.partition("(")
    rating = {
        "clip": turn,
        "rater": rater,
        "categories": None,
        **dict.fromkeys(_SCALES, float("nan")),
        "comment": comment.strip().removesuffix(")").strip() or None,
    }
    if kind == "C":
        chosen = [word.strip().lower() for word in said.split(";")]
        rating["categories"] = "; ".join(filter(None, chosen)) or None
    else:
        for scale, short in _SCALES.items():
            value = re.search(rf"\b{short}\s*(\d+(?:\.\d+)?)", said)
            rating[scale] = float("nan") if value is None else float(value[1])
    return rating
