"""StreamAdapter: features of one stream, changed by what labels teach."""

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from skmer._pretrained import resolve_device
from skmer._streams import resolve_streams
from skmer.modules import AdaptedStream, RandomSource, shuffled_batches, train
from skmer.utils import split_labels
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._features import refuse_clips, refuse_sequences
from skmer.utils._fit_inputs import require_y, warn_of_column
from skmer.utils._folds import watched_rows
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import Interval, _fit_context

# Rows that are adapted at once.
_BLOCK = 4096


class StreamAdapter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Adapt one stream of features to the labels by a bottleneck with a residual.

    The acoustic adaptation of Zhao et al. [1]_ for features that come from no speech
    model, or from one whose blocks are out of reach. Labelled clips train a small
    bottleneck, whose output is added to the standardised features, together with a
    perceptron that rebuilds them from a part and a linear layer that tells the class.
    Of these the bottleneck stays.

    Features depend on the labels seen in ``fit``: the adapter belongs into the pipeline
    that is cross-validated.

    Parameters
    ----------
    stream : str, default="audio"
        The stream that is adapted; a name also stands for every stream below it.
    streams : dict or None, default=None
        Columns of ``stream`` as slice, names or numbers, where the column names of X
        do not tell; None reads the names.
    adapter_size : int, default=32
        Width of the bottleneck. The paper has 128 for 1,024 columns.
    hidden_size : int, default=128
        Width between the layers of the perceptron that rebuilds.
    outer_relu : bool, default=True
        Whether the bottleneck ends in a ReLU, as in the paper: then it can only add.
    mask_share : float, default=0.15
        Share of the numbers that are hidden from the perceptron in training.
    reconstruction_weight : float, default=1.0
        What the error of rebuilding counts beside the cross-entropy.
    lr : float, default=1e-3
        Learning rate of Adam. The paper, with 5,030 clips, has 1e-4.
    weight_decay : float, default=0.02
        Weight decay.
    batch_size : int, default=16
        Clips of a training step.
    max_epochs : int, default=30
        Passes over the labelled clips.
    train_split : float or None, default=0.1
        Share of the labelled clips that is watched to choose the epoch that is kept
        and to stop; copies of a clip, and clips of one group, stay on one side.
        None, or fewer than 20 clips or groups, watches nothing.
    patience : int, default=5
        Epochs without a lower cross-entropy of the watched clips before training
        stops.
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
        Seed of initial weights, order, masks and split. None takes a fresh one from
        the operating system.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : skmer.modules.AdaptedStream
        What was trained.
    columns_ : ndarray of int64
        Columns of the stream.
    training_ : skmer.modules.Training
        Losses of each epoch, which was kept and why training ended.
    n_clips_ : int
        Labelled clips that have the stream, which were learnt from or watched.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    skmer.encoders.AdaptedSpeechEncoder : Adapters within a speech model.
    ContrastiveAligner : What comes next in the paper.

    Notes
    -----
    Clips without a label, and those that lack the stream (NaN), are not learnt from;
    the latter have NaN afterwards too. A clip of which some columns are NaN counts as
    one that lacks the stream.

    References
    ----------
    .. [1] Z. Zhao et al., "Improving Multimodal Emotion Recognition by Leveraging
       Acoustic Adaptation and Visual Alignment", 2024, section 2.1.
       :arxiv:`2409.05015`. Changed: one adapter on features in place of one behind
       each block; features are standardised; a part of them is hidden, and what is to
       be rebuilt counts as given, as :class:`~skmer.encoders.AdaptedSpeechEncoder`
       has it.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.alignment import StreamAdapter
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> X = pd.DataFrame(
    ...     rng.normal(size=(200, 6)) * (1 + y[:, None]),
    ...     columns=[f"audio__{i}" for i in range(4)] + ["text__0", "text__1"],
    ... )
    >>> adapter = StreamAdapter(random_state=0).set_output(transform="pandas")
    >>> adapted = adapter.fit_transform(X, y)
    >>> bool((adapted.filter(like="text") == X.filter(like="text")).all(axis=None))
    True
    """

    _parameter_constraints: dict = {
        "stream": [str],
        "streams": [Mapping, None],
        "adapter_size": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
        "outer_relu": ["boolean"],
        "mask_share": [Interval(Real, 0, 1, closed="left")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
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
        stream="audio",
        *,
        streams=None,
        adapter_size=32,
        hidden_size=128,
        outer_relu=True,
        mask_share=0.15,
        reconstruction_weight=1.0,
        lr=1e-3,
        weight_decay=0.02,
        batch_size=16,
        max_epochs=30,
        train_split=0.1,
        patience=5,
        groups=None,
        device="auto",
        n_threads=1,
        verbose=0,
        random_state=None,
    ):
        self.stream = stream
        self.streams = streams
        self.adapter_size = adapter_size
        self.hidden_size = hidden_size
        self.outer_relu = outer_relu
        self.mask_share = mask_share
        self.reconstruction_weight = reconstruction_weight
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.train_split = train_split
        self.patience = patience
        self.groups = groups
        self.device = device
        self.n_threads = n_threads
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the adapter on the labelled clips.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features; NaN where a clip lacks the stream.
        y : array-like of shape (n_clips,), default=None
            Labels; unlabelled rows as :func:`skmer.utils.split_labels` knows them.
            They are needed: None is an error.

        Returns
        -------
        self : StreamAdapter

        Raises
        ------
        MissingStreamError
            If X lacks the stream.
        ValueError
            If there are no labels, no labelled clip has the stream, ``groups`` lacks
            one, or training diverges.
        """
        ids = clip_ids(X) if isinstance(X, pd.DataFrame) else None
        X = self._validated(X, reset=True)
        require_y(type(self).__name__, y)
        warn_of_column(y, stacklevel=3)
        check_consistent_length(X, y)
        self.columns_ = self._resolve_stream()
        labelled, self.classes_, codes = split_labels(y)
        values = X[:, self.columns_]
        rows = np.flatnonzero(labelled & ~np.isnan(values).any(axis=1))
        self.n_clips_ = len(rows)
        if not len(rows):
            raise ValueError(
                f"{type(self).__name__} needs clips that have a label and the stream "
                f"{self.stream!r}. Got {int(labelled.sum())} with a label in "
                f"n_samples={len(X)}, of which none has it."
            )
        units = unit_codes(None if ids is None else ids[rows], self.groups, len(rows))
        self._learn(values[rows], codes[rows], units)
        return self

    def _learn(self, values, codes, units):
        """Train on labelled rows of the stream."""
        seed = draw_seeds(self.random_state, 1)[0]
        device = torch.device(resolve_device(self.device))
        watched = watched_rows(codes, units, self.train_split, seed)
        learn = np.setdiff1d(np.arange(len(codes)), watched)
        values = torch.from_numpy(values.astype(np.float32)).to(device)
        codes = torch.from_numpy(codes).to(device)
        source = RandomSource(seed)
        module = AdaptedStream(
            values.shape[1],
            len(self.classes_),
            adapter_size=self.adapter_size,
            hidden_size=self.hidden_size,
            outer_relu=self.outer_relu,
            mask_share=self.mask_share,
            reconstruction_weight=self.reconstruction_weight,
            random_source=source,
        ).to(device)
        module.standardize(values[learn])
        seen, known = values[learn], codes[learn]

        def watch():
            return module.losses(values[watched], codes[watched])["cross_entropy"]

        self.training_ = train(
            module,
            lambda rows: module.losses(seen[rows], known[rows]),
            shuffled_batches(len(learn), self.batch_size),
            random_source=source,
            watch=watch if len(watched) else None,
            lr=self.lr,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            patience=self.patience if len(watched) else None,
            n_threads=self.n_threads,
            verbose=self.verbose,
            description=type(self).__name__,
            advice="Lower lr.",
        )
        self.module_ = module.cpu()

    def transform(self, X):
        """Put the adapted stream in its own place.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_clips, n_features)
            Features.

        Returns
        -------
        adapted : ndarray of shape (n_clips, n_features)
            Other columns as they were, those of the stream on the scale that they
            came on. float32 stays float32, other numbers become float64.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False, copy=True)
        stream = X[:, self.columns_]
        rows = np.flatnonzero(~np.isnan(stream).any(axis=1))
        adapted = np.full_like(stream, np.nan)
        module = self.module_
        with torch.no_grad():
            for start in range(0, len(rows), _BLOCK):
                block = rows[start : start + _BLOCK]
                values = torch.from_numpy(stream[block].astype(np.float32))
                placed = module(values) * module.scale + module.mean
                adapted[block] = placed.numpy()
        X[:, self.columns_] = adapted
        return X

    def _resolve_stream(self):
        names = getattr(self, "feature_names_in_", None)
        if self.streams is None:
            groups = resolve_streams([self.stream], names, self.n_features_in_)
        elif self.stream not in self.streams:
            raise ValueError(
                f"streams does not say which columns {self.stream!r} has. It names "
                f"{', '.join(map(repr, self.streams)) or 'nothing'}."
            )
        else:
            given = {self.stream: self.streams[self.stream]}
            groups = resolve_streams(given, names, self.n_features_in_)
        return groups[self.stream]

    def _validated(self, X, *, reset, copy=False):
        refuse_clips(self, X)
        refuse_sequences(self, X)
        return validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            copy=copy,
            reset=reset,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
