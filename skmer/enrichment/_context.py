"""ContextEnricher: the words of clips and what is said of them, as one text."""

from difflib import get_close_matches
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from skmer.clips._cells import is_missing, resolve_cells
from skmer.enrichment._chat_prompts import LANGUAGES, shortened
from skmer.enrichment._chat_rows import row_index
from skmer.enrichment._context_template import (
    KNOWN,
    Template,
    default_text,
    field_kind,
    join_words,
)
from skmer.utils import as_object_column
from skmer.utils._clip_ids import look_up, warn_of_strangers
from skmer.utils._sklearn import Interval, StrOptions, _fit_context
from skmer.utils._stateless import StatelessOnClips

# Columns of a table of clips that hold files, whose names often tell the label.
_PATHS = ("video", "audio")


class ContextEnricher(StatelessOnClips, TransformerMixin, BaseEstimator):
    """Put the words of clips and what annotators say of them into one text.

    Stands between annotators and :class:`~skmer.encoders.TextEncoder`: of a table of
    clips with columns such as ``chat__label`` it gives the same table with another
    ``text``, which the encoder then reads instead of the bare transcript [1]_ [2]_.

    Parameters
    ----------
    annotations : Series or DataFrame indexed by clip id, default=None
        Fields that are not in the table: a Series under its name, a DataFrame one
        a column.
    fields : sequence of str or None, default=None
        Which fields the text has, and in which order: ``"text"`` and columns of the
        table or of ``annotations``. None is the transcript, then the table's columns
        that are called as annotators call theirs (two underscores, and at the end
        label, keywords, reason, description or cues), then all of ``annotations``.
        A ``template`` has an order of its own; fields of it that are not named here
        count as missing.
    template : str or None, default=None
        How the text is put together, with ``{chat__label}`` for the value of a field
        and ``[Emotion: {chat__label}.]`` for a section that is left out where one of
        its fields is missing. ``{{``, ``}}``, ``[[`` and ``]]`` stand for the marks
        themselves. None: the transcript as it is, then a
        sentence a field with its name, "Emotion: happy.", or, where fields have
        several first parts, "Emotion (chat): happy."
    language : {"en", "zh"}, default="en"
        Language of those names.
    max_chars : int or None, default=None
        Values longer than so many characters lose their middle, so that one of them
        cannot push the others out of what a model reads.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X; ``text`` where X is a list or Series.

    See Also
    --------
    skmer.enrichment.ChatAnnotator : Asks a language model about the words of clips.
    skmer.encoders.TextEncoder : Encodes the text.

    Notes
    -----
    A field that a clip does not have leaves no trace; a clip that has none has no
    text (None). Without any annotation the text is the transcript, to the letter.
    Values are put in as they are: marks of templates in them mean nothing.

    Nothing is learned. The columns ``video`` and ``audio`` are refused as fields,
    as names of files often tell the label. For the same reason keep the labels that
    are to be predicted out of the table.

    The papers give neither words nor order of their template.

    References
    ----------
    .. [1] H. Dubey and M. Kadwal, "MMEF-Net: Multimodal Emotion Feature Network with
       Contextual Enrichment and Dynamic Modality Weighting": transcript, label and
       keywords of one language model, label, description and cues of another, which
       sees and hears.
    .. [2] J. Hu, Y. Li, J. Li, S. Chen and P. Wong, "ECMF: Enhanced Cross-Modal Fusion
       for Multimodal Emotion Recognition in MER-SEMI Challenge", 2025.
       :arxiv:`2508.05991`: the same. Neither gives the words or order of its template.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmer.enrichment import ContextEnricher
    >>> clips = pd.DataFrame(
    ...     {"text": ["We won!", "I see", None], "chat__label": ["happy", None, None]},
    ...     index=["a", "b", "c"],
    ... )
    >>> cues = pd.Series({"a": "a broad smile"}, name="omni__cues")
    >>> list(ContextEnricher(cues).fit_transform(clips)["text"])
    ['We won! Emotion (chat): happy. Signs of emotion (omni): a broad smile.',
     'I see', None]
    >>> template = "{text}[ ({chat__label})]"
    >>> list(ContextEnricher(template=template).fit_transform(clips)["text"])
    ['We won! (happy)', 'I see', None]
    """

    _parameter_constraints: dict = {
        "annotations": [pd.Series, pd.DataFrame, None],
        "fields": ["array-like", None],
        "template": [str, None],
        "language": [StrOptions(set(LANGUAGES))],
        "max_chars": [Interval(Integral, 16, None, closed="left"), None],
    }

    def __init__(
        self,
        annotations=None,
        *,
        fields=None,
        template=None,
        language="en",
        max_chars=None,
    ):
        self.annotations = annotations
        self.fields = fields
        self.template = template
        self.language = language
        self.max_chars = max_chars

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check X and the parameters; nothing is learned.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            As for :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        self : ContextEnricher

        Raises
        ------
        TypeError
            If X is neither a table of clips nor texts.
        ValueError
            If a field is in neither X nor ``annotations`` or in both, or the
            template is malformed.
        """
        table = _as_table(X)
        self._plan(table)
        names = [str(name) for name in table.columns]
        self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_ = len(names)
        return self

    def transform(self, X):
        """Give clips their enriched text.

        Parameters
        ----------
        X : DataFrame, or list, 1-D ndarray or Series of str, of length n_clips
            A table of clips with a column ``text``, as
            :class:`~skmer.clips.ClipTable` and annotators give, or texts.

        Returns
        -------
        table : DataFrame of shape (n_clips, n_columns)
            X, or texts as a column ``text``, with the text replaced: of dtype
            object, str or None. All else stays, the index too.

        Raises
        ------
        TypeError
            If X is neither a table of clips nor texts.
        ValueError
            As from :meth:`fit`, or if X has other columns than that saw.

        Warns
        -----
        UserWarning
            If ``annotations`` say nothing of any clip of X.
        """
        self._validate_params()
        table = _as_table(X)
        names = [str(name) for name in table.columns]
        seen = list(getattr(self, "feature_names_in_", names))
        if names != seen:
            raise ValueError(
                f"X has the columns {', '.join(names)}, but fit saw {', '.join(seen)}. "
                "Pass the same ones, in this order."
            )
        template, fields = self._plan(table)
        if self.annotations is not None:
            # scikit-learn wraps transform in a frame of its own.
            warn_of_strangers(self.annotations, table.index, "annotations", 3)
        columns = {
            name: [self._as_text(value) for value in values]
            for name, values in fields.items()
        }
        texts = [
            default_text(values, self.language)
            if template is None
            else template.fill(values)
            for values in (
                dict(zip(columns, row, strict=True))
                for row in zip(*columns.values(), strict=True)
            )
        ]
        place = names.index("text")
        table = table.copy()
        # By place: a name of the table may be no str.
        table.isetitem(place, pd.Series(as_object_column(texts), table.index, object))
        return table

    def get_feature_names_out(self, input_features=None):
        """Return the names of the table's columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None for those that ``fit`` saw.

        Returns
        -------
        names : ndarray of str of shape (n_columns,)

        Raises
        ------
        NotFittedError
            If neither is there.
        """
        if input_features is None:
            if not hasattr(self, "feature_names_in_"):
                raise NotFittedError(
                    "ContextEnricher keeps the columns of X: call fit with it, or give "
                    "their names as input_features."
                )
            input_features = self.feature_names_in_
        return np.asarray([str(name) for name in input_features], dtype=object)

    def _plan(self, table):
        """Return the template, and the values of its fields, each a list."""
        known = _table_fields(table)
        own = self._own_fields(table.index)
        both = [name for name in own if name in known]
        if both:
            raise ValueError(
                f"X and annotations both have {both[0]!r}. Rename one of them, or "
                "leave it out of annotations."
            )
        known |= own
        template = None if self.template is None else Template(self.template)
        if template is not None:
            for name in template.names:
                _check_field(name, known, "template")
        if self.fields is None:
            names = _default_fields(table, own) if template is None else template.names
        else:
            names = list(self.fields)
            for name in names:
                _check_field(name, known, "fields")
                if template is not None and name not in template.names:
                    raise ValueError(
                        f"fields has {name!r}, for which template has no placeholder. "
                        f"It has {', '.join(template.names)}."
                    )
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    "fields must name at least one field, and each once. Got "
                    f"{names!r}."
                )
        return template, {name: known[name] for name in names}

    def _own_fields(self, index):
        """Return the fields that the parameter brings, looked up for the rows."""
        if self.annotations is None:
            return {}
        if isinstance(self.annotations, pd.Series) and self.annotations.name is None:
            raise ValueError(
                "annotations is a Series without a name, which its field is known by. "
                "Give it one, such as 'omni__label', by rename."
            )
        frame = pd.DataFrame(self.annotations)
        names = [str(name) for name in frame.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"annotations has columns of one name: {names}.")
        return {
            name: look_up(
                frame.iloc[:, place], index, f"annotations[{name!r}]", required=False
            )
            for place, name in enumerate(names)
        }

    def _as_text(self, value):
        """Return a cell as text, None where there is nothing in it."""
        if isinstance(value, (list, tuple, np.ndarray)):
            words = [str(word) for word in value if not is_missing(word)]
            text = join_words(words, self.language)
        elif is_missing(value):
            return None
        else:
            text = str(value)
        if not text.strip():
            return None
        return text if self.max_chars is None else shortened(text, self.max_chars)


def _as_table(X):
    """Return a table of clips as it is, or texts as one."""
    texts = resolve_cells(X, "text", "ContextEnricher")
    if not isinstance(X, pd.DataFrame):
        return pd.DataFrame(
            {"text": as_object_column(texts)}, index=row_index(X), dtype=object
        )
    names = [str(name) for name in X.columns]
    if "text" not in names or len(set(names)) < len(names):
        raise ValueError(
            "ContextEnricher takes a table of clips with a column 'text', each column "
            f"of another name. X has the columns {', '.join(names[:10])}. Put "
            "ClipTable() before it, or rename a column."
        )
    return X


def _table_fields(table):
    return {
        str(name): table.iloc[:, place]
        for place, name in enumerate(table.columns)
        if str(name) not in _PATHS
    }


def _default_fields(table, own):
    names = [str(name) for name in table.columns]
    said = [name for name in names if "__" in name and field_kind(name) in KNOWN]
    return ["text", *said, *own]


def _check_field(name, known, where):
    if name in known:
        return
    if name in _PATHS:
        raise ValueError(
            f"{where} has {name!r}. Names of files often tell what is to be "
            "predicted, and are no words: leave it out."
        )
    near = get_close_matches(str(name), known, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{where} has {name!r}, which is in neither X nor annotations.{meant} There "
        f"are {', '.join(known)}. Put the annotator that makes it before "
        "ContextEnricher, or give it by annotations."
    )
