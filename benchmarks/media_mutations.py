"""Media files of many containers, and ways to spoil them (see ``media_faults.py``)."""

import re
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np

from skmer.datasets import make_clips
from skmer.media import read_clip, write_clip

# Suffix -> codecs of pictures and sound, rate of the sound.
_GENERATED = {
    ".webm": ("libvpx", "libopus", 48_000),
    ".avi": ("mpeg4", "libmp3lame", 32_000),
    ".ts": ("libx264", "aac", 32_000),
    ".mpg": ("mpeg2video", "mp2", 32_000),
    ".flv": ("flv", "libmp3lame", 44_100),
    ".ogg": (None, "libopus", 48_000),
    ".mp3": (None, "libmp3lame", 32_000),
}
_WANTED = {".mp4", ".mov", ".wav", ".mp3", ".jpg", ".png"}
_RATE = 16_000

# Fields of MP4 boxes, as (box, bytes after its name, width). A box of version 0.
_MP4_FIELDS = [
    *(("mvhd", 12, 4), ("mvhd", 16, 4), ("mdhd", 12, 4), ("mdhd", 16, 4)),
    *(("tkhd", 20, 4), ("tkhd", 76, 4), ("tkhd", 80, 4), ("tkhd", 12, 4)),
    *(("avc1", 24, 2), ("avc1", 26, 2), ("hvc1", 24, 2), ("hvc1", 26, 2)),
    *(("mp4a", 16, 2), ("mp4a", 18, 2), ("mp4a", 24, 4), ("elst", 4, 4)),
    *(("elst", 8, 4), ("elst", 12, 4), ("stsd", 4, 4), ("stts", 4, 4)),
    *(("stts", 8, 4), ("stts", 12, 4), ("ctts", 8, 4), ("ctts", 12, 4)),
    *(("stsc", 4, 4), ("stsc", 8, 4), ("stsc", 12, 4), ("stsz", 4, 4)),
    *(("stsz", 8, 4), ("stsz", 12, 4), ("stco", 4, 4), ("stco", 8, 4)),
    *(("stss", 4, 4), ("stss", 8, 4), ("pasp", 0, 4), ("pasp", 4, 4)),
    *(("trak", -4, 4), ("moov", -4, 4), ("mdat", -4, 4), ("avcC", 4, 4)),
]
_FIELDS = {
    ".mp4": (">", _MP4_FIELDS),
    ".mov": (">", _MP4_FIELDS),
    ".m4a": (">", _MP4_FIELDS),
    ".wav": (
        "<",
        [
            *(("fmt ", 4, 2), ("fmt ", 6, 2), ("fmt ", 8, 4), ("fmt ", 12, 4)),
            *(("fmt ", 16, 2), ("fmt ", 18, 2), ("fmt ", 0, 4), ("data", 0, 4)),
            ("RIFF", 0, 4),
        ],
    ),
    ".avi": (
        "<",
        [
            *(("avih", 4, 4), ("avih", 20, 4), ("avih", 28, 4), ("avih", 36, 4)),
            *(("avih", 40, 4), ("strh", 24, 4), ("strh", 28, 4), ("strh", 36, 4)),
            *(("strh", 48, 4), ("strf", 8, 4), ("strf", 12, 4), ("strf", 18, 2)),
            *(("strf", 0, 4), ("LIST", 0, 4), ("idx1", 0, 4), ("idx1", 12, 4)),
        ],
    ),
    # The size of EBML elements stands after their name; a value after that.
    ".mkv": (
        ">",
        [
            *(("\xb0", 1, 2), ("\xba", 1, 2), ("\xb5", 1, 8), ("\x44\x89", 1, 8)),
            *(("\x2a\xd7\xb1", 1, 3), ("\x9f", 1, 1), ("\x23\xe3\x83", 1, 4)),
            *(("\x16\x54\xae\x6b", 0, 4), ("\x1f\x43\xb6\x75", 0, 8)),
            *(("\xe7", 0, 2), ("\x1a\x45\xdf\xa3", 0, 4), ("\x18\x53\x80\x67", 0, 8)),
            *(("\x63\xa2", 0, 3), ("\x53\xb8", 1, 1), ("\x1c\x53\xbb\x6b", 0, 4)),
        ],
    ),
    ".flac": (
        ">",
        [
            *(("fLaC", 1, 3), ("fLaC", 4, 2), ("fLaC", 6, 2), ("fLaC", 14, 3)),
            *(("fLaC", 14, 8), ("fLaC", 0, 4), ("\xff\xf8", 0, 2), ("\xff\xf8", 2, 4)),
        ],
    ),
    ".ogg": (
        "<",
        [
            *(("OggS", 2, 8), ("OggS", 22, 1), ("OggS", 10, 4), ("OggS", 14, 4)),
            *(("OpusHead", 1, 1), ("OpusHead", 2, 2), ("OpusHead", 4, 4)),
            *(("OpusHead", 10, 1), ("OpusTags", 0, 4), ("OggS", 23, 4)),
        ],
    ),
    ".mp3": (
        ">",
        [("ID3", 3, 4), ("ID3", 0, 2), ("Xing", 0, 4), ("Xing", 4, 4), ("Info", 4, 4)],
    ),
    ".jpg": (
        ">",
        [
            *(("\xff\xc0", 3, 2), ("\xff\xc0", 5, 2), ("\xff\xc0", 7, 1)),
            *(("\xff\xc2", 3, 4), ("\xff\xda", 0, 2), ("\xff\xc4", 0, 2)),
            ("\xff\xdb", 0, 2),
        ],
    ),
    ".png": (
        ">",
        [
            *(("IHDR", 0, 4), ("IHDR", 4, 4), ("IHDR", 0, 8), ("IHDR", 8, 2)),
            *(("IHDR", 12, 1), ("IDAT", -4, 4)),
        ],
    ),
    ".flv": (">", [("width", 1, 8), ("height", 1, 8), ("duration", 1, 8)]),
    ".ts": (">", [("\x47", 0, 2), ("\x47\x40", 1, 4), ("\x00\x00\x01\x67", 1, 4)]),
    ".mpg": (">", [("\x00\x00\x01\xb3", 0, 3), ("\x00\x00\x01\xba", 0, 6)]),
}
_FIELDS[".webm"] = _FIELDS[".mkv"]

_MAGIC = {
    ".mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    ".mov": b"\0\0\0\x14ftypqt  \0\0\2\0qt  ",
    ".wav": b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0",
    ".avi": b"RIFF\xff\xff\xff\x7fAVI LIST",
    ".mkv": b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x02",
    ".flac": b"fLaC\0\0\0\x22",
    ".ogg": b"OggS\0\2\0\0\0\0\0\0\0\0",
    ".mp3": b"ID3\x03\0\0\0\0\x0f\x76\xff\xfb\x90\x64",
    ".jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0",
    ".png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ".ts": b"\x47\x40\x11\x10",
    ".mpg": b"\0\0\1\xba\x44\0\4\0\4\1",
    ".flv": b"FLV\1\5\0\0\0\x09\0\0\0\0",
}
_MAGIC[".webm"], _MAGIC[".m4a"] = _MAGIC[".mkv"], _MAGIC[".mp4"]

# Names that tell a demuxer what a stream holds and how it is coded.
_TRADES = [
    *((b"avc1", b"mp4a"), (b"vide", b"soun"), (b"mp4a", b"hvc1"), (b"hvc1", b"avc1")),
    *((b"avc1", b"mp4v"), (b"avc1", b"mjpg"), (b"mp4a", b"alac"), (b"mp4a", b"ac-3")),
    *((b"avc1", b"jpeg"), (b"avcC", b"esds"), (b"mp4a", b"sowt"), (b"avc1", b"raw ")),
    *((b"V_MPEG4/ISO/AVC", b"V_MPEGH/ISO/HEVC"[:15]), (b"V_VP8", b"V_VP9")),
    *((b"A_AAC", b"A_AC3"), (b"A_OPUS", b"A_FLAC"), (b"FMP4", b"H264")),
    *((b"vids", b"auds"), (b"FMP4", b"MJPG"), (b"00dc", b"01wb"), (b"IDAT", b"tEXt")),
]


def make_sources(folder, shared=None):
    """Return whole media files of all containers.

    Parameters
    ----------
    folder : Path
        Where they are made.
    shared : Path or None, default=None
        Folder whose subfolder ``media`` holds recordings to take too.

    Returns
    -------
    sources : list of Path
    """
    clips = make_clips(2, folder / "clips", missing=0, duration=(1, 2), random_state=0)
    clip = read_clip(clips.paths[0], rate=_RATE, n_frames=12)
    images, sound = clip.frames.images, clip.audio
    written = {
        "both": (".mov", ".mkv"),
        "sound": (".m4a", ".flac", ".wav"),
    }
    made = [folder / f"made{suffix}" for some in written.values() for suffix in some]
    for path in made:
        frames = images if path.suffix in written["both"] else None
        write_clip(path, frames=frames, audio=sound)
    for suffix, (video, audio, rate) in _GENERATED.items():
        made.append(folder / f"made{suffix}")
        _encode(made[-1], images, sound, video, audio, rate)
    for suffix in (".jpg", ".png"):
        made.append(folder / f"made{suffix}")
        cv2.imwrite(str(made[-1]), images[0])
    found = []
    if shared is not None:
        found = [p for p in (shared / "media").rglob("*") if p.suffix in _WANTED]
        if not found:
            raise FileNotFoundError(f"{shared / 'media'} holds no recordings.")
    return [*map(type(folder), clips.paths), *made, *sorted(found)]


def _encode(path, images, sound, video, audio, rate):
    """Write pictures, unless video is None, and sound by other codecs."""
    with av.open(str(path), "w") as container:
        if video is not None:
            stream = container.add_stream(video, rate=25)
            stream.height, stream.width = images.shape[1:3]
            stream.pix_fmt = "yuv420p"
        speech = container.add_stream(audio, rate=rate, layout="mono")
        for i, image in enumerate(images if video is not None else []):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = _RATE, 0
        frame.time_base = Fraction(1, _RATE)
        for part in av.AudioResampler(
            speech.format, "mono", rate, speech.codec_context.frame_size or 1024
        ).resample(frame):
            container.mux(speech.encode(part))
        for each in container.streams:
            container.mux(each.encode(None))


def mutated(sources, number, rng):
    """Spoil a file.

    Parameters
    ----------
    sources : list of Path
        Whole files.
    number : int
        Which file this is: sources and mutations take turns.
    rng : Generator
        Decides the rest.

    Returns
    -------
    source : Path
        What was spoilt.
    name : str
        The mutation.
    data : bytes
        The new content.
    """
    names = list(MUTATIONS)
    suffixes = sorted({path.suffix for path in sources})
    suffix = suffixes[number % len(suffixes)]
    alike = [path for path in sources if path.suffix == suffix]
    source = alike[rng.integers(len(alike))]
    name = names[number // len(suffixes) % len(names)]
    data = bytearray(source.read_bytes())
    return source, name, bytes(MUTATIONS[name](data, suffix, sources, rng))


def _flip_bits(data, suffix, sources, rng):
    for place in rng.integers(len(data), size=2 ** rng.integers(11)):
        data[place] ^= 1 << rng.integers(8)
    return data


def _flip_header_bits(data, suffix, sources, rng):
    size = min(len(data), 2048)
    # The index of many MP4 files stands at the end.
    begin = rng.choice([0, len(data) - size])
    for place in rng.integers(size, size=2 ** rng.integers(7)):
        data[begin + place] ^= 1 << rng.integers(8)
    return data


def _truncate(data, suffix, sources, rng):
    if rng.random() < 0.3:
        return data[: rng.integers(1, 512)]
    return data[: rng.integers(len(data))]


def _leave_out(data, suffix, sources, rng):
    first, last = np.sort(rng.integers(len(data), size=2))
    del data[first : min(last, first + 2 ** int(rng.integers(1, 18)))]
    return data


def _exchange_parts(data, suffix, sources, rng):
    size = 2 ** int(rng.integers(4, 14))
    first, second = rng.integers(max(1, len(data) - size), size=2)
    one, other = data[first : first + size], data[second : second + size]
    data[first : first + len(other)] = other
    data[second : second + len(one)] = one
    return data


def _swap_streams(data, suffix, sources, rng):
    """Call a stream what it is not, or put the streams of another file in."""
    trades = [t for t in _TRADES if t[0] in data or t[1] in data]
    if trades and rng.random() < 0.7:
        one, other = trades[rng.integers(len(trades))]
        blank = b"\0" * len(one)
        if len(one) == len(other):
            return data.replace(one, blank).replace(other, one).replace(blank, other)
        return data.replace(one, other)
    other = sources[rng.integers(len(sources))].read_bytes()
    place = int(rng.integers(len(data)))
    return data[:place] + other[min(place, len(other) // 2) :]


def _absurd_numbers(data, suffix, sources, rng):
    """Write values that no file should have into fields of headers."""
    order, fields = _FIELDS[suffix]
    present = [f for f in fields if f[0].encode("latin-1") in data]
    for _ in range(rng.integers(1, 4)):
        if not present:
            break
        name, offset, width = present[rng.integers(len(present))]
        name = name.encode("latin-1")
        places = [match.start() for match in re.finditer(re.escape(name), data)][:8]
        place = places[rng.integers(len(places))] + len(name) + offset
        if width == 8 and suffix in {".mkv", ".webm", ".flv"}:
            absurd = [0.0, -1.0, 1e-300, 1e9, 1e18, 1e300, np.inf, np.nan]
            value = struct.pack(">d", rng.choice(absurd))
        else:
            top = 2 ** (8 * width)
            absurd = [0, 1, 2, top // 1000, top // 4, top // 2 - 1, top // 2, top - 1]
            value = int(rng.choice(np.array(absurd, dtype=object)))
            value = value.to_bytes(width, "big" if order == ">" else "little")
        if 0 <= place and place + width <= len(data):
            data[place : place + width] = value
    return data


def _deep_metadata(data, suffix, sources, rng):
    """Put boxes in boxes, thousands of them side by side, or endless words."""
    many = int(2 ** rng.integers(8, 17))
    if suffix in {".mp4", ".mov", ".m4a"}:
        kind = rng.integers(4)
        if kind == 0:
            return data + _nested([b"moov", b"trak", b"udta", b"meta"], many)
        if kind == 1:
            return data + _box(b"moov", _box(b"udta", b"") * many)
        if kind == 2:
            return data + _box(b"udta", _box(b"\xa9nam", b"\xff" * 16 * many))
        return _with_tracks(data, min(many, 4096))
    if suffix in {".wav", ".avi"}:
        words = b"INFO" + (b"INAM" + struct.pack("<I", 16) + b"\xe9" * 16) * many
        if rng.random() < 0.5:
            words = b""
            for _ in range(min(many, 4096)):
                words = b"hdrlLIST" + struct.pack("<I", len(words)) + words
        return data[:12] + b"LIST" + struct.pack("<I", len(words)) + words + data[12:]
    if suffix in {".mkv", ".webm"}:
        # Tags within tags: SimpleTag may hold SimpleTags.
        inner = b""
        for _ in range(min(many, 8192)):
            inner = b"\x67\xc8" + struct.pack(">Q", len(inner) | 1 << 56) + inner
        tag = b"\x73\x73" + struct.pack(">Q", len(inner) | 1 << 56) + inner
        tags = b"\x12\x54\xc3\x67" + struct.pack(">Q", len(tag) | 1 << 56) + tag
        place = data.find(b"\x16\x54\xae\x6b")
        return data[:place] + tags + data[place:]
    if suffix == ".png":
        words = b"Comment\0" + b"x" * 64
        return data[:33] + _chunk(b"tEXt", words) * min(many, 16384) + data[33:]
    if suffix == ".jpg":
        return data[:2] + (b"\xff\xe1\xff\xff" + b"\xe1" * 65533) * 32 + data[2:]
    if suffix == ".flac":
        block = b"\x04\xff\xff\xff" + b"\xff" * 2**16
        return data[:42] + block * min(many, 64) + data[42:]
    # Others: an ID3 tag of many frames before whatever there is.
    frames = (b"TIT2\0\0\0\x10\0\0\0" + b"x" * 15) * many
    return b"ID3\x03\0\0" + _synchsafe(len(frames)) + frames + data


def _traps(data, suffix, sources, rng):
    """Ask for gigabytes, or minutes, with few bytes."""
    big = int(2 ** rng.integers(22, 27))
    if suffix in {".mp4", ".mov", ".m4a"} and b"stsz" in data:
        return _MP4_TRAPS[rng.integers(len(_MP4_TRAPS))](data, big)
    if suffix == ".png":
        words = zlib.compress(b"a" * (4 * big), 9)
        kind = [b"iCCP", b"zTXt"][rng.integers(2)]
        side = int(2 ** rng.integers(4, 18))
        head = data[8:33]
        if rng.random() < 0.5:
            content = struct.pack(">II", side, side) + data[24:29]
            head, words = _chunk(b"IHDR", content), zlib.compress(b"a", 9)
        return data[:8] + head + _chunk(kind, b"name\0\0" + words) + data[33:]
    if suffix == ".jpg":
        side = int(2 ** rng.integers(9, 16))
        place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[place + 5 : place + 9] = struct.pack(">HH", side, side)
        return data
    if suffix == ".wav":
        data[24:28] = struct.pack("<I", rng.integers(1, 100))
        return data
    if suffix == ".flac":
        rate = int(rng.integers(1, 100)) << 4 | data[20] & 15
        data[18:21] = rate.to_bytes(3, "big")
        return data
    words = zlib.compress(b"\3" + b"a" * (4 * big), 9)
    size = struct.pack(">I", 4 * big + 1)
    frame = b"TIT2" + _synchsafe(len(words) + 4) + b"\0\x09" + size + words
    return b"ID3\4\0\0" + _synchsafe(len(frame)) + frame + data


def _many_samples(data, count):
    for name, offset in ((b"stsz", 4), (b"stsz", 8), (b"stsc", 12), (b"stts", 8)):
        place = data.rindex(name) + 4 + offset
        value = 1 if offset == 4 else count
        data[place : place + 4] = struct.pack(">I", value)
    return data


def _many_edits(data, count):
    count = min(count, 2**17)
    edits = struct.pack(">II", 0, count) + struct.pack(">IiI", 2000, 0, 2**16) * count
    place = data.find(b"elst") - 4
    if place < 0:
        return _many_samples(data, count)
    size = int.from_bytes(data[place : place + 4], "big")
    added = _box(b"elst", edits)
    for name in (b"moov", b"trak", b"edts"):
        begin = data.rindex(name, 0, place) - 4
        length = int.from_bytes(data[begin : begin + 4], "big") + len(added) - size
        data[begin : begin + 4] = struct.pack(">I", length)
    return data[:place] + added + data[place + size :]


def _packed_index(data, count):
    index = _box(b"moov", _box(b"udta", bytes(4 * count)))
    packed = struct.pack(">I", len(index)) + zlib.compress(index, 9)
    cmov = _box(b"cmov", _box(b"dcom", b"zlib") + _box(b"cmvd", packed))
    return _box(b"ftyp", b"qt  \0\0\2\0qt  ") + _box(b"moov", cmov)


def _many_fragments(data, count):
    moov = data.rindex(b"moov") - 4
    size = int.from_bytes(data[moov : moov + 4], "big")
    trex = _box(b"trex", struct.pack(">IIIIII", 0, 1, 1, 512, 1, 0))
    mvex = _box(b"mvex", trex)
    data[moov : moov + 4] = struct.pack(">I", size + len(mvex))
    tables = _box(b"tfhd", struct.pack(">II", 0x20000, 1))
    tables += _box(b"trun", struct.pack(">II", 0, count)) * 4
    moof = _box(b"moof", _box(b"mfhd", bytes(8)) + _box(b"traf", tables))
    return data[: moov + size] + mvex + data[moov + size :] + moof


_MP4_TRAPS = [_many_samples, _many_edits, _packed_index, _many_fragments]


def _synchsafe(number):
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def _nested(names, depth):
    """Return boxes in boxes, made from the outermost in."""
    depth = min(depth, 2**16)
    total = 8 * depth
    return b"".join(
        struct.pack(">I", total - 8 * i) + names[i % len(names)] for i in range(depth)
    )


def _box(name, content):
    return struct.pack(">I", 8 + len(content)) + name + content


def _chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _with_tracks(data, count):
    """Repeat the last track of an MP4 file."""
    moov = data.rfind(b"moov") - 4
    trak = data.rfind(b"trak") - 4
    if moov < 0 or trak < moov:
        return data
    size = int.from_bytes(data[trak : trak + 4], "big")
    track = bytes(data[trak : trak + size])
    count = min(count, 2**24 // max(size, 1))
    total = int.from_bytes(data[moov : moov + 4], "big") + size * count
    data[moov : moov + 4] = struct.pack(">I", total & 0xFFFFFFFF)
    return data[: trak + size] + track * count + data[trak + size :]


def _magic_only(data, suffix, sources, rng):
    kind = rng.integers(5)
    size = int(2 ** rng.integers(0, 18))
    if kind == 0:
        return b""
    if kind == 1:
        return _MAGIC[suffix]
    if kind == 2:
        return _MAGIC[suffix] + bytes(size)
    if kind == 3:
        return bytes(data[: min(64, len(data))]) + rng.bytes(size)
    return _MAGIC[suffix] + rng.bytes(size)


MUTATIONS = {
    "bits": _flip_bits,
    "header bits": _flip_header_bits,
    "truncated": _truncate,
    "left out": _leave_out,
    "exchanged": _exchange_parts,
    "streams": _swap_streams,
    "numbers": _absurd_numbers,
    "metadata": _deep_metadata,
    "traps": _traps,
    "magic": _magic_only,
}
