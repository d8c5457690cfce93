"""Transcripts beside a clip."""

import pytest

from skmer.exceptions import MediaError
from skmer.media import find_transcript, read_transcript

SRT = """\ufeff1
00:00:01,000 --> 00:00:02,500
<i>Well,</i> I {\\an8}never
- said that.

2
00:00:03,000 --> 00:00:04,000 X1:10 X2:20
<font color="#ff0000">42</font>

3
00:00:05,000 --> 00:00:06,000

"""
VTT = """WEBVTT - some title
Kind: captions

NOTE not spoken
still not

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start
<v Anna>Tom &amp; I <00:01.500><c.loud>are</c> 5 < 6

00:02:03.000 --> 00:02:04.000
fine
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("suffix", "text", "words"),
    [
        (".srt", SRT, "Well, I never - said that. 42"),
        (".vtt", VTT, "Tom & I are 5 < 6 fine"),
        (".txt", "  One\ttwo\n\n three\u3000四 ", "One two three 四"),
        (".txt", "1\n00:00:01,000 --> x", "1 00:00:01,000 --> x"),
    ],
)
def test_words(tmp_path, suffix, text, words, newline):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(text.replace("\n", newline).encode())
    assert read_transcript(path) == words


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße, 你好", "utf-8"),
        ("Grüße, 你好", "utf-8-sig"),
        ("Grüße, 你好", "utf-16"),
        ("我今天很高兴，真的！", "gb18030"),
        ("我今天很高兴 ok", "gbk"),
        ("Ça me plaît déjà", "cp1252"),
        ("Grüße aus Köln", "cp1252"),
        ("señor, ¿qué?", "cp1252"),
    ],
)
def test_encodings(tmp_path, text, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert read_transcript(path) == text


@pytest.mark.parametrize("text", ["", " \n\t ", "1\n00:00:01,000 --> 00:00:02,000\n\n"])
def test_no_words(tmp_path, text):
    path = tmp_path / "a.srt"
    path.write_text(text)
    assert read_transcript(path) is None


def test_unreadable(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\0\1\2" * 100)
    (tmp_path / "big.txt").write_bytes(b"a" * (16 * 2**20 + 1))
    for path, reason in [
        (tmp_path / "none.txt", "there is no such file"),
        (tmp_path, "it is a folder"),
        (tmp_path / "a.txt", "binary data"),
        (tmp_path / "big.txt", "larger than"),
    ]:
        with pytest.raises(MediaError, match=reason) as info:
            read_transcript(path)
        assert info.value.stage == "text"


def test_find(tmp_path):
    clip = tmp_path / "a.b.mp4"
    assert find_transcript(clip) is None
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.b.mp4.txt").touch()
    assert find_transcript(clip) is None
    for name in ("a.b.txt", "a.b.vtt", "a.b.SRT"):
        (tmp_path / name).touch()
        assert find_transcript(clip) == tmp_path / name
        assert find_transcript(str(clip)) == tmp_path / name
    # A transcript is no sidecar of itself.
    assert find_transcript(tmp_path / "a.txt") is None
