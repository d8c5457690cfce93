"""Picture of how a network was trained."""

import numpy as np

from skmer.utils import import_optional

# What histories hold besides curves.
_NO_CURVES = ("epoch", "dur")
_PANELS = ("loss", "score", "share of saliency")


class TrainingHistoryDisplay:
    """Losses, scores and saliency of a network, epoch by epoch.

    Make one with :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    curves : dict of str to ndarray of shape (n_epochs,), dtype float64
        What was recorded, by name; NaN in epochs that lack it.
    best_epoch : int or None, default=None
        Epoch whose weights were kept, from 1.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        One each for losses, scores and shares of saliency, as far as there are such.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : dict of str to matplotlib Line2D
        The curves as drawn, by name.

    See Also
    --------
    skmer.fusion.SaliencyLog : Records the saliency of streams.

    Examples
    --------
    >>> from skmer.metrics import TrainingHistoryDisplay
    >>> history = [{"epoch": 1, "train_loss": 1.5}, {"epoch": 2, "train_loss": 0.9}]
    >>> display = TrainingHistoryDisplay.from_history(history, plot=False)
    >>> display.curves["train_loss"].tolist()
    [1.5, 0.9]
    """

    def __init__(self, curves, best_epoch=None):
        self.curves = curves
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, plot=True):
        """Draw how a fitted network was trained.

        Parameters
        ----------
        estimator : fusion classifier, Pipeline that ends in one, or search over these
            Fitted.
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        plot : bool, default=True
            Draw at once.

        Returns
        -------
        display : TrainingHistoryDisplay

        Raises
        ------
        TypeError
            If the estimator has no training history.
        """
        estimator = getattr(estimator, "best_estimator_", estimator)
        steps = getattr(estimator, "steps", None)
        classifier = estimator if steps is None else steps[-1][1]
        history = getattr(classifier, "history_", None)
        if history is None:
            raise TypeError(
                f"{type(classifier).__name__} has no training history. Pass a fitted "
                "skmer fusion classifier, or a pipeline that ends in one."
            )
        best_epoch = getattr(classifier, "best_epoch_", None)
        return cls.from_history(history, best_epoch=best_epoch, ax=ax, plot=plot)

    @classmethod
    def from_history(cls, history, *, best_epoch=None, ax=None, plot=True):
        """Draw a history.

        Parameters
        ----------
        history : sequence of dict of length n_epochs
            What was recorded in each epoch, such as a skorch history. Numbers are
            drawn; truth values, counts and times are not.
        best_epoch : int or None, default=None
            Epoch whose weights were kept, from 1.
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        plot : bool, default=True
            Draw at once.

        Returns
        -------
        display : TrainingHistoryDisplay

        Raises
        ------
        ValueError
            If the history has no epochs or nothing to draw.
        """
        rows = [dict(row) for row in history]
        names = dict.fromkeys(
            name
            for row in rows
            for name, value in row.items()
            if isinstance(value, (float, np.floating)) and name not in _NO_CURVES
        )
        if not names:
            raise ValueError(
                f"The history of {len(rows)} epochs holds no numbers to draw. A net "
                "that was trimmed for prediction has none left; draw before trimming."
            )
        curves = {
            name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
            for name in names
        }
        display = cls(curves, best_epoch)
        return display.plot(ax=ax) if plot else display

    def plot(self, ax=None):
        """Draw the curves.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Where to draw, one for each panel; None makes a figure.

        Returns
        -------
        self : TrainingHistoryDisplay

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        ValueError
            If ``ax`` has not one Axes for each panel.
        """
        pyplot = import_optional("matplotlib.pyplot", "TrainingHistoryDisplay")
        panels = [
            (panel, own)
            for panel in _PANELS
            if (own := [name for name in self.curves if _panel(name) == panel])
        ]
        if ax is None:
            _, ax = pyplot.subplots(
                len(panels),
                sharex=True,
                squeeze=False,
                figsize=(6.4, 2.4 * len(panels)),
                layout="constrained",
            )
        self.axes_ = list(np.ravel(ax))
        if len(self.axes_) != len(panels):
            raise ValueError(
                f"The history fills {len(panels)} panels "
                f"({', '.join(panel for panel, _ in panels)}). Got "
                f"{len(self.axes_)} Axes."
            )
        self.lines_ = {}
        for axes, (panel, names) in zip(self.axes_, panels, strict=True):
            for name in names:
                epochs = np.arange(1, len(self.curves[name]) + 1)
                # A dot shows a curve of one epoch too.
                (self.lines_[name],) = axes.plot(
                    epochs, self.curves[name], marker=".", label=_label(name)
                )
            if self.best_epoch is not None:
                axes.axvline(self.best_epoch, color="black", linewidth=0.8)
            axes.set_ylabel(panel)
            # Beside the axes: curves may reach anywhere inside.
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        self.axes_[-1].set_xlabel("epoch")
        self.figure_ = self.axes_[0].figure
        return self


def _panel(name):
    if name.startswith("saliency_"):
        return "share of saliency"
    return "loss" if name.endswith("loss") else "score"


def _label(name):
    return name.removeprefix("saliency_")
