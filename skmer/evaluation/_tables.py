"""From what folds found to the tables of a report."""

import numpy as np
import pandas as pd

from skmer.evaluation._calibration import calibration_scores, reliability_bins
from skmer.evaluation._fold import MODEL
from skmer.evaluation._references import CONCAT, PRODUCT
from skmer.evaluation._scores import (
    SCORES,
    Bootstrap,
    class_scores,
    confusion_of,
    three_scores,
)

SKIPPED = "not asked for"


def make_tables(found, run, facts, asked):
    """Make all tables.

    Parameters
    ----------
    found : dict of (int, int) to FoldResult
        By repeat and fold.
    run : object
        With ``rows``, ``splits`` and ``names`` of folds.
    facts : dict
        What is known of the evaluation; more is added.
    asked : dict of str to bool
        Which parts were asked for.

    Returns
    -------
    tables : dict of str to DataFrame
        Parts that are not there are left out.
    notes : dict of str to str
        Why parts are not there, and what else is to be said.
    facts : dict
    """
    return _Tables(found, run, facts, asked).make()


class _Tables:
    def __init__(self, found, run, facts, asked):
        self.found, self.run, self.asked = found, run, asked
        self.facts = dict(facts)
        self.notes, self.tables = {}, {}
        self.n_repeats, self.n_folds = facts["n_repeats"], facts["n_folds"]
        self.classes = facts["classes"]
        self.n_classes = len(self.classes)
        self.facts["modalities"] = found[0, 0].facts.get("modalities", [])
        rows = run.rows
        self.test = np.concatenate([test for _, test in run.splits])
        self.true = rows.codes[self.test]
        self.bootstrap = Bootstrap(
            self.test,
            rows.units(),
            self.n_classes,
            facts["n_bootstraps"],
            facts["confidence"],
            facts["seed"],
        )
        self.drawn = {}

    def make(self):
        for name in ("references", "literature", "robustness", "weights"):
            if not self.asked[name]:
                self.notes[name] = SKIPPED
        if not self.asked["calibration"]:
            self.notes["calibration"] = SKIPPED
        for result in self.found.values():
            for name, note in result.notes.items():
                if self.asked.get(name, True):
                    self.notes.setdefault(name, note)
        self.add_scores()
        self.add_folds()
        self.add_classes()
        self.add_references()
        self.add_protocols()
        self.add_modalities()
        self.add_robustness()
        self.add_weights()
        self.add_calibration()
        self.add_predictions()
        self.add_run_time()
        self.facts["n_units"] = self.bootstrap.n_units
        return self.tables, self.notes, self.facts

    def all_of(self, key):
        """Return what all folds have under a key, one row a repeat; None if lacking."""
        rows = []
        for repeat in range(self.n_repeats):
            parts = [
                self.found[repeat, fold].arrays.get(key) for fold in range(self.n_folds)
            ]
            if any(part is None for part in parts):
                return None
            rows.append(np.concatenate(parts))
        return np.stack(rows)

    def names_of(self, prefix):
        """Return the keys with a prefix that all folds have, without the prefix."""
        first = self.found[0, 0].arrays
        names = [key.removeprefix(prefix) for key in first if key.startswith(prefix)]
        return [name for name in names if self.all_of(f"{prefix}{name}") is not None]

    def confusions(self, predicted):
        return np.stack(
            [confusion_of(self.true, codes, self.n_classes) for codes in predicted]
        )

    def row_of(self, key):
        """Return score, low and high of a system's predictions, in one row."""
        predicted = self.all_of(key)
        scores = three_scores(self.confusions(predicted)).mean(axis=0)
        if key not in self.drawn:
            self.drawn[key] = self.bootstrap.scores(self.true, predicted)
        low, high = self.bootstrap.interval(self.drawn[key])
        row = {}
        for i, name in enumerate(SCORES):
            row[name] = scores[i]
            row[f"{name}_low"], row[f"{name}_high"] = low[i], high[i]
        return row

    def per_fold(self, key):
        """Return the scores of each fold: an array (n_repeats, n_folds, 3)."""
        scores = np.empty((self.n_repeats, self.n_folds, 3))
        for (repeat, fold), result in self.found.items():
            true = self.run.rows.codes[self.run.splits[fold][1]]
            codes = result.arrays[key]
            scores[repeat, fold] = three_scores(
                confusion_of(true, codes, self.n_classes)
            )
        return scores

    def add_scores(self):
        row = self.row_of(MODEL)
        folds = self.per_fold(MODEL)
        self.tables["scores"] = pd.DataFrame(
            {
                "score": [row[name] for name in SCORES],
                "low": [row[f"{name}_low"] for name in SCORES],
                "high": [row[f"{name}_high"] for name in SCORES],
                "fold_mean": folds.mean(axis=(0, 1)),
                "fold_std": folds.mean(axis=0).std(axis=0),
                "repeat_std": folds.mean(axis=1).std(axis=0),
            },
            index=pd.Index(SCORES, name="measure"),
        )

    def add_folds(self):
        rows = []
        scores = self.per_fold(MODEL)
        for repeat in range(self.n_repeats):
            for fold, (train, test) in enumerate(self.run.splits):
                result = self.found[repeat, fold]
                row = {
                    "repeat": repeat,
                    "fold": self.run.names[fold],
                    "n_train": len(train),
                    "n_test": len(test),
                    **dict(zip(SCORES, scores[repeat, fold].tolist(), strict=True)),
                    "fit_seconds": result.seconds["fit"],
                    "predict_seconds": result.seconds["predict"],
                }
                if "epochs" in result.arrays:
                    epochs = result.arrays["epochs"]
                    row["n_epochs"] = len(epochs)
                    row["best_epoch"] = int(epochs[:, 0].argmax()) + 1
                rows.append(row)
        self.tables["fold_scores"] = pd.DataFrame(rows)

    def add_classes(self):
        confusion = self.confusions(self.all_of(MODEL))
        names = ("precision", "recall", "F1", "support")
        values = [part.mean(axis=0) for part in class_scores(confusion)]
        table = pd.DataFrame(
            dict(zip(names, values, strict=True)),
            index=pd.Index(self.classes, name="class"),
        )
        self.tables["per_class"] = table.astype({"support": np.int64})
        self.tables["confusion"] = pd.DataFrame(
            confusion.mean(axis=0),
            index=pd.Index(self.classes, name="true"),
            columns=pd.Index(self.classes, name="predicted"),
        )

    def systems(self):
        return [MODEL, *(s for s in (CONCAT, PRODUCT) if self.all_of(s) is not None)]

    def called(self, system):
        return self.facts["name"] if system == MODEL else system

    def add_references(self):
        systems = self.systems()
        if len(systems) == 1:
            return
        rows = []
        own = None
        for system in systems:
            row = self.row_of(system)
            if system == MODEL:
                own = row
                rows.append({**row, "gain": np.nan, "gain_low": np.nan})
                rows[-1].update(gain_high=np.nan, verdict="")
                continue
            paired = self.drawn[MODEL][:, :1] - self.drawn[system][:, :1]
            low, high = self.bootstrap.interval(paired)
            row["gain"] = own["WAF"] - row["WAF"]
            row["gain_low"], row["gain_high"] = low[0], high[0]
            row["verdict"] = _verdict(low[0], high[0])
            rows.append(row)
        index = pd.Index(map(self.called, systems), name="system")
        self.tables["references"] = pd.DataFrame(rows, index=index)
        left_out = self.found[0, 0].facts.get("left out of references")
        if left_out:
            self.notes["left out of references"] = (
                f"{', '.join(left_out)}: cells are no sequences of vectors"
            )

    def add_protocols(self):
        if not self.asked["literature"] or self.all_of("best epoch") is None:
            return
        rows = {
            "honest": self.per_fold(MODEL).mean(axis=(0, 1)),
            "literature": self.per_fold("best epoch").mean(axis=(0, 1)),
        }
        table = pd.DataFrame(rows, index=SCORES).T
        table.index.name = "protocol"
        table["meaning"] = [
            "the model as it is, mean over folds",
            "best epoch chosen on the fold that is reported: optimistic",
        ]
        self.tables["protocols"] = table

    def add_modalities(self):
        rows = []
        for name in self.names_of("alone/"):
            row = self.row_of(f"alone/{name}")
            rows.append({"modality": name, "system": "LR on it alone", **row})
        for name in self.names_of("model alone/"):
            row = self.row_of(f"model alone/{name}")
            rows.append({"modality": name, "system": "model fitted on it alone", **row})
        everything = self.facts["modalities"]
        for name in everything:
            gone = ", ".join(other for other in everything if other != name)
            key = f"{MODEL}/without {gone}"
            if gone and self.all_of(key) is not None:
                rows.append(
                    {
                        "modality": name,
                        "system": "model, others removed at test time",
                        **self.row_of(key),
                    }
                )
        if rows:
            self.tables["per_modality"] = pd.DataFrame(rows)
        elif "per_modality" not in self.notes:
            reason = self.notes.get("references", "not applicable")
            self.notes["per_modality"] = reason

    def add_robustness(self):
        rows = []
        for system in self.systems():
            names = self.names_of(f"{system}/without ")
            if not names:
                continue
            whole = self.row_of(system)["WAF"]
            rows.append(
                {
                    "system": self.called(system),
                    "missing": "nothing",
                    **self.row_of(system),
                    "change": 0.0,
                }
            )
            for name in names:
                row = self.row_of(f"{system}/without {name}")
                rows.append(
                    {
                        "system": self.called(system),
                        "missing": name,
                        **row,
                        "change": row["WAF"] - whole,
                    }
                )
        if rows:
            self.tables["robustness"] = pd.DataFrame(rows)

    def add_weights(self):
        if any("weights" not in result.arrays for result in self.found.values()):
            return
        streams, weights = self.weights_of_streams()
        weights = np.where(weights == 0, np.nan, weights)
        rows = [_mean(weights.reshape(-1, len(streams)))]
        for code in range(self.n_classes):
            own = weights[:, self.true == code].reshape(-1, len(streams))
            rows.append(_mean(own))
        everything = "all clips"
        while everything in self.classes:
            everything += " together"
        index = pd.Index([everything, *self.classes], name="class")
        self.tables["weights"] = pd.DataFrame(rows, index=index, columns=streams)

    def weights_of_streams(self):
        """Return all streams, and weights (n_repeats, n_predictions, n_streams).

        A fold may lack a stream, of which nothing was selected: its weight is 0.
        """
        results = self.found.values()
        streams = list(dict.fromkeys(s for r in results for s in r.facts["streams"]))
        weights = np.zeros((self.n_repeats, len(self.test), len(streams)))
        ends = np.cumsum([len(test) for _, test in self.run.splits])
        for (repeat, fold), result in self.found.items():
            own = result.arrays["weights"]
            rows = slice(ends[fold] - len(own), ends[fold])
            places = [streams.index(stream) for stream in result.facts["streams"]]
            weights[repeat, rows, places] = own.T
        return streams, weights

    def add_calibration(self):
        if not self.asked["calibration"]:
            return
        names, scores, bins = [], [], []
        for system in self.systems():
            proba = self.all_of(f"{system}/proba")
            if proba is None:
                continue
            own = [calibration_scores(self.true, p) for p in proba]
            names.append(self.called(system))
            scores.append(pd.DataFrame(own).mean())
            true = np.tile(self.true, self.n_repeats)
            found = reliability_bins(true, proba.reshape(-1, self.n_classes))
            bins.append(pd.DataFrame({"system": self.called(system), **found}))
        if scores:
            self.tables["calibration"] = pd.DataFrame(
                scores, index=pd.Index(names, name="system")
            )
            self.tables["reliability"] = pd.concat(bins, ignore_index=True)

    def add_predictions(self):
        proba, parts = self.all_of(f"{MODEL}/proba"), []
        predicted = self.all_of(MODEL)
        fold = np.repeat(
            np.arange(self.n_folds), [len(test) for _, test in self.run.splits]
        )
        classes = self.run.rows.classes
        for repeat in range(self.n_repeats):
            part = pd.DataFrame(
                {
                    "repeat": repeat,
                    "fold": [self.run.names[i] for i in fold],
                    "true": classes[self.true],
                    "predicted": classes[predicted[repeat]],
                },
                index=pd.Index(self.run.rows.ids[self.test], name="clip"),
            )
            if proba is not None:
                for code, label in enumerate(self.classes):
                    part[f"P({label})"] = proba[repeat][:, code]
            order = np.argsort(self.test, kind="stable")
            parts.append(part.iloc[order])
        self.tables["predictions"] = pd.concat(parts)

    def add_run_time(self):
        rows = {}
        if self.facts["extraction"] is not None:
            rows["features of all clips"] = [self.facts["extraction"], 1]
        for key, called in [
            ("fit", f"fit {self.facts['name']}"),
            ("predict", f"predict with {self.facts['name']}"),
            (CONCAT, f"fit {CONCAT}"),
            (PRODUCT, f"fit {PRODUCT}"),
        ]:
            times = [r.seconds[key] for r in self.found.values() if key in r.seconds]
            if times:
                rows[called] = [float(np.sum(times)), len(times)]
        self.tables["run_time"] = pd.DataFrame.from_dict(
            rows, orient="index", columns=["seconds", "times"]
        ).rename_axis("part")
        devices = {
            r.facts["device"] for r in self.found.values() if "device" in r.facts
        }
        self.facts["device"] = ", ".join(sorted(devices)) or "cpu"


def _mean(rows):
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0).sum(axis=0)
    return np.divide(
        total,
        known.sum(axis=0),
        out=np.full(rows.shape[1], np.nan),
        where=known.any(axis=0),
    )


def _verdict(low, high):
    if np.isnan(low):
        return "no interval"
    if low > 0:
        return "model better"
    return "reference better" if high < 0 else "level"
