"""A report as Markdown."""

import re

from skmer.evaluation._sections import sections_of


def report_markdown(report, pictures):
    """Write a report as Markdown.

    Parameters
    ----------
    report : EvaluationReport
        The report.
    pictures : dict of str to bytes
        Pictures that lie beside the text, by name without suffix.

    Returns
    -------
    text : str
    """
    lines = [f"# {_safe(report.facts['name'])}", ""]
    if not pictures:
        lines += [no_pictures(), ""]
    for section in sections_of(report):
        lines += [f"## {section.title}", ""]
        for sentence in section.sentences:
            lines += [_safe(sentence), ""]
        if section.table is not None:
            lines += [*_table(section.table), ""]
        if section.picture in pictures:
            lines += [f"![{section.shows}]({section.picture}.png)", ""]
    return "\n".join(lines)


def no_pictures():
    """Return the sentence that stands in place of pictures."""
    return 'No pictures: they need matplotlib (pip install "skmer[plot]") and a file.'


def _table(table):
    head = [table.index.name or "", *table.columns]
    yield _row(head)
    yield "|" + " --- |" * len(head)
    for name, row in zip(table.index, table.to_numpy(dtype=object), strict=True):
        yield _row([name, *row])


def _row(cells):
    return f"| {' | '.join(map(_safe, cells))} |"


def _safe(value):
    """Return text that is no markup, whatever is in it."""
    text = "" if value is None or value != value else str(value)
    text = " ".join(text.split())
    text = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
