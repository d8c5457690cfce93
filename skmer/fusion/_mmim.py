"""Bounds of mutual information between streams and with their fusion, as in MMIM."""

from numbers import Integral, Real

import torch
from torch import nn

from skmer.fusion._base import FusionClassifier
from skmer.modules import MmimFusion
from skmer.utils._sklearn import Interval


class MmimFusionClassifier(FusionClassifier):
    """Fuse codes that tell of each other and are told by the fusion (MMIM).

    Three layers with ReLU encode each stream, two with tanh fuse the codes, and a
    linear layer makes class scores. Two bounds of mutual information are raised in
    training: of each two streams' codes, and of the fused code with each stream's.

    Parameters
    ----------
    hidden_size : int, default=128
        Width of every layer.
    dropout : float, default=0.2
        Dropout of the streams and of the codes side by side.
    contrast_weight : float, default=0.1
        Weight of the contrast between the fused code and the streams'; alpha in the
        paper.
    information_weight : float, default=0.1
        Weight of the bound of what the streams' codes tell of each other; beta in
        the paper.
    predictor_layers : int, default=1
        Layers that predict a stream's code from the fused one.
    temperature : float, default=1.0
        What cosines are divided by in the contrast.
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
    modality_dropout : float, default=0.2
        Probability with which a clip's stream is hidden in a training step; at
        least one remains.
    stream_heads : int or None, default=128
        Width of one small classifier per stream, trained beside the net. The
        prediction is then the geometric mean of the net's probabilities and of the
        product of the streams' own; see :class:`skmer.modules.StreamHeads`. None:
        the net alone.
    group_mixing : float, default=1.0
        Probability with which, in a training step, a clip's stream gets the mean and
        spread that the stream has in another of ``groups``, drawn at random, so that
        the net learns what all groups have in common. Without ``groups`` nothing is
        mixed.
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
    module_ : skmer.modules.MmimFusion
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

    Notes
    -----
    Standardise the features first: the net does not. Unlabelled rows, missing streams
    and weights are treated as :class:`FusionClassifier` describes. The auxiliary losses
    are of a batch, and know no weights of clips. Clips that lack a stream do not count
    in them, and its code is 0.

    The paper [1]_ trains in two stages by two optimisers: networks that predict one
    stream's code from another's first, so that their likelihood makes a close bound of
    mutual information; then the encoders by this bound, to which belongs the entropy of
    the predicted code, estimated from the codes of earlier batches by one Gaussian for
    positive and one for negative clips. Here one optimiser raises the bound by all its
    parts at once: whatever the networks predict, the information is no less. The
    entropy is that of one Gaussian for each number, from the batch, which is too much
    for numbers that are not Gaussian, as in the paper; codes have noise of a fixed
    variance in it, without which those that shrink to a point would be the best. Each
    stream is predicted from each other one, where the paper has text first.

    MERTools [2]_ draws width (64, 128, 256), dropout (0 to 0.3), the layers of the
    predictors (1 to 4), both weights (0, 0.1, 0.2), a limit of each gradient (0.6, 0.8,
    1.0) and learning rate (1e-3, 1e-4) at random, and trains 100 epochs of Adam in
    batches of 32 with weight decay 1e-5. ``modality_dropout``, ``stream_heads`` and
    ``group_mixing`` are additions; ``stream_heads=None, modality_dropout=0.0,
    group_mixing=0.0`` gives the net alone.

    References
    ----------
    .. [1] W. Han, H. Chen and S. Poria, "Improving Multimodal Fusion with Hierarchical
       Mutual Information Maximization for Multimodal Sentiment Analysis", 2021.
       :arxiv:`2109.00412`. Changed: as above; utterance vectors of all streams; masked
       streams; a fixed seed.
    .. [2] Z. Lian et al., "MERBench: A Unified Evaluation Benchmark for Multimodal
       Emotion Recognition", 2024. :arxiv:`2401.03429`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.fusion import MmimFusionClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> X = pd.DataFrame(
    ...     rng.normal(size=(60, 6)) + 2 * (y == "sad")[:, None],
    ...     columns=[f"{m}__{i}" for m in ("audio", "text") for i in range(3)],
    ... )
    >>> X.iloc[:5, :3] = np.nan  # five clips without sound
    >>> net = MmimFusionClassifier(max_epochs=20, random_state=0)
    >>> bool(net.fit(X, y).score(X, y) > 0.9)
    True
    """

    module = MmimFusion
    _parameter_constraints: dict = {
        **FusionClassifier._parameter_constraints,
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "contrast_weight": [Interval(Real, 0, None, closed="left")],
        "information_weight": [Interval(Real, 0, None, closed="left")],
        "predictor_layers": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }
    del _parameter_constraints["module"]

    def __init__(
        self,
        *,
        hidden_size=128,
        dropout=0.2,
        contrast_weight=0.1,
        information_weight=0.1,
        predictor_layers=1,
        temperature=1.0,
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
        stream_heads=128,
        group_mixing=1.0,
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
            stream_heads=stream_heads,
            group_mixing=group_mixing,
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
        self.dropout = dropout
        self.contrast_weight = contrast_weight
        self.information_weight = information_weight
        self.predictor_layers = predictor_layers
        self.temperature = temperature

    def _module_params(self):
        return {
            **super()._module_params(),
            "hidden_size": self.hidden_size,
            "dropout": self.dropout,
            "contrast_weight": self.contrast_weight,
            "information_weight": self.information_weight,
            "predictor_layers": self.predictor_layers,
            "temperature": self.temperature,
        }
