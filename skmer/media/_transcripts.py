"""Transcripts that lie beside a clip."""

import codecs
import html
import re
from pathlib import Path

from skmer.exceptions import MediaError

# A timed transcript is more surely one than a text file is.
SUFFIXES = (".srt", ".vtt", ".txt")

_MAX_BYTES = 16 * 2**20
_TIMING = re.compile(r"^\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->")
_TAG = re.compile(r"</?[a-zA-Z0-9][^<>\n]*>|\{\\[^{}\n]*\}")


def find_transcript(path):
    """Find the transcript beside a clip.

    Parameters
    ----------
    path : str or PathLike
        The clip.

    Returns
    -------
    transcript : Path or None
        The file of the same folder and stem that ends in ``.srt``, ``.vtt`` or
        ``.txt`` (whatever the case), the first of these that exists; None if
        there is none.

    Examples
    --------
    >>> from skmer.media import find_transcript
    >>> find_transcript("no/such/clip.mp4") is None
    True
    """
    path = Path(path)
    for suffix in SUFFIXES:
        for name in (path.stem + suffix, path.stem + suffix.upper()):
            candidate = path.with_name(name)
            if candidate != path and candidate.is_file():
                return candidate
    return None


def read_transcript(path):
    """Read the words of a transcript.

    Parameters
    ----------
    path : str or PathLike
        A ``.srt`` or ``.vtt`` file, whose cue numbers, times, notes, styles and
        tags are left out, or any other text file, taken as it is.

    Returns
    -------
    text : str or None
        The words, every run of white space one space; None if there are none.

    Raises
    ------
    MediaError
        If the file cannot be read or holds no text.

    Notes
    -----
    The text may be UTF-8 or UTF-16 with a byte order mark, UTF-8 without, GB18030
    (Chinese; it includes GBK and GB2312) or else Windows-1252, tried in this order.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except IsADirectoryError as error:
        raise MediaError(path, "text", "it is a folder, not a transcript") from error
    except FileNotFoundError as error:
        raise MediaError(path, "text", "there is no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, "text", reason) from error
    if len(data) > _MAX_BYTES:
        raise MediaError(
            path, "text", f"it is larger than {_MAX_BYTES} bytes, so no transcript"
        )
    text = _decode(data)
    if "\0" in text:
        raise MediaError(path, "text", "it holds binary data, not text")
    suffix = path.suffix.lower()
    if suffix in {".srt", ".vtt"}:
        text = " ".join(_cue_lines(text))
    return " ".join(text.split()) or None


def _decode(data):
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or _looks_chinese(text):
            return text
    return data.decode("cp1252", errors="replace")


def _looks_chinese(text):
    """Tell Chinese text from Western text that happens to decode as GB18030."""
    foreign = [c for c in text if ord(c) > 127]
    common = sum(
        "\u4e00" <= c <= "\u9fa5"
        or "\u3000" <= c <= "\u303f"
        or "\uff00" <= c <= "\uffef"
        for c in foreign
    )
    return common > 0.8 * len(foreign)


def _cue_lines(text):
    """Yield the lines that are spoken; blocks without a time line are none."""
    for block in re.split(
        r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n")
    ):
        lines = block.split("\n")
        for index, line in enumerate(lines):
            if _TIMING.match(line):
                for spoken in lines[index + 1 :]:
                    yield html.unescape(_TAG.sub("", spoken))
                break
