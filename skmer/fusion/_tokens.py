"""Modal tokens before the streams of each modality, as in ECMF."""

import re
from itertools import groupby
from numbers import Integral, Real

import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skmer.fusion._base import FusionClassifier
from skmer.modules import ModalTokenFusion
from skmer.utils._sklearn import Interval, StrOptions

# The layer in the name of a column: audio__layer16_0, audio__last_3, audio__l16__0.
_LAYER = re.compile(r"__(layer\d+|last|l\d+)_")


class ModalTokenFusionClassifier(FusionClassifier):
    """Fuse streams by a transformer in which a learnt token leads each modality.

    Parameters
    ----------
    layers : {"weighted", "tokens", "concat"}, default="weighted"
        What becomes of a stream whose columns are named after layers of one encoder
        (``audio__layer16_0``, as ``SpeechEncoder(layer_pooling="concat")`` names them,
        or ``audio__l16__0`` where ``streams`` takes all of ``audio`` together):
        ``"weighted"`` makes one token of the layers' mean, with learnt weights;
        ``"tokens"`` makes a token of each layer; ``"concat"`` makes one token of all
        columns, as it does of any other stream.
    modal_tokens : {"prepend", "add"}, default="prepend"
        ``"prepend"``, as in ECMF [1]_: the token of a modality stands before the
        modality's streams and is read out at the end. ``"add"``: it is added to each
        of them, like a position, and their mean is read out.
    readout : {"concat", "mean"}, default="concat"
        How what is read out of the modalities becomes one code.
    hidden_size : int, default=128
        Size of a token; a multiple of ``n_heads``.
    n_layers : int, default=2
        Self-attention layers.
    n_heads : int, default=2
        Heads of each.
    dropout : float, default=0.6
        Dropout of the stream encoders and before the last layer.
    attention_dropout : float or None, default=0.1
        Dropout inside the self-attention layers. None is ``dropout``, the one rate
        that the paper names.
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
    module_ : skmer.modules.ModalTokenFusion
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
    Standardise the features first: the net does not. Unlabelled rows, missing
    streams and weights are treated as :class:`FusionClassifier` describes. The
    modality of a stream is its name up to the first ``__``.

    A stream's encoder is a linear layer with two more around a residual path.
    :meth:`modality_weights` is attention rolled out: how much of each stream's token
    reaches the readout through the layers, as shares of the streams together.

    The paper has width 128, two heads, two layers, dropout 0.6, ``lr=5e-5``, up to 200
    epochs and clips gradients at 1.0; the other defaults are those of all fusion
    classifiers. Its last row of results is a majority vote over variants of the net.

    References
    ----------
    .. [1] J. Hu, Y. Li, J. Li, S. Chen and P. Wong, "ECMF: Enhanced Cross-Modal Fusion
       for Multimodal Emotion Recognition in MER-SEMI Challenge", 2025.
       :arxiv:`2508.05991`. Changed: masked streams, dropout of whole streams, milder
       dropout inside the attention, a fixed seed. The paper leaves open how layers
       become tokens, the form of the encoders, the order of normalisation and the
       readout.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.fusion import ModalTokenFusionClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile(["happy", "sad"], 30)
    >>> X = pd.DataFrame(
    ...     rng.normal(size=(60, 6)) + 2 * (y == "sad")[:, None],
    ...     columns=[f"{m}__{i}" for m in ("audio", "text") for i in range(3)],
    ... )
    >>> net = ModalTokenFusionClassifier(random_state=0).fit(X, y)
    >>> net.transform(X).shape
    (60, 256)
    >>> weights = net.modality_weights(X)
    >>> bool(np.allclose(weights.sum(axis=1), 1))
    True
    """

    module = ModalTokenFusion

    _parameter_constraints: dict = {
        **FusionClassifier._parameter_constraints,
        "layers": [StrOptions({"weighted", "tokens", "concat"})],
        "modal_tokens": [StrOptions({"prepend", "add"})],
        "readout": [StrOptions({"concat", "mean"})],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "attention_dropout": [None, Interval(Real, 0, 1, closed="left")],
    }
    del _parameter_constraints["module"]

    def __init__(
        self,
        *,
        layers="weighted",
        modal_tokens="prepend",
        readout="concat",
        hidden_size=128,
        n_layers=2,
        n_heads=2,
        dropout=0.6,
        attention_dropout=0.1,
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
        self.layers = layers
        self.modal_tokens = modal_tokens
        self.readout = readout
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dropout = dropout
        self.attention_dropout = attention_dropout

    def _module_params(self):
        return {
            **super()._module_params(),
            "layers": self.layers,
            "layer_sizes": self._layer_sizes(),
            "modal_tokens": self.modal_tokens,
            "readout": self.readout,
            "hidden_size": self.hidden_size,
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
        }

    def _layers_of(self, name):
        """Return the layer of each column of a stream, or nothing."""
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return []
        found = [_LAYER.search(names[column]) for column in self.streams_[name]]
        return [match[1] for match in found] if all(found) else []

    def _layer_sizes(self):
        """Return the number of columns of each layer of streams that have several."""
        sizes = {}
        for name in getattr(self, "streams_", {}):
            runs = [
                (layer, len(list(columns)))
                for layer, columns in groupby(self._layers_of(name))
            ]
            # A layer met twice is no block of columns that could be cut out.
            if len(runs) > 1 and len({layer for layer, _ in runs}) == len(runs):
                sizes[name] = [size for _, size in runs]
        return sizes

    @property
    def layer_weights_(self):
        """Weights with which the layers of a stream become one token.

        A dict of Series indexed by layer, one for each stream of several layers.
        Empty unless ``layers="weighted"``.
        """
        check_is_fitted(self)
        return {
            name: pd.Series(
                weights.cpu().numpy(), list(dict.fromkeys(self._layers_of(name)))
            )
            for name, weights in self.module_.layer_weights().items()
        }
