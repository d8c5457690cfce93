"""Tables of text: CSV files as people and spreadsheets write them."""

import codecs
import csv
import io
import os
import re
from dataclasses import dataclass

from skmer.datasets._problems import Problems
from skmer.exceptions import DataFileError

_DELIMITERS = ",;\t|"
_NO_DELIMITERS = '"\r\n'
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What a file in another encoding most likely is in
_LIKELY = ("cp1252", "gb18030")


@dataclass
class Table:
    """A table whose cells are strings without space around them.

    Attributes
    ----------
    path : str
        The file.
    columns : dict of str to list of str
        Cells by name, in the order of the file.
    rows : list of str
        Number of each row as spreadsheets show it, the header being row 1; with the
        line of the file beside it where that is another.
    head : str
        Number of the header's row.
    """

    path: str
    columns: dict
    rows: list
    head: str

    def __len__(self):
        return len(self.rows)


def read_table(path, *, delimiter=None, encoding=None):
    """Read a CSV or TSV file.

    Parameters
    ----------
    path : str or PathLike
        The file.
    delimiter : str, default=None
        What stands between cells. None: a tab in ``.tsv`` files, else whichever of
        comma, semicolon, tab and bar makes the most columns of the header.
    encoding : str, default=None
        None: UTF-8, or what a byte order mark says.

    Returns
    -------
    table : Table
        Without rows that are wholly empty and columns without a name.

    Raises
    ------
    DataFileError
        If it is no such file, holds no rows, is in another encoding, or rows have
        more or fewer cells than the header.
    ValueError
        If ``delimiter`` is not one sign.
    """
    path = os.fspath(path)
    _check_delimiter(delimiter)
    text, start = _skip_hint(_read_text(path, encoding))
    if start is not None:
        delimiter = delimiter or start
    if delimiter is None:
        delimiter = _delimiter(path, text)
    records = _records(path, text, delimiter, 1 if start is None else 2)
    names = next(((names, row) for names, row in records if any(names)), None)
    if names is None:
        raise DataFileError(
            f"{path} is empty. Its first row must name the columns, such as "
            "path,label; then comes one row a clip."
        )
    names, head = names
    problems = Problems(path)
    kept, rows = [], []
    for cells, row in records:
        if not any(cells):
            continue
        while len(cells) > len(names) and not cells[-1]:
            cells.pop()
        if len(cells) != len(names):
            problems.add(f"row {row}", _ragged(cells, names, delimiter))
            continue
        kept.append(cells)
        rows.append(row)
    problems.raise_any()
    if not kept:
        raise DataFileError(
            f"{path} holds a header ({', '.join(names)}) and no rows below it. Add "
            "one row a clip."
        )
    doubles = sorted({name for name in names if name and names.count(name) > 1})
    if doubles:
        raise DataFileError(
            f"{path}, row {head}: two columns are called {doubles[0]!r}. Rename or "
            "delete one."
        )
    columns = {
        name: list(cells)
        for name, cells in zip(names, zip(*kept, strict=True), strict=True)
        if name
    }
    return Table(path, columns, rows, head)


def _check_delimiter(delimiter):
    if delimiter is not None and (len(delimiter) != 1 or delimiter in _NO_DELIMITERS):
        raise ValueError(
            "delimiter must be one sign, such as ',', ';' or '\\t', and neither a "
            f"quotation mark nor a line end. Got {delimiter!r}."
        )


def _read_text(path, encoding):
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise DataFileError(
            f"There is no file {path!r} (looked in {os.path.abspath(path)})."
        ) from None
    except IsADirectoryError:
        raise DataFileError(
            f"{path!r} is a folder. Give the CSV file that lists the clips."
        ) from None
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataFileError(
            f"{path} is a spreadsheet, not a CSV file. Save it from the spreadsheet "
            "program as 'CSV UTF-8'."
        )
    if encoding is None:
        marks = (name for mark, name in _BOMS.items() if data.startswith(mark))
        encoding = next(marks, "utf-8")
    elif codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        raise DataFileError(_wrong_encoding(path, data, encoding, error)) from None
    if "\0" in text:
        row = 1 + text[: text.index("\0")].count("\n")
        raise DataFileError(
            f"{path}, line {row} holds a zero byte, so it is no text in {encoding}. "
            "Save it anew as 'CSV UTF-8'; load_clips also takes encoding='utf-16' if "
            "that is what it is in."
        )
    return text


def _wrong_encoding(path, data, encoding, error):
    start = getattr(error, "start", 0)
    line = 1 + data.count(b"\n", 0, start)
    first = data.rfind(b"\n", 0, start) + 1
    end = data.find(b"\n", start)
    raw = data[max(first, start - 20) : min(len(data) if end < 0 else end, start + 20)]
    seen = [
        f"{raw.decode(name).strip()!r} with encoding={name!r}"
        for name in _LIKELY
        if name != encoding and _decodes(raw, name)
    ]
    hint = f" It reads {' and '.join(seen)}." if seen else ""
    return (
        f"{path}, row {line} is no text in {encoding.removesuffix('-sig')} (byte "
        f"{data[start : start + 1].hex()}).{hint} Save the file as 'CSV UTF-8'; "
        "load_clips also takes the right encoding=."
    )


def _decodes(raw, encoding):
    try:
        raw.decode(encoding)
    except UnicodeError:
        return False
    return True


def _skip_hint(text):
    """Take off the line by which spreadsheets are told the delimiter."""
    found = re.match(r"sep=([^\"])\r?\n", text)
    return (text, None) if found is None else (text[found.end() :], found[1])


def _delimiter(path, text):
    if path.lower().endswith((".tsv", ".tab")):
        return "\t"
    head = next((line for line in text.splitlines() if line.strip()), "")
    return max(
        _DELIMITERS,
        key=lambda delimiter: len(next(csv.reader([head], delimiter=delimiter), [])),
    )


def _records(path, text, delimiter, first):
    """Yield the cells and the number of each row."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    row, line = first - 1, first
    while True:
        row += 1
        where = str(row) if line == row else f"{row} (line {line})"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataFileError(
                f"{path}, row {where}: {error}. A cell that begins with a quotation "
                'mark must end with one, and marks inside it are doubled ("").'
            ) from None
        if cells is None:
            return
        yield [cell.strip() for cell in cells], where
        line = first + reader.line_num


def _ragged(cells, names, delimiter):
    n_cells, n_names = len(cells), len(names)
    shown = repr(delimiter.join(cells)[:60])
    if n_cells < n_names:
        cure = f"Fill in {names[n_cells]!r}, or leave it empty between delimiters."
    else:
        cure = f"Put a cell that holds {delimiter!r} between quotation marks."
    return f"{n_cells} cells below a header of {n_names} ({shown}). {cure}"
