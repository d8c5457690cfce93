"""What self-training was given, and what was said of each row."""

from typing import NamedTuple

import numpy as np
import pandas as pd

ROLES = ("estimator", "partner")


class Rows(NamedTuple):
    """What a fit was given."""

    X: object  # indexable
    ids: pd.Index | None  # clip ids
    codes: np.ndarray  # classes, -1 where unlabelled
    classes: np.ndarray
    used: np.ndarray  # weight above zero
    weight: np.ndarray | None

    def labelled(self, codes):
        """Numbers of the rows that have a class by now."""
        return np.flatnonzero(self.used & (codes >= 0))

    def unlabelled(self, codes):
        """Numbers of those that have none."""
        return np.flatnonzero(self.used & (codes < 0))


class Seeds(NamedTuple):
    """Seeds of all that is random; None leaves models and samplers theirs."""

    estimator: int | None
    partner: int | None
    sampler: int | None
    folds: int


class Judgements:
    """What was last said of each row."""

    def __init__(self, rows, partnered):
        n = len(rows.codes)
        roles = ROLES if partnered else ROLES[:1]
        self.rows = rows
        self.codes = {role: np.full(n, -1) for role in roles}
        self.confidence = {role: np.full(n, np.nan) for role in roles}
        self.agreed = np.zeros(n, dtype=bool)
        self.round = np.full(n, -1)

    def table(self):
        at = np.flatnonzero(self.codes["estimator"] >= 0)
        columns = {"row": at}
        for role, codes in self.codes.items():
            prefix = "" if role == "estimator" else f"{role}_"
            columns[f"{prefix}label"] = self.rows.classes[codes[at]]
            columns[f"{prefix}confidence"] = self.confidence[role][at]
        columns |= {"agreed": self.agreed[at], "round": self.round[at]}
        ids = self.rows.ids
        return pd.DataFrame(columns, index=at if ids is None else ids[at])
