"""Write a clip: frames as H.264, sound as AAC, in the container of the suffix."""

import os
import secrets
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.error import FFmpegError

__all__ = ["write_clip"]

# Suffix -> (takes pictures, sound codec, muxer options).
_MOV = {"movflags": "+faststart"}
_CONTAINERS = {
    ".mp4": (True, "aac", _MOV),
    ".m4v": (True, "aac", {**_MOV, "f": "mp4"}),
    ".mov": (True, "aac", _MOV),
    ".mkv": (True, "aac", {}),
    ".m4a": (False, "aac", {**_MOV, "f": "mp4"}),
    ".flac": (False, "flac", {}),
    ".wav": (False, "pcm_s16le", {}),
}
_AAC_RATES = (
    *(7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000),
    *(44100, 48000, 64000, 88200, 96000),
)
_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
_BT601 = 6
_LIMITED_RANGE = 1
_SAMPLES_PER_FRAME = 1024


def write_clip(
    path,
    frames=None,
    audio=None,
    *,
    fps=12,
    rate=16000,
    crf=23,
    preset="veryfast",
    bit_rate=64000,
):
    """Write frames and sound to a media file.

    The file appears under its name only when it is whole: it is written beside
    it first and then renamed, over a file that may be there already. The same
    input gives the same bytes on one machine.

    Parameters
    ----------
    path : str or PathLike
        File to write. The suffix chooses the container: ``.mp4``, ``.m4v``,
        ``.mov`` and ``.mkv`` hold H.264 pictures (yuv420p) and AAC sound;
        ``.m4a`` (AAC), ``.flac`` and ``.wav`` (16-bit) hold sound only.
    frames : array-like of uint8 of shape (n_frames, height, width, 3), default=None
        RGB pictures; None writes a file without a picture stream. An odd height
        or width grows by one repeated row or column, because the format stores
        colour for two by two pixels.
    audio : array-like of float of shape (n_samples,), default=None
        Mono sound in [-1, 1]; what lies outside is clipped. None writes a file
        without a sound stream.
    fps : float, default=12
        Frames a second.
    rate : int, default=16000
        Samples a second.
    crf : float, default=23
        x264's constant rate factor: 0 is lossless in effect, 51 the worst.
    preset : str, default="veryfast"
        x264's preset, ``"ultrafast"`` to ``"veryslow"``.
    bit_rate : int, default=64000
        Bits a second of the AAC sound.

    Returns
    -------
    path : pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If the suffix, the shape or type of an array, or a setting is not one
        that can be written.
    OSError
        If the folder does not exist or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skmer.media import write_clip
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_clip(
    ...         Path(folder) / "grey.mp4",
    ...         frames=np.full((6, 48, 64, 3), 128, dtype=np.uint8),
    ...         audio=np.zeros(8000, dtype=np.float32),
    ...     )
    ...     file.name
    'grey.mp4'
    """
    path = Path(path)
    codec, options = container_of(path, frames, audio)
    fps = check_settings(codec, audio is not None, fps, rate, crf, preset, bit_rate)
    rate, bit_rate = int(rate), int(bit_rate)
    frames = _check_frames(frames)
    audio = _check_audio(audio)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"Cannot write {path}: the folder {path.parent} does not exist. "
            "Make it first, or give another path."
        )
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        _write(part, frames, audio, fps, rate, crf, preset, codec, bit_rate, options)
        os.replace(part, path)
    except FFmpegError as error:
        raise OSError(f"Cannot write {path}: {error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _write(part, frames, audio, fps, rate, crf, preset, codec, bit_rate, options):
    options = {"fflags": "+bitexact", **options}
    form = options.pop("f", None)
    with av.open(str(part), "w", format=form, options=options) as container:
        video = sound = None
        if frames is not None:
            video = add_video(container, frames, fps, crf, preset)
        if audio is not None:
            sound = _add_sound(container, rate, codec, bit_rate)
            blocks = _sound_frames(audio, rate, codec)
        done = 0
        for i in range(0 if frames is None else len(frames)):
            picture = av.VideoFrame.from_ndarray(frames[i], format="rgb24")
            picture.pts, picture.time_base = i, 1 / fps
            container.mux(video.encode(picture))
            # Sound goes along with the pictures, or a long file is badly woven.
            while audio is not None and done * fps < (i + 1) * rate:
                block = next(blocks, None)
                if block is None:
                    break
                done += block.samples
                container.mux(sound.encode(block))
        if audio is not None:
            for block in blocks:
                container.mux(sound.encode(block))
            container.mux(sound.encode(None))
        if video is not None:
            container.mux(video.encode(None))


def add_video(container, frames, fps, crf, preset):
    # One thread: x264's rate control reads what other threads have finished.
    stream = container.add_stream(
        "libx264",
        rate=fps,
        options={"crf": str(crf), "preset": preset, "threads": "1"},
    )
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.time_base = 1 / fps
    context = stream.codec_context
    context.thread_count = 1
    context.flags |= Flags.bitexact
    context.colorspace = _BT601
    context.color_range = _LIMITED_RANGE
    return stream


def _add_sound(container, rate, codec, bit_rate):
    stream = container.add_stream(codec, rate=rate)
    stream.layout = "mono"
    stream.codec_context.flags |= Flags.bitexact
    if codec == "aac":
        stream.bit_rate = bit_rate
    return stream


def _sound_frames(audio, rate, codec):
    if codec == "aac":
        form = "fltp"
    else:
        audio = np.rint(audio * 32767).astype(np.int16)
        form = "s16"
    for start in range(0, len(audio), _SAMPLES_PER_FRAME):
        block = np.ascontiguousarray(audio[None, start : start + _SAMPLES_PER_FRAME])
        frame = av.AudioFrame.from_ndarray(block, format=form, layout="mono")
        frame.sample_rate = rate
        frame.pts, frame.time_base = start, Fraction(1, rate)
        yield frame


def container_of(path, frames, audio):
    suffix = path.suffix.lower()
    if suffix not in _CONTAINERS:
        raise ValueError(
            f"Cannot write {path}: the suffix {path.suffix!r} is not one of "
            f"{', '.join(_CONTAINERS)}."
        )
    if frames is None and audio is None:
        raise ValueError(f"Cannot write {path}: give frames, audio or both.")
    takes_frames, codec, options = _CONTAINERS[suffix]
    if frames is not None and not takes_frames:
        raise ValueError(
            f"Cannot write {path}: a {suffix} file holds no pictures. Use .mp4, "
            "or leave frames out."
        )
    return codec, options


def check_settings(codec, with_sound, fps, rate, crf, preset, bit_rate):
    if not (isinstance(fps, Real) and 0.01 <= fps <= 1000):
        raise ValueError(f"fps must be a number from 0.01 to 1000. Got {fps!r}.")
    if not (isinstance(rate, Integral) and rate > 0):
        raise ValueError(f"rate must be a positive int. Got {rate!r}.")
    if with_sound and codec == "aac" and rate not in _AAC_RATES:
        raise ValueError(
            f"AAC has no sampling rate of {rate} Hz. Resample to one of "
            f"{', '.join(map(str, _AAC_RATES))}, or write a .wav."
        )
    if not (isinstance(crf, Real) and 0 <= crf <= 51):
        raise ValueError(f"crf must be a number from 0 to 51. Got {crf!r}.")
    if preset not in _PRESETS:
        raise ValueError(
            f"preset must be one of {', '.join(_PRESETS)}. Got {preset!r}."
        )
    if not (isinstance(bit_rate, Integral) and bit_rate > 0):
        raise ValueError(f"bit_rate must be a positive int. Got {bit_rate!r}.")
    fps = fps if isinstance(fps, Fraction) else Fraction(float(fps))
    return fps.limit_denominator(1001)


def _check_frames(frames):
    if frames is None:
        return None
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(
            "frames must have shape (n_frames, height, width, 3) and hold at least "
            f"one frame. Got shape {frames.shape}."
        )
    if frames.dtype != np.uint8:
        raise ValueError(
            f"frames must be uint8 RGB in 0..255. Got dtype {frames.dtype}; scale "
            "and convert them first."
        )
    odd = frames.shape[1] % 2, frames.shape[2] % 2
    if any(odd):
        frames = np.pad(frames, ((0, 0), (0, odd[0]), (0, odd[1]), (0, 0)), "edge")
    return np.ascontiguousarray(frames)


def _check_audio(audio):
    if audio is None:
        return None
    audio = np.asarray(audio)
    if audio.ndim != 1 or len(audio) == 0:
        raise ValueError(
            "audio must be mono, of shape (n_samples,), and hold at least one "
            f"sample. Got shape {audio.shape}."
        )
    if not np.issubdtype(audio.dtype, np.floating):
        raise ValueError(
            f"audio must be float in [-1, 1]. Got dtype {audio.dtype}; divide by "
            "the largest value of its type first."
        )
    if not np.isfinite(audio).all():
        raise ValueError("audio holds NaN or infinite samples.")
    return np.clip(audio.astype(np.float32), -1, 1)
