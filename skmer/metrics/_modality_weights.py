"""Picture of how much each stream weighs in a fusion classifier."""

import numpy as np

from skmer.utils import import_optional, split_labels


class ModalityWeightsDisplay:
    """Weights that a fusion classifier gives to the streams, class by class.

    Make one with :meth:`from_estimator` or :meth:`from_weights`.

    Parameters
    ----------
    weights : ndarray of shape (n_groups, n_streams), dtype float64
        Mean weight of each stream over the clips of each group; NaN where no clip
        of the group has the stream.
    spread : ndarray of shape (n_groups, n_streams), dtype float64
        Standard deviation over those clips.
    groups : list of str of length n_groups
        Class names, or ``["all clips"]``.
    streams : list of str of length n_streams
        Stream names.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure that holds them.
    bars_ : list of matplotlib BarContainer
        One a stream.

    See Also
    --------
    skmer.fusion.AttentionFusionClassifier.modality_weights : What is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.metrics import ModalityWeightsDisplay
    >>> weights = np.array([[0.7, 0.3], [0.2, 0.8]])
    >>> display = ModalityWeightsDisplay.from_weights(
    ...     weights, ["audio", "text"], y=["sad", "happy"], plot=False
    ... )
    >>> display.groups
    ['happy', 'sad']
    """

    def __init__(self, weights, spread, groups, streams):
        self.weights = weights
        self.spread = spread
        self.groups = groups
        self.streams = streams

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, normalize=True, ax=None, plot=True
    ):
        """Weigh the streams of clips with a fitted classifier and draw the means.

        Clips that lack a stream do not count towards its mean.

        Parameters
        ----------
        estimator : fusion classifier, Pipeline that ends in one, or search over these
            Fitted; the classifier has ``modality_weights``. A pipeline transforms X
            first.
        X : array-like of length n_clips
            What the estimator predicts from.
        y : array-like of shape (n_clips,), default=None
            Labels to group clips by; unlabelled clips are left out. None makes one
            group of all.
        normalize : bool, default=True
            Draw each weight's share of the clip's sum of absolute weights: raw
            weights may have any size and sign and compare within a clip only.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        plot : bool, default=True
            Draw at once.

        Returns
        -------
        display : ModalityWeightsDisplay

        Raises
        ------
        TypeError
            If the estimator has no ``modality_weights``.
        """
        estimator = getattr(estimator, "best_estimator_", estimator)
        steps = getattr(estimator, "steps", None)
        classifier = estimator if steps is None else steps[-1][1]
        if not hasattr(classifier, "modality_weights"):
            raise TypeError(
                f"{type(classifier).__name__} has no modality_weights. Pass a fitted "
                "skmer fusion classifier, or a pipeline that ends in one."
            )
        if steps is not None and len(steps) > 1:
            X = estimator[:-1].transform(X)
        weights = classifier.modality_weights(X, normalize=normalize)
        if hasattr(weights, "columns"):
            streams = list(weights.columns)
        else:  # votes have the streams of their members
            first = getattr(classifier, "estimators_", [classifier])[0]
            streams = list(first.streams_)
        weights = np.array(weights, dtype=np.float64)
        weights[weights == 0] = np.nan
        return cls.from_weights(weights, streams, y=y, ax=ax, plot=plot)

    @classmethod
    def from_weights(cls, weights, streams, *, y=None, ax=None, plot=True):
        """Draw the means of given weights.

        Parameters
        ----------
        weights : array-like of shape (n_clips, n_streams)
            One row a clip, NaN where a clip lacks a stream.
        streams : sequence of str of length n_streams
            Stream names.
        y : array-like of shape (n_clips,), default=None
            Labels to group clips by.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        plot : bool, default=True
            Draw at once.

        Returns
        -------
        display : ModalityWeightsDisplay

        Raises
        ------
        ValueError
            If the shapes do not belong together.
        """
        weights = np.asarray(weights, dtype=np.float64)
        if weights.ndim != 2 or weights.shape[1] != len(streams):
            raise ValueError(
                f"weights must have one row a clip and one column for each of the "
                f"{len(streams)} streams. Got shape {weights.shape}."
            )
        if y is None:
            groups, members = ["all clips"], [np.ones(len(weights), dtype=bool)]
        else:
            _, classes, codes = split_labels(y)
            if len(codes) != len(weights):
                raise ValueError(
                    f"y has {len(codes)} labels for {len(weights)} rows of weights."
                )
            groups = [str(name) for name in classes]
            members = [codes == code for code in range(len(classes))]
        mean, spread = zip(*(_moments(weights[rows]) for rows in members), strict=True)
        display = cls(np.array(mean), np.array(spread), groups, list(streams))
        return display.plot(ax=ax) if plot else display

    def plot(self, ax=None):
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : ModalityWeightsDisplay

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = import_optional("matplotlib.pyplot", "ModalityWeightsDisplay")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        n_streams = len(self.streams)
        width = 0.8 / n_streams
        places = np.arange(len(self.groups))
        self.bars_ = [
            ax.bar(
                places + (i - (n_streams - 1) / 2) * width,
                self.weights[:, i],
                width,
                yerr=self.spread[:, i],
                label=stream,
                error_kw={"linewidth": 0.8},
            )
            for i, stream in enumerate(self.streams)
        ]
        ax.set_xticks(places, self.groups)
        ax.set_ylabel("weight of the stream (mean, standard deviation)")
        ax.axhline(0, color="black", linewidth=0.8)
        # Beside the axes: bars may reach anywhere inside.
        ax.legend(title="stream", loc="upper left", bbox_to_anchor=(1, 1))
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _moments(rows):
    """Return column means and standard deviations over what is not NaN."""
    known = ~np.isnan(rows)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, rows, 0).sum(axis=0) / count
        squares = np.where(known, (rows - mean) ** 2, 0).sum(axis=0) / count
    return mean, np.sqrt(squares)
