"""What the label files of MERTools hold, data set by data set."""

import re
from dataclasses import dataclass

_FOUR = ("happy", "sad", "neutral", "angry")


@dataclass(frozen=True)
class LabelSet:
    """How one data set is labelled.

    Attributes
    ----------
    title : str
        A line on it.
    classes : tuple of str
        Classes in the order of their numbers; empty where the file has their names,
        or no classes at all.
    scale : tuple of float or None
        Least and greatest value of the sentiment that stands in place of classes.
    """

    title: str
    classes: tuple = ()
    scale: tuple | None = None


SETS = {
    "MER2023": LabelSet("MER2023, Chinese films and series, six emotions"),
    "MER2024": LabelSet("MER2024, Chinese films and series, six emotions"),
    "MER2025": LabelSet("MER2025 track 1, Chinese films and series, six emotions"),
    "IEMOCAPFour": LabelSet("IEMOCAP, four emotions (excited counts as happy)", _FOUR),
    "IEMOCAPSix": LabelSet("IEMOCAP, six emotions", (*_FOUR, "excited", "frustrated")),
    "MELD": LabelSet(
        "MELD, a television series, seven emotions",
        ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise"),
    ),
    "CMUMOSI": LabelSet("CMU-MOSI, film reviews, sentiment", scale=(-3, 3)),
    "CMUMOSEI": LabelSet("CMU-MOSEI, monologues, sentiment", scale=(-3, 3)),
    "SIMS": LabelSet("CH-SIMS, Chinese films and series, sentiment", scale=(-1, 1)),
    "SIMSv2": LabelSet("CH-SIMS v2, Chinese videos, sentiment", scale=(-1, 1)),
}
MER_CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
_IEMOCAP = re.compile(r"Ses0([1-5])[MF]_.+_([MF])[0-9X]+")
_MELD = re.compile(r"(train|val|test|dev)_dia\d+_utt\d+")


def guess_set(corpora, labels):
    """Return which data set labels are of, None where they do not tell.

    Parameters
    ----------
    corpora : list of str
        Names of the parts.
    labels : dict of str to dict
        Label of each clip.

    Returns
    -------
    name : str or None
    """
    numbers = {label["emo"] for label in labels.values()}
    if all(map(_IEMOCAP.fullmatch, labels)) and corpora == ["whole_corpus"]:
        return "IEMOCAPSix" if numbers & {4, 5} else "IEMOCAPFour"
    if all(map(_MELD.fullmatch, labels)):
        return "MELD"
    return None


def groups_of(names, label_set):
    """Return what folds must not divide: who speaks, or what is spoken in.

    Parameters
    ----------
    names : list of str
        Names of clips.
    label_set : str or None
        The data set.

    Returns
    -------
    groups : list of str or None
        None where names do not tell.
    """
    if label_set in ("IEMOCAPFour", "IEMOCAPSix"):
        found = [_IEMOCAP.fullmatch(name) for name in names]
        return [f"Ses0{m[1]}{m[2]}" for m in found] if all(found) else None
    if label_set in ("MELD", "CMUMOSI", "CMUMOSEI", "SIMS", "SIMSv2"):
        # The number of the utterance comes last
        return [name.rpartition("_")[0] or name for name in names]
    return None


def sessions_of(names):
    """Return the session of each clip of IEMOCAP, None where a name does not tell."""
    found = [_IEMOCAP.fullmatch(name) for name in names]
    return [int(m[1]) for m in found] if all(found) else None
