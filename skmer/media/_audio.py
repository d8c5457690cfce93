"""Sound of any container as mono samples at the wanted rate."""

import math

import av
import numpy as np
import soxr

from skmer.exceptions import MediaError, MediaLimitError
from skmer.media._container import check_sound, too_long

# Weight of each loudspeaker in the mix, before the weights are scaled to sum 1
# (Recommendation ITU-R BS.775, the surround channels folded twice).
_MIX = {
    "FC": 1.0,
    "FL": math.sqrt(0.5),
    "FR": math.sqrt(0.5),
    "LFE": 0.0,
    "LFE2": 0.0,
}
_MIX_OTHER = 0.5

# Containers round times (Matroska to milliseconds): a smaller gap or overlap
# between two packets is that, a larger one is real.
_JITTER = 0.1

# Resampled at once, seconds.
_MOST_SECONDS = 60


class AudioReader:
    """Collect decoded sound frames into one mono signal.

    Parameters
    ----------
    path : str or PathLike
        The clip, for messages.
    origin : float
        Time of the clip's beginning on the stream's clock, seconds.
    rate : int
        Sample rate of the result, Hz.
    start, stop : float
        The window, seconds from the clip's beginning; stop may be infinite.
    max_seconds : float or None
        The longest result allowed, seconds.
    """

    def __init__(self, path, origin, rate, start, stop, max_seconds):
        self.path = path
        self.origin = origin
        self.rate = rate
        self.max_seconds = max_seconds
        self.first = round(start * rate)
        self.last = math.inf if math.isinf(stop) else round(stop * rate)
        self.limit = math.inf if max_seconds is None else round(max_seconds * rate)
        self._chunks = []
        self._n_kept = 0
        self._position = 0  # next output sample of the whole signal
        self._waiting = []
        self._n_waiting = 0
        self._source_rate = None
        self._n_source = 0  # source samples since the resampler started
        self._began = 0.0  # time of the first of these on the stream's clock
        self._resampler = None
        self._heard = False

    @property
    def done(self):
        """Whether the window is full."""
        return self._position >= self.last

    @property
    def skipped(self):
        """Whether no packet needed decoding."""
        return self.last == 0

    def prepare(self, packet):
        """Before a packet is decoded: sound needs every one."""

    def add(self, frame):
        """Take one decoded frame."""
        if frame.samples == 0 or frame.sample_rate <= 0:
            return
        check_sound(self.path, frame.sample_rate, frame.layout.nb_channels)
        mono = mix_down(frame)
        if frame.sample_rate != self._source_rate:
            self._restart(frame.sample_rate)
        if frame.pts is not None:
            mono = self._place(mono, float(frame.pts * frame.time_base) - self.origin)
        self._heard = self._heard or len(mono) > 0
        self._push(mono)

    def finish(self):
        """Return the samples, or None if there are none."""
        self._flush()
        return np.concatenate(self._chunks) if self._chunks else None

    def _restart(self, source_rate):
        self._flush()
        self._source_rate = source_rate
        self._began = self._position / self.rate
        self._n_source = 0
        self._resampler = None
        if source_rate != self.rate:
            self._resampler = soxr.ResampleStream(
                source_rate, self.rate, 1, dtype="float32"
            )

    def _place(self, mono, time):
        """Put silence before a late frame, cut what lies before the beginning."""
        expected = self._began + self._n_source / self._source_rate
        late = round((time - expected) * self._source_rate)
        if not self._heard:
            if late < 0:
                return mono[-late:]
        elif abs(late) < _JITTER * self._source_rate:
            return mono
        if late > 0:
            self._silence(late)
        # A clock that jumps back (joined recordings) goes on without a gap.
        elif late < 0:
            self._began += late / self._source_rate
        return mono

    def _silence(self, n_samples):
        block = np.zeros(min(n_samples, 2 * self._source_rate), dtype=np.float32)
        while n_samples > 0 and not self.done:
            self._push(block[:n_samples])
            n_samples -= len(block)

    def _push(self, mono):
        self._n_source += len(mono)
        self._waiting.append(mono)
        self._n_waiting += len(mono)
        # Frames hold some 1,000 samples: resample half a second at a time.
        if self._n_waiting >= self._source_rate // 2:
            self._resample(last=False)

    def _flush(self):
        if self._source_rate is not None:
            self._resample(last=True)

    def _resample(self, last):
        waiting = self._waiting or [np.zeros(0, dtype=np.float32)]
        block = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        self._waiting, self._n_waiting = [], 0
        if self._resampler is None:
            self._keep(block)
            return
        # At a very low rate a few samples become many seconds.
        step = _MOST_SECONDS * self._source_rate
        while len(block) > step and not self.done:
            self._keep(self._resampler.resample_chunk(block[:step]))
            block = block[step:]
        self._keep(self._resampler.resample_chunk(block[:step], last=last))
        if last:
            self._resampler = None
            self._source_rate = None

    def _keep(self, block):
        begin, end = self._position, self._position + len(block)
        self._position = end
        low = max(self.first - begin, 0)
        high = min(self.last - begin, len(block))
        if high <= low:
            return
        self._n_kept += high - low
        if self._n_kept > self.limit:
            raise too_long(self.path, "audio", self.max_seconds)
        self._chunks.append(block[low:high].astype(np.float32, copy=True))


def mix_down(frame):
    """Return the samples of a decoded frame as mono float32 in -1..1.

    Parameters
    ----------
    frame : av.AudioFrame
        Any sample format and layout.

    Returns
    -------
    mono : ndarray of shape (n_samples,), dtype float32
    """
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels >= 8:
        # PyAV counts one plane too many there, and crashes when it copies it.
        frame = av.AudioResampler(frame.format.packed, frame.layout).resample(frame)[0]
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    weights = mix_weights([channel.name for channel in frame.layout.channels], channels)
    kind = samples.dtype
    if kind.kind == "f":
        scaled = samples.astype(np.float32, copy=False)
    elif kind == np.uint8:
        scaled = samples.astype(np.float32) / 128 - 1
    else:
        # float64 keeps the 24 significant bits of 32-bit samples.
        scaled = (samples / float(2 ** (8 * kind.itemsize - 1))).astype(np.float32)
    if channels == 1:
        return scaled[0]
    return (weights @ scaled).astype(np.float32)


def mix_weights(names, channels):
    """Return the weight of each channel in the mono mix, summing to one."""
    if channels <= 2 or len(names) != channels:
        return np.full(channels, 1 / channels, dtype=np.float32)
    weights = np.array([_MIX.get(name, _MIX_OTHER) for name in names])
    if weights.sum() == 0:
        weights[:] = 1
    return (weights / weights.sum()).astype(np.float32)


def check_rate(rate):
    """Return the wanted sample rate as an int."""
    if int(rate) != rate or not 1_000 <= rate <= 384_000:
        raise ValueError(
            f"rate must be a whole number of Hz from 1000 to 384000. Got {rate!r}."
        )
    return int(rate)


def undecodable(path, stream, n_packets, max_pixels=None):
    """Return the error for a stream of which nothing decodes."""
    stage = stream.type
    if stage == "video" and max_pixels is not None and not stream.codec_context.width:
        # A size beyond the limit is not told either.
        return MediaLimitError(
            path,
            stage,
            f"none of its {n_packets} packets decodes. The file is damaged, or its "
            f"pictures are larger than max_pixels={max_pixels}",
        )
    return MediaError(
        path,
        stage,
        f"none of its {n_packets} packets decodes. The file is damaged; copy or "
        "record it again",
    )
