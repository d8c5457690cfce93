"""Words of a clip to features."""

from functools import lru_cache
from numbers import Integral
from os import PathLike

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from skmer.cache import Record
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
from skmer.encoders._text_states import TextJob, with_bytes
from skmer.utils._sklearn import Interval, StrOptions


class TextEncoder(PretrainedEncoder):
    """Encode the words of clips.

    Parameters
    ----------
    model : "hashing", str or path, default="hashing"
        ``"hashing"``: signed hashed counts of words and of character n-grams
        (Weinberger et al., 2009), nothing to download and nothing learned. Half of
        the features count words and pairs of words, half the character 1- to
        4-grams within words, which also serves languages written without spaces;
        each half has unit length.

        Anything else is a language model of transformers: a folder made by
        ``save_pretrained``, or the id of a model on the hub, such as
        ``"hfl/chinese-roberta-wwm-ext-large"``. Encoders like BERT (RoBERTa,
        XLM-RoBERTa, MacBERT, ELECTRA...) and decoders (Qwen, Llama...) give their
        hidden states. What the hub's local cache holds is used without asking the
        network.
    n_features : int, default=1024
        Number of features of ``"hashing"``, an even number. Fewer features collide
        more often. All parameters below are for models.
    layers : int, "last", "all" or sequence of int, default="last"
        Transformer blocks counted from 1, which is the index into transformers'
        ``hidden_states``; 0 is the input of the first block, -1 or ``"last"`` the
        last block, ``"all"`` all blocks from 1 on. Values are the raw output of the
        block, but for the last block of a decoder, which transformers gives after
        the final normalisation.
    layer_pooling : {"mean", "sum", "concat"}, default="mean"
        How several layers become one vector.
    pooling : {"mean", "mean_std"}, int or None, default="mean"
        Average over the tokens of the text, mean and standard deviation, averages
        over that many equal parts of the text, or, for None, sequences of tokens.
        Special tokens and padding are left out.
    max_length : int, default=512
        Tokens, special ones included, that go through the model in one piece. A
        longer text, and one that is longer than the model's own limit, is cut into
        the fewest windows of like length, which do not see each other; the tokens
        of all windows are pooled together.
    preset : {"mertools"} or None, default=None
        ``"mertools"`` takes the place of ``layers`` and ``layer_pooling`` by those
        of the MERTools baselines: the sum of the last four hidden states.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device : str or list of str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` is
        ``skmer.get_config()["device"]``, by default a GPU if there is one. A list,
        such as ``["cuda:0", "cuda:1"]``, runs the model on each.
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format the model runs in; ``"auto"`` is
        ``skmer.get_config()["dtype"]``, by default float16 on a GPU and float32
        elsewhere. Features are float32.
    cache_layers : {"asked", "all"}, default="asked"
        The cache holds all layers that were computed, one record a text whatever
        ``layers`` and ``layer_pooling`` are. ``"asked"`` stops the model at the
        highest layer asked for; a later call that asks for a higher one computes
        the text again. ``"all"`` runs to the end once: for searches over layers.
    trust_remote_code : bool, default=False
        Run Python files that come with the model.
    attn_implementation : str or None, default=None
        As for ``from_pretrained``; None leaves it to transformers, which takes SDPA
        where the model has it.
    compile : bool, default=False
        Compile the blocks of the model by ``torch.compile``; worth its minute where
        many thousand texts follow.
    device_map : str, dict or None, default=None
        As for ``from_pretrained``, in place of ``device``: spreads a model over
        several GPUs, or over GPU and main memory, that no single one holds, such as
        a decoder of 13 billion parameters. ``"auto"`` fits it to what there is.
        Needs the extra ``llm``.
    n_jobs : int or None, default=None
        On the CPU, worker processes, each with a model of its own; None is one
        unless a joblib context says otherwise. With other devices, or a list of
        them, only dask and Ray have any use for it.
    batch_size : int or "auto", default="auto"
        Texts that go through the model at once; on the CPU also the clips of a
        task. ``"auto"``: on a GPU texts of like length, up to 16,384 tokens
        together (fewer for wide models, and after memory has run out); on the CPU
        one text, which is faster there, and 16 clips a task.
    cache : "default", path or None, default="default"
        Folder of the feature cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be encoded: an error, or a row of NaN and
        one warning. With ``"nan"``, X without any words is a warning as well.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    skmer.clips.ClipTable : Reads the words from files beside the clips.

    Notes
    -----
    A clip without words (None, NaN, nothing but white space, nothing that the
    model's tokenizer knows as a token) gives a row of NaN, where MERTools has zeros.

    A model is loaded at the first use and shared by all encoders of the process; an
    encoder pickles as its parameters alone. Weights are read from safetensors, or
    from a pickle with ``weights_only=True`` and a notice. The cache knows a hub
    model by its commit and a folder by the digest of its files.

    References
    ----------
    K. Weinberger, A. Dasgupta, J. Langford, A. Smola and J. Attenberg (2009).
    Feature hashing for large scale multitask learning. ICML.

    J. Devlin, M.-W. Chang, K. Lee and K. Toutanova (2019). BERT: pre-training of
    deep bidirectional transformers for language understanding. NAACL.

    Z. Lian et al. (2024). MERBench: a unified evaluation benchmark for multimodal
    emotion recognition. arXiv:2401.03429.

    Examples
    --------
    >>> from skmer.encoders import TextEncoder
    >>> features = TextEncoder(cache=None).fit_transform(["so happy!", None])
    >>> features.shape, features.dtype
    ((2, 1024), dtype('float32'))

    >>> encoder = TextEncoder("hfl/chinese-roberta-wwm-ext-large", preset="mertools")
    >>> features = encoder.fit_transform(clips)  # doctest: +SKIP
    """

    _column = "text"
    _built_in = "hashing"
    _auto_batch_size = 16
    _parameter_constraints: dict = {
        "model": [str, PathLike],
        "n_features": [Interval(Integral, 2, 2**24, closed="left")],
        "layers": LAYERS,
        "layer_pooling": LAYER_POOLING,
        "pooling": POOLING,
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "preset": [StrOptions({"mertools"}), None],
        "cache_layers": CACHE_LAYERS,
        "device_map": [str, dict, None],
        **PretrainedEncoder._parameter_constraints,
    }

    def __init__(
        self,
        model="hashing",
        *,
        n_features=1024,
        layers="last",
        layer_pooling="mean",
        pooling="mean",
        max_length=512,
        preset=None,
        revision=None,
        device="auto",
        dtype="auto",
        cache_layers="asked",
        trust_remote_code=False,
        attn_implementation=None,
        compile=False,
        device_map=None,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.n_features = n_features
        self.layers = layers
        self.layer_pooling = layer_pooling
        self.pooling = pooling
        self.max_length = max_length
        self.preset = preset
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.cache_layers = cache_layers
        self.trust_remote_code = trust_remote_code
        self.attn_implementation = attn_implementation
        self.compile = compile
        self.device_map = device_map
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _validate_params(self):
        super()._validate_params()
        if self.n_features % 2:
            raise ValueError(
                "The 'n_features' parameter of TextEncoder must be even: one half "
                f"counts words, the other characters. Got {self.n_features} instead."
            )

    def _devices(self):
        if self.device_map is not None and not isinstance(self.device, str):
            raise ValueError(
                f"device_map={self.device_map!r} says where the parts of one model "
                f"go, device={self.device!r} runs a model on each: give one of them."
            )
        return super()._devices()

    def _text_config(self):
        config = self._config()
        parts = ("num_hidden_layers", "hidden_size", "vocab_size")
        speech = hasattr(config, "conv_kernel")  # the likes of HuBERT
        whole = all(hasattr(config, part) for part in parts)
        if config.is_encoder_decoder or speech or not whole:
            raise ValueError(
                f"{self.model} is a model of type {config.model_type!r}. TextEncoder "
                "takes encoders like BERT and decoders like Qwen and Llama."
            )
        return config

    def _states(self):
        """Return the states asked for and how they are put together."""
        n_layers = self._text_config().num_hidden_layers
        if self.preset == "mertools":
            states, together = last_four(self.model, n_layers), "sum"
        else:
            states = resolve_layers(self.layers, n_layers)
            together = self.layer_pooling
        # Transformers gives the last one normalised or not, but in either place.
        return [n_layers if s == "last" else s for s in states], together

    def _feature_names(self):
        if self._is_built_in:
            return [str(i) for i in range(self.n_features)]
        if self.pooling is None:
            return ["tokens"]
        width = self._text_config().hidden_size
        return layered_names(width, *self._states(), self.pooling)

    def _sequence_columns(self):
        sequences = self.pooling is None and not self._is_built_in
        return ["values"] if sequences else None

    def _key_params(self):
        if self._is_built_in:
            return {"model": self.model, "n_features": self.n_features}
        key = self._model_key()
        key["pooling"] = self.pooling
        key["max_length"] = int(self.max_length)
        if self.pooling is None:
            # Sequences of all layers would be too large to keep.
            key["layers"], key["layer_pooling"] = self._states()
        return key

    @property
    def _reduce(self):
        return None if self._is_built_in else self._rows

    def _rows(self, arrays):
        return combine(arrays, *self._states(), n_pooled(self.pooling))

    def _is_enough(self, arrays):
        if self._is_built_in or self.pooling is None:
            return True
        return holds(arrays, self._states()[0])

    def _encode(self, cells):
        if self._is_built_in:
            return self._hash([with_bytes(cell) for cell in cells])
        return super()._encode(cells)

    def _job(self):
        states, together = self._states()
        n_layers = self._text_config().num_hidden_layers
        cached = "asked" if self.pooling is None else self.cache_layers
        depth = depth_needed(states, n_layers, cached)
        return TextJob(
            self._loader(
                device_map=self.device_map,
                n_layers=self._blocks_to_load(depth, n_layers),
            ),
            self._devices()[0],
            self._processor("AutoTokenizer"),
            n_states=1 + (n_layers if depth is None else depth),
            states=states,
            max_length=self.max_length,
            pooling=self.pooling,
            batch_size=self.batch_size,
            layer_pooling=together,
        )

    def _blocks_to_load(self, depth, n_layers):
        # Models of the BERT kind, which alone know types of tokens, end in a block.
        # Others normalise the last state, so that one more block is needed to see
        # what the one asked for gave.
        if depth is None or hasattr(self._text_config(), "type_vocab_size"):
            return depth
        return None if depth + 1 == n_layers else depth + 1

    def _hash(self, cells):
        halves = [
            vectorizer.transform(cells).toarray()
            for vectorizer in _vectorizers(self.n_features // 2)
        ]
        rows = np.hstack(halves, dtype=np.float32)
        return [Record("ok", {"values": row}) for row in rows]


@lru_cache(maxsize=8)
def _vectorizers(n_features):
    common = {"n_features": n_features, "dtype": np.float32, "norm": "l2"}
    return (
        HashingVectorizer(
            analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common
        ),
        HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), **common),
    )
