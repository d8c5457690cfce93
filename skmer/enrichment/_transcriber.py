"""Transcriber: the words of clips by automatic speech recognition."""

from numbers import Integral, Real
from os import PathLike

import numpy as np

from skmer._config import get_config
from skmer._pretrained import (
    DTYPES,
    load_backbone,
    load_config,
    load_processor,
    model_identity,
    resolve_device,
    resolve_dtype,
)
from skmer.cache import Record
from skmer.clips import ClipEncoder
from skmer.clips._cells import COLUMNS
from skmer.clips._table import clip_columns, clip_frame
from skmer.enrichment._whisper import Writer, language_token
from skmer.exceptions import MediaError
from skmer.media import read_audio
from skmer.utils._sklearn import Interval, StrOptions, _fit_context

_GPU_BATCH = 16
# Texts looked up at a time.
_LOOKUP = 4096
# One step of 16-bit sound: below it there is nothing to hear, and Whisper would
# make up words.
_SILENCE = 2.0**-15
_OVERFLOW = (
    "the model's numbers overflow. In float16 large values do: set dtype='bfloat16' or "
    "'float32'"
)


class Transcriber(ClipEncoder):
    """Fill in the words of clips that have none, by a Whisper model.

    Takes the clips and gives the table that :class:`~skmer.clips.ClipTable` gives,
    with ``text`` where it was missing. It stands between ``ClipTable`` and the
    encoders, or in the place of ``ClipTable``. A clip that has text keeps it.

    Parameters
    ----------
    model : str or path
        Folder made by ``save_pretrained``, or id of a Whisper model on the hub such
        as ``"openai/whisper-large-v3-turbo"``. What the hub's local cache holds is
        used without asking the network.
    language : str or None, default=None
        What is spoken: a code (``"zh"``) or an English name (``"chinese"``). None
        is what the model's generation config says, else it is detected clip by
        clip, which takes another pass of the encoder. Models that know English only
        take None.
    overwrite : bool, default=False
        Give every clip the text that is heard in its sound, and None where nothing
        is, whatever text it has.
    num_beams : int, default=1
        Width of the beam search; 1 takes the likeliest token at each step.
    max_new_tokens : int or None, default=None
        Longest text of one window (30 s) in tokens; None is the model's own limit.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` is
        ``skmer.get_config()["device"]``, by default a GPU if there is one.
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format the model runs in; ``"auto"`` is
        ``skmer.get_config()["dtype"]``, by default float16 on a GPU and float32
        elsewhere.
    max_seconds : float, default=600.0
        A clip whose sound lasts longer is an error.
    max_decode_seconds : float or None, default=300.0
        A clip that takes longer to read is an error, not remembered: processor time,
        or any one wait for the file system. None: no limit.
    trust_remote_code : bool, default=False
        Run Python files that come with the model.
    n_jobs : int or None, default=None
        Worker processes, each with a model of its own. None is one unless a joblib
        context says otherwise.
    batch_size : int or "auto", default="auto"
        Clips that one task transcribes, and that the model hears at once. ``"auto"``
        is 16 on a GPU; on a CPU four clips a task, heard one by one.
    cache : "default", path or None, default="default"
        Folder of the cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be read: an error naming it, or a missing
        text and one warning with their number.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    skmer.clips.ClipTable : Reads transcripts from files beside the clips.
    skmer.encoders.TextEncoder : Encodes the words.

    Notes
    -----
    Texts are those of ``WhisperForConditionalGeneration.generate`` with
    ``task="transcribe"`` on the features of the model's own feature extractor,
    decoded without special tokens and without white space around them. Nothing is
    sampled. Sound longer than the model's window (30 s) is transcribed piece by
    piece by that method's sequential algorithm, each piece beginning at the last
    time stamp of the one before; its language is that of the first window.

    A clip without sound, one that is silent (nothing above one step of 16-bit sound)
    and one in which the model hears no words have no text, which is no error. In noise
    or music Whisper models sometimes hear words that nobody said.

    A text depends on its clip alone. Numbers of a batch differ from those of a
    single clip by rounding; where two words are all but equally likely, that could
    tip the scale: ``batch_size=1`` rules it out.

    A model is loaded at the first use and shared by the whole process; a transcriber
    pickles as its parameters alone, and where every clip has text no model is looked
    for. The cache holds the text of each clip by the content of its file.

    References
    ----------
    A. Radford et al. (2023). Robust speech recognition via large-scale weak
    supervision. ICML.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmer.enrichment import Transcriber
    >>> clips = pd.DataFrame({"video": ["a.mp4"], "text": ["so glad"]}, index=["a"])
    >>> transcriber = Transcriber("openai/whisper-small", language="english")
    >>> transcriber.fit_transform(clips)
       video  audio     text
    a  a.mp4  a.mp4  so glad
    """

    _column = "audio"
    _cache_version = 1
    _parameter_constraints: dict = {
        "model": [str, PathLike],
        "language": [str, None],
        "overwrite": ["boolean"],
        "num_beams": [Interval(Integral, 1, None, closed="left")],
        "max_new_tokens": [Interval(Integral, 1, None, closed="left"), None],
        "revision": [str, None],
        "device": [str],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "max_seconds": [Interval(Real, 0, None, closed="neither")],
        "max_decode_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "trust_remote_code": ["boolean"],
        **ClipEncoder._parameter_constraints,
    }

    def __init__(
        self,
        model,
        *,
        language=None,
        overwrite=False,
        num_beams=1,
        max_new_tokens=None,
        revision=None,
        device="auto",
        dtype="auto",
        max_seconds=600.0,
        max_decode_seconds=300.0,
        trust_remote_code=False,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.language = language
        self.overwrite = overwrite
        self.num_beams = num_beams
        self.max_new_tokens = max_new_tokens
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.max_seconds = max_seconds
        self.max_decode_seconds = max_decode_seconds
        self.trust_remote_code = trust_remote_code
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check X; nothing is learned and nothing is decoded.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of paths, or DataFrame, of length n_clips
            As for :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        self : Transcriber

        Raises
        ------
        ValueError
            If no clip has sound or text and ``on_error="raise"``, or the model does
            not know the language.
        """
        columns, _ = clip_columns(X, type(self).__name__)
        kept = [] if self.overwrite else columns["text"]
        if all(cell is None for cell in [*columns["audio"], *kept]):
            self._complain_all_missing(len(columns["audio"]))
        elif self.language is not None and any(self._heard(columns)):
            self._language()
        return self

    def fit_transform(self, X, y=None):
        """Fit to X and transform it.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of paths, or DataFrame, of length n_clips
            As for :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        table : DataFrame of shape (n_clips, 3)
            As :meth:`transform` returns it.
        """
        return self.fit(X, y).transform(X)

    def transform(self, X):
        """Transcribe clips that have no text, reading from the cache what is there.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of paths, or DataFrame, of length n_clips
            Clips, as :meth:`skmer.clips.ClipTable.transform` takes them. In a frame
            the cells of ``video`` and ``audio`` are paths, those of ``text`` words;
            None or NaN where a clip has none. Sound is read from ``audio``, where
            that is missing from ``video``.

        Returns
        -------
        table : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` and ``text``, of dtype object, with str or
            None in every cell; rows in the order of X and with its index, or with
            the paths as index.

        Raises
        ------
        MediaError
            If a clip cannot be read and ``on_error="raise"``. What was transcribed
            before it stays in the cache.
        OSError
            If the model is not to be found; the message says how to get it.
        TypeError
            If X is no sequence of clips or a cell is neither path nor missing.
        ValueError
            If X is empty or a frame with none of the three columns, or the model is
            no Whisper model or does not know the language.
        """
        texts, failures = self._extract(X, raising=self.on_error == "raise")
        self._complain_of(failures, len(texts), "have no text")
        columns, index = clip_columns(X, type(self).__name__)
        if not self.overwrite:
            texts = [
                given if given is not None else text
                for given, text in zip(columns["text"], texts, strict=True)
            ]
        return clip_frame(columns | {"text": texts}, index)

    def _extract(self, X, *, raising):
        self._validate_params()
        cells = self._cells(X)
        if not any(cells):
            return [None] * len(cells), []
        return super()._extract(X, raising=raising)

    def _cells(self, X):
        return self._heard(clip_columns(X, type(self).__name__)[0])

    def _heard(self, columns):
        """Return the files whose sound is transcribed, None for other clips."""
        if self.overwrite:
            return columns["audio"]
        return [
            sound if text is None else None
            for sound, text in zip(columns["audio"], columns["text"], strict=True)
        ]

    def _sink(self, n_clips, store):
        return _Texts(n_clips)

    def _feature_names(self):
        return list(COLUMNS)

    @property
    def _source(self):
        return {
            "model": self.model,
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
        }

    def _language(self):
        """Return the token of the language, None where it is to be detected."""
        kind = load_config(**self._source).model_type
        if kind != "whisper":
            raise ValueError(
                f"{self.model} is a model of type {kind!r}. Transcriber takes Whisper "
                "models, such as 'openai/whisper-small'."
            )
        generation = load_processor("GenerationConfig", **self._source)
        if self.language is None:
            return None
        return language_token(self.language, generation, self.model)

    def _key_params(self):
        return {
            "model": model_identity(**self._source),
            "dtype": get_config()["dtype"] if self.dtype == "auto" else self.dtype,
            "trust_remote_code": self.trust_remote_code,
            "language": self._language(),
            "num_beams": int(self.num_beams),
            "max_new_tokens": self.max_new_tokens and int(self.max_new_tokens),
            "max_seconds": float(self.max_seconds),
        }

    def _batch_size(self):
        if self.batch_size != "auto":
            return self.batch_size
        return 1 if resolve_device(self.device) == "cpu" else _GPU_BATCH

    def _clips_per_task(self):
        if self.batch_size != "auto":
            return self.batch_size
        # The device is perhaps that of a worker elsewhere.
        return self._auto_batch_size if self.device == "cpu" else _GPU_BATCH

    def _encode(self, cells):
        extractor = load_processor("AutoFeatureExtractor", **self._source)
        results, sounds = [Record("missing")] * len(cells), {}
        for i, path in enumerate(cells):
            try:
                sound = read_audio(
                    path,
                    rate=extractor.sampling_rate,
                    max_seconds=self.max_seconds,
                    max_decode_seconds=self.max_decode_seconds,
                )
            except (MediaError, MemoryError, TimeoutError) as error:
                results[i] = error
                continue
            if sound is not None and np.abs(sound).max(initial=0) >= _SILENCE:
                sounds[i] = sound
        if sounds:
            texts = self._writer(extractor).write(
                list(sounds.values()), self._batch_size()
            )
            for i, text in zip(sounds, texts, strict=True):
                if text is None:
                    results[i] = OverflowError(_OVERFLOW)
                elif isinstance(text, MemoryError):
                    results[i] = text
                elif text:
                    letters = np.frombuffer(text.encode(), dtype=np.uint8)
                    results[i] = Record("ok", {"text": letters})
        return results

    def _writer(self, extractor):
        device = resolve_device(self.device)
        backbone = load_backbone(
            "AutoModelForSpeechSeq2Seq",
            **self._source,
            device=device,
            dtype=resolve_dtype(self.dtype, device),
        )
        return Writer(
            backbone,
            extractor,
            load_processor("AutoTokenizer", **self._source),
            language=self._language(),
            num_beams=self.num_beams,
            max_new_tokens=self.max_new_tokens,
        )


class _Texts:
    """Texts of clips, None where none was received."""

    def __init__(self, n_clips):
        self.values = [None] * n_clips

    def lookup(self, in_place):
        """Return how many keys to look up at a time."""
        return _LOOKUP

    def places(self, start, stop):
        """Return None: texts are made one by one."""
        return None

    def receive(self, rows, arrays, keys):
        """Take in texts as UTF-8."""
        for row, text in zip(rows, arrays["text"], strict=True):
            self.values[row] = text.tobytes().decode()

    def finish(self):
        """Return the texts."""
        return self.values
