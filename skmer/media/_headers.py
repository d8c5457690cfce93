"""What FFmpeg believes of a file's header without a look at how long the file is.

A few bytes there can ask for gigabytes: tables of millions of samples in a small file,
and texts that grow a thousandfold when they are unpacked.
"""

import os
import struct
import zlib

from skmer.exceptions import MediaError

# Unpacked from texts and colour profiles of a picture, or an index, at most.
_MAX_UNPACKED = 64 * 2**20
# Boxes or chunks of a header; a fragmented recording of a day has some 500,000.
_MAX_BOXES = 1_000_000

_PNG = b"\x89PNG\r\n\x1a\n"
_PACKED = {b"iCCP": 1, b"zTXt": 1, b"iTXt": 5}

# Boxes that hold boxes, and what stands before the first of them, bytes.
_HOLDERS = {
    name: 0
    for name in (
        *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta"),
        *(b"moof", b"traf", b"mvex", b"tref", b"sinf", b"wave", b"cmov"),
    )
}
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"}


def check_header(path):
    """Refuse a header that asks for far more memory than its file can need.

    Parameters
    ----------
    path : Path
        An ordinary file. Of formats other than MP4, MOV and PNG only ID3 tags
        at the beginning are looked into.

    Raises
    ------
    MediaError
        If the header counts more samples than the file has bytes, or unpacks to more
        than 64 MiB.
    OSError
        If the file cannot be read.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(8)
        if start == _PNG:
            reason = _png(file)
        elif start[:3] == b"ID3":
            reason = _id3(file)
        elif start[4:8] in _FIRST_BOXES:
            reason = _boxes(file, size)
        else:
            return
    if reason is not None:
        raise MediaError(path, "open", f"{reason}. The file is damaged, or a trap")


def _boxes(file, size):
    """Return what is wrong with the boxes of an MP4 or MOV file, or None."""
    n_boxes, n_samples = 0, 0
    place = 0
    while place + 8 <= size:
        n_boxes += 1
        if n_boxes > _MAX_BOXES:
            return f"its header has more than {_MAX_BOXES} boxes"
        file.seek(place)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        skip = 8
        if length == 1 and len(head) == 16:
            length, skip = int.from_bytes(head[8:], "big"), 16
        if name in _HOLDERS:
            # What it holds comes next; then the walk goes on behind it.
            place += skip
            continue
        if name == b"meta":
            # With or without a version, as in MP4 and in MOV.
            place += skip + (0 if head[12:16] == b"hdlr" else 4)
            continue
        if name in (b"stsz", b"trun", b"cmvd"):
            file.seek(place + skip)
            body = file.read(12)
            if name == b"cmvd":
                if int.from_bytes(body[:4], "big") > _MAX_UNPACKED:
                    return f"its index unpacks to more than {_MAX_UNPACKED} bytes"
            else:
                n_samples += _n_samples(name, body)
                if n_samples > size:
                    return f"it counts {n_samples} samples in {size} bytes"
        if length < skip:
            # The last box of a file may leave its length open; others are damaged.
            return None
        place += length
    return None


def _n_samples(name, body):
    """Return how many samples a table says that it is of."""
    if len(body) < 8:
        return 0
    if name == b"trun":
        return int.from_bytes(body[4:8], "big")
    # A table of single sizes ends where the file ends, whatever it says.
    if body[4:8] == b"\0\0\0\0":
        return 0
    return int.from_bytes(body[8:12], "big")


def _id3(file):
    """Return what is wrong with the ID3 tags that a file begins with, or None."""
    place, unpacked = 0, 0
    while True:
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return None
        version, end = head[3], place + 10 + _seven_bits(head[6:])
        place += 10
        if head[5] & 0x40:
            place += int.from_bytes(file.read(4), "big") + (4 if version == 3 else 0)
        while place + 10 <= end and version > 2:
            file.seek(place)
            frame = file.read(14)
            if len(frame) < 14 or not frame[:4].isalnum():
                break
            if frame[9] & 0x08 and frame[9] & 0x01:
                # FFmpeg takes so much memory before it unpacks anything.
                unpacked += int.from_bytes(frame[10:], "big")
                if unpacked > _MAX_UNPACKED:
                    return f"its tags unpack to more than {_MAX_UNPACKED} bytes"
            plain = version == 3 or max(frame[4:8]) > 127
            size = int.from_bytes(frame[4:8], "big")
            place += 10 + (size if plain else _seven_bits(frame[4:8]))
        place = end


def _seven_bits(data):
    """Return a number of which each byte holds seven bits."""
    number = 0
    for byte in data:
        number = number << 7 | byte & 127
    return number


def _png(file):
    """Return what is wrong with the chunks of a PNG file, or None."""
    unpacked = 0
    for _ in range(_MAX_BOXES):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return None
        length, name = struct.unpack(">I4s", head)
        if name not in _PACKED:
            file.seek(length + 4, os.SEEK_CUR)
            continue
        unpacked += _unpacked(file.read(length), name, _MAX_UNPACKED - unpacked)
        if unpacked >= _MAX_UNPACKED:
            return f"its texts unpack to more than {_MAX_UNPACKED} bytes"
        file.seek(4, os.SEEK_CUR)
    return f"its header has more than {_MAX_BOXES} chunks"


def _unpacked(chunk, name, most):
    """Return how long a chunk's text is when unpacked, at most so many bytes."""
    keyword, _, rest = chunk.partition(b"\0")
    if name == b"iTXt":
        if rest[:1] != b"\1":
            return len(rest)
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    length, unpacker = 0, zlib.decompressobj()
    try:
        while rest and length < most:
            length += len(unpacker.decompress(rest, 2**20))
            rest = unpacker.unconsumed_tail
    except zlib.error:
        pass
    return length
