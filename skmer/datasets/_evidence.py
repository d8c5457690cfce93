"""What each modality shows given the class, and the best score it allows."""

import itertools

import numpy as np
import pandas as pd

EMOTIONS = ("neutral", "angry", "happy", "sad", "worried", "surprise")
MODALITIES = ("video", "audio", "text")
RELIABILITY = {"video": 0.74, "audio": 0.74, "text": 0.74}

# Where a modality does not show the class, what it shows instead (rows: class,
# columns: shown, in the order of EMOTIONS; rows sum to one). Faces mix up what
# raises or relaxes the same brows, voices what is equally aroused, words what is
# said in the same situations; no two modalities mix up the same pairs.
_MISTAKEN = {
    "video": (
        (0.0, 0.1, 0.0, 0.7, 0.2, 0.0),
        (0.1, 0.0, 0.0, 0.2, 0.7, 0.0),
        (0.2, 0.0, 0.0, 0.0, 0.0, 0.8),
        (0.7, 0.1, 0.0, 0.0, 0.2, 0.0),
        (0.0, 0.7, 0.0, 0.2, 0.0, 0.1),
        (0.0, 0.0, 0.8, 0.0, 0.2, 0.0),
    ),
    "audio": (
        (0.0, 0.0, 0.2, 0.1, 0.7, 0.0),
        (0.0, 0.0, 0.2, 0.0, 0.1, 0.7),
        (0.1, 0.2, 0.0, 0.7, 0.0, 0.0),
        (0.1, 0.0, 0.7, 0.0, 0.2, 0.0),
        (0.7, 0.1, 0.0, 0.2, 0.0, 0.0),
        (0.0, 0.7, 0.2, 0.0, 0.1, 0.0),
    ),
    "text": (
        (0.0, 0.0, 0.7, 0.0, 0.0, 0.3),
        (0.1, 0.0, 0.0, 0.7, 0.2, 0.0),
        (0.7, 0.0, 0.0, 0.1, 0.0, 0.2),
        (0.0, 0.7, 0.1, 0.0, 0.2, 0.0),
        (0.0, 0.2, 0.0, 0.1, 0.0, 0.7),
        (0.2, 0.0, 0.1, 0.0, 0.7, 0.0),
    ),
}


def confusion(modality, reliability):
    """Return P(shown | class) of a modality, classes in rows.

    Parameters
    ----------
    modality : {"video", "audio", "text"}
        The modality.
    reliability : float
        Probability that it shows the class itself.

    Returns
    -------
    table : ndarray of float64 of shape (6, 6)
        Rows sum to one.
    """
    mistaken = np.asarray(_MISTAKEN[modality])
    return reliability * np.eye(len(EMOTIONS)) + (1 - reliability) * mistaken


def best_decisions(prior, tables):
    """Return what the classifier of least error decides, and how often.

    Parameters
    ----------
    prior : ndarray of shape (n_classes,)
        Probability of each class.
    tables : sequence of ndarray of shape (n_classes, n_shown)
        P(shown | class) of each modality at hand; they are independent given the
        class. An empty sequence leaves the prior alone.

    Returns
    -------
    joint : ndarray of shape (n_classes, n_classes)
        Probability of each pair of class (rows) and decision (columns).
    """
    n_classes = len(prior)
    joint = np.zeros((n_classes, n_classes))
    for shown in itertools.product(*(range(table.shape[1]) for table in tables)):
        likely = np.array(prior, dtype=np.float64)
        for table, value in zip(tables, shown, strict=True):
            likely *= table[:, value]
        joint[:, likely.argmax()] += likely
    return joint


def scores_of(joint):
    """Return accuracy and weighted F1 of a joint table of class and decision."""
    hits = np.diag(joint)
    of_class, of_decision = joint.sum(axis=1), joint.sum(axis=0)
    both = of_class + of_decision
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    return hits.sum(), of_class @ f1


def bayes_scores(prior, tables, missing):
    """Compute the best score each modality and all of them allow.

    Parameters
    ----------
    prior : ndarray of shape (n_classes,)
        Probability of each class.
    tables : dict of str to ndarray of shape (n_classes, n_shown)
        P(shown | class) of each modality.
    missing : dict of str to float
        Fraction of clips that lack each modality; no clip lacks two, and what a
        clip lacks does not depend on its class.

    Returns
    -------
    scores : DataFrame of shape (n_modalities + 2, 2)
        Columns ``accuracy`` and ``weighted_f1``; one row a modality, on the clips
        that have it, then ``complete`` (clips that have all) and ``every``
        (all clips, each judged by what it has).
    """
    rows = {
        name: scores_of(best_decisions(prior, [table]))
        for name, table in tables.items()
    }
    complete = best_decisions(prior, list(tables.values()))
    every = (1 - sum(missing.values())) * complete
    for name, fraction in missing.items():
        rest = [table for other, table in tables.items() if other != name]
        every = every + fraction * best_decisions(prior, rest)
    rows["complete"] = scores_of(complete)
    rows["every"] = scores_of(every)
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["accuracy", "weighted_f1"]
    )


_DESCRIPTION = """\
Made clips for multimodal emotion recognition
---------------------------------------------

{n_clips} clips of {n_speakers} drawn speakers; target: one of six emotions
({counts}).

Labels are right. Each modality draws the emotion it shows from its own
P(shown | class), independently of the others given the class. Speaker, scene,
duration and topic do not depend on the class. No clip lacks two modalities:
{lacking}.

Best score that the evidence allows (Bayes: P(shown | class) known, what is shown
read without mistakes; decisions of least error):

{scores}

video, audio, text: that modality alone, on the clips that have it; complete: all
three, on the clips that have all; every: what there is, on every clip.

{tables}
"""
_LACKS = {"video": "face in sight", "audio": "sound stream", "text": "words"}


def describe(n_clips, n_speakers, counts, lacking, tables, scores):
    """Return the description of a made data set.

    Parameters
    ----------
    n_clips, n_speakers : int
        Their numbers.
    counts : ndarray of int of shape (n_classes,)
        Clips of each class.
    lacking : dict of str to int
        Clips that lack each modality.
    tables : dict of str to ndarray
        P(shown | class) of each modality.
    scores : DataFrame
        As :func:`bayes_scores` returns it.

    Returns
    -------
    text : str
        The description.
    """
    blocks = [
        f"P(shown | class), {name} (class in rows)\n"
        + pd.DataFrame(table, index=EMOTIONS, columns=EMOTIONS).to_string(
            float_format="{:.3f}".format
        )
        for name, table in tables.items()
    ]
    return _DESCRIPTION.format(
        n_clips=n_clips,
        n_speakers=n_speakers,
        counts=", ".join(
            f"{n} {name}" for n, name in zip(counts, EMOTIONS, strict=True)
        ),
        lacking=", ".join(
            f"{n} ({n / n_clips:.1%}) have no {_LACKS[name]}"
            for name, n in lacking.items()
        ),
        scores=scores.to_string(float_format="{:.3f}".format),
        tables="\n\n".join(blocks),
    )
