"""ChatAnnotator: what a language model says about the words of clips."""

import json
import warnings
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from skmer.cache import Record, make_keys, text_id
from skmer.clips import ClipEncoder
from skmer.clips._cells import resolve_cells
from skmer.enrichment._chat_prompts import (
    FIELDS,
    LANGUAGES,
    answer_schema,
    check_classes,
    clip_data,
    instruction,
    join_keywords,
    read_answer,
)
from skmer.enrichment._chat_rows import (
    LOOKUP,
    Answers,
    as_number,
    as_record,
    clip_contexts,
    estimate_tokens,
    first_rows,
    row_index,
)
from skmer.enrichment._endpoint import STRUCTURED, Endpoint, check_address
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.utils import as_object_column
from skmer.utils._sklearn import Interval, StrOptions, _fit_context

_PER_PRICE = 1e6
# Frames from a warning to who called annotate, labels...; scikit-learn wraps
# transform in one more.
_CALLER = 3


class ChatAnnotator(ClipEncoder):
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
        answered, so are all after it. ``"none"`` leaves it to the instruction, which
        describes the form in any case.
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
        connection, no answer in time, HTTP 408, 409, 425, 429, or 5xx.
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
    skmer.encoders.TextEncoder : Encodes words, and the fields added here.

    Notes
    -----
    The words of a clip reach the model as a string inside of one JSON object, in a
    message of their own. They are escaped so that they cannot leave that string, and
    so that no chat template finds marks of its own in them. What they *say* can
    still sway a model; but whatever it answers, a label out of the set or nothing
    is what becomes of it.

    An answer is searched for its JSON object: code fences, words around it and the
    ``<think>`` block of a reasoning model are no harm. A label counts whatever its
    case. Anything else, or two objects that contradict each other, is a missing label,
    and one warning counts these; :meth:`failures` lists them.

    All answers are in the cache, by the instruction, the model's name, the parameters
    that are sent and the data of the clip: none is asked for twice, whether it was of
    use or not, and a run that was killed goes on where it stopped. The address is no
    part of it: where two servers have different models of one name, give each its
    own ``cache``. Equal texts are asked about once. A request that failed is not
    stored. Ctrl-C breaks off the requests under way and keeps what has arrived.

    A server that says how long to wait (``retry-after``, ``x-ratelimit-reset-*``) is
    left alone for so long, up to ten minutes, by all requests; else pauses double
    from half a second to half a minute, shortened by chance. Requests that only wait
    for others at a limit do not run out of retries. A server that cannot be reached at
    all, or that refuses the key or the model, is an error whatever ``on_error`` says.

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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check X and the parameters; nothing is learned and nothing is asked.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        self : ChatAnnotator

        Raises
        ------
        TypeError
            If X, ``classes`` or ``extra_body`` hold what they may not.
        ValueError
            If no clip has words and ``on_error="raise"``, or a parameter is not one
            that requests can be made of.
        """
        self._namespace()
        cells = self._cells(X)
        if all(cell is None for cell in cells):
            self._complain_all_missing(len(cells))
        names = X.columns if isinstance(X, pd.DataFrame) else ["text"]
        self.feature_names_in_ = np.asarray([str(name) for name in names], object)
        self.n_features_in_ = len(names)
        return self

    def fit_transform(self, X, y=None):
        """Fit to X and transform it.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        table : DataFrame of shape (n_clips, n_columns + 3)
            As :meth:`transform` returns it.
        """
        return self.fit(X, y).transform(X)

    def transform(self, X):
        """Add to the table of clips what the model says about them.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            A table of clips with a column ``text``, as
            :class:`~skmer.clips.ClipTable` and
            :class:`~skmer.enrichment.Transcriber` give, or texts. A clip whose text
            is None or NaN, or blank, is not asked about.

        Returns
        -------
        table : DataFrame of shape (n_clips, n_columns + 3)
            X, or texts as a column ``text``, and after it ``chat__label``,
            ``chat__keywords`` (joined by commas) and ``chat__reason`` of dtype
            object: str, None where missing. Rows in the order of X, with its index.

        Raises
        ------
        EndpointError
            If the server cannot be used at all. What was answered is in the cache.
        MediaError
            If no answer comes for a clip and ``on_error="raise"``.
        MissingDependencyError
            If the package openai is not installed.
        TypeError, ValueError
            If X is no table of clips or has the new columns already, or a parameter
            is not one that requests can be made of.
        """
        table = self._table(X)
        fields = self._fields(X, _CALLER + 1)
        keywords = [join_keywords(words, self.language) for words in fields["keywords"]]
        for field, cells in (fields | {"keywords": keywords}).items():
            table[f"{self.name}__{field}"] = pd.Series(
                as_object_column(cells), index=table.index, dtype=object
            )
        return table

    def annotate(self, X):
        """Return what the model says about clips.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        fields : DataFrame of shape (n_clips, 3)
            Columns ``label`` and ``reason`` (str) and ``keywords`` (list of str), None
            where missing; X's index.
        """
        fields = self._fields(X, _CALLER)
        columns = {name: as_object_column(cells) for name, cells in fields.items()}
        return pd.DataFrame(columns, index=row_index(X), dtype=object)

    def labels(self, X):
        """Return the labels that the model gives to clips.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        labels : Series of length n_clips
            Labels (str), None where missing, indexed by clip id: a second opinion
            for estimators that take such.
        """
        labels = self._fields(X, _CALLER)["label"]
        return pd.Series(
            as_object_column(labels), index=row_index(X), name=self.name, dtype=object
        )

    def failures(self, X):
        """List the clips that have no label though they have words.

        Reads the cache and asks only for what is not in it.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        table : DataFrame of shape (n_failures, 3)
            Columns ``clip`` (the id), ``stage`` (``"answer"``: none came;
            ``"content"``: it holds no label) and ``error``; X's index.
        """
        answers, failures = self._extract(X, raising=False)
        index = row_index(X)
        rows = {f.position: (f.clip, f.stage, f.reason) for f in failures}
        for i, (_, problem) in enumerate(self._read(answers)):
            if problem is not None:
                rows[i] = (str(index[i]), "content", problem)
        places = sorted(rows)
        return pd.DataFrame(
            [rows[i] for i in places],
            columns=["clip", "stage", "error"],
            index=index[places],
            dtype=object,
        )

    def usage(self, X):
        """Count the tokens of the answers, and what they cost.

        Reads the cache and asks only for what is not in it.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        table : DataFrame of shape (n_clips, 3)
            Columns ``prompt_tokens`` and ``completion_tokens`` as the server counted
            them, and ``cost`` by ``prices``; NaN where that is not known. A clip that
            was not asked about, as its words are those of a clip above it, costs
            nothing. Tries that failed are not counted.
        """
        answers, _ = self._extract(X, raising=False)
        counts = np.zeros((len(answers), 2))
        for i in first_rows(self._cells(X)):
            answer = answers[i] or {"prompt_tokens": None, "completion_tokens": None}
            counts[i] = answer["prompt_tokens"], answer["completion_tokens"]
        table = pd.DataFrame(
            counts, columns=["prompt_tokens", "completion_tokens"], index=row_index(X)
        )
        table["cost"] = self._cost(counts)
        return table

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

    def get_feature_names_out(self, input_features=None):
        """Return the names of the table's columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None for those that ``fit`` saw.

        Returns
        -------
        names : ndarray of str of shape (n_columns + 3,)

        Raises
        ------
        NotFittedError
            If neither is there.
        """
        if input_features is None:
            if not hasattr(self, "feature_names_in_"):
                raise NotFittedError(
                    "ChatAnnotator keeps the columns of X: call fit with it, or give "
                    "their names as input_features."
                )
            input_features = self.feature_names_in_
        names = [*map(str, input_features), *self._feature_names()]
        return np.asarray(names, dtype=object)

    # What ClipEncoder asks for

    def _feature_names(self):
        return [f"{self.name}__{field}" for field in FIELDS]

    def _encode(self, cells):
        raise NotImplementedError("ChatAnnotator asks in _results, many at once.")

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
        if self.base_url is not None:
            check_address(self.base_url)
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

    def _sink(self, n_clips, store):
        return Answers(n_clips)

    def _results(self, cells, stop):
        endpoint = Endpoint(
            self.model,
            owner=type(self).__name__,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            structured=self.structured,
            options=self._options(),
            concurrency=self.concurrency,
            max_retries=self.max_retries,
            timeout=float(self.timeout),
        )
        numbers, records, late = [], [], []
        asked = endpoint.ask(
            len(cells), lambda i: self._messages(cells[i]), self._schema(), stop, late
        )
        try:
            for numbers, replies in asked:
                records = [as_record(reply) for reply in replies]
                yield numbers, records
        except BaseException:
            # Ctrl-C, as a rule while what was yielded last was being stored.
            asked.close()
            self._keep([cells[i] for i in numbers], records)
            self._keep([cells[i] for i, _ in late], [as_record(r) for _, r in late])
            raise

    def _keep(self, cells, records):
        """Store answers that nobody else will."""
        keys = make_keys([text_id(cell) for cell in cells], self._namespace())
        self._store().put_many(
            [
                (key, record)
                for key, record in zip(keys, records, strict=True)
                if isinstance(record, Record)
            ]
        )

    def _extract(self, X, *, raising):
        self._validate_params()
        try:
            answers, failures = super()._extract(X, raising=raising)
        except MediaError as error:
            # It names what the model was told; the clip's name is of more use.
            clip = str(row_index(X)[self._cells(X).index(error.clip)])
            named = MediaError(clip, "answer", error.reason)
            named.add_note(
                "With on_error='nan' clips without an answer have missing fields, and "
                "failures(X) lists them. Answers that came are in the cache."
            )
            raise named from None
        index = row_index(X)
        return answers, [
            replace(f, clip=str(index[f.position]), stage="answer") for f in failures
        ]

    # Requests

    def _classes(self):
        return check_classes(self.classes)

    def _schema(self):
        return answer_schema(self._classes())

    def _instruction(self):
        return instruction(
            self._classes(), self.language, self.prompt, self.max_keywords
        )

    def _messages(self, data):
        told = self._instruction()
        if not self.system_message:
            return [{"role": "user", "content": f"{told}\n\n{data}"}]
        return [
            {"role": "system", "content": told},
            {"role": "user", "content": data},
        ]

    def _options(self):
        options = {
            "temperature": as_number(self.temperature, float),
            "seed": as_number(self.seed, int),
            "max_tokens": as_number(self.max_tokens, int),
            "extra_body": self.extra_body,
        }
        return {name: value for name, value in options.items() if value is not None}

    # Answers

    def _fields(self, X, stacklevel):
        """Return the fields of all clips, each a list, with a warning for all else."""
        answers, failures = self._extract(X, raising=self.on_error == "raise")
        owner, n_clips = type(self).__name__, len(answers)
        read = self._read(answers)
        problems = [(i, problem) for i, (_, problem) in enumerate(read) if problem]
        texts = resolve_cells(X, "text", owner)
        n_cut = sum(t is not None and len(t) > self.max_chars for t in texts)
        said = []
        if failures:
            said.append(
                f"{len(failures)} of {n_clips} clips have no answer, the first: "
                f"{failures[0].clip}: {failures[0].reason}. failures(X) lists them."
            )
        if problems:
            row, problem = problems[0]
            said.append(
                f"the answers for {len(problems)} of {n_clips} clips hold no label of "
                f"the set, which is then missing, the first: {row_index(X)[row]}: "
                f"{problem}. failures(X) lists them."
            )
        if n_cut:
            said.append(
                f"{n_cut} of {n_clips} texts are longer than max_chars="
                f"{self.max_chars} and were sent without their middle."
            )
        for text in said:
            warnings.warn(f"{owner}: {text}", ExtractionWarning, stacklevel=stacklevel)
        return {field: [fields[field] for fields, _ in read] for field in FIELDS}

    def _read(self, answers):
        """Return the fields of each answer, and why there is no label."""
        classes = self._classes()
        nothing = dict.fromkeys(FIELDS), None
        return [
            nothing
            if answer is None
            else read_answer(
                answer["content"], answer["finish"], classes, self.max_keywords
            )
            for answer in answers
        ]

    def _absent(self, cells):
        """Return the rows that requests would be made for."""
        rows = first_rows(cells)
        keys = make_keys([text_id(cells[i]) for i in rows], self._namespace())
        store, absent = self._store(), []
        for start in range(0, len(keys), LOOKUP):
            batch = store.get_many(keys[start : start + LOOKUP])
            if not len(batch.status):
                return rows
            missing = np.flatnonzero(batch.status == Record.STATUS["absent"])
            absent += [rows[i] for i in missing + start]
        return absent

    def _cost(self, counts):
        prices = (np.nan, np.nan) if self.prices is None else self.prices
        if len(prices) != 2 or not all(isinstance(p, Real) for p in prices):
            raise ValueError(
                "prices must be two numbers, what a million tokens of input and of "
                f"output cost. Got {self.prices!r}."
            )
        # What is not asked for costs nothing, whatever the price.
        cost = np.where(counts == 0, 0.0, counts * np.array(prices, dtype=float))
        return cost.sum(axis=1) / _PER_PRICE

    def _table(self, X):
        """Return the columns that the new ones are added to, the caller's own."""
        if not isinstance(X, pd.DataFrame):
            texts = resolve_cells(X, "text", type(self).__name__)
            X = pd.DataFrame(
                {"text": as_object_column(texts)}, index=row_index(X), dtype=object
            )
        names = [str(name) for name in X.columns]
        taken = [name for name in self._feature_names() if name in names]
        if taken:
            raise ValueError(
                f"X has a column {taken[0]!r} already. Give this ChatAnnotator another "
                f"name than {self.name!r}."
            )
        seen = list(getattr(self, "feature_names_in_", names))
        if names != seen:
            raise ValueError(
                f"X has the columns {', '.join(names)}, but fit saw {', '.join(seen)}. "
                "Pass the same ones, in this order."
            )
        return X.copy()
