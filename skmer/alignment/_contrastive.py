"""ContrastiveAligner: one stream in the space of another."""

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted, validate_data

from skmer._pretrained import resolve_device
from skmer._streams import resolve_streams
from skmer.modules import RandomSource, StreamMap, shuffled_batches, train
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._features import refuse_clips, refuse_sequences
from skmer.utils._folds import stratified_folds
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import (
    Interval,
    StrOptions,
    _check_feature_names_in,
    _fit_context,
)

# Rows that are mapped at once.
_BLOCK = 4096


class ContrastiveAligner(TransformerMixin, BaseEstimator):
    """Map one stream of features into the space of another.

    The visual alignment of Zhao et al. [1]_: a perceptron turns, say, the face of a
    clip into something whose cosine with the sound of the same clip is higher than
    with that of other clips. Labels are not used, so unlabelled clips count as much
    as others.

    Parameters
    ----------
    source : str, default="video"
        The stream that is mapped; a name also stands for every stream below it
        (``"video"`` for ``video__face`` and ``video__frame``).
    target : str, default="audio"
        The stream whose space it is mapped into; it stays as it is.
    streams : dict or None, default=None
        Columns of ``source`` and ``target`` as slices, names or numbers, where the
        column names of X do not tell; None reads the names.
    variant : {"sound", "paper"}, default="sound"
        ``"sound"`` standardises both streams by the training clips, has no ReLU at
        the end, and puts the result where the target's values lie. ``"paper"``
        compares raw values behind a last ReLU, and returns them as they are.
    hidden_size : int or None, default=256
        Width between the perceptron's two layers; None is the number of columns of
        the target, as in the paper.
    dropout : float, default=0.1
        Dropout before each layer.
    temperature : float, default=0.07
        Where the learned temperature starts, between 0.01 and 1.
    lr : float, default=1e-3
        Learning rate of Adam. The paper, with 115,595 clips, has 1e-4.
    weight_decay : float, default=1e-5
        Weight decay.
    max_epochs : int, default=100
        Passes over the clips.
    batch_size : int, default=256
        Clips that are contrasted with each other. The paper has 1024.
    train_split : float or None, default=0.1
        Share of the clips that is watched to stop in time and to choose the epoch
        that is kept; copies of a clip, and clips of one group, stay on one side.
        None, or fewer than 20 clips or groups, watches nothing.
    patience : int, default=10
        Epochs without improvement before training stops.
    groups : Series or None, default=None
        Group of each clip (the speaker, say), indexed by clip id, for
        ``train_split``.
    device : str, default="auto"
        Where to compute; ``"auto"`` is ``skmer.get_config()["device"]``, by default
        a GPU if there is one.
    n_threads : int or None, default=1
        Threads on the CPU; None: torch's own setting.
    verbose : int, default=0
        1 shows a progress bar.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, order, dropout and split. None takes a fresh one
        from the operating system.

    Attributes
    ----------
    module_ : skmer.modules.StreamMap
        The map.
    streams_ : dict of str to ndarray of int64
        Columns of the two streams.
    training_ : skmer.modules.Training
        Losses of each epoch, which was kept and why training ended.
    n_pairs_ : int
        Clips that have both streams, which were learnt from.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    skmer.fusion.ContrastiveFusionClassifier : Contrasts streams inside a classifier.

    Notes
    -----
    A clip that lacks one of the two streams (NaN) is not learnt from; one that lacks
    the source has NaN in its place afterwards. Everything is learnt in ``fit``: in a
    pipeline under cross-validation no held-out clip has a say. Clips to be learnt
    from without labels belong into the training part of each fold, see
    :class:`skmer.model_selection.UnlabeledInTrain`.

    References
    ----------
    .. [1] Z. Zhao et al., "Improving Multimodal Emotion Recognition by Leveraging
       Acoustic Adaptation and Visual Alignment", 2024. :arxiv:`2409.05015`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.alignment import ContrastiveAligner
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(200, 4))
    >>> values = common @ rng.normal(size=(4, 11))
    >>> names = [f"audio__{i}" for i in range(5)] + [f"video__{i}" for i in range(6)]
    >>> X = pd.DataFrame(values, columns=names)
    >>> aligner = ContrastiveAligner(random_state=0).set_output(transform="pandas")
    >>> aligned = aligner.fit_transform(X)
    >>> aligned.columns[[0, 5, 9]].tolist()
    ['audio__0', 'video__aligned0', 'video__aligned4']
    >>> bool(aligner.retrieval(X) > 0.3)  # by chance 0.005
    True
    """

    _parameter_constraints: dict = {
        "source": [str],
        "target": [str],
        "streams": [Mapping, None],
        "variant": [StrOptions({"sound", "paper"})],
        "hidden_size": [Interval(Integral, 1, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "temperature": [Interval(Real, 0.01, 1, closed="both")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "train_split": [Interval(Real, 0, 0.5, closed="right"), None],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "groups": [pd.Series, None],
        "device": [str],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source="video",
        target="audio",
        *,
        streams=None,
        variant="sound",
        hidden_size=256,
        dropout=0.1,
        temperature=0.07,
        lr=1e-3,
        weight_decay=1e-5,
        max_epochs=100,
        batch_size=256,
        train_split=0.1,
        patience=10,
        groups=None,
        device="auto",
        n_threads=1,
        verbose=0,
        random_state=None,
    ):
        self.source = source
        self.target = target
        self.streams = streams
        self.variant = variant
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.temperature = temperature
        self.lr = lr
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.train_split = train_split
        self.patience = patience
        self.groups = groups
        self.device = device
        self.n_threads = n_threads
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the map from the clips that have both streams.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features; NaN where a clip lacks a stream.
        y : None
            Ignored: clips count alike whether they have a label or not.

        Returns
        -------
        self : ContrastiveAligner

        Raises
        ------
        MissingStreamError
            If X lacks one of the two streams.
        ValueError
            If fewer than two clips have both, ``groups`` lacks one, or training
            diverges.
        """
        ids = clip_ids(X) if isinstance(X, pd.DataFrame) else None
        X = self._validated(X, reset=True)
        self.streams_ = self._resolve_streams()
        both = np.ones(len(X), dtype=bool)
        for columns in self.streams_.values():
            both &= ~np.isnan(X[:, columns]).any(axis=1)
        self.n_pairs_ = int(both.sum())
        if self.n_pairs_ < 2:
            raise ValueError(
                f"ContrastiveAligner needs at least two clips that have both "
                f"{self.source!r} and {self.target!r}. Got {self.n_pairs_} in "
                f"n_samples={len(X)}."
            )
        copies = unit_codes(None if ids is None else ids[both], None, self.n_pairs_)
        units = copies
        if self.groups is not None:
            units = unit_codes(
                None if ids is None else ids[both], self.groups, self.n_pairs_
            )
        seed = draw_seeds(self.random_state, 1)[0]
        source, target = (X[np.ix_(both, c)] for c in self.streams_.values())
        self._learn(source, target, copies, units, seed)
        return self

    def _learn(self, source, target, copies, units, seed):
        """Train the map on pairs."""
        device = torch.device(resolve_device(self.device))
        source, target, copies = (
            torch.from_numpy(part).to(device)
            for part in (
                source.astype(np.float32, copy=False),
                target.astype(np.float32, copy=False),
                copies,
            )
        )
        learn, watched = self._divide(units, seed)
        learn, watched = (
            torch.from_numpy(rows).to(device) for rows in (learn, watched)
        )
        randomness = RandomSource(seed)
        module = StreamMap(
            source.shape[1],
            target.shape[1],
            hidden_size=self.hidden_size,
            variant=self.variant,
            dropout=self.dropout,
            temperature=self.temperature,
            random_source=randomness,
        ).to(device)
        module.standardize(source[learn], target[learn])

        def contrast(rows):
            unit = copies[rows]
            same = unit.unsqueeze(1) == unit.unsqueeze(0)
            return module.contrast(source[rows], target[rows], same)

        self.training_ = train(
            module,
            lambda rows: contrast(learn[rows]),
            shuffled_batches(len(learn), self.batch_size),
            random_source=randomness,
            watch=(lambda: contrast(watched)) if len(watched) else None,
            lr=self.lr,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            patience=self.patience if len(watched) else None,
            n_threads=self.n_threads,
            verbose=self.verbose,
            description="ContrastiveAligner",
            advice=(
                "Lower lr."
                if self.variant == "sound"
                else "Lower lr, or take variant='sound', which standardises features."
            ),
        )
        self.module_ = module.cpu()
        self._set_place(source[learn].cpu(), target[learn].cpu())

    def _divide(self, units, seed):
        """Return the pairs to learn from and those to watch."""
        rows = np.arange(len(units))
        n_units = int(units.max()) + 1
        if self.train_split is None or n_units < 20:
            return rows, rows[:0]
        n_splits = min(max(2, round(1 / self.train_split)), n_units)
        alike = np.zeros(len(units), dtype=np.int64)
        learn, watched = stratified_folds(alike, units, n_splits, seed)[0]
        # One clip alone has nothing to be told from.
        return (learn, watched) if len(watched) > 1 else (rows, rows[:0])

    def _set_place(self, source, target):
        """Note the spread that mapped clips are to have: that of the target."""
        self._spread = 1.0
        if self.variant == "sound":
            squares = np.zeros(2)
            with torch.no_grad():
                for start in range(0, len(source), _BLOCK):
                    block = slice(start, start + _BLOCK)
                    placed = self.module_.place(target[block])
                    mapped = self.module_(source[block])
                    squares += [
                        float(part.double().square().sum()) for part in (placed, mapped)
                    ]
            lengths = np.sqrt(squares / target.numel())
            self._spread = float(lengths[0] / max(lengths[1], 1e-12))

    def transform(self, X):
        """Put the mapped stream in the place of the one that was mapped.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.

        Returns
        -------
        aligned : ndarray of shape (n_clips, n_features - n_source + n_target)
            Other columns as they were. For ``variant="sound"`` the mapped ones have
            the mean and, over all training clips, the spread of the target. float32
            stays float32, other numbers become float64.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        source, target = self.streams_.values()
        shape = len(X), X.shape[1] - len(source) + len(target)
        aligned = np.empty(shape, dtype=X.dtype)
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            aligned[rows] = self._replaced(X[rows], self._placed(X[rows]))
        return aligned

    def retrieval(self, X, k=1):
        """Return how often a clip's own pair is among the k most alike.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features; clips that lack one of the streams are left out.
        k : int, default=1
            Rank up to which a pair counts as found, at least 1.

        Returns
        -------
        recall : float
            Recall at k, the mean of both directions, between 0 and 1; by chance it
            is k divided by the number of clips.

        Raises
        ------
        TypeError
            If ``k`` is no whole number.
        ValueError
            If ``k`` is less than 1, or no clip has both streams.
        """
        check_is_fitted(self)
        check_scalar(k, "k", Integral, min_val=1)
        X = self._validated(X, reset=False)
        source, target = (X[:, c] for c in self.streams_.values())
        both = ~(np.isnan(source).any(axis=1) | np.isnan(target).any(axis=1))
        if not both.any():
            raise ValueError(
                f"None of the {len(X)} clips has both {self.source!r} and "
                f"{self.target!r}."
            )
        mapped = self._map(source[both])
        with torch.no_grad():
            placed = self.module_.place(torch.from_numpy(target[both]).float()).numpy()
        mapped, placed = (
            part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
            for part in (mapped, placed)
        )
        found = []
        for one, other in ((mapped, placed), (placed, mapped)):
            for start in range(0, len(one), _BLOCK):
                block = one[start : start + _BLOCK]
                alike = block @ other.T
                own = alike[np.arange(len(block)), start + np.arange(len(block))]
                # Pairs that are as much alike count as if half of them came first.
                ahead = (alike > own[:, None]).sum(axis=1)
                level = (alike == own[:, None]).sum(axis=1) - 1
                found.append(ahead + level / 2 < k)
        return float(np.concatenate(found).mean())

    def score(self, X, y=None):
        """Return the recall at 1 of :meth:`retrieval`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.
        y : None
            Ignored.

        Returns
        -------
        recall : float
            Between 0 and 1; only comparable between sets of as many clips.
        """
        return self.retrieval(X)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns in, for an X without names.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
            The mapped ones are ``<source>__aligned0`` and so on, at the place of the
            first column of the source.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        source, target = self.streams_
        n_target = len(self.streams_[target])
        mapped = [f"{source}__aligned{i}" for i in range(n_target)]
        return self._replaced(
            np.asarray(names, dtype=object)[None], np.asarray([mapped], dtype=object)
        )[0]

    def _replaced(self, X, mapped):
        """Return X with other columns where the source was."""
        columns, _ = self.streams_.values()
        first = int(columns.min())
        before = np.arange(first)
        after = np.setdiff1d(np.arange(first, X.shape[1]), columns)
        return np.hstack([X[:, before], mapped, X[:, after]])

    def _placed(self, X):
        """Return what comes in the source's place, where the target lies."""
        source, _ = self.streams_.values()
        mapped = self._map(X[:, source]) * self._spread
        module = self.module_
        if module.variant == "sound":
            mapped = mapped * module.target_scale.numpy() + module.target_mean.numpy()
        return mapped

    def _map(self, source):
        """Map rows of the source; NaN where it is missing."""
        _, target = self.streams_.values()
        mapped = np.full((len(source), len(target)), np.nan, dtype=np.float32)
        rows = np.flatnonzero(~np.isnan(source).any(axis=1))
        with torch.no_grad():
            for start in range(0, len(rows), _BLOCK):
                block = rows[start : start + _BLOCK]
                values = torch.from_numpy(source[block].astype(np.float32))
                mapped[block] = self.module_(values).numpy()
        return mapped

    def _resolve_streams(self):
        if self.source == self.target:
            raise ValueError(
                f"source and target are both {self.source!r}. Name two streams."
            )
        wanted = [self.source, self.target]
        names = getattr(self, "feature_names_in_", None)
        if self.streams is None:
            return resolve_streams(wanted, names, self.n_features_in_)
        absent = [name for name in wanted if name not in self.streams]
        if absent:
            raise ValueError(
                f"streams does not say which columns {absent[0]!r} has. It names "
                f"{', '.join(map(repr, self.streams)) or 'nothing'}."
            )
        given = {name: self.streams[name] for name in wanted}
        return resolve_streams(given, names, self.n_features_in_)

    def _validated(self, X, *, reset):
        refuse_clips(self, X)
        refuse_sequences(self, X)
        return validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            ensure_min_features=2 if reset else 1,
            reset=reset,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
