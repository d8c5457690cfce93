"""How well each layer of a pretrained model serves a task, by cross-validation."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import PredefinedSplit, check_cv, cross_validate
from sklearn.utils import Bunch, check_consistent_length

from skmer.utils import split_labels
from skmer.utils._sklearn import (
    HasMethods,
    StrOptions,
    _safe_indexing,
    validate_params,
)


@validate_params(
    {
        "encoder": [HasMethods(["fit", "get_params", "set_params", "transform"])],
        "estimator": [HasMethods("fit")],
        "y": ["array-like"],
        "layers": [Integral, "array-like", StrOptions({"all", "last"})],
        "cv": ["cv_object"],
        "groups": ["array-like", None],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "error_score": [StrOptions({"raise"}), Real],
    },
    prefer_skip_nested_validation=False,
)
def layer_scan(
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
):
    """Score each layer of an encoder's model by cross-validation.

    Each clip goes through the model once at most, with or without a cache; what the
    cache holds is not computed again. All layers are scored on the same folds.

    Parameters
    ----------
    encoder : encoder with a pretrained model
        A :class:`~skmer.encoders.SpeechEncoder`, :class:`~skmer.encoders.TextEncoder`
        or :class:`~skmer.encoders.VisualEncoder`, or any transformer of clips with
        their parameters ``layers`` and ``layer_pooling``, which may have any value: a
        clone gets others.
    estimator : classifier or regressor, or Pipeline that ends in one
        Cloned for every layer and fold.
    X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
        What the encoder transforms.
    y : array-like of shape (n_clips,)
        Labels. Unlabelled clips (see :func:`skmer.utils.split_labels`; NaN for a
        regressor) are neither encoded nor scored.
    layers : int, "last", "all" or sequence of int and "last", default="all"
        As for the encoder, each scored by itself.
    cv : int, cross-validation generator or iterable, default=None
        Folds of the labelled clips, as for
        :func:`sklearn.model_selection.cross_validate`. An iterable of splits and a
        ``PredefinedSplit`` count all rows of X; their unlabelled ones are dropped.
    groups : array-like of shape (n_clips,), default=None
        Such as speakers, for a splitter that keeps them together.
    scoring : str, callable or None, default=None
        Such as ``"f1_weighted"``; None is the estimator's own ``score``.
    n_jobs : int or None, default=None
        Workers that fit, over layers and folds alike. None is one unless a joblib
        context says otherwise. The encoder has an ``n_jobs`` of its own.
    verbose : int, default=0
        Verbosity of the cross-validation.
    error_score : "raise" or float, default=np.nan
        Score where a fit fails, with a warning. An error if all fail.

    Returns
    -------
    scan : :class:`~sklearn.utils.Bunch`
        With these attributes.

        layers : list of (int or "last") of length n_layers
            Layers in the order asked for, counted from the first block of the model.
        scores : ndarray of shape (n_layers, n_folds), dtype float64
            Score of each layer on each fold.
        mean : ndarray of shape (n_layers,), dtype float64
            Mean over folds.
        std : ndarray of shape (n_layers,), dtype float64
            Standard deviation over folds.
        splits : list of (train, test) of length n_folds
            Row numbers of X in each fold; may be given as ``cv`` again.

    Raises
    ------
    TypeError
        If the encoder has no layers to choose from.
    ValueError
        If features do not depend on the layers, a layer does not exist, no clip has
        a label, lengths differ, or all fits fail.

    See Also
    --------
    LayerScanDisplay : Draws the scores.

    Notes
    -----
    The score of the layer that scores best is too good an estimate of what it will
    score on new clips, the more so the more layers there are and the fewer clips:
    the best was chosen on the very folds that scored it. Judge a choice on clips that
    had no part in it, or choose within each training fold, with a
    :class:`~sklearn.model_selection.GridSearchCV` over the encoder's ``layers`` inside
    of ``cross_val_score``. Nor is the standard deviation over folds, whose
    training clips overlap, a standard error.

    Scores are those of ``cross_val_score`` on what the encoder returns for one layer
    at a time. All layers are asked for at once, so that ``n_clips * n_layers`` vectors
    are in memory. With a cache the clone has ``cache_layers="all"``: other layers
    are then there too when they are asked for.

    A clip that lacks the modality is a row of NaN; put a
    :class:`~skmer.preprocessing.ModalityImputer` into the pipeline where some do. Raw
    outputs of blocks differ in size from layer to layer: standardise them.

    References
    ----------
    J. Zhao et al. (2024). Improving multimodal emotion recognition by leveraging
    acoustic adaptation and visual alignment. MRAC workshop at ACM Multimedia. Their
    figure 2 compares the last ten layers of HuBERT-large by five folds.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmer.encoders import SpeechEncoder
    >>> from skmer.metrics import layer_scan
    >>> encoder = SpeechEncoder("TencentGameMate/chinese-hubert-large")
    >>> classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    >>> scan = layer_scan(
    ...     encoder, classifier, clips, emotions, layers=range(15, 25), cv=5
    ... )  # doctest: +SKIP
    >>> dict(zip(scan.layers, scan.mean))  # doctest: +SKIP
    """
    _check_has_layers(encoder)
    check_consistent_length(X, y, groups)
    labelled, y = _labelled(estimator, y)
    if not labelled.any():
        raise ValueError(
            f"None of the {len(labelled)} clips has a label. Unlabelled are -1 among "
            "integers, None or NaN among strings, NaN for a regressor."
        )
    if not labelled.all():
        X = _safe_indexing(X, np.flatnonzero(labelled))
        groups = None if groups is None else _safe_indexing(groups, labelled)
    # Whatever is wrong shows before hours of encoding.
    scorer = check_scoring(estimator, scoring=scoring)
    splits = _splits(cv, estimator, labelled, X, y, groups)
    encoder = clone(encoder)
    layers, asked = _resolve(encoder, layers)
    rows = _rows_of_layers(encoder, asked, X)

    # One cross-validation in which the layers of a clip are rows: it keeps all
    # workers busy and counts failures over all layers, as a grid search does.
    n_layers = len(layers)
    found = cross_validate(
        estimator,
        rows,
        np.repeat(y, n_layers),
        cv=[
            (train * n_layers + layer, test * n_layers + layer)
            for layer in range(n_layers)
            for train, test in splits
        ],
        scoring={"score": scorer},
        n_jobs=n_jobs,
        verbose=verbose,
        error_score=error_score,
    )
    scores = found["test_score"].reshape(n_layers, len(splits))
    places = np.flatnonzero(labelled)
    return Bunch(
        layers=layers,
        scores=scores,
        mean=scores.mean(axis=1),
        std=scores.std(axis=1),
        splits=[(places[train], places[test]) for train, test in splits],
    )


def _check_has_layers(encoder):
    known = encoder.get_params(deep=False)
    lacking = [name for name in ("layers", "layer_pooling") if name not in known]
    if lacking:
        raise TypeError(
            f"{type(encoder).__name__} has no parameter {' and no '.join(lacking)}. "
            "Pass an encoder with a pretrained model, such as SpeechEncoder, alone; "
            "apply to X beforehand what comes before it in a pipeline."
        )


def _labelled(estimator, y):
    """Return which rows have a label, and the labels of those."""
    if is_regressor(estimator):
        y = np.asarray(y, dtype=np.float64)
        labelled = ~np.isnan(y)
        return labelled, y[labelled]
    labelled, classes, codes = split_labels(y)
    return labelled, classes[codes[labelled]]


def _splits(cv, estimator, labelled, X, y, groups):
    """Return folds as positions among labelled rows, the same for all layers."""
    if isinstance(cv, PredefinedSplit):
        cv = list(cv.split())
    if cv is None or isinstance(cv, Integral) or hasattr(cv, "split"):
        cv = check_cv(cv, y, classifier=is_classifier(estimator))
        return list(cv.split(X, y, groups))
    positions = np.where(labelled, np.cumsum(labelled) - 1, -1)
    splits = []
    for number, fold in enumerate(cv):
        train, test = (positions[rows] for rows in fold)
        train, test = train[train >= 0], test[test >= 0]
        if len(train) == 0 or len(test) == 0:
            raise ValueError(
                f"Fold {number} of cv has {len(train)} labelled clips to train on and "
                f"{len(test)} to test on. Give splits that have both."
            )
        splits.append((train, test))
    return splits


def _resolve(encoder, layers):
    """Return layers by number, and the same as the encoder takes them.

    Widths are told from the names of features, which no model is needed for.
    """
    one = _names(encoder, [1])
    if set(one) & set(_names(encoder, [0])):
        raise ValueError(
            f"The features of {encoder} do not depend on its parameter layers, so "
            "there is nothing to compare. Give it a pretrained model, preset=None and "
            "a pooling other than None."
        )
    n_layers = len(_names(encoder, "all")) // len(one)
    if isinstance(layers, str) and layers == "all":
        asked = list(range(1, n_layers + 1))
    else:
        asked = [layers] if isinstance(layers, (str, Integral)) else list(layers)
    # The encoder has its say on what is no layer before -1 becomes a number.
    _names(encoder, asked)
    numbers = [a if isinstance(a, str) else int(a) % (n_layers + 1) for a in asked]
    return numbers, asked


def _names(encoder, layers, layer_pooling="concat"):
    encoder.set_params(layers=layers, layer_pooling=layer_pooling)
    return list(encoder.get_feature_names_out())


def _rows_of_layers(encoder, asked, X):
    """Return a row for each layer of each clip, the layers of a clip together.

    Returns
    -------
    rows : ndarray or DataFrame of shape (n_clips * n_layers, n_features)
        What the encoder returns of single layers, also by name.
    """
    places = {name: place for place, name in enumerate(_names(encoder, asked))}
    of_layers = [[places[n] for n in _names(encoder, [layer])] for layer in asked]
    names = _names(encoder, asked, "mean")
    encoder.set_params(layers=asked, layer_pooling="concat")
    params = encoder.get_params(deep=False)
    if "cache_layers" in params and params.get("cache") is not None:
        encoder.set_params(cache_layers="all")
    found = encoder.fit(X).transform(X)
    values = found.to_numpy() if hasattr(found, "to_numpy") else found
    order = np.ravel(of_layers)
    if not np.array_equal(order, np.arange(values.shape[1])):
        # take, not an index, which would give columns that reshape copies again.
        values = np.take(values, order, axis=1)
    values = values.reshape(len(values) * len(asked), -1)
    if not hasattr(found, "iloc"):
        return values
    index = found.index.repeat(len(asked))
    return type(found)(values, columns=names, index=index, copy=False)
