"""Fusion by transformers between each two streams, as in MulT."""

from numbers import Integral, Real

import torch
from torch import nn

from skmer.fusion._base import FusionClassifier
from skmer.fusion._sequences import step_statistics
from skmer.modules import MultFusion
from skmer.utils._sklearn import Interval


class MultFusionClassifier(FusionClassifier):
    """Let the steps of each stream look at those of each other one (MulT).

    For each ordered pair of streams a transformer rewrites the steps of the first by
    those of the second [1]_. What has become of a stream goes through a transformer of
    its own, whose last step is the stream's code; two layers with a shortcut and a
    linear one make class scores of the codes. Streams are sequences, in object
    columns, or numbers, which are sequences of one step.

    Parameters
    ----------
    hidden_size : int, default=64
        Width of a step; a multiple of ``n_heads``.
    n_heads : int, default=8
        Heads of each attention.
    n_layers : int, default=2
        Layers of each transformer.
    kernel_size : int, default=1
        Steps that the first layer, a convolution over time, sees together; odd.
    dropout : float, default=0.2
        Dropout of the steps that come into a transformer, within its layers, and
        before the last one.
    max_steps : int, dict of str to int, or None, default=None
        Steps of each stream that are used, from the first; None for all, a dict for
        some streams. Attention costs the product of the numbers of steps.
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
    max_epochs : int, default=35
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
        stay on one side of ``train_split``.
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
    modality_dropout : float, default=0.2
        Probability with which a clip's stream is hidden in a training step; at
        least one remains.
    gradient_clip_norm : float or None, default=None
        Limit of the norm of all gradients together.
    gradient_clip_value : float or None, default=0.8
        Limit of each gradient's size.
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
    module_ : skmer.modules.MultFusion
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

    See Also
    --------
    FusionClassifier : The same around a module of your own.
    CrossAttentionFusionClassifier : Fewer layers, and losses that align the streams.

    Notes
    -----
    Steps are standardised inside the net by mean and standard deviation of the training
    clips' steps. Unlabelled rows, missing streams and weights are treated as
    :class:`FusionClassifier` describes. Where a clip lacks a stream, the others look at
    nothing in its place, and its code is 0.

    Of n streams there are n (n - 1) + n transformers, those for one stream n - 1 times
    as wide as those for pairs.

    MERTools [2]_ draws width (64, 128, 256), layers (2, 4, 6), kernel (1, 3), dropout
    (0 to 0.3), a limit of each gradient (0.6, 0.8, 1.0) and learning rate (1e-3, 1e-4)
    at random, with 8 heads, and trains 100 epochs of Adam in batches of 32 with weight
    decay 1e-5. ``modality_dropout`` is an addition.

    References
    ----------
    .. [1] Y.-H. H. Tsai et al., "Multimodal Transformer for Unaligned Multimodal
       Language Sequences", 2019. :arxiv:`1906.00295`. Changed: any number of streams;
       all transformers have as many layers; one dropout, none of the attention matrix;
       missing streams; a fixed seed.
    .. [2] Z. Lian et al., "MERBench: A Unified Evaluation Benchmark for Multimodal
       Emotion Recognition", 2024. :arxiv:`2401.03429`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.fusion import MultFusionClassifier
    >>> from skmer.utils import as_object_column
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> def frames(label):
    ...     return rng.normal(label == "sad", size=(rng.integers(2, 9), 5))
    >>> X = pd.DataFrame(
    ...     {
    ...         "audio__frames": as_object_column([frames(label) for label in y]),
    ...         "video__frames": as_object_column([frames(label) for label in y]),
    ...     }
    ... )
    >>> net = MultFusionClassifier(
    ...     hidden_size=16, n_layers=1, max_epochs=10, random_state=0
    ... )
    >>> bool(net.fit(X, y).score(X, y) > 0.9)
    True
    """

    module = MultFusion
    _parameter_constraints: dict = {
        **FusionClassifier._parameter_constraints,
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), dict, None],
    }
    del _parameter_constraints["module"]

    def __init__(
        self,
        *,
        hidden_size=64,
        n_heads=8,
        n_layers=2,
        kernel_size=1,
        dropout=0.2,
        max_steps=None,
        streams=None,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        weight_decay=1e-5,
        max_epochs=35,
        batch_size=32,
        train_split=None,
        groups=None,
        patience=10,
        keep_epochs=False,
        class_weight=None,
        sampler=None,
        modality_dropout=0.2,
        gradient_clip_norm=None,
        gradient_clip_value=0.8,
        callbacks=None,
        warm_start=False,
        verbose=0,
        n_threads=1,
        device="auto",
        dtype="float32",
        random_state=None,
        **params,
    ):
        super().__init__(
            self.module,
            stream_heads=None,
            group_mixing=0.0,
            streams=streams,
            criterion=criterion,
            optimizer=optimizer,
            lr=lr,
            weight_decay=weight_decay,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            groups=groups,
            patience=patience,
            keep_epochs=keep_epochs,
            class_weight=class_weight,
            sampler=sampler,
            modality_dropout=modality_dropout,
            gradient_clip_norm=gradient_clip_norm,
            gradient_clip_value=gradient_clip_value,
            callbacks=callbacks,
            warm_start=warm_start,
            verbose=verbose,
            n_threads=n_threads,
            device=device,
            dtype=dtype,
            random_state=random_state,
            **params,
        )
        self.hidden_size = hidden_size
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.max_steps = max_steps

    def _module_params(self):
        return {
            **super()._module_params(),
            "hidden_size": self.hidden_size,
            "n_heads": self.n_heads,
            "n_layers": self.n_layers,
            "kernel_size": self.kernel_size,
            "dropout": self.dropout,
        }

    def _run_epochs(self, train, valid):
        if not self.history:
            statistics = step_statistics(train.X, self.batch_size)
            self.module_.set_statistics(*statistics)
        return super()._run_epochs(train, valid)
