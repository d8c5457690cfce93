"""What a refiner has done, as a table and as tasks."""

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmer.label_refinement._label_studio import media_of, write_tasks


def make_report(refiner, which, ids=None, *, for_tasks=False):
    """Return one row for each clip that ``which`` asks for.

    Parameters
    ----------
    refiner : LabelRefiner
        A fitted one.
    which : {"report", "flagged", "changed", "all"}
        "report" are flagged, changed and decided clips.
    ids : Index of length n_rows, or None, default=None
        Clip ids in place of those of X.
    for_tasks : bool, default=False
        Add the columns that Label Studio's tasks need besides, and leave out copies
        of a clip.

    Returns
    -------
    report : DataFrame
        As :meth:`LabelRefiner.report` describes it, sorted by quality.
    """
    flagged = refiner.flagged_.to_numpy()
    changed = refiner.changed_.to_numpy()
    decided = refiner.decided_.to_numpy()
    labelled = refiner.annotations_.notna().to_numpy()
    rows = {
        "report": flagged | changed | decided,
        "flagged": flagged,
        "changed": changed,
        "all": labelled,
    }[which]
    rows = np.flatnonzero(rows)
    rows = rows[np.argsort(refiner.quality_.to_numpy()[rows], kind="stable")]
    left = np.zeros(len(flagged), dtype=bool)
    left[refiner.sample_indices_] = True
    votes = refiner.votes_.iloc[rows].to_numpy(dtype=object)
    chances = refiner.probabilities_.iloc[rows].to_numpy()
    after = refiner.labels_.iloc[rows].to_numpy(dtype=object)
    says = votes == after[:, np.newaxis]
    voted = ~pd.isna(votes)
    names = np.array(refiner.votes_.columns, dtype=object)
    classes = refiner.classes_.tolist()
    codes = np.array([classes.index(v) if v in classes else -1 for v in after], int)
    unsaid = changed[rows] & ~says.any(axis=1)
    by = np.where(changed[rows], np.where(unsaid, "model", "sources"), "")
    behind = np.where(unsaid[:, np.newaxis], refiner._prefer.T[rows], says)
    frame = pd.DataFrame(
        {
            "clip": (refiner.votes_.index if ids is None else ids)[rows],
            "from": refiner.annotations_.iloc[rows].to_numpy(dtype=object),
            "to": after,
            "probability": np.where(
                codes < 0, np.nan, chances[np.arange(len(rows)), codes]
            ),
            "agreement": says.sum(axis=1)
            / np.where(voted.any(1), voted.sum(1), np.nan),
            "quality": refiner.quality_.to_numpy()[rows],
            "sources": [", ".join(names[row]) for row in behind],
            "flagged": flagged[rows],
            "dropped": ~left[rows],
            "decided_by": np.where(decided[rows], "person", by),
        }
    )
    if not for_tasks:
        return frame
    known = np.isfinite(chances).all(axis=1)
    best = np.where(known, np.nan_to_num(chances).argmax(axis=1), codes)
    frame["best"] = [classes[code] for code in best]
    frame["best_probability"] = np.where(
        known, chances[np.arange(len(rows)), best], np.nan
    )
    frame["votes"] = [
        ", ".join(f"{n}: {v}" for n, v in zip(names, row, strict=True) if v is not None)
        for row in votes
    ]
    return frame.drop_duplicates("clip", ignore_index=True)


class Reports:
    """The part of a fitted refiner that tells what it has done."""

    def report(self):
        """Return what was changed, flagged or decided, the least credible first.

        Returns
        -------
        report : DataFrame
            One row a clip with the columns ``clip``, ``from`` (the annotation),
            ``to`` (the label afterwards), ``probability`` (of that label, see
            ``probabilities_``), ``agreement`` (share of the voting sources that say
            it), ``quality`` (of the annotation, see ``quality_``), ``sources`` (those
            that say it), ``flagged``, ``dropped`` and ``decided_by``: ``"person"``,
            ``"sources"``, ``"model"`` where no source ranks the new label first (then
            ``sources`` are those that think it likelier than the annotation), or
            ``""`` for a flagged clip that keeps its annotation.
        """
        check_is_fitted(self, "votes_")
        return make_report(self, which="report")

    def export_label_studio(
        self, path, clips=None, *, which="flagged", root=None, name="emotion"
    ):
        """Write tasks for Label Studio, with the likeliest label as pre-annotation.

        Writes a JSON file to be imported, and beside it, ending in ``.xml``, the
        labeling configuration. :func:`import_label_studio` reads what annotators
        made of it.

        Parameters
        ----------
        path : str or PathLike
            File to write, for example ``"tasks.json"``.
        clips : DataFrame or Series by clip id, list of paths or None, default=None
            What annotators are shown: columns among ``video``, ``audio`` and
            ``text``; a Series holds videos, a list those of all rows of X in their
            order. None takes clip ids for paths of videos. Where X has no clip ids,
            a DataFrame or Series has one row for each of X, whose index, or whose
            paths in a list, are the clip ids that decisions come back for.
        which : {"flagged", "changed", "report", "all"}, default="flagged"
            Flagged clips, changed ones, all in :meth:`report`, or all with a label.
        root : str, PathLike or None, default=None
            Folder that Label Studio serves local files from
            (``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT``), which paths are turned
            into addresses below. None writes paths as they are, which suits
            addresses.
        name : str, default="emotion"
            Name of the choice.

        Raises
        ------
        ValueError
            If a clip is not in ``clips``, its file is not below ``root``, or there
            are neither ``clips`` nor paths among the clip ids.
        """
        check_is_fitted(self, "votes_")
        if which not in ("flagged", "changed", "report", "all"):
            raise ValueError(
                f"which must be 'flagged', 'changed', 'report' or 'all'. Got {which!r}."
            )
        ids = self.votes_.index
        media, ids = media_of(clips, ids, numbered=self._numbered)
        report = make_report(self, which=which, ids=ids, for_tasks=True)
        write_tasks(path, report, media, self.classes_, root=root, name=name)
