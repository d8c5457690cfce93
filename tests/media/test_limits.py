"""What reading a clip may take, and files that ask for more."""

import os
import struct
import zlib

import numpy as np
import pytest
from media_files import numbered_picture, write_video

from skmer.encoders import AcousticEncoder, VisualEncoder
from skmer.exceptions import ExtractionWarning, MediaError, MediaLimitError
from skmer.media import probe, read_audio, read_clip, read_frames, write_clip
from skmer.media._headers import check_header

READERS = [
    probe,
    read_audio,
    lambda path, **limits: read_frames(path, 4, **limits),
    lambda path, **limits: read_clip(path, rate=16_000, n_frames=4, **limits),
]


def _box(name, content):
    return struct.pack(">I", 8 + len(content)) + name + content


def _chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _png(width, height, *chunks):
    size = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    pixels = _chunk(b"IDAT", zlib.compress(bytes(height * (4 * width + 1))))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", size), *chunks, pixels]
        + [_chunk(b"IEND", b"")]
    )


def _wav(rate, samples):
    data = samples.astype("<i2").tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return (
        *(b"RIFF", struct.pack("<I", 36 + len(data)), b"WAVEfmt ", form),
        *(b"data", struct.pack("<I", len(data)), data),
    )


@pytest.mark.parametrize("reader", READERS)
def test_time(steady_clip, reader):
    with pytest.raises(MediaLimitError, match="max_decode_seconds=1e-06") as error:
        reader(steady_clip, max_decode_seconds=1e-6)
    assert error.value.clip == str(steady_clip)
    for limit in (None, 100.0):
        assert reader(steady_clip, max_decode_seconds=limit) is not None
    with pytest.raises(ValueError, match="max_decode_seconds must be positive"):
        reader(steady_clip, max_decode_seconds=0)


def test_memory_of_pictures(steady_clip):
    whole = read_frames(steady_clip, 5)
    same = read_frames(steady_clip, 5, max_bytes=whole.images.nbytes)
    np.testing.assert_array_equal(same.images, whole.images)
    with pytest.raises(MediaLimitError, match="160x96 come to more than max_bytes"):
        read_frames(steady_clip, 5, max_bytes=whole.images.nbytes - 1)
    assert len(read_frames(steady_clip, 5, max_bytes=None)) == 5


def test_large_pictures(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(_png(400, 300))
    assert read_frames(path, 1, max_pixels=120_000).images.shape == (1, 300, 400, 3)
    with pytest.raises(MediaLimitError, match="400x300, more than max_pixels=119999"):
        read_frames(path, 1, max_pixels=119_999)
    path.write_bytes(_png(3000, 2000))
    with pytest.raises(MediaLimitError, match="or its pictures are larger than max_p"):
        read_frames(path, 1, max_pixels=119_999)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_no_clip(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="it is no ordinary file"):
        reader(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("rate", [1, 7])
def test_very_low_rates(tmp_path, rate):
    path = tmp_path / "a.wav"
    path.write_bytes(b"".join(_wav(rate, np.arange(20 * rate))))
    assert len(read_audio(path, rate=8_000)) == pytest.approx(160_000, rel=0.01)
    path.write_bytes(b"".join(_wav(rate, np.arange(100_000))))
    with pytest.raises(MediaError, match="more than max_seconds=600"):
        read_audio(path)


def test_too_many_streams(tmp_path):
    data = write_clip(tmp_path / "a.mp4", audio=np.zeros(4_000)).read_bytes()
    moov, trak = data.index(b"moov") - 4, data.index(b"trak") - 4
    length = int.from_bytes(data[trak : trak + 4], "big")
    track, total = data[trak : trak + length], int.from_bytes(data[moov:][:4], "big")
    for count, readable in ((100, True), (250, False)):
        path = tmp_path / f"{count}.mp4"
        path.write_bytes(
            data[:moov]
            + struct.pack(">I", total + count * length)
            + data[moov + 4 : trak]
            + track * count
            + data[trak:]
        )
        if readable:
            assert probe(path).has_audio
        else:
            with pytest.raises(MediaError, match="more than 200 streams"):
                probe(path)


def _many_samples(data):
    # One size for all, so that no table has to follow.
    place = data.index(b"stsz") + 8
    return data[:place] + struct.pack(">II", 1, 80_000_000) + data[place + 8 :]


def _many_samples_in_fragments(data):
    tables = _box(b"trun", struct.pack(">II", 0, 1000)) * 500
    return data + _box(b"moof", _box(b"traf", tables))


def _packed_index(data):
    index = struct.pack(">I", 2**30) + zlib.compress(bytes(2**10))
    cmov = _box(b"cmov", _box(b"dcom", b"zlib") + _box(b"cmvd", index))
    return _box(b"ftyp", b"qt  \0\0\2\0qt  ") + _box(b"moov", cmov)


def _many_boxes(data):
    return data + _box(b"moov", _box(b"udta", b"") * 1_000_000)


def _packed_text(data):
    words = zlib.compress(bytes(70 * 2**20))
    return _png(64, 64, _chunk(b"zTXt", b"name\0\0" + words))


def _packed_words(data):
    words = zlib.compress(bytes(2**10))
    chunk = _chunk(b"iTXt", b"name\0\1\0en\0name\0" + zlib.compress(bytes(70 * 2**20)))
    return _png(64, 64, _chunk(b"iCCP", b"name\0\0" + words), chunk)


def _packed_tag(data):
    frame = struct.pack(">4sIHI", b"TIT2", 100, 0x09, 2**30) + bytes(96)
    return b"ID3\4\0\0" + bytes([0, 0, 0, len(frame)]) + frame + data


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_many_samples, "it counts 8000.... samples in"),
        (_many_samples_in_fragments, "it counts 9... samples in"),
        (_packed_index, "its index unpacks to more than 67108864 bytes"),
        (_many_boxes, "its header has more than 1000000 boxes"),
        (_packed_text, "its texts unpack to more than 67108864 bytes"),
        (_packed_words, "its texts unpack to more than 67108864 bytes"),
        (_packed_tag, "its tags unpack to more than 67108864 bytes"),
    ],
)
def test_traps(tmp_path, spoil, reason):
    path = write_clip(tmp_path / "a.mp4", audio=np.zeros(16_000))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(MediaError, match=reason) as error:
        read_clip(path, rate=16_000, n_frames=2)
    assert (error.value.clip, error.value.stage) == (str(path), "open")


@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [
        (".mov", {"audio_codec": "pcm_s16le"}),
        (".mp4", {"muxing": {"movflags": "frag_keyframe+empty_moov"}}),
        (".mp4", {"muxing": {"movflags": "faststart"}}),
    ],
)
def test_honest_headers(tmp_path, suffix, arguments):
    path = write_video(
        tmp_path / f"a{suffix}",
        np.arange(10) / 25,
        pictures=[numbered_picture(i) for i in range(10)],
        audio=np.zeros(48_000),
        **arguments,
    )
    check_header(path)
    assert len(read_frames(path, 10)) == 10


def test_honest_pictures(tmp_path):
    path = tmp_path / "a.png"
    profile = _chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(3 * 2**20)))
    words = _chunk(b"iTXt", b"name\0\0\0en\0name\0words")
    damaged = _chunk(b"zTXt", b"name\0\0no zlib")
    path.write_bytes(_png(64, 48, profile, words, damaged))
    assert read_frames(path, 1).images.shape == (1, 48, 64, 3)


@pytest.mark.parametrize(
    ("encoder", "limit"),
    [
        (AcousticEncoder(on_error="nan"), {"max_decode_seconds": 1e-6}),
        (VisualEncoder(on_error="nan", regions="frame"), {"max_decode_seconds": 1e-6}),
        (VisualEncoder(on_error="nan", regions="frame"), {"max_pixels": 100}),
        (VisualEncoder(on_error="nan", regions="frame"), {"max_bytes": 100}),
    ],
)
def test_what_a_limit_refuses_is_not_remembered(steady_clip, encoder, limit):
    clips = [str(steady_clip)]
    limited = type(encoder)(**{**encoder.get_params(), **limit})
    with pytest.warns(ExtractionWarning, match=f"{clips[0]}.*{next(iter(limit))}"):
        assert np.isnan(limited.transform(clips)).all()
    features = encoder.transform(clips)
    assert np.isfinite(features).all()
    # Limits are no part of what a clip is known by.
    np.testing.assert_array_equal(limited.transform(clips), features)
