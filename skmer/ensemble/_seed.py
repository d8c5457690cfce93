"""One classifier, several seeds."""

from numbers import Integral

from skmer.ensemble._voting import BaseVoting
from skmer.utils._seeds import draw_seeds, seeded_clone
from skmer.utils._sklearn import HasMethods, Interval, StrOptions, _fit_context


class SeedVotingClassifier(BaseVoting):
    """Fit a classifier from several seeds on the same rows, and let all vote.

    What a network makes of few clips depends on its initial weights and the order of
    its batches; the vote of several depends on them less and is mostly better than
    the average member.

    Parameters
    ----------
    estimator : classifier or pipeline
        What to clone. Every ``random_state`` in a clone is set. Fusion classifiers,
        alone or at the end of a pipeline, are trained side by side, see Notes.
    n_seeds : int, default=5
        Number of members.
    voting : {"soft", "hard", "logit"}, default="soft"
        ``"soft"``: mean of the members' probabilities. ``"logit"``: mean of their
        logarithms, normalised. ``"hard"``: the label most members predict; ties go
        to the one with the higher mean probability, or, for members without
        probabilities, to the first.
    random_state : int, RandomState or None, default=None
        Where the members' seeds come from. None takes fresh ones from the operating
        system.
    n_jobs : int or None, default=None
        Members fitted at a time, in processes unless
        :class:`joblib.parallel_config` says otherwise; networks are trained side by
        side instead. The members are the same whatever it is.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    n_features_in_ : int
        Number of columns of X, where the members know it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    FoldVotingClassifier : Members that also learn from different rows.

    Notes
    -----
    Side by side means that the members' weights are stacked and a step of all is
    computed at once. Each draws its weights, order and dropout from its own seed, as
    it would alone, so the members are those that fitting one after another gives, up
    to rounding. The gain is in small networks and batches, where calling torch
    takes longer than computing: on one core of a CPU, eight networks of width 64 on 123
    columns in batches of 32 take less than half the time, of width 128 on 2,816 columns
    three quarters of it; see ``benchmarks/fusion_ensembles.py``.

    Fusion classifiers whose module has ``stackable = True`` can be stacked, such as
    :class:`~skmer.fusion.AttentionFusionClassifier`,
    :class:`~skmer.fusion.ConcatFusionClassifier` and
    :class:`~skmer.fusion.DynamicWeightingFusionClassifier`; see
    :class:`~skmer.modules.StackedModules`. With callbacks, another loss than
    cross-entropy, an optimiser that does not treat each number apart, parameter groups
    or float16, members are fitted one after another, as all other estimators are.

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.ensemble import SeedVotingClassifier
    >>> from skmer.fusion import AttentionFusionClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> X = rng.normal(size=(60, 6)) + 2 * (y == "sad")[:, None]
    >>> net = AttentionFusionClassifier(
    ...     streams={"audio": slice(0, 3), "text": slice(3, 6)}, max_epochs=10
    ... )
    >>> vote = SeedVotingClassifier(net, n_seeds=3, random_state=0).fit(X, y)
    >>> len(vote.estimators_), bool(vote.score(X, y) > 0.9)
    (3, True)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "voting": [StrOptions({"soft", "hard", "logit"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self, estimator, *, n_seeds=5, voting="soft", random_state=None, n_jobs=None
    ):
        self.estimator = estimator
        self.n_seeds = n_seeds
        self.voting = voting
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the members.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, or whatever the estimator takes.
        y : array-like of shape (n_clips,)
            Labels.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; the estimator has to take weights.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If members have no probabilities and ``voting`` is not ``"hard"``.
        """
        X, _, _, sample_weight = self._checked(X, y, sample_weight)
        seeds = draw_seeds(self.random_state, self.n_seeds)
        members = [seeded_clone(self.estimator, seed) for seed in seeds]
        return self._fit_members([(members, [(X, y, sample_weight)] * len(members))])
