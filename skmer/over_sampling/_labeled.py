"""Any sampler on the labelled rows."""

from collections import defaultdict, deque

import numpy as np
import scipy.sparse
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import MetaEstimatorMixin
from sklearn.utils import get_tags

from skmer.over_sampling._base import BaseLabelSampler, stacked
from skmer.utils import split_labels
from skmer.utils._seeds import freshly_seeded
from skmer.utils._sklearn import HasMethods, _num_samples, _safe_indexing


class LabeledSampler(MetaEstimatorMixin, BaseLabelSampler):
    """Run a sampler on the labelled rows, and keep the unlabelled ones.

    imbalanced-learn's samplers refuse None in y, take -1 for one more class (and
    would make copies of unlabelled rows), lose the index, and refuse lists of paths.
    In an imbalanced-learn Pipeline samplers act in ``fit`` only, on training rows.

    Parameters
    ----------
    sampler : sampler
        What to run, such as ``RandomOverSampler(sampling_strategy=at_least(0.7))``.
        Random over- and under-sampling take clips (lists, arrays and Series of paths,
        frames of strings) and sequences too; samplers that make up rows, such as
        ``SMOTE``, take numbers only. A ``random_state`` that is None gets a fresh
        seed; numpy's global generator is not touched.

    Attributes
    ----------
    sampler_ : sampler
        The fitted clone.
    sample_indices_ : ndarray of shape (n_rows_out,), dtype int64
        Row of X that each row comes from; -1 where it is made up.
    sampling_strategy_ : dict of class to int
        What the sampler made of its ``sampling_strategy``, where it has that.
    n_features_in_ : int
        Number of columns of X, where it has columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    at_least : A strategy that leaves large classes alone.
    NoiseEmbeddingSampler : Copies with noise, which keep their clip's id.
    DropUnlabeled : Drops the rows that are kept here.

    Notes
    -----
    The rows of the sampler come first, in its order, then the unlabelled rows in
    theirs. A copy has the id of its clip, so that what is known by clip id (groups,
    folds) is known of it. A row that is made up has no clip: its id is
    ``synthetic_0``, ``synthetic_1``, ..., or, where ids are integers, the next ones
    after the largest. Steps that look clips up, such as group-wise scaling, refuse
    these; go before such a step with samplers that copy rows only.

    Which rows were made up is known from the sampler's ``sample_indices_``, else a
    row is taken to come from the first labelled row that equals it.

    Examples
    --------
    >>> import pandas as pd
    >>> from imblearn.over_sampling import RandomOverSampler
    >>> from skmer.over_sampling import LabeledSampler
    >>> clips = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    >>> y = ["happy", None, "sad", "happy"]
    >>> sampler = LabeledSampler(RandomOverSampler(random_state=0))
    >>> sampler.fit_resample(clips, y)
    (['a.mp4', 'c.mp4', 'd.mp4', 'c.mp4', 'b.mp4'],
     ['happy', 'sad', 'happy', 'sad', None])
    """

    _parameter_constraints: dict = {"sampler": [HasMethods(["fit_resample"])]}

    def __init__(self, sampler):
        self.sampler = sampler

    def _fit_resample(self, X, labelled, classes, codes):
        self.sampler_ = freshly_seeded(self.sampler)
        known, others = np.flatnonzero(labelled), np.flatnonzero(~labelled)
        labels = classes[codes[known]]
        if _counts_only(self.sampler_):
            # Row numbers in place of rows: any X will do, and none is copied twice
            _, sampled_y = self.sampler_.fit_resample(known[:, None], labels)
            rows = known[self.sampler_.sample_indices_]
            sampled = _safe_indexing(X, np.concatenate([rows, others]))
        else:
            before = _safe_indexing(X, known)
            sampled, sampled_y = self._run(before, labels)
            rows = self._sources(before, sampled)
            rows = np.where(rows == -1, -1, known[rows])
            if len(others):
                sampled = stacked(sampled, _safe_indexing(X, others))
        if hasattr(self.sampler_, "sampling_strategy_"):
            self.sampling_strategy_ = self.sampler_.sampling_strategy_
        unlabelled = np.full(len(others), -1)
        return (
            sampled,
            np.concatenate([rows, others]),
            np.concatenate([self._coded(sampled_y, classes), unlabelled]),
        )

    def _run(self, X, labels):
        try:
            return self.sampler_.fit_resample(X, labels)
        except (TypeError, ValueError) as error:
            if hasattr(self, "n_features_in_"):
                raise
            raise ValueError(
                f"{type(self.sampler_).__name__} cannot take a list of clips. Put it "
                "after the encoders, or use RandomOverSampler or RandomUnderSampler, "
                "which take clips."
            ) from error

    def _sources(self, before, sampled):
        """Return which labelled row each sampled one comes from, -1 for none."""
        rows = getattr(self.sampler_, "sample_indices_", None)
        if rows is not None and len(rows) == _num_samples(sampled):
            return np.asarray(rows, dtype=np.int64)
        waiting = defaultdict(deque)
        for row, content in enumerate(_contents(before)):
            waiting[content].append(row)
        found = np.full(_num_samples(sampled), -1)
        for row, content in enumerate(_contents(sampled)):
            if content in waiting:
                equal = waiting[content]
                found[row] = equal.popleft() if len(equal) > 1 else equal[0]
        return found

    def _coded(self, sampled_y, classes):
        labelled, found, codes = split_labels(sampled_y)
        unknown = set(found.tolist()) - set(classes.tolist())
        if unknown or not labelled.all():
            raise ValueError(
                f"{type(self.sampler_).__name__} gave rows labels that y does not "
                f"have: {sorted(map(repr, unknown)) or 'none at all'}."
            )
        return np.searchsorted(classes, found)[codes]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.sampler)
        for name in ("sparse", "string", "allow_nan", "categorical", "positive_only"):
            setattr(tags.input_tags, name, getattr(inner.input_tags, name))
        return tags


def _counts_only(sampler):
    """Return if a sampler chooses rows by their labels alone."""
    return isinstance(sampler, RandomUnderSampler) or (
        isinstance(sampler, RandomOverSampler) and sampler.shrinkage is None
    )


def _contents(X):
    """Yield what tells rows apart, something that hashes."""
    if scipy.sparse.issparse(X):
        X = X.tocsr()
        X.sort_indices()
        for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            yield X.indices[start:stop].tobytes(), X.data[start:stop].tobytes()
        return
    for row in np.asarray(X):
        yield tuple(row.tolist()) if row.dtype == object else row.tobytes()
