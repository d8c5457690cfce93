"""One classifier per stream, combined."""

import warnings
from collections.abc import Mapping
from numbers import Integral

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_consistent_length, column_or_1d, get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from skmer.ensemble._blocks import as_table, has_values, take_block
from skmer.ensemble._members import fit_one
from skmer.ensemble._names import check_keys
from skmer.ensemble._stream_input import (
    check_named,
    read_streams,
    read_weights,
    warn_of_holes,
    warn_of_names,
)
from skmer.utils import split_labels
from skmer.utils._scoring import LabelledScore
from skmer.utils._sklearn import HasMethods, StrOptions, _fit_context

FUSED = "fused"


class StreamVotingClassifier(
    LabelledScore, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Fit one classifier per stream or modality, and combine what they say.

    On small data the product of one logistic regression per modality is hard to
    beat: each learns from few columns, and their errors have little in common.

    Parameters
    ----------
    estimator : classifier, pipeline or dict of str to classifier
        What to clone for each stream; or one for each stream, by name. It needs
        ``predict_proba`` and sees the columns of its stream only, with their names
        and the clip ids.
    streams : None, sequence of str or dict, default=None
        The streams. None reads them from the column names; a sequence selects some
        by name (``"video"`` takes ``video__face`` and ``video__frame`` together); a
        dict maps names to slices, column names or column numbers, such as
        ``{"video": ["video"]}`` for a column of clips. X whose names have no ``__``
        is one stream, ``"all"``, with a warning.
    by : {"modality", "stream"}, default="modality"
        Which columns make a stream where ``streams`` is None: those that share the
        first part of their names, or all parts but the last. The product takes
        streams for independent, which two of one modality seldom are.
    fused : None, classifier or pipeline, default=None
        One more member, called ``"fused"``, which sees the columns of all streams.
    combine : {"product", "mean"}, default="product"
        How the members' probabilities are combined. ``"product"`` multiplies them
        and divides by the sum, ``"mean"`` averages them.
    weights : None, dict of str to float, or array-like, default=None
        Weight of each member: its share in the mean, its exponent in the product.
        By name, or in the order of ``streams_``, then ``fused``. A member of weight
        zero is fitted, but has no say. None: 1 for all.
    divide_prior : bool, default=False
        For the product: divide each factor by the class's share of the training
        rows, and multiply by it once in the end. Every member's probabilities hold
        these shares; a plain product has them several times over and neglects rare
        classes. Not for members that were told to weigh classes alike
        (``class_weight="balanced"``).
    missing : {"any", "all"}, default="any"
        When a clip lacks a stream: where any of its columns is missing, as for
        fusion classifiers, or where all are. With ``"all"`` members have to cope
        with what else is missing. ``"any"`` warns of clips that lack a part of a
        stream: few holes, scattered over wide streams, silence the members for most
        clips, so fill them.
    n_jobs : int or None, default=None
        Members fitted at a time, in processes unless
        :class:`joblib.parallel_config` says otherwise. They are the same whatever
        it is.

    Attributes
    ----------
    estimators_ : dict of str to estimator
        The fitted members, by stream, then ``"fused"``. A stream whose training
        rows hold one class only has none.
    streams_ : dict of str to ndarray of int64
        Columns of each stream.
    weights_ : dict of str to float
        Weight of each member.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in the labelled training rows, with their weights.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    skmer.fusion.LateFusionClassifier : A network over codes of single streams.
    VariantVotingClassifier : Members that lack one stream each.

    Notes
    -----
    Members learn from the labelled rows that have their stream. For a clip without
    it they abstain; a clip that lacks all streams gets ``class_prior_``. ``fused``
    abstains by the same rule: with ``missing="any"`` it sees clips that have all
    streams, with ``"all"`` also those that lack some, as fusion classifiers and
    pipelines that begin with :class:`~skmer.preprocessing.ModalityImputer` can.

    A class that a member has not seen, for its rows lack it, gets the class's share
    of all training rows from that member, and the others what is left.

    In object columns of sequences, clips or words, a cell with None, NaN or an array
    without steps is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.ensemble import StreamVotingClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> X = pd.DataFrame(rng.normal(size=(60, 4)) + 2 * (y == "sad")[:, None])
    >>> X.columns = ["audio__0", "audio__1", "video__face__0", "video__frame__0"]
    >>> X.loc[0, ["audio__0", "audio__1"]] = np.nan  # a clip without sound
    >>> vote = StreamVotingClassifier(LogisticRegression()).fit(X, y)
    >>> list(vote.estimators_), bool(vote.score(X, y) > 0.8)
    (['audio', 'video'], True)
    >>> vote.stream_proba(X)["audio"].head(2).round(2)
       happy   sad
    0    NaN   NaN
    1   0.07  0.93
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), Mapping],
        "streams": [None, "array-like", Mapping],
        "by": [StrOptions({"modality", "stream"})],
        "fused": [None, HasMethods(["fit", "predict"])],
        "combine": [StrOptions({"product", "mean"})],
        "weights": [None, Mapping, "array-like"],
        "divide_prior": ["boolean"],
        "missing": [StrOptions({"any", "all"})],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        estimator,
        *,
        streams=None,
        by="modality",
        fused=None,
        combine="product",
        weights=None,
        divide_prior=False,
        missing="any",
        n_jobs=None,
    ):
        self.estimator = estimator
        self.streams = streams
        self.by = by
        self.fused = fused
        self.combine = combine
        self.weights = weights
        self.divide_prior = divide_prior
        self.missing = missing
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = self.estimator
        inner = list(inner.values()) if isinstance(inner, Mapping) else [inner]
        inner += [] if self.fused is None else [self.fused]
        tags.input_tags.sparse = all(get_tags(e).input_tags.sparse for e in inner)
        tags.input_tags.allow_nan = True
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the members.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, NaN where a clip lacks a stream; or object columns.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them
            are left out.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; the members have to take weights.

        Returns
        -------
        self : object

        Raises
        ------
        MissingStreamError
            If X lacks a stream that ``streams`` asks for.
        ValueError
            If no row has a label, a stream has no value in any labelled row, or
            ``estimator`` or ``weights`` do not match the streams.
        """
        X = self._table(X, reset=True)
        codes = self._codes(X, y)
        weight = np.ones(len(codes))
        if sample_weight is not None:
            sample_weight = weight = _check_sample_weight(
                sample_weight, codes, dtype=np.float64, ensure_non_negative=True
            )
        rows = np.flatnonzero((codes >= 0) & (weight > 0))
        if not len(rows):
            raise ValueError(
                f"{type(self).__name__} needs rows with a label and a weight above "
                f"zero; {int((codes >= 0).sum())} of {len(codes)} rows have a label."
            )
        counts = np.bincount(codes[rows], weight[rows], len(self.classes_))
        self.class_prior_ = counts / counts.sum()
        self.streams_ = self._resolved(X)
        blocks = self._blocks()
        members = self._clones(blocks)
        self.weights_ = read_weights(self.weights, list(blocks))
        tasks = {}
        for name, columns in blocks.items():
            own = rows[has_values(take_block(X, columns), self.missing)[rows]]
            if self._can_learn(name, codes[own], codes[rows]):
                tasks[name] = (
                    members[name],
                    # No copy of all rows
                    take_block(X, columns, own if len(own) < len(codes) else None),
                    self.classes_[codes[own]],
                    None if sample_weight is None else sample_weight[own],
                )
        if not tasks:
            raise ValueError(
                "No stream has labelled rows of two classes, so nothing can be learnt."
            )
        self._tell(X)
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_one)(*task) for task in tasks.values()
        )
        self.estimators_ = dict(zip(tasks, fitted, strict=True))
        return self

    def _table(self, X, reset):
        X = as_table(X)
        validate_data(self, X, skip_check_array=True, reset=reset)
        return X

    def _codes(self, X, y):
        """Return the position of each row's label, -1 for none; set ``classes_``."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        if getattr(y, "ndim", 1) == 2:
            y = column_or_1d(y, warn=True)
        _, self.classes_, codes = split_labels(y)
        check_consistent_length(X, codes)
        return codes

    def _resolved(self, X):
        names = getattr(self, "feature_names_in_", None)
        groups = read_streams(self.streams, self.by, names, X.shape[1])
        if FUSED in groups and self.fused is not None:
            raise ValueError(
                f"X has a stream called {FUSED!r}, which is also the name of the "
                "member that sees all streams. Rename the stream's columns."
            )
        return groups

    def _tell(self, X):
        """Warn where streams are not told apart, or are lost for single cells."""
        if self.streams is None and not isinstance(self.estimator, Mapping):
            names = getattr(self, "feature_names_in_", None)
            warn_of_names(self.streams_, names, stacklevel=4)
        if self.missing == "any":
            warn_of_holes(X, self.streams_, stacklevel=4)

    def _blocks(self):
        """Return the columns of each member."""
        blocks = dict(self.streams_)
        if self.fused is not None:
            blocks[FUSED] = np.sort(np.concatenate(list(self.streams_.values())))
        return blocks

    def _clones(self, blocks):
        given = self.estimator
        if isinstance(given, Mapping):
            names = getattr(self, "feature_names_in_", None)
            check_named(given, self.streams_, names)
            check_keys("estimator", given, self.streams_)
        else:
            given = dict.fromkeys(self.streams_, given)
        members = {name: given[name] for name in self.streams_}
        if self.fused is not None:
            members[FUSED] = self.fused
        for name, member in members.items():
            if not hasattr(member, "predict_proba"):
                raise ValueError(
                    f"The classifier of {name!r}, {type(member).__name__}, has no "
                    "predict_proba, and it is probabilities that are combined. Wrap "
                    "it in sklearn.calibration.CalibratedClassifierCV."
                )
        return {name: clone(members[name]) for name in blocks}

    def _can_learn(self, name, codes, all_codes):
        """Whether a member's rows can be learnt from; raise if there are none."""
        if len(codes) == 0 and name == FUSED and self.fused is not None:
            raise ValueError(
                f"None of the {len(all_codes)} labelled rows has all streams, and with "
                "missing='any' fused takes no others. Use missing='all' and a "
                "classifier that copes with missing values."
            )
        if len(codes) == 0:
            raise ValueError(
                f"Stream {name!r} has no value in any of the {len(all_codes)} labelled "
                "rows. Leave it out by streams=, or check the step that makes it."
            )
        only = np.unique(codes)
        # Where all rows are of one class, what that means is for members to say.
        if len(only) == 1 and np.any(all_codes != only[0]):
            label = self.classes_.tolist()[only[0]]
            warnings.warn(
                f"The {len(codes)} labelled rows that have stream {name!r} are all "
                f"{label!r}: nothing can be learnt from them, and it has no say.",
                UserWarning,
                stacklevel=4,
            )
            return False
        return True

    def _said(self, X):
        """Return what each member says: its name, which rows, their probabilities."""
        said = []
        for name, columns in self._blocks().items():
            if name not in self.estimators_:
                continue
            block = take_block(X, columns)
            present = has_values(block, self.missing)
            rows = np.flatnonzero(present)
            if not len(rows):
                continue
            if not present.all():
                block = take_block(X, columns, rows)
            said.append((name, rows, self._filled(self.estimators_[name], block)))
        return said

    def _filled(self, member, block):
        """Return a member's probabilities of all classes, also those not seen."""
        proba = np.asarray(member.predict_proba(block), dtype=np.float64)
        where = np.searchsorted(self.classes_, member.classes_)
        if len(where) == len(self.classes_):
            return proba
        whole = np.tile(self.class_prior_, (len(proba), 1))
        whole[:, where] = proba * self.class_prior_[where].sum()
        return whole

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, as for :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n_clips, n_classes), dtype float64
            Rows sum to one; ``class_prior_`` where a clip lacks every stream.
        """
        check_is_fitted(self)
        X = self._table(X, reset=False)
        return self._combined(self._said(X), X.shape[0])

    def _combined(self, said, n_rows):
        product = self.combine == "product"
        total = np.zeros((n_rows, len(self.classes_)))
        weights = np.zeros(n_rows)
        prior = _log(self.class_prior_)
        for name, rows, proba in said:
            if product:
                proba = _log(proba) - (prior if self.divide_prior else 0.0)
            total[rows] += self.weights_[name] * proba
            weights[rows] += self.weights_[name]
        known = weights > 0
        if product:
            total = softmax(total + (prior if self.divide_prior else 0.0), axis=1)
        else:
            total[known] /= weights[known, np.newaxis]
        total[~known] = self.class_prior_
        return total

    def predict(self, X):
        """Return the most probable label of each clip.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, as for :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_clips,)
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def stream_proba(self, X):
        """Return what each member says alone.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, as for :meth:`fit`.

        Returns
        -------
        proba : dict of str to DataFrame or ndarray of shape (n_clips, n_classes)
            Probabilities by stream, then ``"fused"``; NaN where a member abstains.
            A DataFrame with X's index and the classes as columns if X is a
            DataFrame.
        """
        check_is_fitted(self)
        index = X.index if isinstance(X, pd.DataFrame) else None
        X = self._table(X, reset=False)
        found = {}
        said = {name: (rows, proba) for name, rows, proba in self._said(X)}
        for name in self.estimators_:
            whole = np.full((X.shape[0], len(self.classes_)), np.nan)
            if name in said:
                rows, proba = said[name]
                whole[rows] = proba
            if index is not None:
                whole = pd.DataFrame(whole, index=index, columns=self.classes_)
            found[name] = whole
        return found

    def agreement(self, X):
        """Return how many of the members agree with the prediction.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, as for :meth:`fit`.

        Returns
        -------
        agreement : Series or ndarray of shape (n_clips,)
            Weight of the members whose own label is the predicted one, as a share
            of the weight of those that have a say; NaN where none has. A Series
            with X's index if X is a DataFrame.
        """
        check_is_fitted(self)
        index = X.index if isinstance(X, pd.DataFrame) else None
        X = self._table(X, reset=False)
        said = self._said(X)
        label = self._combined(said, X.shape[0]).argmax(axis=1)
        agree, whole = np.zeros(len(label)), np.zeros(len(label))
        for name, rows, proba in said:
            weight = self.weights_[name]
            agree[rows] += weight * (proba.argmax(axis=1) == label[rows])
            whole[rows] += weight
        share = np.full(len(label), np.nan)
        np.divide(agree, whole, out=share, where=whole > 0)
        return share if index is None else pd.Series(share, index, name="agreement")


def _log(proba):
    return np.log(np.maximum(proba, np.finfo(np.float64).tiny))
