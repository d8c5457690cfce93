"""One classifier in several variants."""

from numbers import Integral

import pandas as pd
from sklearn.utils.validation import validate_data

from skmer.ensemble._blocks import take_block
from skmer.ensemble._variants import read_variants
from skmer.ensemble._voting import BaseVoting
from skmer.utils._seeds import draw_seeds, seeded_clone
from skmer.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _get_feature_names,
)


class VariantVotingClassifier(BaseVoting):
    """Fit variants of a classifier, which lack streams or parts, and let all vote.

    Members that see other streams, or are built in another way, err on other clips;
    members from other seeds alone do so less.

    Parameters
    ----------
    estimator : classifier or pipeline
        What to clone. Every ``random_state`` in a clone is set. Fusion classifiers,
        alone or at the end of a pipeline, are trained side by side within a variant;
        see :class:`SeedVotingClassifier`.
    variants : "drop_streams" or list of dict, default="drop_streams"
        ``"drop_streams"``: the whole, and one variant without each of the streams.
        Otherwise one dict per variant: parameters to set in the clone, named as
        ``set_params`` has them (``{"fuse__dropout": 0.3}``), and, as ``"drop"``, a
        stream or a list of streams to leave out (``{"drop": ["video"]}`` leaves out
        all of ``video__face`` and ``video__frame``). ``{}`` is the whole.
    n_seeds : int, default=1
        Members per variant.
    voting : {"hard", "soft", "logit"}, default="hard"
        ``"hard"``: the label most members predict; ties go to the one with the
        higher mean probability, or, for members without probabilities, to the first.
        ``"soft"``: mean of the members' probabilities. ``"logit"``: mean of their
        logarithms, normalised.
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
        The fitted members, variant by variant.
    variants_ : DataFrame of shape (n_members, 4)
        What each member is: its ``name``, the streams ``dropped``, the ``params``
        that were set, and its ``seed``.
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    n_features_in_ : int
        Number of columns of X, where the members know it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    SeedVotingClassifier : Members that differ in their seeds alone.
    StreamVotingClassifier : Members that see one stream each.

    Notes
    -----
    A stream is left out in two places: where X is a frame whose columns are named
    ``stream__feature``, the member does not see them; where the classifier, or a step
    before it, was told ``streams=``, the stream is taken off that list, and off
    nothing else if a dict gives columns. So a pipeline that begins with
    clips loses a stream too, but only if the classifier at its end was told its
    streams, as recipes do; the steps before still compute it, and cached features
    are read again.

    A ``random_state`` that a variant sets stays as it is.

    ``modality_weights`` and ``saliency`` are means over all members, 0 for those
    without the stream.

    References
    ----------
    The ensemble of ECMF, a system for MER2025-SEMI: variants without some modules and
    from other seeds, which vote by majority. Which modules it dropped is not
    published.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skmer.ensemble import VariantVotingClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> X = pd.DataFrame(rng.normal(size=(60, 3)) + 2 * (y == "sad")[:, None])
    >>> X.columns = ["audio__0", "text__0", "video__0"]
    >>> vote = VariantVotingClassifier(LogisticRegression(), random_state=0).fit(X, y)
    >>> vote.variants_["name"].tolist()
    ['whole', 'without audio', 'without text', 'without video']
    >>> bool(vote.score(X, y) > 0.8)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "variants": [StrOptions({"drop_streams"}), list, tuple],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "voting": [StrOptions({"soft", "hard", "logit"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        estimator,
        *,
        variants="drop_streams",
        n_seeds=1,
        voting="hard",
        random_state=None,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.variants = variants
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
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them,
            where the estimator does.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row; the estimator has to take weights.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a variant sets a parameter that the estimator does not have, or leaves
            out a stream that there is not, or the only one; or if members have no
            probabilities and ``voting`` is not ``"hard"``.
        """
        X, _, _, sample_weight = self._checked(X, y, sample_weight)
        found = read_variants(self.variants, self.estimator, _get_feature_names(X))
        seeds = iter(draw_seeds(self.random_state, len(found) * self.n_seeds))
        groups, rows, self._columns = [], [], []
        for variant in found:
            fixed = {k: v for k, v in variant.params.items() if _is_seed(k)}
            own = [next(seeds) for _ in range(self.n_seeds)]
            members = [
                seeded_clone(variant.estimator, seed).set_params(**fixed)
                for seed in own
            ]
            seen = X if variant.columns is None else take_block(X, variant.columns)
            groups.append((members, [(seen, y, sample_weight)] * self.n_seeds))
            self._columns += [variant.columns] * self.n_seeds
            rows += [
                (variant.name, variant.dropped, variant.params, seed) for seed in own
            ]
        self.variants_ = pd.DataFrame(
            rows, columns=["name", "dropped", "params", "seed"]
        )
        self._fit_members(groups)
        if self._some_dropped():
            validate_data(self, X, skip_check_array=True, reset=True)
        return self

    def _some_dropped(self):
        return any(columns is not None for columns in self._columns)

    def _inputs(self, X):
        if not self._some_dropped():
            return super()._inputs(X)
        validate_data(self, X, skip_check_array=True, reset=False)
        parts = {None: X}
        found = []
        for columns in self._columns:
            key = None if columns is None else columns.tobytes()
            if key not in parts:
                parts[key] = take_block(X, columns)
            found.append(parts[key])
        return found


def _is_seed(name):
    return f"__{name}".endswith("__random_state")
