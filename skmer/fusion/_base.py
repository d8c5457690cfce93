"""The base of all fusion classifiers: what scikit-learn expects of them."""

import inspect
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_is_fitted,
)
from torch import nn

from skmer.fusion._data import StreamDataset
from skmer.fusion._mixing import GroupMixing
from skmer.fusion._precision import DTYPES
from skmer.fusion._predict import StreamPredictor
from skmer.fusion._rows import TrainingRows
from skmer.fusion._side_by_side import fit_together
from skmer.fusion._skorch import interrupted, stream_heads_of
from skmer.modules import RandomSource
from skmer.utils._sklearn import HasMethods, Interval, StrOptions


class _Task(NamedTuple):
    """What a fit learns from."""

    train: StreamDataset
    valid: StreamDataset | None  # what early stopping watches
    table: object  # the validated X
    rows: np.ndarray  # its rows that may be learnt from without labels


class FusionClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TrainingRows, StreamPredictor
):
    """Train a torch module that fuses streams of features.

    A skorch classifier that reads the streams from the column names of X, infers
    the module's sizes, and follows scikit-learn in everything else. Use one of its
    subclasses, or give a module of your own.

    Parameters
    ----------
    module : type
        Class of the module. It is called as ``module(stream_sizes={name: size},
        n_classes=..., **module__*)``, gets ``random_source=`` too where its
        constructor takes it, and has ``forward(streams, mask)``, which returns
        logits or a tuple that begins with them, ``encode(streams, mask)`` and
        perhaps ``weights(streams, mask)``; see :class:`skmer.modules.AttentionFusion`.
        If the tuple ends with a dict, what it has as ``"auxiliary"``, a Tensor of
        shape (), is added to the loss in training; see
        :class:`skmer.modules.MisaFusion`.
        A module whose attribute ``takes_sequences`` is True gets streams of shape
        (batch, n_steps, size), padded, and a list of masks (batch, n_steps), True for
        real steps; see :class:`skmer.modules.CrossAttentionFusion`. One whose
        attribute ``stackable`` is True can be trained side by side with others in an
        ensemble; see :class:`skmer.modules.StackedModules`.
    streams : None, sequence of str or dict, default=None
        The streams to fuse. None reads them from the column names; a sequence
        selects some by name (``"video"`` takes ``video__face`` and ``video__frame``
        together); a dict maps names to slices, column names or column numbers. X
        without names is one stream, ``"all"``, unless a dict says otherwise.
    criterion : type, default=torch.nn.CrossEntropyLoss
        Class of the loss; takes ``reduction="none"``.
    optimizer : type, default=torch.optim.Adam
        Class of the optimiser; its fused form is used where torch has one.
    lr : float, default=1e-3
        Learning rate.
    weight_decay : float, default=1e-5
        Weight decay, for optimisers that have it.
    max_epochs : int, default=30
        Passes over the training rows of one ``fit`` or ``partial_fit``.
    batch_size : int, default=32
        Clips in a step of the optimiser.
    train_split : None, float, int or splitter, default=None
        None trains on every labelled row. Otherwise part of the labelled rows is
        set aside (a share, one fold of that many, or the first split of a
        splitter), stratified, with rows of one clip id on one side; training stops
        when their weighted F1 has not risen for ``patience`` epochs, and the
        weights of the best epoch are kept.
    groups : Series or None, default=None
        Group of each clip (the speaker, say), indexed by clip id. Rows of one group
        stay on one side of ``train_split``; see ``group_mixing`` too.
    patience : int or None, default=10
        Epochs without improvement before training stops; None never stops. Counts
        only with ``train_split``.
    keep_epochs : bool, default=False
        Keep the weights after each epoch for :meth:`staged_predict_proba`.
    class_weight : None, "balanced" or dict, default=None
        Weights of the classes in the loss, as elsewhere in scikit-learn.
    sampler : None or "balanced", default=None
        ``"balanced"`` draws each epoch's clips with replacement so that all
        classes come equally often.
    modality_dropout : float, default=0.0
        Probability with which a clip's stream is hidden in a training step; at
        least one remains.
    stream_heads : int or None, default=None
        Width of one small classifier per stream, trained beside the net. The
        prediction is then the geometric mean of the net's probabilities and of the
        product of the streams' own; see :class:`skmer.modules.StreamHeads`. None:
        the net alone.
    group_mixing : float, default=0.0
        Probability with which, in a training step, a clip's stream gets the mean and
        spread that the stream has in another of ``groups``, drawn at random, so that
        the net learns what all groups have in common. Without ``groups`` nothing is
        mixed.
    gradient_clip_norm, gradient_clip_value : float or None, default=None
        Limit of the norm of all gradients together, or of each one's size.
    callbacks : None, "disable" or list of skorch callbacks, default=None
        Further callbacks.
    warm_start : bool, default=False
        Whether ``fit`` continues from the last one's weights.
    verbose : int, default=0
        1 prints a line per epoch.
    n_threads : int or None, default=1
        Threads of a fit or prediction on the CPU. Steps of these nets are too small
        to gain by a second one, and many times slower with it where other work
        keeps the cores busy. None: torch's own setting.
    device : str, default="auto"
        Where to compute. ``"auto"`` asks :func:`skmer.get_config`, which by
        default takes a GPU if there is one.
    dtype : {"auto", "float32", "bfloat16", "float16"}, default="float32"
        Format of the module's products; weights and losses stay float32. The
        16-bit ones pay on a GPU with wide layers and large batches, and cost time on
        most CPUs. ``"auto"`` asks :func:`skmer.get_config`, which by default takes
        bfloat16 on a GPU.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, order, dropout and split. None takes a fresh one
        from the operating system. Global generators are never touched.
    **params : dict
        ``module__*``, ``criterion__*``, ``optimizer__*`` and ``callbacks__*``, as
        in skorch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, without the mark of unlabelled rows.
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in what the net was trained on: the rows with their
        weights, and with ``sampler="balanced"`` as often as they were drawn.
    streams_ : dict of str to ndarray of int
        Columns of each stream, by name in alphabetical order; the order in which
        the module and :meth:`modality_weights` have them.
    module_ : torch.nn.Module
        The trained module.
    device_ : torch.device
        Where it lives.
    dtype_ : torch.dtype
        Format of its products.
    history_ : skorch.history.History
        One entry per epoch: ``train_loss`` and, with ``train_split``,
        ``valid_loss`` and ``valid_f1_weighted``.
    best_epoch_ : int or None
        Epoch whose weights were kept, from 1; None without ``train_split``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    Notes
    -----
    A stream of sequences is one object column, such as ``audio__frames``, with an
    array of shape (n_steps, n_dims) or (n_samples,), a
    :class:`skmer.cache.CachedArray` or None in each cell. Only modules that take
    sequences may have them; columns of numbers beside them count as sequences of one
    step. A step with a NaN is skipped. Cached arrays are kept in memory during a fit
    or prediction up to 1 GiB together; what is beyond is read again for each batch.

    Rows without a label are ignored. A clip lacks a stream where any column of the
    stream is NaN; the stream is then masked for the clip. A clip that lacks all
    streams is not learnt from and is predicted from ``class_prior_``; its code in
    :meth:`transform` is the module's for a clip without streams. Rows of weight
    zero are left out.

    Sample weights are divided by their mean over the training rows and multiply
    the loss; what an integer weight does therefore equals repeating the row only
    up to how rows fall into batches.
    """

    _parameter_constraints: dict = {
        "module": [callable],
        "streams": [None, "array-like", dict],
        "criterion": [callable],
        "optimizer": [callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "train_split": [
            None,
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 2, None, closed="left"),
            HasMethods("split"),
        ],
        "groups": [None, pd.Series],
        "patience": [None, Interval(Integral, 1, None, closed="left")],
        "keep_epochs": ["boolean"],
        "class_weight": [None, StrOptions({"balanced"}), dict],
        "sampler": [None, StrOptions({"balanced"})],
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "stream_heads": [Interval(Integral, 1, None, closed="left"), None],
        "group_mixing": [Interval(Real, 0, 1, closed="both")],
        "gradient_clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "gradient_clip_value": [None, Interval(Real, 0, None, closed="neither")],
        "callbacks": [None, StrOptions({"disable"}), list],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "random_state": ["random_state"],
    }

    # skorch's __init__ also assigns fitted state, so it is not called.
    def __init__(
        self,
        module,
        *,
        streams=None,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        weight_decay=1e-5,
        max_epochs=30,
        batch_size=32,
        train_split=None,
        groups=None,
        patience=10,
        keep_epochs=False,
        class_weight=None,
        sampler=None,
        modality_dropout=0.0,
        stream_heads=None,
        group_mixing=0.0,
        gradient_clip_norm=None,
        gradient_clip_value=None,
        callbacks=None,
        warm_start=False,
        verbose=0,
        n_threads=1,
        device="auto",
        dtype="float32",
        random_state=None,
        **params,
    ):
        self.module = module
        self.streams = streams
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.train_split = train_split
        self.groups = groups
        self.patience = patience
        self.keep_epochs = keep_epochs
        self.class_weight = class_weight
        self.sampler = sampler
        self.modality_dropout = modality_dropout
        self.stream_heads = stream_heads
        self.group_mixing = group_mixing
        self.gradient_clip_norm = gradient_clip_norm
        self.gradient_clip_value = gradient_clip_value
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.verbose = verbose
        self.n_threads = n_threads
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        vars(self).update(params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    # Fitting

    def fit(self, X, y, sample_weight=None):
        """Train on the labelled rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features; NaN where a clip lacks a stream. The index of a DataFrame is
            the clip id.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row in the loss.

        Returns
        -------
        self : object

        Raises
        ------
        MissingStreamError
            If X lacks a stream that ``streams`` asks for.
        ValueError
            If no row has a label, a stream has no value in any training row, or
            training diverges.
        """
        resume = self.warm_start and self.initialized_
        return self._fit(X, y, sample_weight, classes=None, resume=resume)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for ``max_epochs`` more epochs, from where the last call ended.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features, as for :meth:`fit`.
        y : array-like of shape (n_clips,)
            Labels, as for :meth:`fit`.
        classes : array-like of shape (n_classes,) or None, default=None
            All labels that will ever come; None takes those of the first call.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row in the loss.

        Returns
        -------
        self : object
        """
        return self._fit(X, y, sample_weight, classes, resume=self.initialized_)

    def _validate_params(self):
        super()._validate_params()
        if not isinstance(self.module, type):
            raise ValueError(
                f"module must be a class of torch.nn.Module, not an instance or a "
                f"function: the net makes it when X is known. Got {self.module!r}."
            )
        lacks = [n for n in ("forward", "encode") if not hasattr(self.module, n)]
        if lacks:
            raise ValueError(
                f"The module {self.module.__name__} has no method {lacks[0]!r}. It "
                "needs forward(streams, mask), which returns logits, and "
                "encode(streams, mask), which returns what its head classifies."
            )

    def _fit(self, X, y, sample_weight, classes, resume):
        self._validate_params()
        if resume:
            self.check_training_readiness()
        loaded = self._training_data(X, y, sample_weight, classes, resume)
        task = self._begin(*loaded, resume)
        with self._threads(), self._randomness():
            self._make_ready(task, X, y, resume)
            try:
                self.best_epoch_, stop = self._run_epochs(task.train, task.valid)
            finally:
                self._mixing = None
            self.notify("on_train_end", X=X, y=y)
        self._finish(task)
        if stop is not None:
            raise interrupted(stop, self)
        return self

    def _begin(self, data, codes, clips, source, resume):
        """Seed everything and divide the clips of :meth:`_training_data`."""
        self._trimmed_for_prediction = False
        seed = self._start(resume)
        train, valid, watched = self._divide(data, codes, clips, seed)
        self._set_prior(train, resume)
        return _Task(
            train, valid, source.table, self._rows_without_labels(source, watched)
        )

    def _make_ready(self, task, X, y, resume):
        """Make the module, unless training goes on, and what trains it."""
        if not resume:
            self.initialize()
            self._prepare(task.train)
            self._pretrain(task.table, task.rows)
        self.notify("on_train_begin", X=X, y=y)
        self._set_heads_prior()
        self._mixing = self._group_mixing(task.train)

    def _finish(self, task):
        codes = self._map(self._encode, task.train.X.take(slice(1)))
        self._n_features_out = codes.shape[1]

    @staticmethod
    def _fit_together(nets, tasks):
        """Fit nets that differ in ``random_state`` alone, side by side if they can be.

        The hook of :mod:`skmer.ensemble`; ``tasks`` holds X, y and sample weights of
        each net. What is the same object is read once.
        """
        fit_together(nets, tasks)

    def _prepare(self, train):
        """Give a module that was just made what it needs of its training clips.

        For subclasses.
        """

    def _pretrain(self, table, rows):
        """Learn from rows of the validated X, whose labels are not given.

        For subclasses: called between the making of the module and its training.
        """

    def _start(self, resume):
        """Seed everything random; return the seed of the inner split."""
        if not resume:
            # None must not draw from numpy's global generator, as
            # check_random_state(None) would.
            state = (
                np.random.default_rng()
                if self.random_state is None
                else check_random_state(self.random_state)
            )
            draw = state.integers if self.random_state is None else state.randint
            self.random_source_ = RandomSource(int(draw(2**31 - 1)))
            self.epoch_states_ = []
        return self.random_source_.seed

    def _group_mixing(self, train):
        if getattr(train.X, "group", None) is None:
            return None
        return GroupMixing(
            train.X,
            train.y,
            len(self.classes_),
            self.group_mixing,
            self.random_source_,
        )

    def _set_heads_prior(self):
        """Tell the stream heads the classes' shares, rare ones raised by one clip."""
        heads = stream_heads_of(self.module_)
        if heads is None:
            return
        counts = self._class_counts
        prior = torch.from_numpy(np.where(counts > 0, counts + 1.0, 0.0))
        prior /= prior.sum()
        heads.set_prior(prior.to(self.device_))

    def _module_params(self):
        """Return the module's arguments that follow from X, y and parameters."""
        if not hasattr(self, "streams_"):
            return {}
        sizes = {name: len(columns) for name, columns in self.streams_.items()}
        if self._takes_sequences:
            sizes = {name: size for name, (_, size) in self._stream_kinds.items()}
        params = {
            "stream_sizes": sizes,
            "n_classes": len(self.classes_),
        }
        if "random_source" in inspect.signature(self.module).parameters:
            params["random_source"] = self.random_source_
        return params

    # Here, not with the other predictions: scikit-learn wraps the output of a
    # transform only in a class that derives from TransformerMixin.
    def transform(self, X):
        """Return the fused code of each clip: the input of the module's head.

        Codes of the rows that the net was trained on are optimistic; use held-out
        rows to train something on them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.

        Returns
        -------
        codes : ndarray of shape (n_clips, n_codes), dtype float32
        """
        check_is_fitted(self)
        return self._map(self._encode, X)
