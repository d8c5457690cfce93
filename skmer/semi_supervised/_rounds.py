"""The rounds of self-training: fit, judge the unlabelled rows, choose, go on."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_consistent_length, indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_sample_weight

from skmer.semi_supervised._confidence import (
    calibration_folds,
    class_logits,
    fit_temperature,
    per_class,
    predictions,
    sure_rows,
)
from skmer.semi_supervised._rows import ROLES, Judgements, Rows, Seeds
from skmer.semi_supervised._steps import (
    continue_fit,
    continues,
    fit_weighted,
    gather,
    marked,
    own_params,
    unused_sampler,
)
from skmer.utils import split_labels
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._fit_inputs import refuse_complex, require_y, warn_of_column
from skmer.utils._seeds import draw_seeds, seeded_clone
from skmer.utils._sklearn import _safe_indexing


class SelfTrainingRounds:
    """The part of a self-training classifier that fits."""

    def _read(self, X, y, sample_weight):
        require_y(type(self).__name__, y)
        warn_of_column(y, stacklevel=4)
        (X,) = indexable(X)
        refuse_complex(X)
        labelled, classes, codes = split_labels(y)
        check_consistent_length(X, codes)
        used, weight = np.ones(len(codes), dtype=bool), None
        if sample_weight is not None:
            weight = _check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
            used = weight > 0
        elif self.pseudo_weight != 1.0:
            weight = np.ones(len(codes))
        if not (used & labelled).any():
            raise ValueError(
                f"{type(self).__name__} needs rows with a label and a weight above "
                f"zero; {int(labelled.sum())} of {len(codes)} rows have a label."
            )
        if classes.dtype == object and isinstance(classes[0], (bool, np.bool_)):
            classes = classes.astype(bool)  # objects are strings to scikit-learn
        # A class whose rows all weigh nothing is none.
        present = np.unique(codes[used & labelled])
        if len(present) < len(classes):
            where = np.full(len(classes) + 1, -1)
            where[present] = np.arange(len(present))
            codes, classes = where[codes], classes[present]
        return Rows(X, clip_ids(X), codes, classes, used, weight)

    def _limits(self, rows):
        """Return threshold and count of each class; the latter may be None."""
        thresholds, unknown = per_class(self.threshold, rows.classes, "threshold", 0.0)
        if (thresholds > 1).any():
            raise ValueError(
                f"threshold must hold numbers from 0 to 1. Got {self.threshold}."
            )
        counts, given = None, self.n_per_class
        if given is not None and (isinstance(given, (Integral, dict))):
            counts, others = per_class(given, rows.classes, "n_per_class", 0)
            unknown = unknown + others
            if (counts != np.round(counts)).any():
                raise ValueError(
                    f"n_per_class must hold whole numbers for classes. Got {given}."
                )
        elif given is not None:
            if given > 1:
                raise ValueError(
                    "n_per_class must be a whole number, or a share of the unlabelled "
                    f"rows up to 1.0. Got {given}."
                )
            share = np.bincount(rows.codes[rows.labelled(rows.codes)])
            n_unlabelled = len(rows.unlabelled(rows.codes))
            counts = np.round(given * n_unlabelled * share / share.sum())
        if unknown:
            warnings.warn(
                f"threshold or n_per_class name {unknown}, which no row of y has: the "
                f"classes are {rows.classes.tolist()}.",
                UserWarning,
                stacklevel=5,
            )
        return thresholds, None if counts is None else counts.astype(np.int64)

    def _seeds(self):
        drawn = draw_seeds(self.random_state, 4)
        if self.random_state is None:
            return Seeds(None, None, None, drawn[3])
        return Seeds(*drawn)

    def _sampler(self, step, seeds):
        sampler = self.sampler
        if step > 0 and not isinstance(self.second_sampler, str):
            sampler = self.second_sampler
        return None if sampler is None else unused_sampler(sampler, seeds.sampler)

    def _run(self, rows):
        """Fit, choose, go on; sets all attributes."""
        thresholds, counts = self._limits(rows)
        params = own_params(self.estimator, self.second_params)
        going_on = continues(self.estimator, self.continue_from_first, params)
        seeds = self._seeds()
        codes = rows.codes.copy()
        weight = None if rows.weight is None else rows.weight.copy()
        given = rows.labelled(codes)
        folds = []
        if self.calibrate and self.n_rounds != 0 and len(rows.unlabelled(codes)):
            # Before anything is fitted, which may take long: it may be impossible
            folds = self._held_out(rows, given, seeds)
        self.labeled_iter_ = np.where(codes >= 0, 0, -1)
        self.temperatures_ = {role: 1.0 for role in self._roles()}
        self.partner_, self.n_iter_ = None, 0
        judged = Judgements(rows, self.partner is not None)
        models = {"estimator": _clone(self.estimator, seeds.estimator)}
        while True:
            left = rows.unlabelled(codes)
            choosing = len(left) > 0 and self.n_iter_ != self.n_rounds
            if self.n_iter_ == 0 or choosing:
                sampler = self._sampler(self.n_iter_, seeds)
                fresh = [] if self.n_iter_ else ["estimator"]
                if choosing and self.partner is not None:
                    # Each round a new one: it is to know what the estimator learnt.
                    models["partner"] = _clone(self.partner, seeds.partner)
                    fresh.append("partner")
                fitted = self._fit_models(
                    [models[role] for role in fresh], rows, codes, weight, sampler
                )
                models.update(zip(fresh, fitted, strict=True))
            if not choosing:
                break
            if self.n_iter_ == 0 and self.calibrate is not None:
                self._calibrate(rows, given, folds, seeds)
            self.n_iter_ += 1
            taken, score = self._choose(models, rows, left, thresholds, counts, judged)
            new = left[taken]
            if len(new) == 0:
                break
            codes[new] = judged.codes["estimator"][new]
            self.labeled_iter_[new] = judged.round[new] = self.n_iter_
            if weight is not None:
                sure = self.pseudo_weight == "confidence"
                weight[new] *= score[taken] if sure else self.pseudo_weight
            models["estimator"] = self._train_further(
                models["estimator"], rows, codes, weight, params, going_on, seeds
            )
            self._say(len(new), len(left), rows.classes, codes[new])
        if len(left) == 0:
            self.termination_condition_ = "all_labeled"
        else:
            self.termination_condition_ = "no_change" if choosing else "max_iter"
        self.estimator_, self.partner_ = models["estimator"], models.get("partner")
        self.classes_ = rows.classes
        self.thresholds_ = dict(
            zip(rows.classes.tolist(), thresholds.tolist(), strict=True)
        )
        self.transduction_ = marked(codes, rows.classes)
        self.pseudo_labels_ = judged.table()

    def _roles(self):
        return ROLES if self.partner is not None else ROLES[:1]

    def _fit_models(self, models, rows, codes, weight, sampler):
        others = rows.unlabelled(codes) if self.pass_unlabeled else codes[:0]
        known = rows.labelled(codes)
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit)(
                model, rows.X, codes, rows.classes, known, others, weight, sampler
            )
            for model in models
        )
        for model in fitted:
            _check_classes(model, rows.classes)
        return fitted

    def _train_further(self, model, rows, codes, weight, params, going_on, seeds):
        sampler = self._sampler(1, seeds)
        if not going_on:
            model = _clone(self.estimator, seeds.estimator).set_params(**params)
            return self._fit_models([model], rows, codes, weight, sampler)[0]
        others = rows.unlabelled(codes) if self.pass_unlabeled else codes[:0]
        X, y, weight = gather(
            rows.X, codes, rows.classes, rows.labelled(codes), others, weight, sampler
        )
        continue_fit(model, X, y, weight, params)
        return model

    def _held_out(self, rows, known, seeds):
        ids = None if rows.ids is None else rows.ids[known]
        units = unit_codes(ids, self.groups, len(known))
        return calibration_folds(rows.codes[known], units, self.n_folds, seeds.folds)

    def _calibrate(self, rows, known, folds, seeds):
        """Set the temperatures from predictions for rows held out."""
        others = rows.unlabelled(rows.codes) if self.pass_unlabeled else known[:0]
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_and_judge)(
                _clone(getattr(self, role), getattr(seeds, role)),
                rows,
                known[learn],
                others,
                known[held],
                self._sampler(0, seeds),
            )
            for role in self._roles()
            for learn, held in folds
        )
        held = known[np.concatenate([held for _, held in folds])]
        weight = None if rows.weight is None else rows.weight[held]
        for index, role in enumerate(self._roles()):
            part = parts[index * len(folds) : (index + 1) * len(folds)]
            self.temperatures_[role] = fit_temperature(
                np.concatenate(part), rows.codes[held], weight
            )

    def _choose(self, models, rows, left, thresholds, counts, judged):
        """Return which of the rows left are taken, and how sure they are."""
        X = _safe_indexing(rows.X, left)
        for role in self._roles():
            logits = class_logits(models[role], X, rows.classes)
            found = predictions(logits, self.temperatures_[role])
            judged.codes[role][left], judged.confidence[role][left] = found
        codes, score = judged.codes["estimator"][left], judged.confidence["estimator"]
        score, agreed = score[left], np.ones(len(left), dtype=bool)
        if self.partner is not None:
            agreed = codes == judged.codes["partner"][left]
            other = judged.confidence["partner"][left]
            if self.confidence == "both":
                score = np.minimum(score, other)
            elif self.confidence == "mean":
                score = (score + other) / 2
        judged.agreed[left] = agreed
        taken = sure_rows(codes, score, agreed, thresholds, counts)
        if not taken.any() and self.n_iter_ == 1:
            self._warn_of_none(codes, score, agreed, thresholds, counts, rows.classes)
        return taken, score

    def _warn_of_none(self, codes, score, agreed, thresholds, counts, classes):
        if not agreed.any():
            why = "The two models agree on none of them. Compare their predictions."
        elif (score[agreed] >= thresholds[codes[agreed]]).any():
            why = (
                f"n_per_class={self.n_per_class} asks for none of those that pass "
                f"(by class {counts.tolist()}). Raise n_per_class."
            )
        else:
            best = [
                f"{label!r} {score[agreed & (codes == code)].max():.3g} of "
                f"{thresholds[code]:.3g}"
                for code, label in enumerate(classes.tolist())
                if (agreed & (codes == code)).any()
            ]
            why = (
                f"The surest of each class: {', '.join(best)}. Lower the threshold, "
                "calibrate, or pass threshold=None and n_per_class."
            )
        warnings.warn(
            f"None of {len(codes)} unlabelled rows was pseudo-labelled, and the model "
            f"of the first step is kept. {why}",
            UserWarning,
            stacklevel=6,
        )

    def _say(self, n_new, n_left, classes, codes):
        if not self.verbose:
            return
        counts = np.bincount(codes, minlength=len(classes))
        each = ", ".join(
            f"{label} {n}" for label, n in zip(classes.tolist(), counts, strict=True)
        )
        print(f"Round {self.n_iter_}: {n_new} of {n_left} rows pseudo-labelled: {each}")


def _clone(estimator, seed):
    return clone(estimator) if seed is None else seeded_clone(estimator, seed)


def _fit(model, X, codes, classes, rows, others, weight, sampler):
    X, y, weight = gather(X, codes, classes, rows, others, weight, sampler)
    try:
        return fit_weighted(model, X, y, weight)
    except TypeError as error:
        # What sorting labels says where None is among strings
        if not len(others) or "NoneType" not in str(error):
            raise
        raise ValueError(
            f"{type(model).__name__} took the mark of unlabelled rows, None, for a "
            f"class ({error}). Pass pass_unlabeled=False."
        ) from error


def _fit_and_judge(model, rows, learn, others, held, sampler):
    codes = rows.codes
    _fit(model, rows.X, codes, rows.classes, learn, others, rows.weight, sampler)
    return class_logits(model, _safe_indexing(rows.X, held), rows.classes)


def _check_classes(model, classes):
    known = model.classes_.tolist()
    foreign = [label for label in known if label not in classes.tolist()]
    if foreign:
        raise ValueError(
            f"{type(model).__name__} took the mark of unlabelled rows, {foreign[0]!r}, "
            "for a class. Pass pass_unlabeled=False."
        )
    missing = [label for label in classes.tolist() if label not in known]
    if missing:
        raise ValueError(
            f"{type(model).__name__} knows {known} only after its fit, and y has "
            f"{missing} too: one of its steps or the sampler dropped all their rows."
        )
