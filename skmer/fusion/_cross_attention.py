"""Fusion of sequences by cross-attention, aligned by emotion."""

from numbers import Integral, Real
from os import PathLike

import torch
from torch import nn

from skmer._streams import modality_of
from skmer.fusion._base import FusionClassifier
from skmer.fusion._precision import autocast
from skmer.fusion._sequences import step_statistics
from skmer.modules import CrossAttentionFusion, SpeechBackbone
from skmer.utils._sklearn import Interval, StrOptions

# Weight of the matching loss and choice of its negatives.
_MATCHING = {
    "sound": (0.1, "hard"),
    "paper": (0.01, "hard"),
    "code": (0.1, "sampled"),
}
_FAMILIES = ("hubert", "wavlm", "wav2vec2", "data2vec-audio")


class CrossAttentionFusionClassifier(FusionClassifier):
    """Fuse sequences whose steps attend to each other, aligned by emotion.

    Steps (frames of sound, pictures, words) of each stream attend to those of the
    other streams, are pooled, and a linear layer classifies all together. Two
    further losses act in training: pooled streams of clips of one class are to be
    alike (alignment, AVEL), and a clip's own pair of streams is to be told from a
    pair with a similar clip of another class (matching, MEM). With two streams this
    is Foal-Net [1]_.

    Parameters
    ----------
    variant : {"sound", "paper", "code"}, default="sound"
        Where the paper, its published code and good sense differ; see Notes.
    hidden_size : int or None, default=128
        Width to which a linear layer with GELU brings the steps of every stream
        before they attend. None, as published: each stream stays as wide as it comes.
    n_heads : int, default=4
        Heads of an attention layer.
    n_layers : int, default=2
        Attention layers of each stream.
    dropout : float, default=0.3
        Dropout of the steps that attend, if ``hidden_size`` is given, and of the
        fused code. Published: 0.
    attention_dropout : float, default=0.1
        Dropout of what a step gets from the others.
    projection_size : int, default=128
        Width of the space in which the alignment loss compares pooled streams.
        Published: 512.
    projection_dropout : float, default=0.5
        Dropout on the way into it.
    alignment_weight : float, default=1.0
        Weight of the alignment loss.
    matching_weight : float or None, default=None
        Weight of the matching loss. None: 0.1, and 0.01 for ``variant="paper"``.
    negatives : {"hard", "sampled"} or None, default=None
        The other clip of a wrong pair: the most similar one of another class, or one
        drawn in proportion to the softmax of the similarities. None: ``"hard"``, and
        ``"sampled"`` for ``variant="code"``.
    max_steps : int, dict of str to int, or None, default=None
        Steps to use of each sequence, from its first; a dict says it for each stream
        by name. Published: ``{"audio": 96000, "video": 180}``, six seconds of sound
        at 16 kHz and 180 pictures. None uses all.
    audio_backbone : str, path or None, default=None
        Folder or hub id of a HuBERT, WavLM, wav2vec 2.0 or data2vec-audio model, such
        as ``"microsoft/wavlm-large"``, through which the sound of the stream
        of modality ``audio`` goes, and which is trained too, all but its convolutions;
        see Notes.
    streams : None, sequence of str or dict, default=None
        The streams to fuse. None reads them from the column names; a sequence
        selects some by name (``"video"`` takes ``video__face`` and ``video__frame``
        together); a dict maps names to slices, column names or column numbers. X
        without names is one stream, ``"all"``, unless a dict says otherwise.
    criterion : type, default=torch.nn.CrossEntropyLoss
        Class of the loss; takes ``reduction="none"``.
    optimizer : type, default=torch.optim.AdamW
        Class of the optimiser; its fused form is used where torch has one.
    lr : float, default=1e-3
        Learning rate.
    weight_decay : float, default=1e-2
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
        stay on one side of ``train_split``.
    patience : int or None, default=10
        Epochs without improvement before training stops; None never stops. Counts
        only with ``train_split``.
    keep_epochs : bool, default=False
        Keep the weights after each epoch for :meth:`staged_predict_proba`.
    class_weight : None, "balanced" or dict, default=None
        Weights of the classes in the loss, as elsewhere in scikit-learn.
    sampler : None or "balanced", default="balanced"
        ``"balanced"`` draws each epoch's clips with replacement so that all
        classes come equally often.
    modality_dropout : float, default=0.2
        Probability with which a clip's stream is hidden in a training step; at
        least one remains.
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
    module_ : skmer.modules.CrossAttentionFusion
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
    AttentionFusionClassifier : For one row of numbers a clip.
    skmer.modules.CrossAttentionFusion : The module.

    Notes
    -----
    X has one object column a stream, as encoders with ``pooling=None`` make them; see
    :class:`FusionClassifier`. Columns of numbers count as sequences of one step.
    With three or more streams, steps attend to those of all others at once, and the
    two losses are means over all pairs. A single stream is classified alone.

    ============================ ================= =============== ================
    ``variant``                  ``"sound"``       ``"paper"``     ``"code"``
    ============================ ================= =============== ================
    temperature of similarities  learned in log    0.07, fixed     learned divisor
                                 space from 0.07                   from 2.66
    positives of alignment       mean              sum             sum
    ``matching_weight``          0.1               0.01            0.1
    ``negatives``                hard              hard            sampled
    steps                        standardised by   as they come    as they come
                                 the training rows
    sound for the backbone       as its extractor  as its          as it comes
                                 prepares it       extractor does
    ============================ ================= =============== ================

    The paper gives no temperature; 0.07 is CLIP's. The code takes ln(1/0.07) for a
    divisor, which leaves an almost flat softmax. With the sum over positives the
    alignment loss grows with the batch and with the classes' shares, beyond the
    classification loss. In all variants projections have length 1, which only the
    code does, and clips without a clip of another class in their batch are left out
    of the matching loss, where the code would take one of their own class.

    Published training: AdamW, learning rate 1e-4, batches of 64, 40 epochs, half
    precision, and the epoch that is best on the test session. Here the last one, or
    the best of ``train_split``.

    With ``audio_backbone``, cells of the audio stream are sound at the model's sample
    rate (16 kHz), ``(n_samples,)``. The net trains a copy of its own in float32; the
    model that encoders share stays as it is, and pickles hold the copy. A learning
    rate near 1e-4 suits it; ``optimizer__param_groups=[("backbones*", {"lr": 1e-5})]``
    gives it one apart. ``keep_epochs`` and ``train_split`` keep copies of it too.

    References
    ----------
    .. [1] Q. Li et al., "Enhancing Modal Fusion by Alignment and Label Matching for
       Multimodal Emotion Recognition", 2024. :arxiv:`2408.09438`. Changed: as in the
       table; missing streams; any number of streams.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.fusion import CrossAttentionFusionClassifier
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
    >>> net = CrossAttentionFusionClassifier(hidden_size=16, random_state=0)
    >>> bool(net.fit(X, y).score(X, y) > 0.9)
    True
    """

    module = CrossAttentionFusion
    _parameter_constraints: dict = {
        **FusionClassifier._parameter_constraints,
        "variant": [StrOptions(set(_MATCHING))],
        "hidden_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "attention_dropout": [Interval(Real, 0, 1, closed="left")],
        "projection_size": [Interval(Integral, 1, None, closed="left")],
        "projection_dropout": [Interval(Real, 0, 1, closed="left")],
        "alignment_weight": [Interval(Real, 0, None, closed="left")],
        "matching_weight": [Interval(Real, 0, None, closed="left"), None],
        "negatives": [StrOptions({"hard", "sampled"}), None],
        "max_steps": [Interval(Integral, 1, None, closed="left"), dict, None],
        "audio_backbone": [str, PathLike, None],
    }
    del _parameter_constraints["module"]

    def __init__(
        self,
        *,
        variant="sound",
        hidden_size=128,
        n_heads=4,
        n_layers=2,
        dropout=0.3,
        attention_dropout=0.1,
        projection_size=128,
        projection_dropout=0.5,
        alignment_weight=1.0,
        matching_weight=None,
        negatives=None,
        max_steps=None,
        audio_backbone=None,
        streams=None,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        weight_decay=1e-2,
        max_epochs=30,
        batch_size=32,
        train_split=None,
        groups=None,
        patience=10,
        keep_epochs=False,
        class_weight=None,
        sampler="balanced",
        modality_dropout=0.2,
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
        self.variant = variant
        self.hidden_size = hidden_size
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.projection_size = projection_size
        self.projection_dropout = projection_dropout
        self.alignment_weight = alignment_weight
        self.matching_weight = matching_weight
        self.negatives = negatives
        self.max_steps = max_steps
        self.audio_backbone = audio_backbone

    def _module_params(self):
        params = super()._module_params()
        if params and self.audio_backbone is not None:
            stream = self._sound_stream(params["stream_sizes"])
            params["backbones"] = {stream: self._load_backbone()}
        return {
            **params,
            "variant": self.variant,
            "hidden_size": self.hidden_size,
            "n_heads": self.n_heads,
            "n_layers": self.n_layers,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "projection_size": self.projection_size,
            "projection_dropout": self.projection_dropout,
            "negatives": self.negatives or _MATCHING[self.variant][1],
        }

    def _sound_stream(self, sizes):
        """Return the stream whose sound goes through the backbone."""
        found = [name for name in sizes if modality_of(name) == "audio"]
        if len(found) != 1:
            raise ValueError(
                "audio_backbone needs one stream of the modality 'audio'; X has "
                f"{', '.join(found) or 'none'} (its streams: {', '.join(sizes)}). Name "
                "the column of sound 'audio__sound', or choose it with streams."
            )
        (stream,) = found
        if not self._stream_kinds[stream][0] or sizes[stream] != 1:
            raise ValueError(
                f"audio_backbone needs sound: cells of shape (n_samples,) in the "
                f"stream {stream!r}. It holds {sizes[stream]} numbers a step. Leave "
                "audio_backbone out for features that an encoder made."
            )
        return stream

    def _load_backbone(self):
        # Here, for transformers takes seconds to import.
        from skmer._pretrained import load_backbone, load_config, load_processor

        model = self.audio_backbone
        config = load_config(model)
        kind = config.model_type
        if kind not in _FAMILIES:
            raise ValueError(
                f"audio_backbone={str(model)!r} is a model of type {kind!r}. It takes "
                f"{', '.join(_FAMILIES)}."
            )
        backbone = load_backbone(
            "AutoModel",
            model,
            device="cpu",
            dtype="float32",
            # An adapter would change how many steps there are.
            overrides={"add_adapter": False} if _has_adapter(config) else {},
        )
        extractor = load_processor("AutoFeatureExtractor", model)
        return SpeechBackbone(
            backbone.model,
            normalize=extractor.do_normalize and self.variant != "code",
            random_source=self.random_source_,
        )

    def _prepare(self, train):
        if self.variant == "sound":
            statistics = step_statistics(train.X, self.batch_size)
            self.module_.set_statistics(*statistics)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean loss of a batch.

        Parameters
        ----------
        y_pred : Tensor of shape (batch, n_classes), or tuple that begins with it
            What the module returned.
        y_true : Tensor of shape (batch,), dtype int64
            Positions of the labels in ``classes_``.
        X : SequenceData
            The batch, with the weights of its clips.
        training : bool, default=False
            Whether to add the losses of alignment and matching.

        Returns
        -------
        loss : Tensor of shape ()
        """
        loss = super().get_loss(y_pred, y_true, X=X, training=training)
        weights = self.alignment_weight, self._weight_of_matching()
        if not training or not any(weights):
            return loss
        with autocast(self.dtype_, self.device_):
            alignment, matching = self.module_.auxiliary_losses(y_pred[1], y_true)
        added = weights[0] * alignment + weights[1] * matching
        if X is not None and X.weight is not None:
            added = added * X.weight
        return loss + added.mean()

    def _weight_of_matching(self):
        if self.matching_weight is None:
            return _MATCHING[self.variant][0]
        return self.matching_weight


def _has_adapter(config):
    return getattr(config, "add_adapter", False)
