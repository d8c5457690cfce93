"""What a refiner has done, as a table."""

import numpy as np
import pandas as pd


def make_report(refiner, which, ids=None):
    """Return one row for each clip that ``which`` asks for.

    Parameters
    ----------
    refiner : LabelRefiner
        A fitted one.
    which : {"report", "flagged", "changed", "all"}
        "report" are flagged, changed and decided clips, without the columns that
        Label Studio's tasks need besides.

    ids : Index of length n_rows, or None, default=None
        Clip ids in place of those of X.

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
    if which == "report":
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
