"""OmniAnnotator: what a model that sees and hears says about clips."""

import json
from numbers import Integral, Real
from os import PathLike, fspath

import pandas as pd

from skmer._config import get_config
from skmer._pretrained import DTYPES, model_identity
from skmer.cache import Record
from skmer.clips._table import clip_columns, clip_frame
from skmer.enrichment._annotator import Annotator
from skmer.enrichment._chat_prompts import (
    LANGUAGES,
    answer_schema,
    clip_data,
    instruction,
    read_answer,
    read_sentence,
)
from skmer.enrichment._chat_rows import as_number, clip_contexts
from skmer.enrichment._endpoint import STRUCTURED
from skmer.enrichment._endpoint_client import check_server
from skmer.enrichment._omni_local import LocalOmni, check_model
from skmer.enrichment._omni_media import (
    NothingThereError,
    OmniCell,
    as_parts,
    identify,
    read_media,
)
from skmer.enrichment._omni_prompts import FIELDS, OMNI_TEXTS, read_cues
from skmer.utils._sklearn import Interval, StrOptions

_INPUTS = ("audio", "video", "text")


class OmniAnnotator(Annotator):
    """Ask a model that sees and hears which emotion clips express.

    The model is given some pictures of a clip, its sound and its words, or what there
    is of them, and answers with a label out of a given set, a description and the
    cues that speak for the label. It runs behind a server that speaks OpenAI's chat
    interface (such as vLLM), or, a Qwen2.5-Omni, in this process. ``transform`` adds
    the three fields to the table of clips [1]_ [2]_.

    Parameters
    ----------
    model : str or path
        Name of the model on the server; or folder made by ``save_pretrained``, or id
        on the hub, of a Qwen2.5-Omni.
    classes : list of str, or dict of str to (str or None)
        Labels to choose from; a dict says what each of them means.
    backend : {"auto", "endpoint", "local"}, default="auto"
        Where the model runs. ``"auto"`` is a server where ``base_url`` or
        ``api_key_env`` is given, else this process.
    base_url : str or None, default=None
        Address of the server with its path, such as ``"http://localhost:8000/v1"``;
        None is OpenAI's.
    api_key_env : str or None, default=None
        Name of the environment variable that holds the key. None is
        ``OPENAI_API_KEY`` for OpenAI itself, and no key for any other server.
    inputs : sequence of {"audio", "video", "text"}, default=("audio", "video", "text")
        What of a clip the model is given; not every model takes everything.
    n_frames : int, default=8
        Pictures of a clip, evenly spaced in time.
    max_side : int, default=448
        Longer side of a picture in pixels; larger ones are reduced.
    max_seconds : float, default=60.0
        What comes after in a clip is neither seen nor heard. Qwen2.5-Omni hears
        300 seconds at most.
    language : {"en", "zh"}, default="en"
        Language of the instruction, and so of description and cues.
    prompt : str or None, default=None
        What the model is to do, in your own words. Labels, the form of the answer
        and how data is told from instructions are said after it in any case.
    context : Series or DataFrame indexed by clip id, default=None
        What else the model is told about each clip: one value a clip, under the
        Series' name, or one a column. NaN is left out.
    max_chars : int, default=4000
        Texts longer than so many characters lose their middle; a warning counts them.
    structured : {"auto", "json_schema", "json_object", "none"}, default="auto"
        How a server enforces the form of the answer, as for
        :class:`~skmer.enrichment.ChatAnnotator`.
    temperature : float or None, default=0.0
        Randomness of a server's answers; None leaves it to the server. In this process
        nothing is random.
    seed : int or None, default=None
        Seed of the server's sampling, where it takes one.
    max_tokens : int, default=512
        Longest answer.
    extra_body : dict or None, default=None
        Further fields of a request, plain values.
    system_message : bool, default=True
        Give the instruction in a message of its own. False puts it before the data,
        for models without a system role.
    concurrency : int, default=4
        Requests under way at once, of one process.
    max_retries : int, default=6
        How often a request is repeated that failed for a passing reason.
    timeout : float, default=120.0
        Seconds that one try may take.
    prices : tuple of (float, float) or None, default=None
        What a million tokens of input and of output cost, for :meth:`usage`.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device : str, default="auto"
        Of a model in this process: ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"``
        is ``skmer.get_config()["device"]``, by default a GPU if there is one.
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of a model in this process; ``"auto"`` is
        ``skmer.get_config()["dtype"]``, by default bfloat16 on a GPU and float32
        elsewhere.
    device_map : str, dict or None, default=None
        In place of ``device``, for a model that no single one holds; ``"auto"``
        spreads it (needs accelerate).
    name : str, default="omni"
        First part of the names of the new columns.
    cache : "default", path or None, default="default"
        Folder of the cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be read or for which no answer comes: an
        error naming it, or missing fields and one warning with their number.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X; ``video``, ``audio`` and ``text`` where X is no
        table.

    See Also
    --------
    skmer.enrichment.ChatAnnotator : The same of the words alone.
    skmer.enrichment.ContextEnricher : Puts words and answers into one text.

    Notes
    -----
    Of hostile transcripts, of answers that are no answer and of the cache holds what
    is said for :class:`~skmer.enrichment.ChatAnnotator`. An entry of the cache
    belongs to the contents of the clip's files, its words and context, and the
    parameters; where all are there, no clip is opened and no model loaded.

    Pictures go to a server as JPEG, sound as 16-bit WAV at 16 kHz, in the parts
    ``image_url`` and ``input_audio`` of a message. A clip without sound or without
    picture is asked about by what there is; one of which there is nothing is not.

    A model in this process gets pictures as pictures, each by itself, sound and
    text, in this order, by the model's own image processor, feature extractor and
    tokenizer, and writes its likeliest token at each step; one clip at a time. For
    Qwen2.5-Omni a picture of 448 by 252 pixels is 144 tokens, a second of sound 25.

    References
    ----------
    .. [1] H. Dubey and M. Kadwal, "MMEF-Net: Multimodal Emotion Feature Network with
       Contextual Enrichment and Dynamic Modality Weighting": label, description and
       cues by Qwen-Omni. The paper gives no prompt.
    .. [2] J. Xu et al., "Qwen2.5-Omni Technical Report", 2025. :arxiv:`2503.20215`.

    Examples
    --------
    >>> from skmer.enrichment import OmniAnnotator
    >>> annotator = OmniAnnotator(
    ...     "Qwen/Qwen2.5-Omni-7B",
    ...     ["happy", "sad", "neutral"],
    ...     base_url="http://localhost:8000/v1",
    ... )
    >>> print(*annotator.get_feature_names_out(["video", "audio", "text"])[3:])
    omni__label omni__description omni__cues
    """

    _column = "video"
    _answer_fields = FIELDS
    _cache_version = 1
    _remedy = (
        "Give paths, or a table with columns video, audio or text, and the inputs "
        "that its clips have"
    )
    _parameter_constraints: dict = {
        "model": [str, PathLike],
        "classes": ["array-like", dict],
        "backend": [StrOptions({"auto", "endpoint", "local"})],
        "base_url": [str, None],
        "api_key_env": [str, None],
        "inputs": ["array-like"],
        "n_frames": [Interval(Integral, 1, None, closed="left")],
        "max_side": [Interval(Integral, 28, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither")],
        "language": [StrOptions(set(LANGUAGES))],
        "prompt": [str, None],
        "context": [pd.Series, pd.DataFrame, None],
        "max_chars": [Interval(Integral, 16, None, closed="left")],
        "structured": [StrOptions(set(STRUCTURED))],
        "temperature": [Interval(Real, 0, None, closed="left"), None],
        "seed": [Integral, None],
        "max_tokens": [Interval(Integral, 1, None, closed="left")],
        "extra_body": [dict, None],
        "system_message": ["boolean"],
        "concurrency": [Interval(Integral, 1, None, closed="left")],
        "max_retries": [Interval(Integral, 0, None, closed="left")],
        "timeout": [Interval(Real, 0, None, closed="neither")],
        "prices": [tuple, list, None],
        "revision": [str, None],
        "device": [str],
        "dtype": [StrOptions({"auto", *DTYPES})],
        "device_map": [str, dict, None],
        "name": [str],
        "cache": [str, PathLike, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model,
        classes,
        *,
        backend="auto",
        base_url=None,
        api_key_env=None,
        inputs=("audio", "video", "text"),
        n_frames=8,
        max_side=448,
        max_seconds=60.0,
        language="en",
        prompt=None,
        context=None,
        max_chars=4000,
        structured="auto",
        temperature=0.0,
        seed=None,
        max_tokens=512,
        extra_body=None,
        system_message=True,
        concurrency=4,
        max_retries=6,
        timeout=120.0,
        prices=None,
        revision=None,
        device="auto",
        dtype="auto",
        device_map=None,
        name="omni",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.classes = classes
        self.backend = backend
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.inputs = inputs
        self.n_frames = n_frames
        self.max_side = max_side
        self.max_seconds = max_seconds
        self.language = language
        self.prompt = prompt
        self.context = context
        self.max_chars = max_chars
        self.structured = structured
        self.temperature = temperature
        self.seed = seed
        self.max_tokens = max_tokens
        self.extra_body = extra_body
        self.system_message = system_message
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.prices = prices
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.device_map = device_map
        self.name = name
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    # What ClipEncoder asks for

    def _cells(self, X):
        columns, index = clip_columns(X, type(self).__name__)
        wanted = self._inputs()
        for name in set(_INPUTS) - set(wanted):
            columns[name] = [None] * len(columns[name])
        contexts = clip_contexts(self.context, pd.Index(index), len(columns["text"]))
        cells = []
        for video, audio, text, context in zip(
            columns["video"], columns["audio"], columns["text"], contexts, strict=True
        ):
            data = clip_data(text, context, self.max_chars)
            there = (video, audio, text) != (None, None, None)
            cells.append(OmniCell(video, audio, data) if there else None)
        return cells

    def _identities(self, cells, store):
        return identify(cells, store)

    def _key_params(self):
        params = {
            "instruction": self._instruction(),
            "system_message": bool(self.system_message),
            "max_tokens": as_number(self.max_tokens, int),
            "inputs": sorted(self._inputs()),
            "n_frames": int(self.n_frames),
            "max_side": int(self.max_side),
            "max_seconds": float(self.max_seconds),
        }
        if self._is_local():
            try:
                check_model(self.model, self.revision)
            except OSError as error:
                if self.backend == "local":
                    raise
                raise OSError(
                    f"{error} For a model behind a server give base_url, api_key_env "
                    "or backend='endpoint'."
                ) from error
            dtype = get_config()["dtype"] if self.dtype == "auto" else self.dtype
            return params | {
                "model": model_identity(self.model, self.revision),
                "dtype": dtype,
            }
        check_server(self.base_url, self.api_key_env, self.extra_body)
        return params | {
            "model": fspath(self.model),
            "schema": self._schema(),
            "structured": self.structured,
            "temperature": as_number(self.temperature, float),
            "seed": as_number(self.seed, int),
            "extra_body": self.extra_body,
        }

    def _results(self, cells, stop):
        if not self._is_local():
            yield from super()._results(cells, stop)
            return
        model = LocalOmni(
            self.model,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            device_map=self.device_map,
        )
        for number, cell in enumerate(cells):
            if stop():
                return
            try:
                images, sound = self._media(cell)
            except (ValueError, OSError, MemoryError) as error:
                reply = error
            else:
                told, data = self._instruction(), cell.data
                if not self.system_message:
                    told, data = None, f"{told}\n\n{data}"
                reply = model.answer(images, sound, data, told, int(self.max_tokens))
            yield [number], [self._as_record(reply)]

    # What Annotator asks for

    def _index(self, X):
        return pd.Index(clip_columns(X, type(self).__name__)[1])

    def _as_table(self, X):
        columns, index = clip_columns(X, type(self).__name__)
        return X if isinstance(X, pd.DataFrame) else clip_frame(columns, index)

    def _schema(self):
        text = {"type": "string"}
        return answer_schema(self._classes(), {"description": text, "cues": text})

    def _messages(self, cell):
        told = self._instruction()
        parts = as_parts(*self._media(cell), cell.data)
        if not self.system_message:
            return [
                {"role": "user", "content": [{"type": "text", "text": told}, *parts]}
            ]
        return [
            {"role": "system", "content": told},
            {"role": "user", "content": parts},
        ]

    def _read_answer(self, content, finish):
        readers = {
            "description": read_sentence,
            "cues": lambda value: read_cues(value, self.language),
        }
        return read_answer(content, finish, self._classes(), readers)

    def _count_cut(self, X):
        if "text" not in self._inputs():
            return 0
        texts = clip_columns(X, type(self).__name__)[0]["text"]
        return sum(t is not None and len(t) > self.max_chars for t in texts)

    def _as_record(self, reply):
        if isinstance(reply, NothingThereError):
            return Record("missing")
        return super()._as_record(reply)

    # Its own

    def _is_local(self):
        if self.backend == "auto":
            return self.base_url is None and self.api_key_env is None
        return self.backend == "local"

    def _inputs(self):
        inputs = list(self.inputs)
        if not inputs or set(inputs) - set(_INPUTS):
            raise ValueError(
                f"inputs must be some of {', '.join(map(repr, _INPUTS))}. Got "
                f"{self.inputs!r}."
            )
        return inputs

    def _instruction(self):
        texts = OMNI_TEXTS[self.language]
        return instruction(texts, self._classes(), self.prompt)

    def _media(self, cell):
        """Return the pictures and the sound of a clip."""
        images, sound = read_media(
            cell, int(self.n_frames), int(self.max_side), self.max_seconds
        )
        if not images and sound is None and "text" not in json.loads(cell.data):
            raise NothingThereError
        return images, sound
