"""Self-training on the clips whose label two models agree on."""

from numbers import Integral, Real

import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.utils import get_tags

from skmer.semi_supervised._delegate import Delegate
from skmer.semi_supervised._rounds import SelfTrainingRounds
from skmer.utils._instances import check_instances
from skmer.utils._sklearn import HasMethods, Interval, StrOptions, _fit_context


class AgreementSelfTrainingClassifier(
    SelfTrainingRounds, Delegate, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Learn from unlabelled clips whose label two models agree on and are sure of.

    The two steps of Fan et al. [1]_. First, the estimator and its partner learn from
    the labelled rows and both predict the unlabelled ones. Where both say the same,
    and are sure enough for that class, the row gets that label. Then the estimator
    learns from these rows too, from the weights that the first step left and with
    parameters of its own, such as a lower learning rate. Only rows given to ``fit``
    are ever pseudo-labelled.

    Parameters
    ----------
    estimator : classifier or pipeline
        What predicts in the end. Never sees the mark of unlabelled rows unless
        ``pass_unlabeled``.
    partner : classifier, pipeline or None, default=None
        The second opinion: another kind of model, or one that sees other streams. It
        is fitted on the labelled rows and, before every round but the first, anew
        on the pseudo-labelled ones too. None: the estimator alone decides.
    threshold : float, dict of label to float, or None, default=0.99
        Least confidence of a pseudo-label, one for all classes or one for each. None:
        no limit.
    n_per_class : int, float, dict of label to int, or None, default=None
        Take this many of the surest rows of each class a round, of those above the
        threshold (pass ``threshold=None`` for counts alone). A float is a share of
        the unlabelled rows, divided among the classes as the labelled rows are. None
        takes all.
    confidence : {"both", "mean", "first"}, default="both"
        Whose confidence counts: the lower one of the two, so that both have to
        be above the threshold, their mean, or the estimator's.
    calibrate : {"temperature"} or None, default=None
        ``"temperature"`` divides each model's logits by the temperature that makes
        its predictions for held-out labelled rows as sure as they are right, before
        thresholds are applied. ``predict_proba`` remains the estimator's own. Models
        with a ``decision_function`` alone need it.
    n_folds : int, default=5
        Folds that hold labelled rows out for the temperature, stratified; copies of
        a clip stay together. Fewer where no class has as many clips.
    groups : Series or None, default=None
        Group of each clip (the speaker, say), indexed by clip id. The clips of a group
        are held out together.
    n_rounds : int or None, default=1
        How often rows are chosen and the estimator is trained further. None: until no
        row is added. Rows once taken keep their label.
    continue_from_first : {"auto"} or bool, default="auto"
        Whether the second step, and each one after it, goes on from the weights of the
        one before: by ``warm_start``, or by ``partial_fit`` where there is nothing
        else. Steps of a pipeline before the last then stay as the labelled rows
        fitted them. ``"auto"`` does so for estimators that have both, such as fusion
        networks and scikit-learn's ``MLPClassifier`` and ``SGDClassifier``; all
        others, and all with False, are fitted from scratch on labelled and
        pseudo-labelled rows.
    second_params : dict of str to object, or None, default=None
        Parameters of the estimator from the second step on, ``{"lr": 5e-5}`` for
        example. Of a pipeline, names of its own or of its last step.
    sampler : sampler of imbalanced-learn or None, default=None
        Applied to the labelled rows in the first step, for both models, and to the
        training part of each fold of the calibration. Of X that is no table of
        numbers, give :class:`skmer.over_sampling.LabeledSampler`.
    second_sampler : {"same"}, sampler of imbalanced-learn or None, default="same"
        Applied to labelled and pseudo-labelled rows from the second step on.
    pseudo_weight : float or {"confidence"}, default=1.0
        Weight of pseudo-labelled rows beside 1 of labelled ones, times their
        ``sample_weight``. ``"confidence"``: how sure the label was. Unless it is 1.0,
        estimator and partner have to take weights.
    pass_unlabeled : bool, default=False
        Whether both models also get the rows that have no label (yet), with their
        mark: for models that know what that is, and learn from them, such as
        :class:`skmer.fusion.ContrastiveFusionClassifier` or a scaler before it.
    n_jobs : int or None, default=None
        Jobs that fit the two models, and those of the calibration, at a time.
    verbose : int, default=0
        1 prints a line per round.
    random_state : int, RandomState or None, default=None
        Where the folds, and the seeds of everything random in models and samplers,
        come from. None leaves models and samplers their own seeds.

    Attributes
    ----------
    estimator_ : classifier
        The model that predicts.
    partner_ : classifier or None
        The partner that the last choice was made with; None without, or where there
        was nothing to choose.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    thresholds_ : dict of label to float
        Threshold of each class.
    temperatures_ : dict of str to float
        Temperature of ``"estimator"`` and ``"partner"``, fitted in the first step and
        used in all; 1 where nothing was calibrated.
    transduction_ : ndarray of shape (n_clips,)
        The labels of the last fit: given ones and pseudo-labels; -1, or None unless the
        labels are integers, where there is none.
    labeled_iter_ : ndarray of shape (n_clips,), dtype int64
        Round in which a row got its label: 0 for given labels, -1 for never.
    pseudo_labels_ : DataFrame of shape (n_unlabelled, 6 or 7)
        What was said of each unlabelled row when it was last looked at, indexed by
        clip id: its ``row`` in X, ``label``, ``confidence`` and, with a partner,
        ``partner_label`` and ``partner_confidence``; whether both ``agreed``; the
        ``round`` in which it was taken, -1 for never.
    n_iter_ : int
        Rounds in which rows were chosen from.
    termination_condition_ : {"max_iter", "no_change", "all_labeled"}
        Why there were no more.
    n_features_in_ : int
        Number of columns of X, where the estimator knows it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    sklearn.semi_supervised.SelfTrainingClassifier : One model, numbers only.

    Notes
    -----
    X is whatever the estimator takes: paths, a table of clips, features, sequences in
    object columns, sparse matrices. It is indexed, never converted, so that names and
    clip ids reach the estimator.

    Confidences of networks and of models of few rows are far from how often they are
    right, and 0.99 may mean nothing, or be out of reach: calibrate, or ask for counts.

    The most is gained where the partner knows more of training clips than can be known
    of new ones, for the estimator alone predicts these. On RAVDESS with one label in
    ten weighted F1 rose from 63.9 to 67.8 with a partner that sees how clips deviate
    from their speaker's others (:class:`skmer.preprocessing.GroupStandardScaler`,
    ``pass_unlabeled=True``), to 66.5 with a partner of the same features, and to 65.6
    with one model (all labels: 73.8). On the words of MELD, where two views of a
    sentence are wrong together, nothing was gained over one model
    (``benchmarks/results/few_labels.txt``).

    In [1]_ both models are the networks that were compared, the thresholds 0.99 for
    frequent classes and 0.85 for rare ones, the second learning rate half the first,
    and rare classes are over-sampled to 850 rows in the first step and 1,000 in the
    second. Pseudo-labels may bring a class beyond such a number, which
    imbalanced-learn refuses: leave the class out of ``second_sampler``, or take a
    strategy made by :func:`skmer.over_sampling.at_least`.

    An estimator that stops early on a part of its training rows watches
    pseudo-labelled rows too in the second step, and other rows than in the first.
    ``second_params={"train_split": None}`` turns that off in fusion networks.

    References
    ----------
    .. [1] Q. Fan et al., "Leveraging Contrastive Learning and Self-Training for
       Multimodal Emotion Recognition with Limited Labeled Samples", 2024.
       :arxiv:`2409.04447`. Changed: whose confidence counts is not published; rows are
       over-sampled within the training fold; calibration, counts and rounds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skmer.semi_supervised import AgreementSelfTrainingClassifier
    >>> rng = np.random.default_rng(0)
    >>> emotion = np.tile(["happy", "sad"], 100)
    >>> X = rng.normal(size=(200, 4)) + (emotion == "sad")[:, None]
    >>> y = emotion.astype(object)
    >>> y[20:] = None  # most clips have no label
    >>> model = AgreementSelfTrainingClassifier(
    ...     LogisticRegression(), GaussianNB(), threshold=0.9, random_state=0
    ... ).fit(X, y)
    >>> model.pseudo_labels_.query("round == 1")["label"].value_counts().to_dict()
    {'happy': 27, 'sad': 12}
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "partner": [HasMethods(["fit", "predict"]), None],
        "threshold": [Interval(Real, 0, 1, closed="both"), dict, None],
        "n_per_class": [Interval(Real, 0, None, closed="neither"), dict, None],
        "confidence": [StrOptions({"both", "mean", "first"})],
        "calibrate": [StrOptions({"temperature"}), None],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "groups": [pd.Series, None],
        "n_rounds": [Interval(Integral, 0, None, closed="left"), None],
        "continue_from_first": [StrOptions({"auto"}), "boolean"],
        "second_params": [dict, None],
        "sampler": [HasMethods(["fit_resample"]), None],
        "second_sampler": [StrOptions({"same"}), HasMethods(["fit_resample"]), None],
        "pseudo_weight": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"confidence"}),
        ],
        "pass_unlabeled": ["boolean"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        partner=None,
        *,
        threshold=0.99,
        n_per_class=None,
        confidence="both",
        calibrate=None,
        n_folds=5,
        groups=None,
        n_rounds=1,
        continue_from_first="auto",
        second_params=None,
        sampler=None,
        second_sampler="same",
        pseudo_weight=1.0,
        pass_unlabeled=False,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.partner = partner
        self.threshold = threshold
        self.n_per_class = n_per_class
        self.confidence = confidence
        self.calibrate = calibrate
        self.n_folds = n_folds
        self.groups = groups
        self.n_rounds = n_rounds
        self.continue_from_first = continue_from_first
        self.second_params = second_params
        self.sampler = sampler
        self.second_sampler = second_sampler
        self.pseudo_weight = pseudo_weight
        self.pass_unlabeled = pass_unlabeled
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags
        tags.transformer_tags = inner.transformer_tags
        return tags

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Train in two steps, or more.

        Parameters
        ----------
        X : indexable of length n_clips
            Labelled and unlabelled rows, as the estimator takes them.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; rows of weight zero are left out.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If a model is a class.
        ValueError
            If no row has a label, a dict lacks a class, a parameter of the second
            step does not exist, training cannot continue where it is to, a model
            has no probabilities or takes no weights where they are needed, or no
            rows can be held out for the calibration.
        """
        check_instances(estimator=self.estimator, partner=self.partner)
        self._check_models()
        self._run(self._read(X, y, sample_weight))
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def _check_models(self):
        """Refuse models that cannot say how sure they are, before any is fitted."""
        if self.n_rounds == 0:
            return
        for role in self._roles():
            model = getattr(self, role)
            if hasattr(model, "predict_proba"):
                continue
            if self.calibrate is not None and hasattr(model, "decision_function"):
                continue
            raise ValueError(
                f"The {role}, {type(model).__name__}, has no predict_proba"
                + (
                    ". With calibrate='temperature' its decision_function will do."
                    if hasattr(model, "decision_function")
                    else " and no decision_function: it cannot say how sure it is."
                )
            )
