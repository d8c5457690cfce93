"""Open media files, tell their streams apart, and turn every failure into one error."""

import math
from contextlib import contextmanager
from pathlib import Path

import av

from skmer.exceptions import MediaError

# What a file may hold before it counts as damaged or hostile.
MAX_SAMPLE_RATE = 768_000
MAX_CHANNELS = 64

# FFmpeg opens a text file as "ANSI art", and lists of other files.
_NOT_MEDIA = {
    "tty": "it holds text, no sound and no picture",
    "concat": "it is a list of media files. Give one of those",
    "hls": "it is a list of media files. Give one of those",
    "dash": "it is a list of media files. Give one of those",
}


@contextmanager
def open_media(path):
    """Open a local media file for reading and close it whatever happens.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Yields
    ------
    container : av.container.InputContainer

    Raises
    ------
    MediaError
        If there is no such file, it is a folder, empty, not permitted to be
        read, or in no format that FFmpeg knows.
    """
    path = Path(path)
    reason = _unreadable(path)
    if reason:
        raise MediaError(path, "open", reason)
    try:
        # The prefix keeps a colon in a name from being read as a protocol, and
        # the list keeps a playlist file from opening anything over a network.
        container = av.open(
            f"file:{path}",
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.error.InvalidDataError as error:
        raise MediaError(
            path,
            "open",
            "its content is in no media format that FFmpeg knows, or the file is "
            "cut off before its index. Check that it plays, or copy it again",
        ) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(path, "open", describe(error)) from error
    with container:
        if container.format.name in _NOT_MEDIA:
            raise MediaError(path, "open", _NOT_MEDIA[container.format.name])
        yield container


def _unreadable(path):
    try:
        if path.is_dir():
            return "it is a folder, not a media file"
        if not path.exists():
            return "there is no such file"
        if path.stat().st_size == 0 and path.is_file():
            return "the file is empty (0 bytes). Copy or record it again"
    except (OSError, ValueError) as error:
        return describe(error)
    return None


def describe(error):
    """Return the cause that an FFmpeg or system error names, in a few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def audio_stream(container):
    """Return the sound stream to read, or None.

    The one marked as default comes first, then the first of them all.
    """
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    return _preferred(streams)


def video_stream(container):
    """Return the picture stream to read, or None; a cover picture is none."""
    streams = [
        s
        for s in container.streams.video
        if s.codec_context is not None
        and not s.disposition & av.stream.Disposition.attached_pic
        and not s.disposition & av.stream.Disposition.timed_thumbnails
    ]
    return _preferred(streams)


def _preferred(streams):
    default = [s for s in streams if s.disposition & av.stream.Disposition.default]
    return (default or streams or [None])[0]


def select_streams(container, *wanted):
    """Decode the wanted streams on one thread each and skip all others.

    One thread keeps a clip's cost predictable: work is spread over processes,
    and a decoder that starts a thread a core would fight with them.
    """
    for stream in container.streams:
        if stream not in wanted:
            stream.discard = av.stream.Discard.all
            continue
        stream.codec_context.thread_count = 1


def origin(container):
    """Return the time of the file's first sound or picture, seconds.

    All times that skmer reports count from there, as in players.
    """
    return (container.start_time or 0) / av.time_base


def check_audio(path, stream):
    """Refuse sound whose header asks for absurd amounts of memory."""
    context = stream.codec_context
    if not 0 < context.sample_rate <= MAX_SAMPLE_RATE:
        raise MediaError(
            path,
            "audio",
            f"its header gives {context.sample_rate} samples a second; "
            f"1 to {MAX_SAMPLE_RATE} can be read",
        )
    if not 0 < context.channels <= MAX_CHANNELS:
        raise MediaError(
            path,
            "audio",
            f"its header gives {context.channels} channels; "
            f"1 to {MAX_CHANNELS} can be read",
        )


def check_video(path, stream, max_pixels):
    """Refuse pictures larger than max_pixels, also when they grow on the way."""
    context = stream.codec_context
    if max_pixels is None:
        return
    if context.width * context.height > max_pixels:
        raise MediaError(
            path,
            "video",
            f"its pictures are {context.width}x{context.height}, more than "
            f"max_pixels={max_pixels}. Raise max_pixels if that is right",
        )
    context.options = {**context.options, "max_pixels": str(int(max_pixels))}


def check_window(start, stop, max_seconds):
    """Return the window in seconds as floats (stop may be infinite)."""
    start = 0.0 if start is None else float(start)
    stop = math.inf if stop is None else float(stop)
    if not (0 <= start < stop) or math.isinf(start):
        raise ValueError(
            "The time window must fulfil 0 <= start < stop (seconds). Got "
            f"start={start}, stop={stop}."
        )
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds must be positive or None. Got {max_seconds}.")
    return start, stop


def too_long(path, stage, max_seconds):
    """Return the error for a clip that lasts longer than allowed."""
    return MediaError(
        path,
        stage,
        f"it lasts more than max_seconds={max_seconds:g}. Choose a part with "
        "start= and stop=, or raise max_seconds",
    )


def packets(container, streams, path, stage):
    """Yield the packets of some streams; a file cut off just ends.

    Raises
    ------
    MediaError
        If the system cannot read the file, which says nothing about its content.
    """
    iterator = container.demux(streams)
    while True:
        try:
            packet = next(iterator)
        except (StopIteration, av.error.InvalidDataError, av.error.EOFError):
            return
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(path, stage, describe(error)) from error
        yield packet


def decode(packet):
    """Return (frames of one packet, whether it decoded); damage is skipped."""
    try:
        return packet.decode(), True
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        return [], False
