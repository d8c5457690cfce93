"""AdaptedSpeechEncoder: a frozen speech model with adapters that learn labels."""

import copy
from numbers import Integral, Real
from os import PathLike

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from skmer._pretrained import DTYPES
from skmer.cache import Record
from skmer.clips import ClipEncoder
from skmer.encoders._adapted_frames import FrozenFrames
from skmer.encoders._adapted_run import BLOCK, pool_each
from skmer.encoders._adapted_state import load_module, module_digest, save_module
from skmer.encoders._adapted_training import divide, train_adapters
from skmer.exceptions import MediaError
from skmer.utils import split_labels
from skmer.utils._clip_ids import clip_ids, unit_codes
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import Interval, StrOptions, _fit_context

# Clips whose frames are made and stored before the first goes through the adapters.
_AHEAD = 1024
# Of the 24 blocks of a large model.
_LAYERS = range(16, 22)


class AdaptedSpeechEncoder(ClipEncoder):
    """Encode the sound of clips by a speech model with adapters trained on labels.

    The acoustic adaptation of Zhao et al. [1]_. Small bottlenecks behind some blocks
    of a frozen model, and a weight for each of these blocks, learn to tell the
    classes while a perceptron rebuilds the clip's vector from a part of it. The
    features are that vector: the adapted blocks' outputs averaged over time and
    summed by their weights.

    Features depend on the labels seen in ``fit``. So the encoder belongs into the
    pipeline that is cross-validated: each fold then trains adapters of its own, on
    its own training part alone.

    Parameters
    ----------
    model : str or path
        Folder made by ``save_pretrained``, or id of a HuBERT, WavLM, wav2vec 2.0 or
        data2vec-audio model on the hub.
    layers : int or sequence of int, default=range(16, 22)
        Transformer blocks that get an adapter, counted from 1, -1 being the last. The
        default is for the 24 blocks of large models; for base models, which have 12,
        take ``range(6, 10)``, say.
    read_layer : int, "all" or None, default=None
        Layer whose weight starts at 1, those of the others at 0; they move freely
        from there. Counted as in ``layers``. ``"all"`` starts from the mean of all,
        None from 18 where that is among ``layers``, else from the middle one. Adapters
        behind the layer that is read start to learn when their layer's weight has
        left zero.
    output : {"fused", "masked", "layers"}, default="fused"
        The vector; what the perceptron makes of it, from which classes are told; or
        the adapted layers one after the other.
    variant : {"sound", "paper"}, default="sound"
        ``"sound"`` standardises the vector before the perceptron (by the batch
        in training), hides a share of it in training, and takes what is to be rebuilt
        as given. The equations of the paper, ``"paper"``, do none of this: the error
        is mostly about the few channels of large values that the blocks of large
        models have, and also falls where the vector shrinks.
    adapter_size : int, default=128
        Width of the bottlenecks.
    outer_relu : bool, default=True
        Whether adapters end in a ReLU, as in the paper: then they can only add.
    mask_share : float, default=0.15
        Share of the vector's numbers that is hidden; ``variant="sound"`` only.
    reconstruction_weight : float, default=1.0
        What the error of rebuilding counts beside the cross-entropy.
    use_unlabeled : bool, default=False
        Whether clips without a label take part in the error of rebuilding. By
        default they are not even read in ``fit``: there are often twenty times as
        many, and they teach the adapters nothing about classes.
    crop_seconds : float or None, default=10.0
        Longest part of a clip that is trained on at once, drawn anew in each epoch:
        the memory of a batch grows with it. Features are always of whole clips. None
        takes whole clips in training too.
    lr : float, default=1e-4
        Learning rate of Adam.
    weight_decay : float, default=0.02
        Weight decay.
    batch_size : int, default=16
        Clips of a training step.
    max_epochs : int, default=20
        Passes over the clips.
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
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device : str or list of str, default="auto"
        As for SpeechEncoder; of several, the first trains.
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of the blocks below the first adapter, as for SpeechEncoder.
        The others, and the adapters, run in float32.
    window_seconds : float, default=30.0
        Longer sound goes through the model in windows of equal length.
    max_seconds : float, default=600.0
        A clip whose sound lasts longer is an error.
    max_decode_seconds : float or None, default=300.0
        A clip that takes longer to read is an error, not remembered: processor time,
        or any one wait for the file system. None: no limit.
    n_jobs : int or None, default=None
        Processes that compute, or on a GPU read, for the blocks below the first
        adapter.
    n_threads : int or None, default=None
        Threads of training on the CPU; None: torch's own setting.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, order, crops, masks and split. None takes a fresh
        one from the operating system.
    cache : "default", path or None, default="default"
        Folder of the feature cache. None keeps the frames of all training clips in
        memory while ``fit`` runs.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be read: an error naming it, or a row of
        NaN and one warning; it is not learnt from then.
    verbose : bool, default=False
        Show progress bars.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : skmer.modules.AdaptedLayers
        Adapters, layer weights, perceptron and classifier, on the CPU; the model
        itself is not in it.
    layer_weights_ : dict of int to float
        Weight of each layer.
    training_ : skmer.modules.Training
        Losses of each epoch, which was kept and why training ended; absent after
        ``load_adapters``.
    n_clips_ : int
        Clips that were learnt from, those that were watched included; absent after
        ``load_adapters``.

    See Also
    --------
    SpeechEncoder : The frozen model.
    skmer.alignment.ContrastiveAligner : What comes next in the paper.

    Notes
    -----
    What goes into the first adapted block is computed once for a clip and cached,
    whatever is trained on it: a fold costs the upper blocks only. It is kept in
    float16, 100 kB for a second of sound at width 1024 and 50 frames a second, 37 GB
    for 100 hours (twice that where numbers exceed 65,504). On a GPU, where these
    blocks run in float16 by default, that loses nothing. After float32 it rounds
    each number to 11 bits, which moved no feature by more than 0.3 % of its standard
    deviation over clips of noise, on random models of each family. What ``transform``
    gives is cached too, by the adapters' weights: 4 kB a clip.

    Two parts of the model are loaded: what is below the first adapter, and the blocks
    up to the last one in float32. Dropout of the model stays off, and so do layers it
    would drop at random. The weights of the blocks are shared with every other encoder
    of the process and never change; an encoder pickles as its parameters and adapters,
    15 MB for the defaults and a large model.

    A pipeline's ``fit`` trains adapters anew, also where some were loaded, and so does
    ``cross_val_score``, which clones. To use loaded adapters as they are, put
    ``sklearn.frozen.FrozenEstimator(encoder)`` into the pipeline. What was trained on
    clips that a score is computed on has seen their labels: such a score is too high,
    so load only adapters of other clips than those that are tested.

    A training step on 16 clips takes 1.8 GB for the six blocks of a large HuBERT where
    clips last 5 s and 3.4 GB where they last 10 s, 2.4 and 5.6 GB for WavLM. It took
    half a minute of one CPU core for 5 s: training on thousands of clips needs a GPU.
    There, steps differ in the last digits from run to run; on a CPU fits with a seed
    repeat bit by bit at one number of threads.

    References
    ----------
    .. [1] Z. Zhao et al., "Improving Multimodal Emotion Recognition by Leveraging
       Acoustic Adaptation and Visual Alignment", 2024, section 2.1.
       :arxiv:`2409.05015`. Its features for cross-validation come from adapters
       trained on all clips, test parts included; here each fold has its own.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmer.encoders import AdaptedSpeechEncoder
    >>> from skmer.preprocessing import ModalityImputer
    >>> model = make_pipeline(
    ...     AdaptedSpeechEncoder("TencentGameMate/chinese-hubert-large"),
    ...     ModalityImputer(),  # clips without sound have NaN
    ...     StandardScaler(),
    ...     LogisticRegression(),
    ... )
    >>> model.fit(clips, emotions)  # doctest: +SKIP
    """

    _column = "audio"
    _cache_version = 1
    _parameter_constraints: dict = {
        **ClipEncoder._parameter_constraints,
        "model": [str, PathLike],
        "layers": [Integral, "array-like"],
        "read_layer": [Integral, StrOptions({"all"}), None],
        "output": [StrOptions({"fused", "masked", "layers"})],
        "variant": [StrOptions({"sound", "paper"})],
        "adapter_size": [Interval(Integral, 1, None, closed="left")],
        "outer_relu": ["boolean"],
        "mask_share": [Interval(Real, 0, 1, closed="left")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
        "use_unlabeled": ["boolean"],
        "crop_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "train_split": [Interval(Real, 0, 0.5, closed="right"), None],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "groups": [pd.Series, None],
        "revision": [str, None],
        "device": [str, "array-like"],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "window_seconds": [Interval(Real, 1, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither")],
        "max_decode_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model,
        *,
        layers=_LAYERS,
        read_layer=None,
        output="fused",
        variant="sound",
        adapter_size=128,
        outer_relu=True,
        mask_share=0.15,
        reconstruction_weight=1.0,
        use_unlabeled=False,
        crop_seconds=10.0,
        lr=1e-4,
        weight_decay=0.02,
        batch_size=16,
        max_epochs=20,
        train_split=0.1,
        patience=5,
        groups=None,
        revision=None,
        device="auto",
        dtype="auto",
        window_seconds=30.0,
        max_seconds=600.0,
        max_decode_seconds=300.0,
        n_jobs=None,
        n_threads=None,
        random_state=None,
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.layers = layers
        self.read_layer = read_layer
        self.output = output
        self.variant = variant
        self.adapter_size = adapter_size
        self.outer_relu = outer_relu
        self.mask_share = mask_share
        self.reconstruction_weight = reconstruction_weight
        self.use_unlabeled = use_unlabeled
        self.crop_seconds = crop_seconds
        self.lr = lr
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.train_split = train_split
        self.patience = patience
        self.groups = groups
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.window_seconds = window_seconds
        self.max_seconds = max_seconds
        self.max_decode_seconds = max_decode_seconds
        self.n_threads = n_threads
        self.random_state = random_state
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Train adapters on the labelled clips.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
            As for :meth:`transform`.
        y : array-like of shape (n_clips,)
            Labels; -1 in integers, None or NaN in strings, where a clip has none.

        Returns
        -------
        self : AdaptedSpeechEncoder

        Raises
        ------
        MediaError
            If a clip cannot be read and ``on_error="raise"``.
        ValueError
            If fewer than two classes have a clip with sound, the model lacks a layer
            of ``layers``, ``groups`` lacks a clip, or training diverges.
        """
        cells = self._cells(X)
        if y is None:
            raise ValueError(
                "AdaptedSpeechEncoder requires y to be passed, but the target y is "
                "None. SpeechEncoder needs no labels."
            )
        check_consistent_length(cells, y)
        labelled, self.classes_, codes = split_labels(y)
        wanted = labelled | self.use_unlabeled
        rows = np.array([i for i, c in enumerate(cells) if c is not None and wanted[i]])
        rows = rows.astype(np.int64)
        clips = []
        if len(rows):
            some = [cells[i] for i in rows]
            raising = self.on_error == "raise"
            clips, failures = self._lower().frames(some, raising=raising)
            self._complain_of(failures, len(some), "are not learnt from")
            rows = rows[[clip is not None for clip in clips]]
            clips = [clip for clip in clips if clip is not None]
        codes = codes[rows]
        n_classes = len(np.unique(codes[codes >= 0]))
        if n_classes < 2:
            raise ValueError(
                "AdaptedSpeechEncoder needs clips of at least two classes that have "
                f"sound to learn from. Got {int((codes >= 0).sum())} labelled clips "
                f"with sound of {n_classes} classes, in n_samples={len(cells)}."
            )
        ids = clip_ids(X)
        ids = None if ids is None else ids[rows]
        units = unit_codes(ids, self.groups, len(rows))
        self.n_clips_ = len(rows)
        self._learn(clips, codes, units)
        return self

    def _learn(self, clips, codes, units):
        """Train adapters on frames."""
        from skmer.modules import RandomSource

        seed = draw_seeds(self.random_state, 1)[0]
        module = self._new_module(len(self.classes_), RandomSource(seed))
        longest = None
        if self.crop_seconds is not None:
            longest = max(1, round(self.crop_seconds * self._lower().rate))
        self.training_ = train_adapters(
            module.to(self._device()),
            self._blocks(),
            clips,
            codes,
            divide(codes, units, self.train_split, seed),
            batch_size=self.batch_size,
            longest=longest,
            patience=self.patience,
            lr=self.lr,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            n_threads=self.n_threads,
            verbose=int(self.verbose),
            description=type(self).__name__,
            advice="Lower lr.",
        )
        self._keep(module.cpu())

    def _keep(self, module):
        """Make a module what was fitted."""
        self.module_ = module
        weights = module.layer_weights.tolist()
        self.layer_weights_ = dict(zip(module.layers, weights, strict=True))
        self._digest = module_digest(module)

    def save_adapters(self, path):
        """Write what was fitted as safetensors.

        Parameters
        ----------
        path : str or path
            The file: adapters, layer weights, perceptron, classifier and the names
            of the classes, but not the model.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.
        """
        check_is_fitted(self)
        save_module(self, path)

    def load_adapters(self, path):
        """Load what :meth:`save_adapters` wrote, in place of fitting.

        ``fit`` trains anew whatever was loaded, and so does that of a pipeline:
        ``FrozenEstimator(encoder)`` of ``sklearn.frozen`` keeps it there.

        Parameters
        ----------
        path : str or path
            The file. Its adapters must have been made with the same ``layers``,
            ``adapter_size``, ``outer_relu``, ``variant`` and ``window_seconds``.

        Returns
        -------
        self : AdaptedSpeechEncoder

        Raises
        ------
        ValueError
            If the file is of something else or damaged, or of adapters that were made
            with other parameters.

        Warns
        -----
        UserWarning
            If the adapters were trained on a model of other weights.
        """
        self._validate_params()
        module, self.classes_ = load_module(self, path)
        for name in ("training_", "n_clips_"):
            if hasattr(self, name):
                delattr(self, name)
        self._keep(module)
        return self

    def _new_module(self, n_classes, source=None):
        """Return adapters and what trains them, not trained."""
        from skmer.modules import AdaptedLayers

        sound = self.variant == "sound"
        layers = self._adapted_layers()
        return AdaptedLayers(
            self._lower()._speech_model().width,
            layers,
            n_classes,
            adapter_size=self.adapter_size,
            outer_relu=self.outer_relu,
            read_layer=self._first_read(layers),
            standardize=sound,
            mask_share=self.mask_share if sound else 0.0,
            frozen_target=sound,
            reconstruction_weight=self.reconstruction_weight,
            random_source=source,
        )

    def _first_read(self, layers):
        """Return the layer whose weight starts at one, or "all"."""
        if self.read_layer == "all":
            return "all"
        if self.read_layer is None:
            return 18 if 18 in layers else layers[(len(layers) - 1) // 2]
        read = int(self.read_layer)
        read = read if read > 0 else read + self._n_blocks() + 1
        if read not in layers:
            raise ValueError(
                f"read_layer must be one of layers ({layers}; -1 being block "
                f"{self._n_blocks()}), 'all' or None. Got {self.read_layer!r}."
            )
        return read

    def _n_blocks(self):
        return self._whole()._speech_model().n_layers

    def _adapted_layers(self):
        """Return the blocks that get an adapter, ascending."""
        n_blocks = self._n_blocks()
        single = isinstance(self.layers, Integral)
        asked = [self.layers] if single else list(self.layers)
        found = {
            int(layer) if layer > 0 else int(layer) + n_blocks + 1
            for layer in asked
            if isinstance(layer, Integral) and not isinstance(layer, bool)
        }
        known = found <= set(range(1, n_blocks + 1))
        if not asked or len(found) < len(asked) or not known:
            advice = ""
            if isinstance(self.layers, range) and self.layers == _LAYERS:
                first = max(1, n_blocks // 2)
                some = range(first, first + max(1, n_blocks // 3))
                advice = (
                    f" The default is for large models; for {n_blocks} blocks for "
                    f"example {some}."
                )
            raise ValueError(
                f"layers must name blocks from 1 to {n_blocks}, the number that "
                f"{self.model} has, at least one and none twice. Got "
                f"{self.layers!r}.{advice}"
            )
        return sorted(found)

    def _lower(self, layers=None):
        """Return the encoder of what goes into the first adapted block."""
        layers = self._adapted_layers() if layers is None else layers
        return self._whole(layers=layers[0] - 1)

    def _whole(self, **params):
        return FrozenFrames(
            self.model,
            pooling=None,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            window_seconds=self.window_seconds,
            max_seconds=self.max_seconds,
            max_decode_seconds=self.max_decode_seconds,
            n_jobs=self.n_jobs,
            cache=self.cache,
            on_error="nan",
            verbose=self.verbose,
            **params,
        )

    def _device(self):
        """Return the device that adapters run on."""
        return self._whole()._devices()[0]

    def _blocks(self, layers=None):
        """Return the frozen blocks from the first adapted one to the last."""
        from skmer.modules import FrozenBlocks

        layers = self._adapted_layers() if layers is None else layers
        depth = None if layers[-1] == self._n_blocks() else layers[-1]
        speech, device = self._whole()._speech_model(), self._device()
        backbone = speech.backbone(
            depth, device=device, dtype="float32", attn_implementation=None
        )
        return FrozenBlocks(backbone.model, layers[0], layers[-1])

    def _feature_names(self):
        width = self._whole()._speech_model().width
        if self.output == "layers":
            fitted = hasattr(self, "module_")
            layers = self.module_.layers if fitted else self._adapted_layers()
            return [f"layer{layer}_{i}" for layer in layers for i in range(width)]
        return [f"{'h' if self.output == 'fused' else 'm'}{i}" for i in range(width)]

    def _key_params(self):
        layers = self.module_.layers
        return {
            "frames": self._lower(layers)._namespace().hex(),
            "adapters": self._digest,
            "layers": layers,
            "outer_relu": self.module_.outer_relu,
            "output": self.output,
        }

    def _extract(self, X, *, raising):
        check_is_fitted(self)
        return super()._extract(X, raising=raising)

    def _encode(self, cells):
        """Encode a batch, as the template has it."""
        done = self._results(cells, lambda: False)
        return [result for _, results in done for result in results]

    def _results(self, cells, stop):
        """Encode clips block by block, yield what is done."""
        module, device = self.module_, self._device()
        blocks, lower = self._blocks(module.layers), self._lower(module.layers)
        if device != "cpu":
            module = copy.deepcopy(module).to(device)
        # Without a cache, no more frames are held than go on at once.
        ahead = _AHEAD if lower._store().writable else BLOCK
        for begin in range(0, len(cells), ahead):
            if stop():
                return
            some = cells[begin : begin + ahead]
            clips, failures = lower.frames(some, raising=False)
            failed = {f.position: _NotRead(f.clip, f.stage, f.reason) for f in failures}
            for start in range(0, len(some), BLOCK):
                if stop():
                    return
                numbers = range(start, min(start + BLOCK, len(some)))
                there = [i for i in numbers if clips[i] is not None]
                pooled = pool_each(module, blocks, [clips[i] for i in there], device)
                done = dict(zip(there, map(self._record, pooled), strict=True))
                yield (
                    [begin + i for i in numbers],
                    [done.get(i, failed.get(i, Record("missing"))) for i in numbers],
                )

    def _record(self, pooled):
        """Return the record of a clip, or the error that there is none for."""
        import torch

        if isinstance(pooled, Exception):
            return pooled
        if self.output != "layers":
            with torch.inference_mode():
                _, parts = self.module_(torch.from_numpy(pooled)[None])
            pooled = parts["fused" if self.output == "fused" else "rebuilt"].numpy()
        return Record("ok", {"values": pooled.reshape(-1)})

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        tags.target_tags.required = True
        return tags


class _NotRead(MediaError, OSError):
    """A clip that could not be read; what is below remembers it where it may be."""
