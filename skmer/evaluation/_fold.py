"""What is computed in one fold: the model, the references, and both without parts."""

import time
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone

from skmer._streams import modality_of
from skmer.evaluation._features import (
    Fitted,
    modalities_of,
    pooled,
    sequence_widths,
    without,
)
from skmer.evaluation._references import PRODUCT, references
from skmer.evaluation._scores import confusion_of, three_scores
from skmer.utils._pipelines import last_prefix, last_step
from skmer.utils._sklearn import _safe_indexing

MODEL = "model"


@dataclass(frozen=True)
class Task:
    """What a fold is to compute beside the model's predictions."""

    references: bool
    literature: bool
    robustness: bool
    weights: bool
    fit_alone: bool


@dataclass
class FoldResult:
    """What a fold found: arrays by name, seconds, and reasons for what is lacking."""

    arrays: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)


def run_fold(model, X, y, classes, train, test, task):
    """Fit on the training rows and predict the test rows.

    Parameters
    ----------
    model : estimator
        Unfitted and seeded; it is fitted in place.
    X : indexable of length n_samples
        Clips or features.
    y : ndarray of shape (n_samples,)
        Labels as they were given.
    classes : ndarray of shape (n_classes,)
        The labels that occur.
    train, test : ndarray of int64
        Rows; all test rows are labelled.
    task : Task
        What to compute.

    Returns
    -------
    result : FoldResult
    """
    return _Fold(model, X, y, classes, train, test, task).run()


class _Fold:
    def __init__(self, model, X, y, classes, train, test, task):
        self.model, self.task, self.classes = model, task, classes
        self.X_train, self.X_test = _safe_indexing(X, train), _safe_indexing(X, test)
        self.y_train, self.y_test = y[train], y[test]
        self.codes = {label: code for code, label in enumerate(classes.tolist())}
        self.true = self.as_codes(self.y_test)
        self.result = FoldResult()

    def run(self):
        self.keep_epochs()
        start = time.perf_counter()
        self.model.fit(self.X_train, self.y_train)
        self.result.seconds["fit"] = time.perf_counter() - start
        start = time.perf_counter()
        predicted = self.as_codes(self.model.predict(self.X_test))
        self.result.seconds["predict"] = time.perf_counter() - start
        self.result.arrays[MODEL] = predicted
        self.add_proba()
        fitted = Fitted(self.model, self.X_test)
        self.last = None if fitted.cut is None else fitted.before_last()
        self.add_device()
        if self.task.literature:
            self.add_epochs()
        if self.task.weights:
            self.add_weights()
        if fitted.cut is None:
            reason = _no_features(self.model)
            for part in ("references", "robustness", "per_modality", "model alone"):
                self.result.notes[part] = reason
            return self.result
        self.result.facts["modalities"] = list(modalities_of(fitted.features))
        if self.task.robustness:
            self.add_masked(MODEL, fitted.rest, fitted.features)
        if self.task.references or self.task.fit_alone:
            training = fitted.transform(self.X_train)
        if self.task.references:
            self.add_references(fitted.features, training)
        if self.task.fit_alone:
            self.add_alone(fitted, fitted.features, training)
        return self.result

    def as_codes(self, labels):
        """Return positions of labels; raise for one that is no class."""
        labels = np.asarray(labels).tolist()
        unknown = [label for label in labels if label not in self.codes]
        if unknown:
            raise ValueError(
                f"The model knows the label {unknown[0]!r}, which is the mark of "
                "unlabelled clips: it learns from them as from one more class. Put "
                "skmer.over_sampling.DropUnlabeled() before the classifier, in an "
                "imbalanced-learn pipeline, or pass labelled clips only."
            )
        return np.array([self.codes[label] for label in labels], dtype=np.int64)

    def proba_of(self, estimator, X):
        """Return probabilities of all classes, 0 for those the fold has not seen."""
        said = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        proba = np.zeros((len(said), len(self.classes)))
        proba[:, self.as_codes(estimator.classes_)] = said
        return proba

    def keep_epochs(self):
        """Let the net at the model's end keep what it was after each epoch."""
        name = f"{last_prefix(self.model)}keep_epochs"
        self.has_epochs = name in self.model.get_params(deep=True)
        if not self.task.literature:
            return
        if self.has_epochs:
            self.model.set_params(**{name: True})
        else:
            self.result.notes["literature"] = _no_epochs(self.model)

    def add_proba(self):
        if not hasattr(self.model, "predict_proba"):
            self.result.notes["calibration"] = (
                "not applicable: the model has no predict_proba"
            )
            return
        self.result.arrays[f"{MODEL}/proba"] = self.proba_of(self.model, self.X_test)

    def add_device(self):
        last = None if self.last is None else self.last[1]
        device = getattr(last, "device_", None)
        if device is not None:
            self.result.facts["device"] = str(device)

    def add_epochs(self):
        """Score every epoch on the test rows, which the literature then chooses by."""
        if not self.has_epochs or self.last is None:
            return
        X, net = self.last
        if not hasattr(net, "staged_predict_proba"):
            return
        of_net = self.as_codes(net.classes_)
        codes = [of_net[p.argmax(axis=1)] for p in net.staged_predict_proba(X)]
        matrices = [confusion_of(self.true, c, len(self.classes)) for c in codes]
        scores = three_scores(np.stack(matrices))
        self.result.arrays["epochs"] = scores
        self.result.arrays["best epoch"] = codes[int(scores[:, 0].argmax())]

    def add_weights(self):
        reason = "not applicable: the model shows no weights of streams"
        X, last = (None, None) if self.last is None else self.last
        if not hasattr(last, "modality_weights"):
            self.result.notes["weights"] = reason
            return
        try:
            weights = last.modality_weights(X, normalize=True)
        except AttributeError:
            self.result.notes["weights"] = reason
            return
        streams = getattr(weights, "columns", None)
        if streams is None:  # votes have the streams of their members
            first = getattr(last, "estimators_", [last])[0]
            streams = getattr(first, "streams_", range(np.shape(weights)[1]))
        self.result.facts["streams"] = list(map(str, streams))
        self.result.arrays["weights"] = np.asarray(weights, dtype=np.float64)

    def add_masked(self, system, estimator, features):
        """Predict with modalities removed from the test rows alone."""
        modalities = modalities_of(features)
        if len(modalities) < 2:
            self.result.notes["robustness"] = (
                "not applicable: the features are of one modality, or have no names "
                "that tell modalities apart"
            )
            return
        for gone in _subsets(list(modalities)):
            columns = np.concatenate([modalities[name] for name in gone])
            try:
                said = estimator.predict(without(features, columns))
            except Exception as error:  # whatever an estimator has against it
                self.result.notes["robustness"] = (
                    f"not applicable: {system} refuses clips without {gone[0]} "
                    f"({_first_sentence(error)})"
                )
                return
            self.result.arrays[f"{system}/without {', '.join(gone)}"] = self.as_codes(
                said
            )

    def add_references(self, features, training):
        widths = sequence_widths(training)
        table, left_out = pooled(features, widths)
        training, _ = pooled(training, widths)
        if left_out:
            self.result.facts["left out of references"] = left_out
        if not table.shape[1]:
            self.result.notes["references"] = (
                "not applicable: no column of the features holds numbers, or sequences "
                "of vectors"
            )
            return
        known = np.array([label in self.codes for label in self.y_train.tolist()])
        rows = np.flatnonzero(known)
        labels, training = self.y_train[rows], _safe_indexing(training, rows)
        labels = self.classes[self.as_codes(labels)]
        has_names = bool(modalities_of(table))
        for name, reference in references().items():
            if name == PRODUCT and not has_names:
                self.result.notes["per_modality"] = (
                    "not applicable: the features have no names such as audio__0, so "
                    "modalities cannot be told apart. Call "
                    "set_output(transform='pandas') on the pipeline"
                )
                continue
            start = time.perf_counter()
            reference.fit(training, labels)
            self.result.seconds[name] = time.perf_counter() - start
            proba = self.proba_of(reference, table)
            self.result.arrays[name] = self.as_codes(reference.predict(table))
            self.result.arrays[f"{name}/proba"] = proba
            if self.task.robustness and has_names:
                self.add_masked(name, reference, table)
            if name == PRODUCT:
                vote = reference.steps[-1][1]
                said = vote.stream_proba(reference[:-1].transform(table))
                for modality, alone in said.items():
                    self.result.arrays[f"alone/{modality}"] = self.as_codes(
                        vote.classes_[np.asarray(alone).argmax(axis=1)]
                    )

    def add_alone(self, fitted, features, training):
        """Fit the model on each modality alone."""
        modalities = modalities_of(features)
        if len(modalities) < 2:
            return
        for modality, columns in modalities.items():
            try:
                alone = narrowed(fitted.rest, modality)
                alone.fit(training.iloc[:, columns], self.y_train)
                said = alone.predict(features.iloc[:, columns])
            except Exception as error:  # whatever an estimator has against it
                self.result.notes["model alone"] = (
                    f"not applicable: the model cannot be fitted on {modality} alone "
                    f"({_first_sentence(error)})"
                )
                return
            self.result.arrays[f"model alone/{modality}"] = self.as_codes(said)


def narrowed(model, modality):
    """Clone a model; parts that are told streams are told those of one modality.

    Parameters
    ----------
    model : estimator
        What takes features.
    modality : str
        The modality.

    Returns
    -------
    narrowed : estimator
        Unfitted.
    """
    model = clone(model)
    told = {}
    for name, value in model.get_params(deep=True).items():
        if f"__{name}".endswith("__streams") and isinstance(value, (list, tuple)):
            told[name] = [s for s in value if modality_of(str(s)) == modality]
    return model.set_params(**told)


def _subsets(modalities):
    """Yield each modality and each pair, as long as one is left."""
    for i, first in enumerate(modalities):
        yield [first]
        if len(modalities) > 2:
            for second in modalities[i + 1 :]:
                yield [first, second]


def _first_sentence(error):
    return str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".:")


def _no_epochs(model):
    """Say why no epoch can be chosen."""
    last = last_step(model)
    names = last.get_params(deep=True) if hasattr(last, "get_params") else ()
    # A search has the parameters of networks, too, and ends in one of them
    if any(n.endswith("__keep_epochs") for n in names) and not hasattr(last, "refit"):
        return (
            "not applicable: the model is a vote of networks, for which one best epoch "
            "is not defined"
        )
    return (
        "not applicable: the model does not end in a network of skmer, so there are no "
        "epochs to choose from"
    )


def _no_features(model):
    return (
        f"not applicable: {type(model).__name__} is no pipeline in which clips become "
        "features with names such as audio__0. Use a pipeline with "
        "set_output(transform='pandas'), or pass features in place of clips"
    )
