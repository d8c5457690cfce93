"""The sampler that corrects labels."""

import os
import warnings
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
from imblearn.base import BaseSampler, SamplerMixin
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.utils import check_consistent_length

from skmer.label_refinement._decisions import refuse_dict, resolve_decisions
from skmer.label_refinement._report import Reports
from skmer.label_refinement._sources import (
    classifier_sources,
    given_labels,
    judging_folds,
    out_of_fold,
    warn_of_lone_classes,
)
from skmer.label_refinement._targets import Targets, check_inputs
from skmer.label_refinement._votes import (
    disagreed,
    judge,
    leave_some,
    majority,
    prefer,
    without_annotation,
)
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._features import refuse_clips
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _get_feature_names,
    _num_samples,
    _safe_indexing,
)


class LabelRefiner(Reports, SamplerMixin, OneToOneFeatureMixin, BaseEstimator):
    """Correct labels that weak classifiers and other sources outvote.

    A sampler for the Pipeline of imbalanced-learn: it acts on the rows that a
    pipeline is fitted on and never on those that it predicts, so that scores are
    scores on the original labels. Every weak classifier judges only rows that it
    has not learnt from.

    Parameters
    ----------
    estimators : None, classifier or dict of str to classifier, default=None
        The weak classifiers. None: a strongly regularised logistic regression for
        each stream, with means for missing values. One classifier: a clone of it
        for each stream. A dict: each sees all of X, raw clips for example, and its
        key names the source. Classifiers with ``predict_proba`` say more than
        those without. A clip whose whole stream is missing gets no vote from it.
    streams : None, sequence of str or dict, default=None
        The streams, as for fusion classifiers. None reads them from the column
        names; an X without names is one stream.
    by : {"stream", "modality"}, default="stream"
        Whether streams read from names are one source each, or all of a modality
        together.
    confidence : classifier or None, default=None
        One more classifier of all of X, the source ``"confidence"``: for example a
        pipeline of :class:`skmer.preprocessing.ModalityImputer`, a chi-square
        selector of features and a logistic regression, whose probability of each
        class is evidence where a chi-square statistic, which is one of features,
        could be none.
    extra_labels : dict of str to Series indexed by clip id, or None, default=None
        Labels from elsewhere, such as a language model's; a source abstains from
        clips that it does not hold and where its label is no class of y. One that
        holds no clip of X is warned of.
    rule : {"posterior", "majority"}, default="posterior"
        How votes decide. "posterior" fits a model of how far each source is to be
        trusted and which classes annotators confuse, and corrects a label where
        another class is probable enough (see Notes). "majority" counts: the
        annotation has one vote, each source one, and ties keep the annotation.
    threshold : float, default=0.5
        For "posterior": probability that another class must exceed.
    min_votes : int, default=2
        For "majority": how many sources at least must agree on another class.
    rounds : int, default=1
        How often classifiers are fitted. From the second round on they learn only
        from labels that the model thought right in the round before. That finds more
        where classifiers are as regularised as the default ones, but an annotation
        then has a say, through what is learnt from, in how it is judged: classifiers
        that remember single rows echo some of it (1-nearest-neighbour on labels drawn
        by lot: 69 % of them in place of 50 %).
    cv : int, default=5
        Number of folds, stratified by class; fewer where there are fewer clips or
        groups, or no class has as many clips. Votes leave every class at least as
        many of the clips annotated so, or all where it has fewer.
    groups : Series indexed by clip id, or None, default=None
        Group, such as the speaker, of each labelled clip; a group is never in both
        parts of a fold. None keeps only copies of a clip together. Labels of the same
        speaker help to find wrong ones, so leave it at None unless labels of a
        group are wrong together, as when one annotator did each.
    flagged : {"keep", "drop"}, default="keep"
        Whether flagged clips, those for which sources vote and none for the
        annotation, stay with the label they then have, or are left out.
    decisions : Series indexed by clip id, str, PathLike or None, default=None
        What people decided about clips, or the CSV file that holds it (see
        :func:`read_decisions`): a class, ``"keep"`` or ``"drop"``. It overrides all
        votes, the classifiers learn from it, and clips with a decision are not
        flagged. Clips that are not in X are ignored, with a warning if none is.
    random_state : int, RandomState or None, default=None
        Seeds the folds and the classifiers.
    n_jobs : int or None, default=None
        Classifiers fitted at a time, as for joblib.
    verbose : int, default=0
        Progress, as for joblib.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes of y.
    votes_ : DataFrame of shape (n_rows, n_sources)
        What each source votes for, missing where it abstains. The index of this and
        of the others holds clip ids, or numbers of rows where X has none; copies
        of a clip have a row each.
    probabilities_ : DataFrame of shape (n_rows, n_classes)
        Probability of each class, the annotation taken into account ("posterior");
        shares of the votes ("majority"). NaN where no source votes.
    quality_ : Series of length n_rows
        How credible the annotation is, between 0 and 1: the mean of its
        probability in ``probabilities_`` and of what sources give it that do not
        know it. NaN where no source votes. What to check first has the least.
    flagged_ : Series of length n_rows, dtype bool
        No source agrees with the annotation, at least one votes, nobody decided.
    changed_ : Series of length n_rows, dtype bool
        The label is another than before.
    annotations_, labels_ : Series of length n_rows
        The label of each row before and afterwards, None in unlabelled rows.
    decided_ : Series of length n_rows, dtype bool
        A person decided about the clip.
    out_of_fold_ : dict of str to ndarray of shape (n_rows, n_classes)
        What each classifier with ``predict_proba`` says of the rows that it has not
        learnt from; NaN where it abstains.
    trust_ : Series of length n_sources
        Weight of each source in the fitted model; NaN for one that never votes.
    noise_ : DataFrame of shape (n_classes, n_classes)
        Probability of each annotation (columns) given the true class (rows), as
        fitted.
    sample_indices_ : ndarray of int64
        The rows that are left.
    sampling_strategy_ : dict
        Empty, as no class is sampled; imbalanced-learn expects it of samplers.
    n_features_in_ : int
        Number of columns of X, where X has two dimensions.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of X, where it has any.

    See Also
    --------
    RefinedClassifier : Gives flagged clips less weight.

    Notes
    -----
    Under ``rule="posterior"`` the true class of a clip follows a logarithmic pool of
    the sources' probabilities, with one weight a source and one bias a class, and
    annotators confuse classes with fixed probabilities [2]_. Both are fitted by
    expectation and maximisation, all of it on the training rows. A source without
    probabilities counts as how other clips with the same vote are annotated. The
    papers count votes [1]_. On RAVDESS with a fifth of the labels wrong the model
    found wrong labels with an F1 of 75 % (any class instead) and 72 % (the class most
    like it), counting with 50 % and 46 %; flagged clips were right half of the time,
    and leaving them out cost more than it gained (``benchmarks/label_noise.py``).

    Labels may change to a class that no source ranks first: where sources differ, or
    where annotators who write the one class often mean the other. :meth:`report` says
    so (``decided_by`` is ``"model"``). On RAVDESS with a fifth of the labels wrong, 1
    to 2 % of all clips changed so, and 36 % (any class) and 68 % (the most similar
    class) of these changes were right.

    The fit starts from annotators who are right 9 times of 10, which counts as much as
    20 clips of each class: disagreement of sources that know little, as few clips
    make them, is no evidence of wrong labels. It still costs a little where labels
    are good and clips are few, so leave LabelRefiner out there. Trained on RAVDESS
    clips without wrong labels, weighted F1 (the product of one logistic regression a
    modality) went from 62.8 to 60.8 (192 clips), 70.6 to 69.8 (576) and 72.8 to 73.6
    (1,152); with a fifth wrong, from 54.0 to 55.9, 64.0 to 66.5 and 68.5 to 71.5.

    A class of a single clip cannot be judged: no classifier that has not learnt from
    it knows the class. It stays, with a warning.

    References
    ----------
    .. [1] Vote of weak classifiers of single modalities and a language model: the
       MMEF-Net and ECMF systems of MER2025.
    .. [2] A. P. Dawid and A. M. Skene. Maximum likelihood estimation of observer
       error-rates using the EM algorithm. Applied Statistics 28(1), 1979.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.label_refinement import LabelRefiner
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["happy", "sad"], 30)
    >>> X = pd.DataFrame(
    ...     rng.normal(size=(60, 4)) + 3 * (y == "sad")[:, None],
    ...     columns=["audio__0", "audio__1", "text__0", "text__1"],
    ...     index=[f"clip{i}" for i in range(60)],
    ... )
    >>> y[7] = "sad"
    >>> refiner = LabelRefiner(random_state=0)
    >>> X_refined, y_refined = refiner.fit_resample(X, y)
    >>> y_refined[7]
    np.str_('happy')
    >>> refiner.report()[["clip", "from", "to", "sources"]]
        clip from     to      sources
    0  clip7  sad  happy  audio, text
    """

    _parameter_constraints: dict = {
        "estimators": [None, HasMethods(["fit", "predict"]), Mapping],
        "streams": [None, "array-like", str, Mapping],
        "by": [StrOptions({"stream", "modality"})],
        "confidence": [None, HasMethods(["fit", "predict"])],
        "extra_labels": [None, Mapping],
        "rule": [StrOptions({"posterior", "majority"})],
        "threshold": [Interval(Real, 0, 1, closed="left")],
        "min_votes": [Interval(Integral, 1, None, closed="left")],
        "rounds": [Interval(Integral, 1, None, closed="left")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "groups": [None, pd.Series],
        "flagged": [StrOptions({"keep", "drop"})],
        # A Mapping is refused with a hint
        "decisions": [None, pd.Series, str, os.PathLike, Mapping],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimators=None,
        *,
        streams=None,
        by="stream",
        confidence=None,
        extra_labels=None,
        rule="posterior",
        threshold=0.5,
        min_votes=2,
        rounds=1,
        cv=5,
        groups=None,
        flagged="keep",
        decisions=None,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        self.estimators = estimators
        self.streams = streams
        self.by = by
        self.confidence = confidence
        self.extra_labels = extra_labels
        self.rule = rule
        self.threshold = threshold
        self.min_votes = min_votes
        self.rounds = rounds
        self.cv = cv
        self.groups = groups
        self.flagged = flagged
        self.decisions = decisions
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X, y, **params):
        """Find wrong labels, as :meth:`fit_resample` does.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            Features, or whatever the classifiers take.
        y : array-like of shape (n_rows,)
            Annotations; unlabelled rows are not looked at.
        **params : dict
            None are taken.

        Returns
        -------
        self : LabelRefiner
        """
        self.fit_resample(X, y, **params)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_resample(self, X, y, **params):
        """Correct labels.

        Parameters
        ----------
        X : DataFrame, array-like or list of length n_rows
            Features, or whatever the classifiers take.
        y : array-like of shape (n_rows,)
            Annotations; unlabelled rows stay unlabelled, unless ``decisions`` have a
            label for them.
        **params : dict
            None are taken.

        Returns
        -------
        X_refined : like X
            All rows, or those that are not dropped, in their order.
        y_refined : like y
            Their labels.

        Raises
        ------
        ValueError
            If no row has a label, all have the same, there is nothing to vote, no
            two folds can be made, decisions contradict each other or name no class,
            or no row is left.
        """
        if params:
            raise TypeError(f"LabelRefiner takes no {', '.join(params)} in fit.")
        X = check_inputs(X, y, "LabelRefiner")
        targets = Targets(y)
        check_consistent_length(X, targets.codes)
        self._check_classes(targets)
        ids = clip_ids(X)
        codes, decided, drop = self._decided(targets, ids)
        votes, proba, names = self._ask(X, ids, codes)
        self._numbered = ids is None
        index = pd.RangeIndex(len(codes)) if ids is None else ids
        final = self._settle(targets, codes, votes, proba, names, decided, index)
        if self.flagged == "drop":
            drop = drop | self.flagged_.to_numpy()
        kept = np.flatnonzero(~drop)
        self._check_left(targets, final, kept)
        self.sample_indices_ = kept
        self.sampling_strategy_ = {}
        self._keep_names(X)
        new = np.where(final != targets.codes, final, -1)
        return _safe_indexing(X, kept), targets.changed(new, kept)

    def _fit_resample(self, X, y, **params):
        return self.fit_resample(X, y, **params)

    def _check_classes(self, targets):
        self.classes_ = targets.classes
        n_labelled = int(targets.labelled.sum())
        if not n_labelled:
            raise ValueError(
                f"LabelRefiner needs labels of at least two classes. None of the "
                f"{len(targets.labelled)} rows of y has a label."
            )
        if len(targets.classes) < 2:
            raise ValueError(
                "LabelRefiner needs at least two classes. y holds one class, "
                f"{targets.classes.tolist()[0]!r}, in {n_labelled} rows."
            )

    def _decided(self, targets, ids):
        """Return codes as people corrected them, who decided and what they dropped.

        A dropped row has the code of unlabelled ones: nothing is learnt from it.
        """
        codes = targets.codes.copy()
        nobody = np.zeros(len(codes), dtype=bool)
        if self.decisions is None:
            return codes, nobody, nobody
        refuse_dict(self.decisions)
        said, keep, drop = resolve_decisions(self.decisions, ids, self.classes_)
        codes[said >= 0] = said[said >= 0]
        codes[drop] = -1
        return codes, (said >= 0) | keep | drop, drop

    def _ask(self, X, ids, codes):
        """Return votes and probabilities of all sources, and their names."""
        n_rows, n_classes = len(codes), len(self.classes_)
        if self.estimators is None:
            try:
                refuse_clips(self, X)
            except ValueError as error:
                error.add_note(
                    "Or pass estimators={name: pipeline}, which see X as it is."
                )
                raise
        sources = classifier_sources(
            X, n_rows, self.estimators, self.confidence, self.streams, self.by
        )
        extra = dict(self.extra_labels or {})
        names = [source.name for source in sources] + [str(name) for name in extra]
        if not names:
            raise ValueError("LabelRefiner has neither estimators nor extra_labels.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Two sources have the same name, {twice[0]!r}.")
        votes = np.full((len(names), n_rows), -1, dtype=np.int64)
        proba = np.full((len(names), n_rows, n_classes), np.nan)
        if extra:
            votes[len(sources) :] = given_labels(extra, ids, self.classes_)
        if not sources:
            return votes, proba, names
        usable = np.flatnonzero(codes >= 0)
        if len(np.unique(codes[usable])) < 2:
            raise ValueError(
                "LabelRefiner needs labels of at least two classes. Decisions leave "
                f"{len(np.unique(codes[usable]))}."
            )
        units = unit_codes(
            None if ids is None else ids[usable], self.groups, len(usable)
        )
        n_fits = len(sources) * self.cv
        seeds = draw_seeds(self.random_state, 1 + self.rounds * n_fits)
        parts = judging_folds(codes[usable], units, self.cv, seeds[0])
        folds = [(usable[train], usable[test]) for train, test in parts]
        warn_of_lone_classes(self.classes_, codes, folds)
        trusted = np.ones(n_rows, dtype=bool)
        for number in range(self.rounds):
            if number:
                credible, _, _ = judge(votes, proba, codes)
                trusted = ~(credible[np.arange(n_rows), codes] < 0.5)
            votes[: len(sources)], proba[: len(sources)] = out_of_fold(
                sources,
                self.classes_,
                codes,
                trusted,
                folds,
                seeds[1 + number * n_fits :],
                self.n_jobs,
                self.verbose,
            )
        return votes, proba, names

    def _settle(self, targets, codes, votes, proba, names, decided, index):
        """Return the codes of the labels afterwards; set what is known of each row."""
        rows = np.flatnonzero((codes >= 0) & (votes >= 0).any(axis=0))
        given = codes[rows]
        chances, trust, noise = judge(votes, proba, codes)
        believed = chances[rows, given]
        alone = without_annotation(votes, proba, codes)[rows, given]
        if self.rule == "majority":
            winners, shares = majority(
                votes.T[rows], given, len(self.classes_), self.min_votes
            )
            chances[rows] = shares
        else:
            best = chances[rows].argmax(axis=1)
            sure = chances[rows, best] > self.threshold
            winners = np.where(sure, best, given)
        winners = leave_some(
            given, np.where(decided[rows], given, winners), believed, self.cv
        )
        final = targets.codes.copy()
        final[rows] = winners
        final[decided & (codes >= 0)] = codes[decided & (codes >= 0)]
        flagged = np.zeros(len(codes), dtype=bool)
        flagged[rows] = disagreed(votes.T[rows], given)
        self._prefer = prefer(votes, proba, codes, final)
        quality = np.full(len(codes), np.nan)
        quality[rows] = (believed + alone) / 2

        def labels(numbers):
            values = np.full(len(numbers), None, dtype=object)
            known = numbers >= 0
            values[known] = np.array(self.classes_.tolist(), dtype=object)[
                numbers[known]
            ]
            return values

        columns = {name: labels(row) for name, row in zip(names, votes, strict=True)}
        self.votes_ = pd.DataFrame(columns, index=index, dtype=object)
        self.probabilities_ = pd.DataFrame(chances, index=index, columns=self.classes_)
        self.quality_ = pd.Series(quality, index=index, name="quality")
        self.decided_ = pd.Series(decided, index=index, name="decided")
        self.flagged_ = pd.Series(flagged & ~decided, index=index, name="flagged")
        changed = final != targets.codes
        self.changed_ = pd.Series(changed, index=index, name="changed")
        self.annotations_ = pd.Series(
            labels(targets.codes), index=index, name="annotation", dtype=object
        )
        self.labels_ = pd.Series(labels(final), index=index, name="label", dtype=object)
        self.out_of_fold_ = {
            name: told
            for name, told in zip(names, proba, strict=True)
            if not np.isnan(told).all()
        }
        silent = ~(votes[:, codes >= 0] >= 0).any(axis=1)
        self.trust_ = pd.Series(
            np.where(silent, np.nan, trust), index=names, name="trust"
        )
        self.noise_ = pd.DataFrame(noise, index=self.classes_, columns=self.classes_)
        return final

    def _check_left(self, targets, final, kept):
        if not len(kept) or not (final[kept] >= 0).any():
            raise ValueError(
                f"No row with a label is left of {int(targets.labelled.sum())}: "
                f"{int(self.flagged_.sum())} are flagged (no source agrees with the "
                f"annotation) and flagged={self.flagged!r}. Use flagged='keep', or "
                "sources that know more."
            )
        lost = [
            repr(label)
            for code, label in enumerate(self.classes_.tolist())
            if code not in final[kept]
        ]
        if lost:
            warnings.warn(
                f"No row has the label {', '.join(lost)} any more: all were changed or "
                "dropped. What is fitted on the rest does not know it.",
                stacklevel=4,
            )

    def _keep_names(self, X):
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)
        shape = np.shape(X) if hasattr(X, "shape") or _num_samples(X) else ()
        if len(shape) == 2:
            self.n_features_in_ = shape[1]
            names = _get_feature_names(X)
            if names is not None:
                self.feature_names_in_ = names

    def __sklearn_tags__(self):
        tags = BaseSampler.__sklearn_tags__(self)
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        tags.sampler_tags.sample_indices = True
        return tags
