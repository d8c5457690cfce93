"""Open media files, tell their streams apart, and turn every failure into one error."""

import errno
import math
import time
from contextlib import contextmanager
from pathlib import Path

import av

from skmer.exceptions import MediaError, MediaLimitError
from skmer.media._headers import check_header

# What a file may hold before it counts as damaged or hostile.
MAX_SAMPLE_RATE = 768_000
MAX_CHANNELS = 64
MAX_STREAMS = 200
# Of one decoded frame; no codec has more than some million.
_MAX_SAMPLES = 2**22

# Defaults of what reading a clip may take: 8K video, pictures of 4 GiB, and minutes
# for what takes a fraction of a second.
MAX_PIXELS = 7680 * 4320
MAX_BYTES = 4 * 2**30
MAX_DECODE_SECONDS = 300.0

# FFmpeg opens a text file as "ANSI art", and lists of other files.
_NOT_MEDIA = {
    "tty": "it holds text, no sound and no picture",
    "concat": "it is a list of media files. Give one of those",
    "hls": "it is a list of media files. Give one of those",
    "dash": "it is a list of media files. Give one of those",
}


class TimeLimit:
    """The time that one clip is given.

    What counts is processor time of the thread that reads: another's work on the same
    machine, or a laptop that sleeps, makes no clip an error. For the file system,
    which takes no processor time, the same limit holds for each single wait.

    Parameters
    ----------
    path : str or PathLike
        The clip, for messages.
    max_decode_seconds : float or None
        None: no limit.
    """

    def __init__(self, path, max_decode_seconds):
        if max_decode_seconds is not None and not max_decode_seconds > 0:
            raise ValueError(
                "max_decode_seconds must be positive or None. Got "
                f"{max_decode_seconds!r}."
            )
        self.path = path
        self.seconds = max_decode_seconds
        self._end = math.inf
        if max_decode_seconds is not None:
            self._end = time.thread_time() + max_decode_seconds

    def check(self, stage):
        """Raise if the time is over."""
        if time.thread_time() > self._end:
            raise self.error(stage)

    def error(self, stage):
        """Return the error for a clip that takes too long."""
        return MediaLimitError(
            self.path,
            stage,
            f"reading it takes longer than max_decode_seconds={self.seconds:g}. "
            "Convert the file, or raise max_decode_seconds if that is right",
        )


@contextmanager
def open_media(path, limit=None, max_pixels=MAX_PIXELS):
    """Open a local media file for reading and close it whatever happens.

    Parameters
    ----------
    path : str or PathLike
        The file.
    limit : TimeLimit or None, default=None
        Limits the time that opening takes, and each single read.
    max_pixels : int or None, default=33177600
        Largest picture that is decoded to find out what the file holds.

    Yields
    ------
    container : av.container.InputContainer

    Raises
    ------
    MediaError
        If there is no such file, it is no ordinary file, empty, not permitted to
        be read, or in no format that FFmpeg knows.
    """
    path = Path(path)
    limit = limit or TimeLimit(path, MAX_DECODE_SECONDS)
    reason = _unreadable(path)
    if reason:
        raise MediaError(path, "open", reason)
    try:
        check_header(path)
    except OSError as error:
        raise MediaError(path, "open", describe(error)) from error
    # The list keeps a playlist file from opening anything over a network.
    options = {"protocol_whitelist": "file", "max_streams": str(MAX_STREAMS)}
    if max_pixels is not None:
        options["max_pixels"] = _for_ffmpeg(max_pixels)
    try:
        # The prefix keeps a colon in a name from being read as a protocol.
        container = av.open(
            f"file:{path}",
            options=options,
            metadata_errors="replace",
            timeout=limit.seconds,
        )
    except av.error.ExitError as error:
        raise limit.error("open") from error
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        raise MediaError(
            path,
            "open",
            "its content is in no media format that FFmpeg knows, or the file is "
            "cut off before its index. Check that it plays, or copy it again",
        ) from error
    except MemoryError as error:
        raise MediaLimitError(
            path,
            "open",
            f"it has more than {MAX_STREAMS} streams, or its header asks for more "
            "memory than there is. Check that it plays",
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
        if not path.is_file():
            # A named pipe would block until somebody writes to it.
            return "it is no ordinary file"
        if path.stat().st_size == 0:
            return "the file is empty (0 bytes). Copy or record it again"
    except (OSError, ValueError) as error:
        return describe(error)
    return None


def describe(error):
    """Return the cause that an FFmpeg or system error names, in a few words."""
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, av.error.PatchWelcomeError):
        return "FFmpeg cannot read this kind of file. Convert it"
    if isinstance(error, OSError) and error.errno != errno.EIO:
        return cause
    return f"{cause}. The file is damaged, or the disk is"


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
    """Refuse sound that asks for absurd amounts of memory, now or on the way."""
    context = stream.codec_context
    check_sound(path, context.sample_rate, context.channels)
    context.options = {**context.options, "max_samples": str(_MAX_SAMPLES)}


def check_sound(path, sample_rate, channels):
    """Refuse absurd sample rates and numbers of channels."""
    if not 0 < sample_rate <= MAX_SAMPLE_RATE:
        raise MediaError(
            path,
            "audio",
            f"it gives its rate as {sample_rate} samples a second; "
            f"1 to {MAX_SAMPLE_RATE} can be read. The file is damaged, or convert it",
        )
    if not 0 < channels <= MAX_CHANNELS:
        raise MediaError(
            path,
            "audio",
            f"it gives the number of its channels as {channels}; "
            f"1 to {MAX_CHANNELS} can be read. The file is damaged, or convert it",
        )


def check_video(path, stream, max_pixels):
    """Refuse pictures larger than max_pixels, also when they grow on the way."""
    context = stream.codec_context
    if max_pixels is None:
        return
    if context.width * context.height > max_pixels:
        raise too_large(path, context.width, context.height, max_pixels)
    context.options = {**context.options, "max_pixels": _for_ffmpeg(max_pixels)}


def _for_ffmpeg(max_pixels):
    # It counts rows as they lie in memory, up to 63 pixels longer; what comes out is
    # held against the limit itself.
    return str(int(max_pixels) + 64 * 65536)


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


def too_large(path, width, height, max_pixels):
    """Return the error for pictures larger than allowed."""
    return MediaLimitError(
        path,
        "video",
        f"its pictures are {width}x{height}, more than max_pixels={max_pixels}. "
        "Raise max_pixels if that is right",
    )


def too_long(path, stage, max_seconds):
    """Return the error for a clip that lasts longer than allowed."""
    return MediaError(
        path,
        stage,
        f"it lasts more than max_seconds={max_seconds:g}. Choose a part with "
        "start= and stop=, or raise max_seconds",
    )


def packets(container, streams, limit, stage):
    """Yield the packets of some streams; a file cut off just ends.

    Raises
    ------
    MediaError
        If the system cannot read the file, which says nothing about its content.
    MediaLimitError
        If the limit runs out.
    """
    iterator = container.demux(streams)
    while True:
        limit.check(stage)
        try:
            packet = next(iterator)
        except (
            *(StopIteration, av.error.InvalidDataError, av.error.EOFError),
            # "Try again", which local files never get better of.
            av.error.BlockingIOError,
        ):
            return
        except av.error.ExitError as error:
            raise limit.error(stage) from error
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(limit.path, stage, describe(error)) from error
        yield packet


def decode(packet):
    """Return (frames of one packet, whether it decoded); damage is skipped."""
    try:
        return packet.decode(), True
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        return [], False
