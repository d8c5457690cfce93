"""A report as one page of HTML that needs nothing else."""

import base64
from html import escape

from skmer.evaluation._markdown import NO_PICTURES
from skmer.evaluation._sections import sections_of

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --page: #fff; --line: #c8c8c8;
  --head: #f0f0f0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --page: #16181b;
  --line: #4a4d52; --head: #25282c; } }
body { color: var(--ink); background: var(--page); font: 16px/1.5 system-ui, sans-serif;
  max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left;
  overflow-wrap: anywhere; }
thead th { background: var(--head); }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
"""
# Even if a name got through unescaped, nothing would be run or fetched
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report_html(report, pictures, *, whole=True):
    """Write a report as HTML.

    Parameters
    ----------
    report : EvaluationReport
        The report.
    pictures : dict of str to bytes, or None
        PNG files by name; None where none could be drawn.
    whole : bool, default=True
        Return a page, else a part of one for notebooks, without pictures.

    Returns
    -------
    page : str
    """
    title = _safe(report.facts["name"])
    sections = sections_of(report)
    if not whole:
        scores = next(s for s in sections if s.table is not None)
        return f"<div><h3>{title}</h3>{_table(scores)}</div>"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}: evaluation</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{title}</h1>",
    ]
    if pictures is None:
        parts.append(f"<p>{escape(NO_PICTURES)}</p>")
    for section in sections:
        parts += ["<section>", f"<h2>{escape(section.title)}</h2>"]
        parts += [f"<p>{_safe(sentence)}</p>" for sentence in section.sentences]
        if section.table is not None:
            parts.append(_table(section))
        if pictures and section.picture in pictures:
            data = base64.b64encode(pictures[section.picture]).decode()
            source = f"data:image/png;base64,{data}"
            parts.append(f'<img alt="{escape(section.shows)}" src="{source}">')
        parts.append("</section>")
    return "\n".join([*parts, "</main>", "</body>", "</html>", ""])


def _table(section):
    table = section.table
    head = [table.index.name or "", *table.columns]
    cells = "".join(f'<th scope="col">{_safe(name)}</th>' for name in head)
    rows = []
    for name, row in zip(table.index, table.to_numpy(dtype=object), strict=True):
        body = "".join(f"<td>{_safe(value)}</td>" for value in row)
        rows.append(f'<tr><th scope="row">{_safe(name)}</th>{body}</tr>')
    return (
        f'<div class="table"><table><caption>{escape(section.title)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _safe(value):
    return "" if value is None or value != value else escape(str(value))
