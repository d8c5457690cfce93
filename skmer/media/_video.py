"""Pictures of any container, evenly spaced in time."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from skmer.exceptions import MediaError, MediaLimitError
from skmer.media._container import too_large

_FALLBACK_FPS = 25.0

# Containers round times, Matroska to milliseconds: a picture that comes within
# this of a moment is on screen at it.
_ROUNDING = 1e-3

# More pictures than an hour of film has at 1,000 a second: no clip.
_MAX_PACKETS = 3_600_000

# Decoders that can leave out one picture without harm to others, and containers
# that tell of each packet when its picture is shown.
_SKIPPABLE = {"h264", "hevc"}
_TIMED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}


@dataclass(frozen=True, eq=False)
class Frames:
    """Pictures of one clip and when each is shown.

    Parameters
    ----------
    images : ndarray of shape (n_frames, height, width, 3), dtype uint8
        RGB pictures, upright.
    times : ndarray of shape (n_frames,), dtype float64
        When each picture comes on screen, seconds from the clip's beginning.
    """

    images: np.ndarray
    times: np.ndarray

    def __len__(self):
        return len(self.images)


class Timeline:
    """When each picture of a stream is shown, from its packets alone.

    Reading packets without decoding them costs a hundredth of decoding, and
    tells how long the stream really lasts, whatever its header says.

    Parameters
    ----------
    path : str or PathLike
        The clip, for messages.
    stream : av.video.stream.VideoStream
        The picture stream.
    origin : float
        Time of the clip's beginning on the stream's clock, seconds.
    """

    def __init__(self, path, stream, origin):
        self.path = path
        self.origin = origin
        self.base = stream.time_base
        self.aspect = aspect_of(stream)
        self.fps = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
        self.n_packets = 0
        self._tells = (
            stream.codec_context.name in _SKIPPABLE
            and stream.container.format.name in _TIMED
        )
        self._times = []
        self._last = (-math.inf, 0.0)

    def time_of(self, packet):
        """Return when a packet's picture is shown, None if it does not say."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        return None if stamp is None else float(stamp * self.base) - self.origin

    def add(self, packet):
        """Take one packet; return its time, None if it has none."""
        if packet.size == 0 or packet.is_discard:
            return None
        self.n_packets += 1
        if self.n_packets > _MAX_PACKETS:
            raise MediaError(
                self.path,
                "video",
                f"it has more than {_MAX_PACKETS} pictures. The file is damaged",
            )
        time = self.time_of(packet)
        if time is None:
            return None
        length = float((packet.duration or 0) * self.base)
        self._times.append(time)
        self._last = max(self._last, (time, length))
        return time

    def shown_at(self, moments):
        """Return the times of the pictures on screen at some moments.

        None where packets do not tell reliably which picture they bring.
        """
        if not self._tells or len(self._times) < self.n_packets:
            return None
        times = np.sort(self._times)
        places = np.searchsorted(times, moments + _ROUNDING, side="right") - 1
        return frozenset(times[np.maximum(places, 0)].tolist())

    def span(self):
        """Return when the first picture appears and the last one ends, seconds."""
        if len(self._times) < self.n_packets or not self._times:
            # A raw stream: frames carry no times and come at a steady rate.
            return 0.0, self.n_packets / self.fps
        steps = np.diff(np.sort(self._times))
        steps = steps[steps > 0]
        usual = float(np.median(steps)) if len(steps) else 1 / self.fps
        last, length = self._last
        return max(min(self._times), 0.0), last + (length or usual)


class FrameClock:
    """Tell when decoded pictures come on screen.

    Pictures are decoded in the order of showing, but containers made before there
    were reordered pictures (AVI) give times in another order; those of the decoding
    then serve, a constant delay of a picture or two later.

    Parameters
    ----------
    origin : float
        Time of the clip's beginning on the stream's clock, seconds.
    fps : float
        Pictures a second of a stream whose pictures carry no times.
    """

    def __init__(self, origin, fps):
        self.origin = origin
        self.fps = fps
        self._n_decoded = 0
        self._latest = [-math.inf, -math.inf]
        self._faults = [0, 0]

    def time(self, frame):
        """Return the time of the next picture, seconds from the clip's beginning."""
        number = self._n_decoded
        self._n_decoded += 1
        pts, dts = frame.pts, frame.dts
        self._faults[0] += pts is not None and pts <= self._latest[0]
        self._faults[1] += dts is not None and dts <= self._latest[1]
        self._latest[0] = self._latest[0] if pts is None else pts
        self._latest[1] = self._latest[1] if dts is None else dts
        stamp = pts
        if dts is not None and (pts is None or self._faults[0] > self._faults[1]):
            stamp = dts
        if stamp is None:
            return number / self.fps
        return float(stamp * frame.time_base) - self.origin


class FrameReader:
    """Keep the pictures that are on screen at chosen moments.

    Parameters
    ----------
    path : str or PathLike
        The clip, for messages.
    timeline : Timeline
        Of the whole stream.
    n_frames : int
        How many pictures are wanted.
    start, stop : float
        The window, seconds from the clip's beginning; stop may be infinite.
    max_side : int or None
        Longer side of the result at most, pixels.
    max_pixels : int or None
        Largest picture to decode.
    max_bytes : int or None
        Memory that the result may take.
    """

    def __init__(
        self,
        path,
        timeline,
        n_frames,
        start,
        stop,
        max_side,
        max_pixels,
        max_bytes,
    ):
        self.path = path
        self.timeline = timeline
        self.max_side = max_side
        self.max_pixels = max_pixels
        self.max_bytes = math.inf if max_bytes is None else max_bytes
        first, end = timeline.span()
        self.begin, self.end = max(first, start), min(end, stop)
        length = max(self.end - self.begin, 0.0)
        self.targets = self.begin + (np.arange(n_frames) + 0.5) * length / n_frames
        self.every = timeline.n_packets <= n_frames
        self._wanted = None if self.every else timeline.shown_at(self.targets)
        self._clock = FrameClock(timeline.origin, timeline.fps)
        self._next = 0
        self._held = None
        self._shape = None
        self._images = []
        self._times = []

    @property
    def done(self):
        """Whether no later picture can be wanted."""
        return self._next >= len(self.targets) or self.end <= self.begin

    @property
    def skipped(self):
        """Whether the window shows no picture, so that no packet was decoded."""
        return self.timeline.n_packets > 0 and self.end <= self.begin

    def prepare(self, packet):
        """Before a packet is decoded, let the decoder skip it if it may.

        Pictures that no other is predicted from, half of them in usual video, are
        decoded only if they are wanted themselves.
        """
        if self._wanted is not None:
            wanted = self.timeline.time_of(packet) in self._wanted
            context = packet.stream.codec_context
            context.skip_frame = "DEFAULT" if wanted else "NONREF"

    def add(self, frame):
        """Take the next picture in the order of showing."""
        time = self._clock.time(frame)
        if self._held is not None:
            self._settle(time)
        if not self.done:
            self._held = (frame, time)

    def finish(self):
        """Return the Frames, or None if nothing was decoded."""
        if self._held is not None:
            self._settle(math.inf)
        if not self._images:
            return None
        held, self._images = self._images, []
        images = np.empty((len(held), *self._shape), dtype=np.uint8)
        for i in range(len(held)):
            # Let go of one by one, so that they are never in memory twice.
            images[i], held[i] = held[i], None
        return Frames(images, np.array(self._times, dtype=np.float64))

    def _settle(self, until):
        """Keep the held picture if a moment falls before the next one appears."""
        frame, time = self._held
        self._held = None
        moments = self.targets[self._next :]
        passed = int(np.searchsorted(moments, until - _ROUNDING, side="left"))
        if self.every:
            # No more pictures than asked for: all that the window shows.
            if time < self.end and until > self.begin:
                self._keep(frame, time)
            if until >= self.end:
                self._next = len(self.targets)
        elif passed:
            self._next += passed
            self._keep(frame, time)

    def _keep(self, frame, time):
        if self.max_pixels is not None and frame.width * frame.height > self.max_pixels:
            raise too_large(self.path, frame.width, frame.height, self.max_pixels)
        image = upright(frame, self.timeline.aspect, self.max_side)
        if self._shape is None:
            self._shape = image.shape
        elif image.shape != self._shape:
            # The stream changed its size on the way.
            height, width = self._shape[:2]
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if (len(self._images) + 1) * image.nbytes > self.max_bytes:
            raise MediaLimitError(
                self.path,
                "video",
                f"pictures of {image.shape[1]}x{image.shape[0]} come to more than "
                f"max_bytes={self.max_bytes}. Ask for fewer or smaller ones, choose a "
                "part of the clip, or raise max_bytes if there is the memory",
            )
        self._images.append(image)
        self._times.append(time)


def upright(frame, aspect=1.0, max_side=None):
    """Return a decoded frame as a player shows it.

    Square pixels, turned as its display matrix says, and reduced so that
    neither side is longer than max_side.

    Parameters
    ----------
    frame : av.VideoFrame
        Any pixel format.
    aspect : float, default=1.0
        How much wider than high a pixel is shown.
    max_side : int or None, default=None
        Longer side of the result at most, pixels; never enlarged.

    Returns
    -------
    image : ndarray of shape (height, width, 3), dtype uint8
        RGB.
    """
    width, height = shown_size(frame.width, frame.height, aspect)
    if max_side is not None and max(width, height) > max_side:
        scale = max_side / max(width, height)
        width = max(1, round(width * scale))
        height = max(1, round(height * scale))
    image = frame.to_ndarray(
        format="rgb24", width=width, height=height, interpolation="AREA"
    )
    return np.ascontiguousarray(np.rot90(image, quarter_turns(frame)))


def aspect_of(stream):
    """Return how much wider than high a pixel of the stream is shown."""
    ratio = stream.codec_context.sample_aspect_ratio
    return float(ratio) if ratio else 1.0


def shown_size(width, height, aspect):
    """Return width and height in square pixels; absurd ratios are ignored."""
    if 0.25 <= aspect <= 4:
        width = max(1, round(width * aspect))
    return width, height


def quarter_turns(frame):
    """Return how often to turn a frame by 90 degrees anticlockwise to show it.

    The display matrix of the file says so; other angles are rounded, and mirroring
    is not heeded: PyAV's list of a frame's side data, which tells it, crashes the
    process where FFmpeg knows a kind of side data that PyAV does not.
    """
    return round(frame.rotation / 90) % 4


def check_frames(n_frames, max_side):
    """Refuse counts and sizes that are no positive whole numbers."""
    for name, value in (("n_frames", n_frames), ("max_side", max_side)):
        if value is None and name == "max_side":
            continue
        if int(value) != value or value < 1:
            raise ValueError(f"{name} must be a positive whole number. Got {value!r}.")
