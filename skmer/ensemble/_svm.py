"""Many support vector machines that vote, for little more than the price of a few."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skmer.ensemble._svm_calibration import fit_calibrator
from skmer.ensemble._svm_fit import Training, fit_draws
from skmer.ensemble._svm_kernels import blocks
from skmer.ensemble._svm_members import DECIDING, Pool, score_members, squash
from skmer.ensemble._svm_rows import (
    calibration_folds,
    check_kernels,
    check_labels,
    draw,
    is_all,
    size_of,
    training_rows,
    weight_by_code,
)
from skmer.utils._available import available_if
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._scoring import LabelledScore
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import Interval, StrOptions, _fit_context

_SHARE = [
    Interval(Real, 0, 1, closed="right"),
    Interval(Integral, 1, None, closed="left"),
]


def _has_proba(self):
    if self.voting == "hard":
        raise AttributeError(
            "with voting='hard', votes of SVMEnsembleClassifier are labels. Use "
            "voting='soft' or 'logit'."
        )
    return True


class SVMEnsembleClassifier(LabelledScore, ClassifierMixin, BaseEstimator):
    """Support vector machines of several kernels on random subspaces, which vote.

    The ensemble at the end of MMEF-Net [1]_. A support vector machine has no
    randomness of its own, so each seed draws columns of X (and rows, where asked) as
    in the random subspace method [2]_; every kernel learns on each of the draws.
    All kernels of a draw are functions of one matrix of products, which is computed
    once by matrix multiplication. Decisions are those of the same machines fitted one
    by one as :class:`sklearn.svm.SVC`, up to rounding.

    **Scale X before it**, with :class:`sklearn.preprocessing.StandardScaler` or one of
    :mod:`skmer.preprocessing`. Distances and products of rows are those of the columns
    with the largest numbers; with others beside them, kernels see nothing else, and no
    warning says so. eGeMAPS functionals and action units of RAVDESS, eight emotions,
    as they are: accuracy 0.31 on training rows and 0.21 on others; scaled, 0.93 and
    0.49.

    Rows without a label are ignored.

    Parameters
    ----------
    kernels : sequence of {"linear", "rbf", "poly", "sigmoid"}, \
            default=("linear", "rbf", "poly")
        Kernels, each at most once.
    n_seeds : int, default=5
        Draws of columns and rows; there are ``len(kernels) * n_seeds`` members.
    max_features : float or int, default=0.7
        Columns of a draw: a share if float, a number if int.
    bootstrap : bool, default=False
        Draw rows with replacement; a row drawn twice weighs twice.
    max_samples : float or int, default=1.0
        Rows of a draw: a share if float, a number if int. They are drawn class by
        class, at least one of each, so that every member knows every class.
    voting : {"hard", "soft", "logit"}, default="hard"
        "hard" counts votes and breaks ties by the sum of the decision scores. "soft"
        takes the mean of the members' probabilities, "logit" the mean of their
        logarithms; both calibrate each member on scores of training rows by machines
        that have not seen them, which costs ``n_folds`` further, smaller fits a member.
    C : float, default=1.0
        Penalty, as for :class:`sklearn.svm.SVC`.
    gamma : {"scale", "auto"} or float, default="scale"
        Scale of the kernels, found on the rows and columns of the draw.
    degree : int, default=3
        Degree of the "poly" kernel.
    coef0 : float, default=0.0
        Constant in the "poly" and "sigmoid" kernels.
    scale_linear : bool, default=True
        Give the linear kernel the penalty ``C * gamma``, which multiplies its products
        by gamma as the other kernels multiply theirs. With False it is ``C`` itself,
        which on hundreds of scaled columns hardly regularises and can take a hundred
        times as long where classes overlap.
    class_weight : dict, "balanced" or None, default=None
        Factor on C per label.
    calibration : {"temperature", "sigmoid"}, default="temperature"
        How scores become probabilities, as for
        :class:`sklearn.calibration.CalibratedClassifierCV`: one number a member, or
        two numbers per class.
    n_folds : int, default=5
        Stratified folds of the calibration. Copies of a clip, as over-sampling makes
        them, are told by the index of X and stay together.
    groups : Series indexed by clip id, or None, default=None
        Group of each clip, such as the speaker, that stays together in these folds.
    max_gram_rows : int, default=10000
        With more rows than this in a draw the matrix of products, of
        ``8 * n_rows ** 2`` bytes, is not made: see ``approximation``. Up to two such
        matrices per worker are held while fitting: 1.6 GB at 10,000 rows.
    approximation : {"auto", "nystroem"} or None, default="auto"
        "nystroem" fits linear machines on Nystroem features [3]_, which takes time and
        memory in proportion to the rows (see Notes). "auto" does so in draws of more
        than ``max_gram_rows`` rows. None never does: above ``max_gram_rows`` each
        machine then computes its own kernel, and time grows about with the square of
        the rows.
    n_components : int, default=2000
        Rows of a draw that are landmarks of the approximation; the more, the nearer
        the exact machines. Up to two matrices of ``8 * n_rows * n_components`` bytes
        per worker are held while fitting: 3.7 GB at 115,595 rows.
    tol : float, default=1e-3
        Where the solver stops.
    cache_size : float, default=200
        Memory of a solver for kernel values, in MB; for exact machines.
    max_iter : int, default=1000000
        Steps after which the solver gives up, with a ConvergenceWarning; -1 never.
        Features that are not standardised can keep that of exact machines busy for
        ever.
    n_jobs : int or None, default=None
        Threads that fit and predict; None means 1 unless a
        :obj:`joblib.parallel_config` says otherwise.
    verbose : bool, default=False
        Show a progress bar.
    random_state : int, RandomState or None, default=None
        Where the seeds come from.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    members_ : list of SVMMember or NystroemMember
        Fitted machines, seed by seed and in the order of ``kernels``, with the
        attributes ``kernel``, ``gamma``, ``C``, ``seed``, ``features_``, ``support_``,
        ``n_support_``, ``dual_coef_``, ``intercept_``, ``n_iter_`` and, if linear,
        ``coef_``, and the methods ``decision_function`` and ``predict``. Of a
        NystroemMember the support vectors are its landmarks, and ``dual_coef_`` has a
        row per pair of classes.
    support_ : ndarray of shape (n_kept,), dtype int64
        Rows of the training X that are a support vector, or landmark, of a member
        whose kernel is not linear.
    support_vectors_ : ndarray of shape (n_kept, n_features), dtype float64
        These rows; nothing else of X is kept.
    calibrators_ : list of CalibratedClassifierCV, or None
        One per member, which take its scores; None with ``voting="hard"``.
    n_iter_ : int
        The most steps that the solver took for a pair of classes.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of X, where it has any.

    See Also
    --------
    SeedVotingClassifier : Members of any one classifier that differ in their seeds.
    skmer.preprocessing.ModalityImputer : Goes before it where X has NaN.

    Notes
    -----
    Rows of weight zero are left out before anything else. ``gamma="scale"`` takes the
    variance of the rows of a draw, each once, whatever they weigh.

    Results do not depend on ``n_jobs`` as long as the number of threads of BLAS stays
    the same.

    The approximation draws landmarks from the rows of a draw, takes a row's kernel
    values with them for all that is known of it, and minimises what
    :class:`sklearn.svm.SVC` minimises for each pair of classes (its hinge rounded off
    over a tenth of the margin) over the functions that these can make. The
    linear kernel needs no landmarks and is not approximated but by its solver. Members
    calibrate on landmarks of the other folds. How near it comes depends on how many
    directions the features really have: on 11,098 utterances of MELD (words in 300
    directions) weighted F1 was 50.7 exact, 46.6 with 1,000 landmarks, 48.7 with 2,000
    and 49.9 with 4,000, on 1,152 clips of RAVDESS 67.9 and, with 500, 68.0; see
    ``benchmarks/results/svm_landmarks.txt``. A kernel
    that is not positive, as "sigmoid" can be, is made so as
    :class:`sklearn.kernel_approximation.Nystroem` does.

    Where a member's scores are tied between two classes it votes for the first, as
    ``SVC(break_ties=True)``.

    References
    ----------
    .. [1] MMEF-Net, in the Multimodal Emotion Recognition Challenge MER2025 (track
       SEMI): support vector machines of three kernels and several seeds on subsets of
       the fused features, which vote. The paper does not say how seeds and subsets are
       drawn nor the penalties; those here are ours.
    .. [2] Ho, T. K. "The random subspace method for constructing decision forests."
       IEEE Transactions on Pattern Analysis and Machine Intelligence 20(8), 1998.
    .. [3] Williams, C. K. I. and Seeger, M. "Using the Nystroem method to speed up
       kernel machines." Advances in Neural Information Processing Systems 13, 2001.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmer.ensemble import SVMEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> ensemble = SVMEnsembleClassifier(n_seeds=3, random_state=0)
    >>> model = make_pipeline(StandardScaler(), ensemble).fit(X, y)
    >>> len(ensemble.members_)
    9
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "kernels": ["array-like"],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "max_features": _SHARE,
        "bootstrap": ["boolean"],
        "max_samples": _SHARE,
        "voting": [StrOptions({"hard", "soft", "logit"})],
        "C": [Interval(Real, 0, None, closed="neither")],
        "gamma": [
            StrOptions({"scale", "auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "degree": [Interval(Integral, 0, None, closed="left")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "scale_linear": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "calibration": [StrOptions({"temperature", "sigmoid"})],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "groups": [None, pd.Series],
        "max_gram_rows": [Interval(Integral, 0, None, closed="left")],
        "approximation": [StrOptions({"auto", "nystroem"}), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "cache_size": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, -1, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernels=("linear", "rbf", "poly"),
        *,
        n_seeds=5,
        max_features=0.7,
        bootstrap=False,
        max_samples=1.0,
        voting="hard",
        C=1.0,
        gamma="scale",
        degree=3,
        coef0=0.0,
        scale_linear=True,
        class_weight=None,
        calibration="temperature",
        n_folds=5,
        groups=None,
        max_gram_rows=10_000,
        approximation="auto",
        n_components=2000,
        tol=1e-3,
        cache_size=200,
        max_iter=1_000_000,
        n_jobs=None,
        verbose=False,
        random_state=None,
    ):
        self.kernels = kernels
        self.n_seeds = n_seeds
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.voting = voting
        self.C = C
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.scale_linear = scale_linear
        self.class_weight = class_weight
        self.calibration = calibration
        self.n_folds = n_folds
        self.groups = groups
        self.max_gram_rows = max_gram_rows
        self.approximation = approximation
        self.n_components = n_components
        self.tol = tol
        self.cache_size = cache_size
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the members and, unless votes are hard, calibrate them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, scaled and without NaN.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows are ignored.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Factor on C of each row.

        Returns
        -------
        self : SVMEnsembleClassifier

        Raises
        ------
        ValueError
            If X has NaN, fewer than two classes have a label, or scores to calibrate
            on cannot be had.
        """
        kernels = check_kernels(self.kernels)
        ids = clip_ids(X) if isinstance(X, pd.DataFrame) else None
        check_labels(y)
        X = self._validated(X, reset=True)
        rows, self.classes_, codes, weights = training_rows(X, y, sample_weight)
        *seeds, fold_seed = draw_seeds(self.random_state, self.n_seeds + 1)
        folds = None
        if self.voting != "hard":
            units = unit_codes(
                None if ids is None else ids[rows], self.groups, len(rows)
            )
            folds = calibration_folds(
                codes, units, self.classes_, self.n_folds, fold_seed
            )
        n_features = size_of(self.max_features, X.shape[1])
        n_rows = None
        if self.bootstrap or not is_all(self.max_samples):
            n_rows = size_of(self.max_samples, len(rows))
        draws = [
            (*draw(codes, X.shape[1], n_features, n_rows, self.bootstrap, seed), seed)
            for seed in seeds
        ]
        training = Training(
            codes=codes,
            weights=weights,
            classes=self.classes_,
            folds=folds,
            C=self.C,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
            class_weight=weight_by_code(self.class_weight, self.classes_),
            scale_linear=self.scale_linear,
            solver={
                "tol": self.tol,
                "cache_size": self.cache_size,
                "max_iter": self.max_iter,
            },
            buffers=[],
        )
        fitted = fit_draws(
            X,
            rows,
            training,
            kernels,
            draws,
            approximation=self.approximation,
            n_components=self.n_components,
            max_gram_rows=self.max_gram_rows,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
        )
        self._settle(X, rows, fitted)
        self.calibrators_ = None
        if self.voting != "hard":
            self.calibrators_ = self._calibrate(fitted, training)
        return self

    @property
    def support_vectors_(self):
        """Rows of X that members need; nothing else of X is kept."""
        check_is_fitted(self)
        return self._pool.rows

    def decision_function(self, X):
        """Return a score per class; the highest is that of the label predicted.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Scaled features, without NaN.

        Returns
        -------
        scores : ndarray of shape (n_clips,) or (n_clips, n_classes), dtype float64
            With ``voting="hard"`` the number of votes, plus the sum of the members'
            scores mapped to between -1/3 and 1/3, which only breaks ties; else the
            logarithm of the probability. Of two classes the second's less the first's.
        """
        if self.voting == "hard":
            scores = self._tally(X)
        else:
            tiny = np.finfo(np.float64).tiny
            scores = np.log(np.maximum(self.predict_proba(X), tiny))
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    @available_if(_has_proba)
    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Scaled features, without NaN.

        Returns
        -------
        proba : ndarray of shape (n_clips, n_classes), dtype float64
            Rows sum to one.
        """
        scores = self.member_scores(X)
        if self.calibrators_ is None:
            raise ValueError(
                "SVMEnsembleClassifier was fitted with voting='hard', which does not "
                f"calibrate, and voting is {self.voting!r} now. Fit it again."
            )
        proba = np.stack(
            [
                calibrator.predict_proba(scores[:, member])
                for member, calibrator in enumerate(self.calibrators_)
            ]
        )
        if self.voting == "soft":
            return proba.mean(axis=0)
        logs = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
        return softmax(logs.mean(axis=0), axis=1)

    def predict(self, X):
        """Return the label that the members vote for.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Scaled features, without NaN.

        Returns
        -------
        labels : ndarray of shape (n_clips,)
        """
        check_is_fitted(self)
        scores = self._tally(X) if self.voting == "hard" else self.predict_proba(X)
        return self.classes_[scores.argmax(axis=1)]

    def member_scores(self, X):
        """Return the decision scores of every member.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Scaled features, without NaN.

        Returns
        -------
        scores : ndarray of shape (n_clips, n_members, n_classes), dtype float64
            As ``SVC(decision_function_shape="ovr")`` gives them; of two classes
            minus and plus the one number that it gives.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        return score_members(self.members_, X, self.n_jobs)

    def _validated(self, X, *, reset):
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            reset=reset,
        )
        missing = sum(
            int(np.isnan(X[part]).any(axis=1).sum())
            for part in blocks(*X.shape, DECIDING)
        )
        if missing:
            raise ValueError(
                f"Input X contains NaN, in {missing} of {len(X)} rows, and "
                "SVMEnsembleClassifier takes none. Put "
                "skmer.preprocessing.ModalityImputer, which fills the streams that "
                "clips lack, before it."
            )
        return X

    def _settle(self, X, rows, fitted):
        """Keep the members and the rows that they need."""
        nothing = np.empty(0, dtype=np.int64)
        needed = [
            nothing if member.kernel == "linear" else support
            for member, support, _ in fitted
        ]
        kept = np.unique(np.concatenate(needed))
        self.support_ = rows[kept]
        self._pool = Pool(X[self.support_].astype(np.float64))
        self.members_ = []
        for (member, support, _), mine in zip(fitted, needed, strict=True):
            where = np.searchsorted(kept, mine)
            member.settle(X, rows, support, self._pool, where)
            self.members_.append(member)
        self.n_iter_ = int(max(member.n_iter_.max() for member in self.members_))

    def _calibrate(self, fitted, training):
        calibrators = []
        for _, _, scores in fitted:
            if np.isnan(scores).any(axis=1).all():
                raise ValueError(
                    f"voting={self.voting!r} calibrates on clips that a fit has not "
                    "seen, and no part of the rows without a fold has two classes. "
                    "Use voting='hard'."
                )
            calibrators.append(
                fit_calibrator(
                    scores,
                    training.codes,
                    len(self.classes_),
                    self.calibration,
                    training.weights,
                )
            )
        return calibrators

    def _tally(self, X):
        """Return the votes, and less than one in all for how sure they are."""
        scores = self.member_scores(X)
        votes = np.eye(scores.shape[2])[scores.argmax(axis=2)].sum(axis=1)
        if scores.shape[2] == 2:
            # Each member's say is bounded, as it is with more classes
            scores = squash(scores)
        return votes + squash(scores.sum(axis=1))
