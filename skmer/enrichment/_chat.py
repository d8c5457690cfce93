"""ChatAnnotator: what a language model says about the words of clips."""

import json
from numbers import Integral, Real
from os import PathLike

import numpy as np
import pandas as pd

from skmer.cache import Record, make_keys
from skmer.clips._cells import resolve_cells
from skmer.enrichment._annotator import Annotator
from skmer.enrichment._chat_prompts import (
    FIELDS,
    LANGUAGES,
    TEXTS,
    answer_schema,
    clip_data,
    instruction,
    join_keywords,
    read_answer,
    read_keywords,
    read_sentence,
)
from skmer.enrichment._chat_rows import (
    LOOKUP,
    as_number,
    clip_contexts,
    estimate_tokens,
    row_index,
)
from skmer.enrichment._endpoint import STRUCTURED
from skmer.enrichment._endpoint_client import check_server
from skmer.utils import as_object_column
from skmer.utils._sklearn import Interval, StrOptions


class ChatAnnotator(Annotator):
    """Ask a language model which emotion the words of clips express.

    The model answers with a label out of a given set, keywords and a short reason.
    It runs behind any server that speaks OpenAI's chat interface: OpenAI, vLLM,
    Ollama, the server of llama.cpp, ``transformers serve``. ``transform`` adds the
    three fields to the table of clips.

    Parameters
    ----------
    model : str
        Name of the model on the server.
    classes : list of str, or dict of str to (str or None)
        Labels to choose from; a dict says what each of them means.
    base_url : str or None, default=None
        Address of the server with its path, such as ``"http://localhost:8000/v1"``;
        None is OpenAI's.
    api_key_env : str or None, default=None
        Name of the environment variable that holds the key. None is
        ``OPENAI_API_KEY`` for OpenAI itself, and no key for any other server. The
        key is read when requests are sent and is kept nowhere.
    language : {"en", "zh"}, default="en"
        Language of the instruction, and so of keywords and reason.
    prompt : str or None, default=None
        What the model is to do, in your own words. Labels, the form of the answer
        and how data is told from instructions are said after it in any case. Braces
        mean nothing in it.
    context : Series or DataFrame indexed by clip id, default=None
        What else the model is told about each clip, such as its speaker or what was
        said before: one value a clip, under the Series' name, or one a column. NaN
        is left out.
    max_keywords : int, default=5
        How many keywords to ask for.
    max_chars : int, default=4000
        Texts longer than so many characters lose their middle; a warning counts them.
    structured : {"auto", "json_schema", "json_object", "none"}, default="auto"
        How the form of the answer is enforced. With ``"json_schema"`` the server
        lets the model write nothing else. ``"auto"`` asks for that; a request that is
        refused (HTTP 400, 415, 422 or 501) is sent once more without, and if that is
        answered, so are all after it, until one with it is. ``"none"`` leaves it to
        the instruction, which describes the form in any case.
    temperature : float or None, default=0.0
        Randomness of the answers; None leaves it to the server, which some models
        insist on.
    seed : int or None, default=None
        Seed of the server's sampling, where it takes one.
    max_tokens : int or None, default=1024
        Longest answer, thoughts of reasoning models included; None leaves it to the
        server. Models that know it as ``max_completion_tokens`` take that by
        ``extra_body``.
    extra_body : dict or None, default=None
        Further fields of a request, plain values, as
        ``{"max_completion_tokens": 500}`` or
        ``{"chat_template_kwargs": {"enable_thinking": False}}``.
    system_message : bool, default=True
        Give the instruction in a message of its own. False puts it before the data,
        for models without a system role.
    concurrency : int, default=8
        Requests under way at once, of one process.
    max_retries : int, default=6
        How often a request is repeated that failed for a passing reason: no
        connection, no answer in time, HTTP 408, 409, 425, 429, or 5xx. Where nobody
        listens at the address it is repeated once.
    timeout : float, default=60.0
        Seconds that one try may take.
    prices : tuple of (float, float) or None, default=None
        What a million tokens of input and of output cost, for :meth:`usage` and
        :meth:`dry_run`.
    name : str, default="chat"
        First part of the names of the new columns.
    cache : "default", path or None, default="default"
        Folder of the cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip for which no answer comes after all tries: an error
        naming it, or missing fields and one warning with their number.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X; ``text`` where X is a list or Series.

    See Also
    --------
    skmer.enrichment.Transcriber : Writes the words of clips.
    skmer.enrichment.OmniAnnotator : Asks about pictures and sound as well.
    skmer.enrichment.ContextEnricher : Puts words and the fields added here into one
        text.
    skmer.encoders.TextEncoder : Encodes words, and the fields added here.

    Notes
    -----
    The words of a clip reach the model as a string inside of one JSON object, in a
    message of their own. They are escaped so that they cannot leave that string, and
    so that no chat template finds marks of its own in them. What they *say* can
    still sway a model; but whatever it answers, a label out of the set or nothing
    is what becomes of it.

    An answer is searched for its JSON object: code fences, words around it and the
    ``<think>`` block of a reasoning model are no harm, nor are line breaks in strings
    and commas at the end. A label counts whatever its case and the marks around it.
    Anything else, or two objects that contradict each other, is a missing label,
    and one warning counts these; :meth:`failures` lists them.

    All answers are in the cache, by the instruction, the model's name, the parameters
    that are sent and the data of the clip: none is asked for twice, whether it was of
    use or not, unless :meth:`ask_again` is called, and a run that was killed goes on
    where it stopped. The address is no part of it: where two servers have different
    models of one name, give each its own ``cache``. Equal texts are asked about once.
    A request that failed is not
    stored. Ctrl-C breaks off the requests under way and keeps what has arrived.

    A server that says how long to wait (``retry-after``, ``x-ratelimit-reset-*``) is
    left alone for so long, up to ten minutes, by all requests; else pauses double
    from half a second to half a minute, shortened by chance. Requests that only wait
    for others at a limit do not run out of retries. A server that cannot be reached at
    all, or that refuses the key or the model, is an error whatever ``on_error`` says.
    Requests go to that server alone: where it sends them on, they do not follow, and of
    an answer no more than 16 MB are read.

    Language models are trained on much of what is public, maybe on the clips that
    they are asked about: an annotation can be better than it would be on new data.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmer.enrichment import ChatAnnotator
    >>> clips = pd.DataFrame({"text": ["so glad", None]}, index=["a", "b"])
    >>> annotator = ChatAnnotator(
    ...     "Qwen/Qwen3-8B",
    ...     {"happy": "pleased, proud or amused", "sad": None, "neutral": None},
    ...     base_url="http://localhost:8000/v1",
    ...     cache=None,
    ... )
    >>> plan = annotator.dry_run(clips)
    >>> plan["asked"].to_list()
    [True, False]
    >>> print(plan["messages"]["a"][1]["content"])
    {"text": "so glad"}
    """

    _column = "text"
    _answer_fields = FIELDS
    _cache_version = 1
    _remedy = (
        "Put Transcriber(...) before it, or transcripts beside the clips and "
        "ClipTable(sidecar_text=True)"
    )
    _parameter_constraints: dict = {
        "model": [str],
        "classes": ["array-like", dict],
        "base_url": [str, None],
        "api_key_env": [str, None],
        "language": [StrOptions(set(LANGUAGES))],
        "prompt": [str, None],
        "context": [pd.Series, pd.DataFrame, None],
        "max_keywords": [Interval(Integral, 1, None, closed="left")],
        "max_chars": [Interval(Integral, 16, None, closed="left")],
        "structured": [StrOptions(set(STRUCTURED))],
        "temperature": [Interval(Real, 0, None, closed="left"), None],
        "seed": [Integral, None],
        "max_tokens": [Interval(Integral, 1, None, closed="left"), None],
        "extra_body": [dict, None],
        "system_message": ["boolean"],
        "concurrency": [Interval(Integral, 1, None, closed="left")],
        "max_retries": [Interval(Integral, 0, None, closed="left")],
        "timeout": [Interval(Real, 0, None, closed="neither")],
        "prices": [tuple, list, None],
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
        base_url=None,
        api_key_env=None,
        language="en",
        prompt=None,
        context=None,
        max_keywords=5,
        max_chars=4000,
        structured="auto",
        temperature=0.0,
        seed=None,
        max_tokens=1024,
        extra_body=None,
        system_message=True,
        concurrency=8,
        max_retries=6,
        timeout=60.0,
        prices=None,
        name="chat",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.classes = classes
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.language = language
        self.prompt = prompt
        self.context = context
        self.max_keywords = max_keywords
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
        self.name = name
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    def dry_run(self, X):
        """Show what :meth:`transform` would send; nothing is sent.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        table : DataFrame of shape (n_clips, 5)
            ``asked``: whether a request would be made for the clip; not if its
            answer is in the cache, its words are those of a clip above it, or it
            has none. ``cut``: whether its text is longer than ``max_chars``.
            ``prompt_tokens``: an estimate, by one token for a Chinese, Japanese or
            Korean character and four other characters. ``max_cost``: what that and
            an answer of ``max_tokens`` would cost; NaN where that is not known. Both
            are 0 for clips not asked about. ``messages``: the request; None where
            the clip has no words.
        """
        self._validate_params()
        self._warn_of_context(X, 3)
        cells, texts = self._cells(X), resolve_cells(X, "text", type(self).__name__)
        absent = set(self._absent(cells))
        asked = np.array([i in absent for i in range(len(cells))])
        messages = [None if c is None else self._messages(c) for c in cells]
        counts = np.zeros((len(cells), 2))
        limit = np.nan if self.max_tokens is None else self.max_tokens
        schema = "" if self.structured == "none" else json.dumps(self._schema())
        for i in np.flatnonzero(asked):
            contents = [message["content"] for message in messages[i]]
            counts[i] = estimate_tokens("".join([*contents, schema])), limit
        return pd.DataFrame(
            {
                "asked": asked,
                "cut": [t is not None and len(t) > self.max_chars for t in texts],
                "prompt_tokens": counts[:, 0].astype(np.int64),
                "max_cost": self._cost(counts),
                "messages": as_object_column(messages),
            },
            index=row_index(X),
        )

    # What ClipEncoder asks for

    def _cells(self, X):
        """Return what the model is told about each clip."""
        texts = resolve_cells(X, "text", type(self).__name__)
        ids = X.index if isinstance(X, (pd.DataFrame, pd.Series)) else None
        contexts = clip_contexts(self.context, ids, len(texts))
        return [
            None if text is None else clip_data(text, context, self.max_chars)
            for text, context in zip(texts, contexts, strict=True)
        ]

    def _key_params(self):
        check_server(self.base_url, self.api_key_env, self.extra_body)
        return {
            "model": self.model,
            "instruction": self._instruction(),
            "schema": self._schema(),
            "structured": self.structured,
            "system_message": bool(self.system_message),
            "temperature": as_number(self.temperature, float),
            "seed": as_number(self.seed, int),
            "max_tokens": as_number(self.max_tokens, int),
            "extra_body": self.extra_body,
        }

    # What Annotator asks for

    def _index(self, X):
        return row_index(X)

    def _as_table(self, X):
        if isinstance(X, pd.DataFrame):
            return X
        texts = resolve_cells(X, "text", type(self).__name__)
        return pd.DataFrame(
            {"text": as_object_column(texts)}, index=row_index(X), dtype=object
        )

    def _count_cut(self, X):
        texts = resolve_cells(X, "text", type(self).__name__)
        return sum(t is not None and len(t) > self.max_chars for t in texts)

    def _as_cell(self, value):
        return value if isinstance(value, str) else join_keywords(value, self.language)

    def _read_answer(self, content, finish):
        readers = {
            "keywords": lambda words: read_keywords(words, self.max_keywords),
            "reason": read_sentence,
        }
        return read_answer(content, finish, self._classes(), readers)

    def _schema(self):
        words = {"type": "array", "items": {"type": "string"}}
        return answer_schema(
            self._classes(), {"keywords": words, "reason": {"type": "string"}}
        )

    def _instruction(self):
        return instruction(
            TEXTS[self.language], self._classes(), self.prompt, self.max_keywords
        )

    def _messages(self, data):
        told = self._instruction()
        if not self.system_message:
            return [{"role": "user", "content": f"{told}\n\n{data}"}]
        return [
            {"role": "system", "content": told},
            {"role": "user", "content": data},
        ]

    def _absent(self, cells):
        """Return the rows that requests would be made for."""
        rows = self._asked_rows(cells)
        store, absent = self._store(), []
        identities = self._identities([cells[i] for i in rows], store)
        keys = make_keys(identities, self._namespace())
        for start in range(0, len(keys), LOOKUP):
            batch = store.get_many(keys[start : start + LOOKUP])
            if not len(batch.status):
                return rows
            missing = np.flatnonzero(batch.status == Record.STATUS["absent"])
            absent += [rows[i] for i in missing + start]
        return absent
