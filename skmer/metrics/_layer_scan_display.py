"""Picture of how well each layer of a pretrained model serves a task."""

import numpy as np

from skmer.metrics._layer_scan import layer_scan
from skmer.utils import import_optional

# Names on the axis; those of a deeper model would run into each other.
_MOST_TICKS = 24


class LayerScanDisplay:
    """Score of each layer of a pretrained model, with its spread over folds.

    Make one with :meth:`from_estimator`, or of what
    :func:`~skmer.metrics.layer_scan` returns.

    Parameters
    ----------
    layers : sequence of (int or "last") of length n_layers
        What was scored.
    scores : array-like of shape (n_layers, n_folds)
        Score of each layer on each fold.
    score_name : str or None, default=None
        Name of the score on the axis; None is ``"score"``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the scores.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbar_ : matplotlib ErrorbarContainer
        Means, with bars of one standard deviation over folds to either side.

    See Also
    --------
    layer_scan : The scores, and why the best of them is optimistic.

    Examples
    --------
    >>> from skmer.metrics import LayerScanDisplay
    >>> scores = [[0.61, 0.63], [0.70, 0.66], [0.64, 0.66]]
    >>> display = LayerScanDisplay([17, 18, "last"], scores, score_name="WAF")
    >>> display.scores.mean(axis=1)
    array([0.62, 0.68, 0.65])
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(self, layers, scores, score_name=None):
        self.layers = list(layers)
        self.scores = np.asarray(scores, dtype=np.float64)
        self.score_name = score_name
        if self.scores.ndim != 2 or len(self.scores) != len(self.layers):
            raise ValueError(
                f"scores must have one row for each of the {len(self.layers)} layers "
                f"and one column a fold. Got shape {self.scores.shape}."
            )

    @classmethod
    def from_estimator(
        cls,
        encoder,
        estimator,
        X,
        y,
        *,
        layers="all",
        cv=None,
        groups=None,
        scoring=None,
        n_jobs=None,
        verbose=0,
        error_score=np.nan,
        ax=None,
        negate_score=False,
        score_name=None,
        errorbar_kw=None,
        plot=True,
    ):
        """Score each layer by cross-validation and draw the scores.

        Parameters
        ----------
        encoder : encoder with a pretrained model
            As for :func:`layer_scan`, as are all parameters up to ``error_score``.
        estimator : classifier or regressor, or Pipeline that ends in one
            Cloned for every layer and fold.
        X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
            What the encoder transforms.
        y : array-like of shape (n_clips,)
            Labels; unlabelled clips are left out.
        layers : int, "last", "all" or sequence of int and "last", default="all"
            Layers, each scored by itself.
        cv : int, cross-validation generator or iterable, default=None
            Folds, the same for all layers.
        groups : array-like of shape (n_clips,), default=None
            Such as speakers, for a splitter that keeps them together.
        scoring : str, callable or None, default=None
            Such as ``"f1_weighted"``; None is the estimator's own ``score``.
        n_jobs : int or None, default=None
            Workers that fit.
        verbose : int, default=0
            Verbosity of the cross-validation.
        error_score : "raise" or float, default=np.nan
            Score where a fit fails. The mean over folds with one of NaN is NaN,
            which leaves a gap.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        negate_score : bool, default=False
            Draw scores with the other sign: ``neg_...`` scorings as errors.
        score_name : str or None, default=None
            Name of the score on the axis; None takes it from ``scoring``.
        errorbar_kw : dict, default=None
            Further arguments of :meth:`matplotlib.axes.Axes.errorbar`.
        plot : bool, default=True
            Draw at once.

        Returns
        -------
        display : LayerScanDisplay
        """
        scan = layer_scan(
            encoder,
            estimator,
            X,
            y,
            layers=layers,
            cv=cv,
            groups=groups,
            scoring=scoring,
            n_jobs=n_jobs,
            verbose=verbose,
            error_score=error_score,
        )
        if score_name is None:
            score_name = _score_name(scoring, negate_score)
        display = cls(scan.layers, scan.scores, score_name)
        if not plot:
            return display
        return display.plot(ax=ax, negate_score=negate_score, errorbar_kw=errorbar_kw)

    def plot(self, ax=None, *, negate_score=False, score_name=None, errorbar_kw=None):
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        negate_score : bool, default=False
            Draw scores with the other sign.
        score_name : str or None, default=None
            Name of the score on the axis in place of the display's own.
        errorbar_kw : dict, default=None
            Further arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        self : LayerScanDisplay

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", "LayerScanDisplay")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        numbers = [layer for layer in self.layers if not isinstance(layer, str)]
        # "last" comes after every block, also where blocks are scored by name alone.
        end = max(numbers, default=0) + 1
        places = np.array([end if isinstance(n, str) else n for n in self.layers])
        order = np.argsort(places, kind="stable")
        scores = (-self.scores if negate_score else self.scores)[order]
        self.errorbar_ = ax.errorbar(
            places[order],
            scores.mean(axis=1),
            scores.std(axis=1),
            **{"marker": "o", "capsize": 3, **(errorbar_kw or {})},
        )
        shown = order[:: -(-len(order) // _MOST_TICKS)]
        ax.set_xticks(places[shown], [str(self.layers[i]) for i in shown])
        ax.set_xlabel("layer")
        name = score_name or self.score_name or "score"
        ax.set_ylabel(f"{name} (mean, standard deviation over folds)")
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _score_name(scoring, negate_score):
    name = getattr(scoring, "__name__", scoring)
    if not isinstance(name, str):
        name = "score"
    if negate_score:
        name = name[4:] if name.startswith("neg_") else f"negative {name}"
    return name.replace("_", " ").replace("neg ", "negative ", 1)
