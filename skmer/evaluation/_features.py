"""Where clips become features in a model, and features without a modality."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import get_tags

from skmer._streams import NAMELESS, stream_groups
from skmer.utils._features import refuse_clips
from skmer.utils._stateless import StatelessOnClips


def are_features(X):
    """Whether X holds numbers or sequences, and not clips.

    Parameters
    ----------
    X : object
        Clips or features.

    Returns
    -------
    are : bool
    """
    if not isinstance(X, pd.DataFrame):
        kind = getattr(getattr(X, "dtype", None), "kind", None)
        return getattr(X, "ndim", 1) == 2 and kind in ("b", "i", "u", "f")
    try:
        refuse_clips(X, X)
    except ValueError:
        return False
    objects = [i for i, kind in enumerate(X.dtypes) if kind.kind == "O"]
    # A column of None alone may be one of clips that have no words
    return not objects or any("__" in str(X.columns[i]) for i in objects)


def modalities_of(features):
    """Return the columns of each modality, empty where names tell of none.

    Parameters
    ----------
    features : DataFrame or ndarray
        Features.

    Returns
    -------
    modalities : dict of str to ndarray of int64
    """
    if not isinstance(features, pd.DataFrame):
        return {}
    groups = stream_groups(features.columns, by="modality")
    return {} if set(groups) == {NAMELESS} else groups


def without(features, columns):
    """Return features in which columns are missing.

    Parameters
    ----------
    features : DataFrame
        Features.
    columns : ndarray of int64
        Columns to blank out.

    Returns
    -------
    masked : DataFrame
        A copy: NaN in columns of numbers, None in those of sequences.
    """
    kinds = set(features.dtypes)
    if len(kinds) == 1 and features.dtypes.iloc[0].kind == "f":
        values = features.to_numpy(copy=True)
        values[:, columns] = np.nan
        return pd.DataFrame(values, index=features.index, columns=features.columns)
    series = {}
    gone = set(columns.tolist())
    for i in range(features.shape[1]):
        column = features.iloc[:, i]
        if i not in gone:
            series[i] = column
        elif column.dtype.kind == "O":
            nothing = np.full(len(column), None, dtype=object)
            series[i] = pd.Series(nothing, index=column.index, dtype=object)
        else:
            kind = column.dtype if column.dtype.kind == "f" else np.float64
            series[i] = pd.Series(np.nan, index=column.index, dtype=kind)
    masked = pd.DataFrame(series, index=features.index)
    masked.columns = features.columns
    return masked


def split_off_extraction(model, X):
    """Run the steps of a pipeline that turn clips into features, where they can be.

    Only steps that learn nothing and look at one clip at a time are run on all clips
    at once: skmer's tables, encoders and annotators, except those that are trained.

    Parameters
    ----------
    model : estimator
        Unfitted.
    X : indexable of length n_clips
        Clips or features.

    Returns
    -------
    rest : estimator
        What is to be fitted on ``features``; the model itself where nothing was run.
    features : indexable of length n_clips
        What the steps gave; X itself where nothing was run.
    """
    if not isinstance(model, Pipeline) or are_features(X):
        return model, X
    features = X
    for number, (_, step) in enumerate(model.steps[:-1]):
        if not is_stateless(step):
            break
        if step not in (None, "passthrough"):
            features = step.fit_transform(features)
        if are_features(features):
            return model[number + 1 :], features
    return model, X


def is_stateless(step):
    """Whether a step learns nothing, and gives a clip the same whatever is beside it.

    Parameters
    ----------
    step : estimator or str
        Step of a pipeline.

    Returns
    -------
    stateless : bool
    """
    if step is None or isinstance(step, str):
        return True
    if isinstance(step, Pipeline):
        return all(is_stateless(inner) for _, inner in step.steps)
    if isinstance(step, FeatureUnion):
        return all(is_stateless(inner) for _, inner in step.transformer_list)
    if isinstance(step, ColumnTransformer):
        inner = [part[1] for part in step.transformers]
        return all(map(is_stateless, [*inner, step.remainder]))
    # The tag alone would let through what scales clips by those beside them
    return isinstance(step, StatelessOnClips) and not get_tags(step).requires_fit


class Fitted:
    """A fitted model, divided where clips have become features.

    Parameters
    ----------
    model : estimator
        Fitted; a search counts as its best pipeline.
    X : indexable
        Rows that the model takes, to see what its steps make of them.
    """

    def __init__(self, model, X):
        self.model = getattr(model, "best_estimator_", model)
        self.cut = None
        self.features = None
        if are_features(X):
            self.cut, self.features = 0, X
            return
        if not isinstance(self.model, Pipeline):
            return
        for number, (_, step) in enumerate(self.model.steps[:-1]):
            X = _through([step], X)
            if are_features(X):
                self.cut, self.features = number + 1, X
                return

    @property
    def rest(self):
        """What predicts from the features."""
        return self.model[self.cut :] if self.cut else self.model

    def transform(self, X):
        """Return the features of other rows."""
        steps = self.model.steps[: self.cut] if self.cut else []
        return _through([step for _, step in steps], X)

    def before_last(self):
        """Return what the last step predicts from, and that step."""
        return _before_last(self.rest, self.features)


def _before_last(estimator, X):
    estimator = getattr(estimator, "best_estimator_", estimator)
    while isinstance(estimator, Pipeline):
        X = _through([step for _, step in estimator.steps[:-1]], X)
        estimator = estimator.steps[-1][1]
    return X, estimator


def _through(steps, X):
    """Take X through fitted steps; samplers let it pass, as in predictions."""
    # Not by a part of the pipeline, which may not count as fitted by itself
    for step in steps:
        if hasattr(step, "transform"):
            X = step.transform(X)
    return X


def pooled(features, widths=None):
    """Return features for classifiers of numbers: sequences become their means.

    Parameters
    ----------
    features : DataFrame or ndarray
        Features; cells of object columns are arrays of shape (n_steps, n_dims).
    widths : dict of int to int, default=None
        From :func:`sequence_widths` of the training rows: held-out rows get the same
        columns, even where a stream is missing in all of them. None: those of
        ``features``.

    Returns
    -------
    table : DataFrame or ndarray
        Numbers, NaN where missing.
    left_out : list of str
        Columns of sequences without dimensions, such as waveforms.
    """
    if not isinstance(features, pd.DataFrame):
        return features, []
    widths = sequence_widths(features) if widths is None else widths
    if not widths and all(dtype.kind != "O" for dtype in features.dtypes):
        # Thousands of columns take seconds one by one
        return features, []
    parts, left_out = [], []
    for i, name in enumerate(features.columns):
        column = features.iloc[:, i]
        if column.dtype.kind != "O":
            parts.append(column.to_frame())
        elif i not in widths:
            left_out.append(str(name))
        else:
            names = [f"{name}__{number}" for number in range(widths[i])]
            means = _means(column, widths[i])
            parts.append(pd.DataFrame(means, index=column.index, columns=names))
    return pd.concat(parts, axis=1) if parts else features.iloc[:, :0], left_out


def sequence_widths(features):
    """Return the number of dimensions of columns of sequences.

    Parameters
    ----------
    features : DataFrame or ndarray
        Features.

    Returns
    -------
    widths : dict of int to int
        By the column's position; without columns whose cells are no sequences of
        vectors, or are all missing.
    """
    widths = {}
    if not isinstance(features, pd.DataFrame):
        return widths
    for i, dtype in enumerate(features.dtypes):
        if dtype.kind != "O":
            continue
        cells = features.iloc[:, i]
        there = (cell for cell in cells if np.ndim(cell) and np.size(cell))
        shapes = {np.shape(cell)[1:] for cell in there}
        if len(shapes) == 1 and len(shape := shapes.pop()) == 1:
            widths[i] = shape[0]
    return widths


def _means(column, width):
    """Return the mean over time of each cell, NaN where there is none."""
    means = np.full((len(column), width), np.nan)
    for row, cell in enumerate(column):
        if not np.ndim(cell) or not np.size(cell):
            continue
        steps = np.asarray(cell, dtype=np.float64)
        known = ~np.isnan(steps).any(axis=1)
        if known.any():
            means[row] = steps[known].mean(axis=0)
    return means


def name_of(model):
    """Return the class of what a pipeline ends with.

    Parameters
    ----------
    model : estimator
        A pipeline, for example.

    Returns
    -------
    name : str
    """
    while isinstance(model, Pipeline):
        model = model.steps[-1][1]
    inner = getattr(model, "estimator", None)
    if isinstance(inner, BaseEstimator):
        return f"{type(model).__name__}({name_of(inner)})"
    return type(model).__name__
