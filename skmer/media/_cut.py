"""Cut a video into many clips in one pass over it."""

import math
import os
import secrets
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError

from skmer.exceptions import MediaError
from skmer.media._audio import undecodable
from skmer.media._container import (
    MAX_PIXELS,
    TimeLimit,
    check_video,
    decode,
    open_media,
    origin,
    packets,
    select_streams,
    too_large,
    video_stream,
)
from skmer.media._video import FrameClock, Timeline, upright
from skmer.media._write import add_video, check_settings, container_of

_ROUNDING = 1e-3
# Some headers give the clock's ticks for the rate of the pictures.
_MOST_FPS = 120


@dataclass(frozen=True)
class Cut:
    """A part of a video, and the file that it goes to.

    Parameters
    ----------
    path : str or PathLike
        The file to write: ``.mp4``, ``.m4v``, ``.mov`` or ``.mkv``.
    start, stop : float
        The part in time, seconds from the video's beginning.
    box : tuple of float, default=(0.0, 0.0, 1.0, 1.0)
        Left, top, right and bottom edge of the part in space, as fractions of the
        width and height.
    """

    path: str | os.PathLike
    start: float
    stop: float
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def cut_video(
    path,
    cuts,
    *,
    crf=18,
    preset="veryfast",
    max_pixels=MAX_PIXELS,
    max_decode_seconds=None,
):
    """Write parts of a video, each to a file of its own, in one pass over it.

    For long recordings that are labelled utterance by utterance: reading each part
    by itself decodes the recording from its beginning once for every part. The
    files have pictures only, H.264 at the video's mean number of pictures a second
    (at most 120). Each appears under its name only when it is whole. The same
    recording gives the same bytes on one machine.

    Parameters
    ----------
    path : str or PathLike
        A video file in any container that FFmpeg reads.
    cuts : list of Cut
        The parts, in any order; they may overlap.
    crf : float, default=18
        x264's constant rate factor: 0 is lossless in effect, 51 the worst.
    preset : str, default="veryfast"
        x264's preset, ``"ultrafast"`` to ``"veryslow"``.
    max_pixels : int or None, default=33177600
        A video with larger pictures is an error. None: no limit but FFmpeg's own.
    max_decode_seconds : float or None, default=None
        A video that takes longer to cut is an error: processor time, or any one wait
        for the file system. None: no limit, for a recording may last hours.

    Returns
    -------
    seconds : list of float of length n_cuts
        How much of each part its file holds: less than asked for where the video
        ends on the way, 0.0 where it shows nothing in that time and there is no file.

    Raises
    ------
    MediaError
        If the video cannot be opened, has no pictures, or none of them decodes.
    MediaLimitError
        If it is more than ``max_pixels`` or ``max_decode_seconds`` allow.
    ValueError
        If a part's times, its box or its file's suffix makes no sense.
    OSError
        If a file cannot be written.

    See Also
    --------
    read_clip : Read one part.
    write_clip : Write a clip from arrays.

    Notes
    -----
    A written picture shows what is on screen at its middle, so that a variable
    frame rate becomes a constant one. Pictures are upright and have square pixels,
    as :func:`read_frames` gives them.
    """
    for cut in cuts:
        _check_cut(cut, crf, preset)
    if not cuts:
        return []
    writers = []
    try:
        limit = TimeLimit(path, max_decode_seconds)
        with open_media(path, limit, max_pixels) as container:
            stream = video_stream(container)
            if stream is None:
                raise MediaError(path, "video", "it has no pictures")
            check_video(path, stream, max_pixels)
            select_streams(container, stream)
            timeline = Timeline(path, stream, origin(container))
            fps = Fraction(min(timeline.fps, _MOST_FPS)).limit_denominator(1001)
            writers = [_Writer(cut, fps, crf, preset) for cut in cuts]
            _write_all(limit, container, stream, timeline, writers, max_pixels)
        return [writer.close() for writer in writers]
    finally:
        for writer in writers:
            writer.abandon()


def _write_all(limit, container, stream, timeline, writers, max_pixels):
    path = limit.path
    clock = FrameClock(timeline.origin, timeline.fps)
    held, n_packets = None, 0
    for packet in packets(container, [stream], limit, "video"):
        n_packets += packet.size > 0
        for frame in decode(packet)[0]:
            if max_pixels is not None and frame.width * frame.height > max_pixels:
                raise too_large(path, frame.width, frame.height, max_pixels)
            time = clock.time(frame)
            if held is not None:
                held.show(writers, time)
            held = _Held(frame, time, timeline.aspect)
        if all(writer.done for writer in writers):
            return
    if held is None:
        if n_packets:
            raise undecodable(path, stream, n_packets, max_pixels)
        raise MediaError(path, "video", "it has no pictures")
    held.show(writers, held.time + 1 / timeline.fps)


class _Held:
    """A picture that is on screen until the next one comes."""

    def __init__(self, frame, time, aspect):
        self.frame, self.time, self.aspect = frame, time, aspect
        self._image = None

    def show(self, writers, until):
        for writer in writers:
            for _ in range(writer.moments(self.time, until)):
                if self._image is None:
                    self._image = upright(self.frame, self.aspect)
                writer.add(self._image)
            if writer.done:
                writer.close()


class _Writer:
    """One part of the video on its way to a file."""

    def __init__(self, cut, fps, crf, preset):
        self.path = Path(cut.path)
        self.cut, self.fps, self.crf, self.preset = cut, fps, crf, preset
        token = secrets.token_hex(4)
        self._part = self.path.with_name(f".{self.path.stem}.{token}{self.path.suffix}")
        self._last = max(1, round((cut.stop - cut.start) * fps))
        self._next = 0
        self._n_written = 0
        self._container = self._stream = self._shape = None

    @property
    def done(self):
        return self._next >= self._last

    def moments(self, begin, until):
        """Return how many pictures fall into the time that one is on screen."""
        step = float(1 / self.fps)

        def place(time):
            # The first picture whose middle is not before that time.
            number = math.ceil((time - _ROUNDING - self.cut.start) / step - 0.5)
            return min(max(number, 0), self._last)

        if self._next == 0:
            # Before the video's first picture there is nothing to show.
            self._next = place(begin)
        number = max(place(until) - self._next, 0)
        self._next += number
        return number

    def add(self, image):
        """Write what the box shows of a picture."""
        height, width = image.shape[:2]
        left, top, right, bottom = self.cut.box
        part = image[
            int(top * height) : max(int(bottom * height), int(top * height) + 1),
            int(left * width) : max(int(right * width), int(left * width) + 1),
        ]
        odd = part.shape[0] % 2, part.shape[1] % 2
        part = np.pad(part, ((0, odd[0]), (0, odd[1]), (0, 0)), "edge")
        try:
            if self._container is None:
                self._open(part)
            if part.shape != self._shape:
                # The video changed its size on the way.
                size = self._shape[1], self._shape[0]
                part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(part), format="rgb24"
            )
            frame.pts, frame.time_base = self._n_written, 1 / self.fps
            self._container.mux(self._stream.encode(frame))
        except FFmpegError as error:
            raise OSError(f"Cannot write {self.path}: {error}.") from error
        self._n_written += 1

    def _open(self, part):
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"Cannot write {self.path}: the folder {self.path.parent} does not "
                "exist. Make it first, or give another path."
            )
        _, options = container_of(self.path, part, None)
        options = {"fflags": "+bitexact", **options}
        form = options.pop("f", None)
        self._shape = part.shape
        self._container = av.open(str(self._part), "w", format=form, options=options)
        self._stream = add_video(
            self._container, part[None], self.fps, self.crf, self.preset
        )
        # What x264's macroblock tree says hangs on memory that nobody wrote to
        self._stream.codec_context.options["x264-params"] = "mbtree=0"

    def _finish(self):
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._container = None
        os.replace(self._part, self.path)

    def close(self):
        """Finish the file; return how many seconds it lasts."""
        if self._container is not None:
            try:
                self._finish()
            except FFmpegError as error:
                raise OSError(f"Cannot write {self.path}: {error}.") from error
        return float(self._n_written / self.fps)

    def abandon(self):
        """Remove what is not whole."""
        if self._container is not None:
            try:
                self._container.close()
            except (FFmpegError, OSError):
                pass
            self._container = None
        self._part.unlink(missing_ok=True)


def _check_cut(cut, crf, preset):
    codec, _ = container_of(Path(cut.path), True, None)
    check_settings(codec, False, 25, 16000, crf, preset, 64000)
    if not (0 <= cut.start < cut.stop < math.inf):
        raise ValueError(
            f"The times of {cut.path} must fulfil 0 <= start < stop (seconds). Got "
            f"start={cut.start}, stop={cut.stop}."
        )
    left, top, right, bottom = cut.box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"The box of {cut.path} must be (left, top, right, bottom) with "
            f"0 <= left < right <= 1 and 0 <= top < bottom <= 1. Got {cut.box}."
        )
