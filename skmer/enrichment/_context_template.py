"""Templates that put what is known of a clip into one text."""

import re
from dataclasses import dataclass

_SENTENCES = {
    "en": {
        "label": "Emotion",
        "keywords": "Keywords",
        "reason": "Reason",
        "description": "What is seen and heard",
        "cues": "Signs of emotion",
    },
    "zh": {
        "label": "情感",
        "keywords": "关键词",
        "reason": "理由",
        "description": "画面与声音",
        "cues": "情感线索",
    },
}
# Of a language: between name and value, after a sentence, between sentences,
# between words of a list.
_MARKS = {"en": (": ", ".", " ", ", "), "zh": ("：", "。", "", "、")}
_WHOSE = {"en": " ({})", "zh": "（{}）"}
# A sentence that ends so needs no full stop.
_ENDINGS = tuple(".!?…。！？;；:：")
_CLOSERS = "\"'”’」』)）"
#: What annotators call their fields.
KNOWN = frozenset(_SENTENCES["en"])
_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|[{}\[\]]")
_SYNTAX = (
    "A template has placeholders such as {chat__label}, and [sections], which are left "
    "out where one of theirs is missing; {{, }}, [[ and ]] stand for the marks "
    "themselves"
)


def field_kind(name):
    """Return the last part of a field's name, which says what it is."""
    return name.rpartition("__")[2]


def field_source(name):
    """Return the first part of a field's name, empty where it has none."""
    return name.rpartition("__")[0]


def default_text(values, language):
    """Return the text of a clip without a template.

    Parameters
    ----------
    values : dict of str to (str or None)
        Fields and their values, in order.
    language : {"en", "zh"}
        Of the names before the values.

    Returns
    -------
    text : str or None
        The words as they are, any other field in a sentence with its name, and that
        of who says it where several do. None where no field has a value.
    """
    colon, stop, space, _ = _MARKS[language]
    found = {name: value for name, value in values.items() if value is not None}
    if list(found) == ["text"]:
        return found["text"]
    # Of all fields: a clip that one annotator says nothing of reads like the others.
    several = len({field_source(name) for name in values} - {""}) > 1
    sentences = []
    for name, value in found.items():
        if name != "text":
            kind = field_kind(name)
            title = _SENTENCES[language].get(kind) or kind.replace("_", " ")
            if several and field_source(name):
                title += _WHOSE[language].format(field_source(name))
            value = f"{title}{colon}{value}"
        ended = value.rstrip(_CLOSERS).endswith(_ENDINGS)
        sentences.append(value if ended else value + stop)
    return space.join(sentences) or None


def join_words(words, language):
    """Return a list of words as one text."""
    return _MARKS[language][3].join(words)


@dataclass(frozen=True)
class _Field:
    """A placeholder."""

    name: str


class Template:
    """A template of a user's own.

    Parameters
    ----------
    text : str
        With ``{field}`` for values, ``[sections]`` that are left out where one of
        their fields is missing, and doubled marks for the marks themselves.

    Attributes
    ----------
    names : list of str
        The fields, in order, each once.

    Raises
    ------
    ValueError
        If it is malformed.
    """

    def __init__(self, text):
        self._text = text
        self.names = []
        self._parts = self._parse()
        if not self.names:
            raise ValueError(
                f"template={text!r} has no placeholder, so that all clips would have "
                f"one text. {_SYNTAX}."
            )

    def fill(self, values):
        """Return the text of a clip, None where no placeholder has a value.

        Parameters
        ----------
        values : dict of str to (str or None)
            Values of fields; never read as a template.

        Returns
        -------
        text : str or None
        """
        if all(values.get(name) is None for name in self.names):
            return None
        return self._render(self._parts, values).strip() or None

    def _render(self, parts, values):
        rendered = []
        for part in parts:
            if isinstance(part, str):
                rendered.append(part)
            elif isinstance(part, _Field):
                rendered.append(values.get(part.name) or "")
            elif all(values.get(name) is not None for name in _names(part)):
                rendered.append(self._render(part, values))
        return "".join(rendered)

    def _parse(self):
        outside, section, start, place = [], None, 0, 0
        while token := _TOKEN.search(self._text, place):
            parts = outside if section is None else section
            parts.append(self._text[place : token.start()])
            mark, place = token[0], token.end()
            if len(mark) == 2:
                parts.append(mark[0])
            elif mark == "[":
                if section is not None:
                    raise self._malformed(token.start(), "a section in a section")
                section, start = [], token.start()
            elif mark == "]":
                if section is None:
                    raise self._malformed(token.start(), "']' closes no section")
                if not _names(section):
                    raise self._malformed(start, "the section has no placeholder")
                outside.append(section)
                section = None
            elif mark == "{":
                end = self._text.find("}", place)
                name = self._text[place:end].strip()
                if end < 0 or not name or set(name) & set("{[]"):
                    raise self._malformed(token.start(), "'{' begins no placeholder")
                parts.append(_Field(name))
                if name not in self.names:
                    self.names.append(name)
                place = end + 1
            else:
                raise self._malformed(token.start(), "'}' ends no placeholder")
        if section is not None:
            raise self._malformed(start, "the section is not closed")
        return [*outside, self._text[place:]]

    def _malformed(self, place, problem):
        return ValueError(
            f"template is malformed at character {place}, "
            f"{self._text[place : place + 20]!r}: {problem}. {_SYNTAX}."
        )


def _names(parts):
    return [part.name for part in parts if isinstance(part, _Field)]
