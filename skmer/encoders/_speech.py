"""SpeechEncoder: hidden states of pretrained speech models."""

from numbers import Real
from os import PathLike

from skmer.encoders._layers import (
    CACHE_LAYERS,
    LAYER_POOLING,
    LAYERS,
    combine,
    depth_needed,
    holds,
    last_four,
    layered_names,
    n_pooled,
    resolve_layers,
)
from skmer.encoders._pooling import POOLING
from skmer.encoders._pretrained import PretrainedEncoder
from skmer.encoders._speech_model import SpeechJob, SpeechModel
from skmer.utils._sklearn import Interval, StrOptions

_MERTOOLS_SECONDS = 10.0


class SpeechEncoder(PretrainedEncoder):
    """Encode the sound of clips by hidden states of a pretrained speech model.

    HuBERT, WavLM, wav2vec 2.0, data2vec-audio and the encoder of Whisper, loaded
    through transformers from a folder or the hub. Frames are pooled over time, layer
    by layer; the layers that are asked for are then put together.

    Parameters
    ----------
    model : str or path
        Folder made by ``save_pretrained``, or id of a model on the hub such as
        ``"microsoft/wavlm-large"``. What the hub's local cache holds is used
        without asking the network.
    layers : int, "last", "all" or sequence of int and "last", default="last"
        Transformer blocks counted from 1, which is the index into transformers'
        ``hidden_states``; 0 is the input of the first block, -1 the last block, and
        ``"all"`` all blocks from 1 on. Layer i is the raw output of block i.
        ``"last"`` is ``last_hidden_state``: the output of the last block, normalised
        where the model does that (Whisper, and models with
        ``do_stable_layer_norm`` such as the large HuBERT and WavLM).
    layer_pooling : {"mean", "sum", "concat"}, default="mean"
        How several layers become one vector.
    pooling : {"mean", "mean_std"}, int or None, default="mean"
        Average over time, mean and standard deviation, averages over that many
        equal parts of the clip, or, for None, sequences of frames.
    preset : {"mertools"} or None, default=None
        ``"mertools"`` follows the features of the MERTools baselines and takes the
        place of ``layers``, ``layer_pooling`` and ``window_seconds``: the sum of
        the last three blocks but one and the last hidden state (21, 22, 23 and
        ``"last"`` of 24 blocks); sound above 10 s in windows of 10 s of which the
        last is filled up with zeros that enter the mean.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device : str or list of str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` is
        ``skmer.get_config()["device"]``, by default a GPU if there is one. A list,
        such as ``["cuda:0", "cuda:1"]``, runs the model on each.
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format the model runs in; ``"auto"`` is
        ``skmer.get_config()["dtype"]``, by default float16 on a GPU and float32
        elsewhere. Pooling is in float64 and the features are float32.
    window_seconds : float, default=30.0
        Longer sound goes through the model in windows of equal length, none longer
        than this (nor, for Whisper, than its own window). All frames are pooled
        together.
    cache_layers : {"asked", "all"}, default="asked"
        The cache holds all layers that were computed, one record a clip whatever
        ``layers`` and ``layer_pooling`` are. ``"asked"`` stops the model at the
        highest layer asked for; a later call that asks for a higher one computes
        the clip again. ``"all"`` runs to the end once: for searches over layers.
    max_seconds : float, default=600.0
        A clip whose sound lasts longer is an error.
    max_decode_seconds : float or None, default=300.0
        A clip that takes longer to read is an error, not remembered: processor time,
        or any one wait for the file system. None: no limit.
    trust_remote_code : bool, default=False
        Run Python files that come with the model.
    attn_implementation : str or None, default=None
        As for ``from_pretrained``; None leaves it to transformers, which takes SDPA
        where the model has it (WavLM has not).
    compile : bool, default=False
        Compile the blocks of the model by ``torch.compile``; worth its minute where
        many thousand clips follow.
    n_jobs : int or None, default=None
        On the CPU, worker processes, each with a model of its own; None is one
        unless a joblib context says otherwise. On other devices, and for a list of
        them, the processes that read clips ahead of the model; None is then one a
        core. With dask or ray, workers do both.
    batch_size : int or "auto", default="auto"
        Windows that go through the model at once; on the CPU also the clips of a
        task. ``"auto"``: on a GPU windows of like length, 320 s of sound together,
        fewer after memory has run out; on the CPU one window, which is faster there,
        and four clips a task.
    cache : "default", path or None, default="default"
        Folder of the feature cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be read: an error naming it, or a row of
        NaN and one warning. With ``"nan"``, X without any sound is a warning too.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    AcousticEncoder : Functionals of the sound, without a model.

    Notes
    -----
    Padding never enters a pooled value, except with the preset. Models that
    normalise their convolutions over groups (the base models of HuBERT, WavLM and
    wav2vec 2.0) and data2vec would let padding into real frames: they run sounds
    of unequal length one by one. Whisper models run on their fixed window; only the
    frames of the sound itself are pooled. Sound shorter than one frame is filled up
    to one with zeros, and a clip without sound gives a row of NaN.

    A model is loaded at the first use and shared by all encoders of the process; an
    encoder pickles as its parameters alone. Weights are read from safetensors, or
    from a pickle with ``weights_only=True`` and a notice. The cache knows a hub
    model by its commit and a folder by the digest of its files.

    Raw outputs of blocks of the large models have a few channels of large values:
    standardise features before a classifier.

    References
    ----------
    W.-N. Hsu et al. (2021). HuBERT: self-supervised speech representation learning
    by masked prediction of hidden units. IEEE/ACM TASLP 29.

    S. Chen et al. (2022). WavLM: large-scale self-supervised pre-training for full
    stack speech processing. IEEE JSTSP 16(6).

    A. Baevski et al. (2020). wav2vec 2.0: a framework for self-supervised learning
    of speech representations. NeurIPS.

    A. Baevski et al. (2022). data2vec: a general framework for self-supervised
    learning in speech, vision and language. ICML.

    A. Radford et al. (2023). Robust speech recognition via large-scale weak
    supervision. ICML.

    Z. Lian et al. (2024). MERBench: a unified evaluation benchmark for multimodal
    emotion recognition. arXiv:2401.03429.

    Examples
    --------
    >>> from skmer.encoders import SpeechEncoder
    >>> encoder = SpeechEncoder(
    ...     "TencentGameMate/chinese-hubert-large", layers=range(16, 22)
    ... )
    >>> features = encoder.fit_transform(clips)  # doctest: +SKIP
    """

    _column = "audio"
    _cache_version = 1
    _parameter_constraints: dict = {
        "model": [str, PathLike],
        "layers": LAYERS,
        "layer_pooling": LAYER_POOLING,
        "pooling": POOLING,
        "preset": [StrOptions({"mertools"}), None],
        "window_seconds": [Interval(Real, 1, None, closed="left")],
        "cache_layers": CACHE_LAYERS,
        "max_seconds": [Interval(Real, 0, None, closed="neither")],
        "max_decode_seconds": [Interval(Real, 0, None, closed="neither"), None],
        **PretrainedEncoder._parameter_constraints,
    }

    def __init__(
        self,
        model,
        *,
        layers="last",
        layer_pooling="mean",
        pooling="mean",
        preset=None,
        revision=None,
        device="auto",
        dtype="auto",
        window_seconds=30.0,
        cache_layers="asked",
        max_seconds=600.0,
        max_decode_seconds=300.0,
        trust_remote_code=False,
        attn_implementation=None,
        compile=False,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.layers = layers
        self.layer_pooling = layer_pooling
        self.pooling = pooling
        self.preset = preset
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.window_seconds = window_seconds
        self.cache_layers = cache_layers
        self.max_seconds = max_seconds
        self.max_decode_seconds = max_decode_seconds
        self.trust_remote_code = trust_remote_code
        self.attn_implementation = attn_implementation
        self.compile = compile
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _speech_model(self):
        mertools = self.preset == "mertools"
        return SpeechModel(
            self.model,
            self.revision,
            self.trust_remote_code,
            _MERTOOLS_SECONDS if mertools else self.window_seconds,
            mertools,
        )

    def _states(self, n_layers):
        """Return the states asked for and how they are put together."""
        if self.preset == "mertools":
            return last_four(self.model, n_layers), "sum"
        return resolve_layers(self.layers, n_layers), self.layer_pooling

    def _feature_names(self):
        if self.pooling is None:
            return ["frames"]
        speech = self._speech_model()
        states, together = self._states(speech.n_layers)
        return layered_names(speech.width, states, together, self.pooling)

    def _sequence_columns(self):
        return ["values"] if self.pooling is None else None

    def _key_params(self):
        mertools = self.preset == "mertools"
        key = {
            **self._model_key(),
            "pooling": self.pooling,
            "preset": self.preset,
            "window_seconds": None if mertools else float(self.window_seconds),
            "max_seconds": float(self.max_seconds),
        }
        if self.pooling is None:
            # Sequences of all layers would be too large to keep.
            key["layers"], key["layer_pooling"] = self._states(
                self._speech_model().n_layers
            )
        return key

    def _reduce(self, arrays):
        states, together = self._states(self._speech_model().n_layers)
        return combine(arrays, states, together, n_pooled(self.pooling))

    def _is_enough(self, arrays):
        if self.pooling is None:
            return True
        return holds(arrays, self._states(self._speech_model().n_layers)[0])

    @property
    def _limits(self):
        """What reading a clip may take."""
        return {
            "max_seconds": self.max_seconds,
            "max_decode_seconds": self.max_decode_seconds,
        }

    def _job(self):
        speech = self._speech_model()
        states, together = self._states(speech.n_layers)
        cached = "asked" if self.pooling is None else self.cache_layers
        return SpeechJob(
            speech,
            states=states,
            depth=depth_needed(states, speech.n_layers, cached),
            limits=self._limits,
            loading=self._loading,
            pooling=self.pooling,
            batch_size=self.batch_size,
            layer_pooling=together,
        )
