"""What annotators share: asking a model about clips, keeping and giving its answers."""

import warnings
from abc import abstractmethod
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from skmer.cache import Record, make_keys
from skmer.clips import ClipEncoder
from skmer.enrichment._annotator_memory import (
    ask_again,
    recalling,
    remembering,
    stage_of,
)
from skmer.enrichment._chat_prompts import check_classes
from skmer.enrichment._chat_rows import (
    Answers,
    as_number,
    as_record,
    first_rows,
    price_pair,
)
from skmer.enrichment._endpoint import Endpoint
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.utils import as_object_column
from skmer.utils._clip_ids import warn_of_strangers
from skmer.utils._sklearn import _fit_context

_PER_PRICE = 1e6
# Frames from a warning to who called annotate, labels...; scikit-learn wraps
# transform in one more.
_CALLER = 3


class Annotator(ClipEncoder):
    """Base class of estimators that ask a model about clips.

    A child says what is asked of each clip and how an answer is read, and has the
    parameters of :class:`~skmer.enrichment.ChatAnnotator` that concern a server, the
    labels and the table.
    """

    # Of an answer; a column each.
    _answer_fields = ()

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
        self : Annotator

        Raises
        ------
        TypeError
            If X, ``classes`` or ``extra_body`` hold what they may not.
        ValueError
            If there is nothing to ask of any clip and ``on_error="raise"``, or a
            parameter is not one that requests can be made of.
        """
        self._namespace()
        price_pair(self.prices)
        cells = self._cells(X)
        if all(cell is None for cell in cells):
            self._complain_all_missing(len(cells))
        names = self._as_table(X).columns
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
            A table of clips, as :class:`~skmer.clips.ClipTable` and
            :class:`~skmer.enrichment.Transcriber` give. Where no file is needed,
            texts alone will do, else paths alone. A clip of which there is nothing
            that the model takes in is not asked about.

        Returns
        -------
        table : DataFrame of shape (n_clips, n_columns + 3)
            X, or the table that texts or paths stand for, and after its columns one
            for each field of an answer, such as ``chat__label``, of dtype object:
            str (lists joined by commas), None where missing. Rows in the order of X,
            with its index.

        Raises
        ------
        EndpointError
            If the server cannot be used at all. What was answered is in the cache.
        MediaError
            If no answer comes for a clip and ``on_error="raise"``.
        MissingDependencyError
            If a package that the model needs is not installed.
        TypeError, ValueError
            If X is no table of clips or has the new columns already, or a parameter
            is not one that requests can be made of.
        """
        table = self._table(X)
        fields = self._fields(X, _CALLER + 1)
        for field, values in fields.items():
            cells = as_object_column([self._as_cell(value) for value in values])
            table[f"{self.name}__{field}"] = pd.Series(
                cells, index=table.index, dtype=object
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
            A column for each field of an answer, such as ``label``: str or list of
            str, None where missing; X's index.
        """
        fields = self._fields(X, _CALLER)
        columns = {name: as_object_column(cells) for name, cells in fields.items()}
        return pd.DataFrame(columns, index=self._index(X), dtype=object)

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
            as_object_column(labels), index=self._index(X), name=self.name, dtype=object
        )

    def failures(self, X):
        """List the clips that have no label though there was something to ask.

        Asks nothing: it knows what is in the cache, and what came in calls of this
        object with these parameters.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        table : DataFrame of shape (n_failures, 3)
            Columns ``clip`` (the id), ``stage`` (``"not asked"``: not yet;
            ``"answer"``: none came; ``"content"``: it holds no label; else what of the
            clip could not be read) and ``error``; X's index.
        """
        answers, failures = self._extract(X, raising=False, asking=False)
        index = self._index(X)
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

    def ask_again(self, X, **params):
        """Ask again about clips whose answers hold no label, and about no others.

        A new answer that holds one takes the old one's place in the cache, as if
        it had come at once; else the old one stays.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`, which was called before.
        **params : dict
            Parameters that hold for these requests alone, such as
            ``max_tokens=4096``: ``max_tokens``, ``temperature``, ``seed``,
            ``structured``, ``extra_body``, ``concurrency``, ``max_retries`` or
            ``timeout``. With none of them many models say again what they said.

        Returns
        -------
        table : DataFrame of shape (n_failures, 3)
            What :meth:`failures` then lists.

        Raises
        ------
        EndpointError
            If the server cannot be used at all.
        TypeError
            If ``params`` has others, which the old answers belong to.
        ValueError
            If there is no cache that can be written to.
        """
        ask_again(self, X, params)
        return self.failures(X)

    def usage(self, X):
        """Count the tokens of the answers, and what they cost.

        Asks nothing: it knows what is in the cache, and what came in calls of this
        object with these parameters.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        table : DataFrame of shape (n_clips, 3)
            Columns ``prompt_tokens`` and ``completion_tokens`` as the server counted
            them, and ``cost`` by ``prices``; NaN where that is not known, as of a clip
            without answer. One that is the same as a clip above it costs nothing.
            Tries that failed are not counted.
        """
        answers, _ = self._extract(X, raising=False, asking=False)
        counts = np.zeros((len(answers), 2))
        for i in self._asked_rows(self._cells(X)):
            answer = answers[i] or {"prompt_tokens": None, "completion_tokens": None}
            counts[i] = answer["prompt_tokens"], answer["completion_tokens"]
        table = pd.DataFrame(
            counts, columns=["prompt_tokens", "completion_tokens"], index=self._index(X)
        )
        table["cost"] = self._cost(counts)
        return table

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
                    f"{type(self).__name__} keeps the columns of X: call fit with it, "
                    "or give their names as input_features."
                )
            input_features = self.feature_names_in_
        names = [*map(str, input_features), *self._feature_names()]
        return np.asarray(names, dtype=object)

    # What a child says

    @abstractmethod
    def _index(self, X):
        """Return the clip ids of the rows, an Index."""

    @abstractmethod
    def _as_table(self, X):
        """Return the table that columns are added to: X, or what it stands for."""

    @abstractmethod
    def _schema(self):
        """Return the JSON schema of an answer."""

    @abstractmethod
    def _messages(self, cell):
        """Return the messages that ask about a clip, a list of dict."""

    @abstractmethod
    def _read_answer(self, content, finish):
        """Return the fields of an answer, a dict, and why it holds no label."""

    @abstractmethod
    def _count_cut(self, X):
        """Return how many texts are longer than ``max_chars``."""

    def _as_cell(self, value):
        """Return a field as it stands in the table, a str or None."""
        return value

    def _as_record(self, reply):
        """Return what is stored of a Reply; an exception as it is."""
        return as_record(reply)

    # What ClipEncoder asks for

    def _feature_names(self):
        return [f"{self.name}__{field}" for field in self._answer_fields]

    def _encode(self, cells):
        raise NotImplementedError("Annotators ask in _results, many at once.")

    def _sink(self, n_clips, store):
        return Answers(n_clips)

    def _results(self, cells, stop):
        store = self._store()
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
        # Files that are replaced before Ctrl-C have other answers.
        identities = self._identities(cells, store) if store.writable else None
        numbers, records, late = [], [], []
        asked = endpoint.ask(
            len(cells), lambda i: self._messages(cells[i]), self._schema(), stop, late
        )
        try:
            for numbers, replies in asked:
                records = [self._as_record(reply) for reply in replies]
                yield numbers, records
        except BaseException:
            # Ctrl-C, as a rule while what was yielded last was being stored.
            asked.close()
            late = [(i, self._as_record(reply)) for i, reply in late]
            if store.writable:
                done = [*zip(numbers, records, strict=True), *late]
                self._keep(cells, identities, done, store)
            raise

    def _keep(self, cells, identities, done, store):
        """Store answers that nobody else will, of clips that are what they were."""
        done = [(i, record) for i, record in done if isinstance(record, Record)]
        now = self._identities([cells[i] for i, _ in done], store)
        same = [
            (identity, record)
            for (i, record), identity in zip(done, now, strict=True)
            if isinstance(identity, bytes) and identity == identities[i]
        ]
        keys = make_keys([identity for identity, _ in same], self._namespace())
        store.put_many(list(zip(keys, [record for _, record in same], strict=True)))

    def _extract(self, X, *, raising, asking=True):
        self._validate_params()
        twin = remembering(self) if asking else recalling(self)
        try:
            answers, failures = super(Annotator, twin)._extract(X, raising=raising)
        except MediaError as error:
            # It names what the model was told; the clip's name is of more use.
            row = [str(cell) for cell in self._cells(X)].index(error.clip)
            clip = str(self._index(X)[row])
            named = MediaError(clip, stage_of(error.stage), error.reason)
            named.add_note(
                "With on_error='nan' clips without an answer have missing fields, and "
                "failures(X) lists them. Answers that came are in the cache."
            )
            raise named from None
        index = self._index(X)
        return answers, [
            replace(f, clip=str(index[f.position]), stage=stage_of(f.stage, f.reason))
            for f in failures
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
        self._warn_of_context(X, stacklevel + 1)
        read = self._read(answers)
        problems = [(i, problem) for i, (_, problem) in enumerate(read) if problem]
        n_cut = self._count_cut(X)
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
                f"the set, which is then missing, the first: {self._index(X)[row]}: "
                f"{problem}. failures(X) lists them"
                + ", and ask_again(X, max_tokens=...) asks about them alone"
                * (self.cache is not None)
                + "."
            )
        if n_cut:
            said.append(
                f"{n_cut} of {n_clips} texts are longer than max_chars="
                f"{self.max_chars} and were sent without their middle."
            )
        for text in said:
            warnings.warn(f"{owner}: {text}", ExtractionWarning, stacklevel=stacklevel)
        return {
            field: [fields[field] for fields, _ in read]
            for field in self._answer_fields
        }

    def _warn_of_context(self, X, stacklevel):
        """Warn where the context is of other clips."""
        if self.context is not None:
            warn_of_strangers(self.context, self._index(X), "context", stacklevel)

    def _read(self, answers):
        """Return the fields of each answer, and why there is no label."""
        nothing = dict.fromkeys(self._answer_fields), None
        return [
            nothing
            if answer is None
            else self._read_answer(answer["content"], answer["finish"])
            for answer in answers
        ]

    def _asked_rows(self, cells):
        """Return the rows that are not asked about by a row above."""
        rows = [i for i, cell in enumerate(cells) if cell is not None]
        identities = self._identities([cells[i] for i in rows], self._store())
        return [rows[place] for place in first_rows(identities)]

    def _classes(self):
        return check_classes(self.classes)

    def _cost(self, counts):
        # What is not asked for costs nothing, whatever the price.
        cost = np.where(counts == 0, 0.0, counts * price_pair(self.prices))
        return cost.sum(axis=1) / _PER_PRICE

    def _table(self, X):
        """Return the columns that the new ones are added to, the caller's own."""
        table = self._as_table(X)
        names = [str(name) for name in table.columns]
        taken = [name for name in self._feature_names() if name in names]
        if taken:
            raise ValueError(
                f"X has a column {taken[0]!r} already. Give this "
                f"{type(self).__name__} another name than {self.name!r}."
            )
        seen = list(getattr(self, "feature_names_in_", names))
        if names != seen:
            raise ValueError(
                f"X has the columns {', '.join(names)}, but fit saw {', '.join(seen)}. "
                "Pass the same ones, in this order."
            )
        return table.copy()
