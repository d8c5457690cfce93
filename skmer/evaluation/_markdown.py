"""A report as Markdown."""

import re

from skmer.evaluation._sections import sections_of

NO_PICTURES = 'No pictures: they need matplotlib. Run: pip install "skmer[plot]"'


def report_markdown(report, pictures):
    """Write a report as Markdown.

    Parameters
    ----------
    report : EvaluationReport
        The report.
    pictures : dict of str to bytes, or None
        Pictures that lie beside the text, by name without suffix; None where none
        could be drawn.

    Returns
    -------
    text : str
    """
    lines = [f"# {as_text(report.facts['name'])}", ""]
    if pictures is None:
        lines += [NO_PICTURES, ""]
    pictures = pictures or {}
    for section in sections_of(report):
        lines += [f"## {section.title}", ""]
        for sentence in section.sentences:
            lines += [_as_sentence(sentence), ""]
        if section.table is not None:
            lines += [*_table(section.table), ""]
        if section.picture in pictures:
            lines += [f"![{section.shows}]({section.picture}.png)", ""]
    return "\n".join(lines)


def _table(table):
    head = [table.index.name or "", *table.columns]
    yield _row(head)
    yield "|" + " --- |" * len(head)
    for name, row in zip(table.index, table.to_numpy(dtype=object), strict=True):
        yield _row([name, *row])


def _row(cells):
    return f"| {' | '.join(map(as_text, cells))} |"


def _as_sentence(sentence):
    # A name may begin it, with what would make a list of the line
    text = re.sub(r"^([-+])", r"\\\1", as_text(sentence))
    return re.sub(r"^(\d+)([.)])(?= )", r"\1\\\2", text)


def as_text(value):
    """Return text that is no markup, whatever is in it.

    Parameters
    ----------
    value : object
        Shown by ``str``; nothing for None and NaN.

    Returns
    -------
    text : str
        One line of Markdown.
    """
    text = "" if value is None or value != value else str(value)
    text = " ".join(text.split())
    text = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
