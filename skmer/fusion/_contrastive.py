"""Fusion whose encoders learn from unlabelled clips by contrast (MR-CCL)."""

from numbers import Integral, Real

import torch
from torch import nn

from skmer.fusion._base import FusionClassifier
from skmer.fusion._pretraining import ContrastivePretraining, PretrainedFusion
from skmer.modules import ContrastiveFusion
from skmer.utils._sklearn import HasMethods, Interval, StrOptions


class ContrastiveFusionClassifier(PretrainedFusion, FusionClassifier):
    """Pre-train on all rows by contrast, then let one head a stream vote.

    The MR-CCL of Fan et al. [1]_. Each stream has an encoder of its own. Before
    labels are looked at, the encoders learn from every row of X, labelled or not:
    the code of a clip is to be like the code of the same clip with noise added
    (within a stream), and like the codes of its other streams, singly and all
    together. Then a head on each stream's code and one on all of them learn the
    labels of the labelled rows, and vote.

    Parameters
    ----------
    variant : {"sound", "paper", "code"}, default="sound"
        Which description to follow where they differ; see Notes.
    hidden_size : int, default=128
        Width of each stream's code.
    n_layers : int, default=1
        Transformer layers of each stream's encoder.
    dropout : float, default=0.5
        Dropout in encoders and heads.
    temperature : float or None, default=None
        Temperature of the contrasts, at the start where it is learned. None: 0.1 for
        ``"sound"``, 1 for the others.
    noise_steps : int, default=100
        Steps of the noise that makes the second view of a clip.
    noise_range : tuple of two floats, default=(0.001, 0.1)
        Share of noise that the first and the last step add.
    contrast_weight : float or None, default=None
        Weight of the contrast between streams while labels are learnt. None: 0.1
        for ``"sound"``, 0 for ``"paper"``, 1 for ``"code"``.
    vote_weights : dict of str to float or None, default=None
        Votes of the heads by stream, modality or ``"fused"``. Those not given:
        audio 0.7, video 0.5, text 0.4, fused 0.7 (``"code"``: 0.7, 0.4, 0.3, 0.7),
        other modalities 0.5.
    pretrained : None, ContrastivePretraining or ContrastiveFusionClassifier, \
            default=None
        A pre-training to start from, in place of one's own: what :meth:`pretrain`
        returned, or a fitted classifier (within :class:`sklearn.frozen.FrozenEstimator`
        where it is to survive ``clone``), of which the label-free pre-training is
        taken, and nothing that its labels taught. See Notes on what it may have seen.
    pretrain_epochs : int, default=40
        Passes over all rows without labels at most; 0 for none.
    pretrain_batch_size : int, default=512
        Clips in a step of the pre-training at most, among which each is to be found.
    pretrain_lr : float, default=1e-3
        Learning rate of the pre-training.
    pretrain_patience : int or None, default=5
        Epochs without a new lowest loss before pre-training ends; None never ends
        it early.
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
    max_epochs : int, default=20
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
    gradient_clip_norm, gradient_clip_value : float or None, default=None
        Limit of the norm of all gradients together, or of each one's size.
    callbacks : None, "disable" or list of skorch callbacks, default=None
        Further callbacks.
    warm_start : bool, default=False
        Whether ``fit`` continues from the last one's weights.
    verbose : int, default=0
        1 prints a line per epoch, and shows how far the pre-training is.
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
    module_ : skmer.modules.ContrastiveFusion
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
    pretraining_ : ContrastivePretraining or None
        The pre-training that the encoders come from; None without.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    FusionClassifier : The same around a module of your own.

    Notes
    -----
    Standardise the features first: the net does not, and noise has variance 1.
    Unlabelled rows are used in the pre-training only; rows of weight zero and rows
    that early stopping watches are not used in it. Missing streams and weights are
    treated as :class:`FusionClassifier` describes. Pre-training is in float32
    whatever ``dtype``.

    A pre-training within ``fit`` sees the rows given to ``fit`` and no others, so that
    cross-validation is clean. One pre-training of all clips, given as ``pretrained``
    to every fold, costs one pre-training instead of many and is what the challenges
    do, but it is transductive: it has seen the features of the test rows, though no
    labels. Say so beside its scores.

    ===================  ====================  =================  ====================
    What                 ``"sound"``           ``"paper"``        ``"code"``
    ===================  ====================  =================  ====================
    Encoder              projects to           transformer at     as the paper
                         ``hidden_size``,      the stream's own
                         then transformer      width, then
                                               projects
    Noise                random step for each  the last step,     one random step for
                         clip, square root of  linear schedule    each batch, square
                         the shares linear                        root linear
    Codes' length        1                     free               free
    Temperature          learned logarithm in  fixed              learned, free,
                         0.01 to 1                                applied twice
    Positive             the other view        the other view     the code itself
    Between streams      invariant codes       invariant codes    specific codes
    Labels' loss         fused + mean of       as sound, no       vote + mean of all
                         streams + contrast    contrast           heads on logits times
                                               (paper silent)     vote + contrast
    Vote                 probabilities         probabilities      logits
    ===================  ====================  =================  ====================

    In the code's contrast the true partner is a negative, so that it rewards views
    that differ. Attention across the clips of a batch, which the code has too, is left
    out, for it makes a prediction depend on the other clips. The code's heads are in
    a file that is not published; here they are two hidden layers of its widths, 256
    and 128. Width of the codes, depth, dropout and temperature are not published.
    One clip is one step of a sequence, so that the number of attention heads changes
    nothing. Of more than three streams each is contrasted with each other one and
    with all others together, of two streams with each other once.

    Stream heads and modality dropout are not part of the published system in any
    variant; ``stream_heads=None, modality_dropout=0.0`` leaves them out. With the heads
    weighted F1 on the RAVDESS recordings was more than one point higher. 20 epochs are
    those of each of the two published steps.

    :meth:`modality_weights` returns each stream's share of the votes for the
    predicted class; the rest is the fused head's.

    References
    ----------
    .. [1] Q. Fan et al., "Leveraging Contrastive Learning and Self-Training for
       Multimodal Emotion Recognition with Limited Labeled Samples", 2024.
       :arxiv:`2409.04447`. Changed: as the table says; masked streams; any number
       of streams.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.fusion import ContrastiveFusionClassifier
    >>> rng = np.random.default_rng(0)
    >>> emotion = np.tile(["happy", "sad"], 60)
    >>> X = pd.DataFrame(
    ...     rng.normal(size=(120, 6)) + 2 * (emotion == "sad")[:, None],
    ...     columns=[f"{m}__{i}" for m in ("audio", "text") for i in range(3)],
    ... )
    >>> y = emotion.astype(object)
    >>> y[40:] = None  # most clips have no label
    >>> net = ContrastiveFusionClassifier(
    ...     hidden_size=16, max_epochs=60, random_state=0
    ... )
    >>> bool((net.fit(X, y).predict(X) == emotion).mean() > 0.9)
    True

    One pre-training for several nets:

    >>> start = net.pretrain(X)
    >>> other = ContrastiveFusionClassifier(
    ...     hidden_size=16, lr=5e-4, pretrained=start, random_state=1
    ... )
    >>> other.fit(X, y).pretraining_ is start
    True
    """

    module = ContrastiveFusion
    _parameter_constraints: dict = {
        **FusionClassifier._parameter_constraints,
        "variant": [StrOptions({"sound", "paper", "code"})],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "temperature": [None, Interval(Real, 0, None, closed="neither")],
        "noise_steps": [Interval(Integral, 1, None, closed="left")],
        "noise_range": [tuple, list],
        "contrast_weight": [None, Interval(Real, 0, None, closed="left")],
        "vote_weights": [None, dict],
        "pretrained": [None, ContrastivePretraining, HasMethods("pretrain")],
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left")],
        "pretrain_batch_size": [Interval(Integral, 1, None, closed="left")],
        "pretrain_lr": [Interval(Real, 0, None, closed="neither")],
        "pretrain_patience": [None, Interval(Integral, 1, None, closed="left")],
    }
    del _parameter_constraints["module"]

    def __init__(
        self,
        *,
        variant="sound",
        hidden_size=128,
        n_layers=1,
        dropout=0.5,
        temperature=None,
        noise_steps=100,
        noise_range=(0.001, 0.1),
        contrast_weight=None,
        vote_weights=None,
        pretrained=None,
        pretrain_epochs=40,
        pretrain_batch_size=512,
        pretrain_lr=1e-3,
        pretrain_patience=5,
        streams=None,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        weight_decay=1e-5,
        max_epochs=20,
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
        self.variant = variant
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.dropout = dropout
        self.temperature = temperature
        self.noise_steps = noise_steps
        self.noise_range = noise_range
        self.contrast_weight = contrast_weight
        self.vote_weights = vote_weights
        self.pretrained = pretrained
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_batch_size = pretrain_batch_size
        self.pretrain_lr = pretrain_lr
        self.pretrain_patience = pretrain_patience

    def _module_params(self):
        return {
            **super()._module_params(),
            "variant": self.variant,
            "hidden_size": self.hidden_size,
            "n_layers": self.n_layers,
            "dropout": self.dropout,
            "temperature": self.temperature,
            "noise_steps": self.noise_steps,
            "noise_range": self.noise_range,
            "contrast_weight": self.contrast_weight,
            "vote_weights": self.vote_weights,
        }

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean loss of the heads, and in training the contrast.

        Parameters
        ----------
        y_pred : tuple
            What the module returned.
        y_true : Tensor of shape (batch,), dtype int64
            Positions of the labels in ``classes_``.
        X : StreamData
            The batch, with the weights of its clips.
        training : bool, default=False
            Whether gradients are wanted.

        Returns
        -------
        loss : Tensor of shape ()
        """
        losses = self.module_.losses(y_pred, y_true, X.mask, self.criterion_)
        loss = (losses if X.weight is None else losses * X.weight).mean()
        if "contrast" in y_pred[1]:
            loss = loss + self.module_.contrast_weight * y_pred[1]["contrast"]
        return loss
