"""What a media file holds, from its header and first picture."""

from dataclasses import dataclass

import av

from skmer.media._container import (
    MAX_DECODE_SECONDS,
    MAX_PIXELS,
    TimeLimit,
    audio_stream,
    check_video,
    decode,
    open_media,
    packets,
    select_streams,
    video_stream,
)
from skmer.media._video import aspect_of, quarter_turns, shown_size


@dataclass(frozen=True)
class MediaInfo:
    """What a media file says about itself.

    Parameters
    ----------
    container : str
        FFmpeg's name of the format, such as ``"mov,mp4,m4a,3gp,3g2,mj2"``.
    duration : float or None
        Seconds, as the header has it, which may be wrong; None if it does not say.
    has_audio, has_video : bool
        Whether there is a sound stream, a picture stream. Cover art is none.
    audio_codec : str or None
        FFmpeg's name of the sound's coding.
    audio_rate : int or None
        Samples a second.
    audio_channels : int or None
        How many channels.
    video_codec : str or None
        FFmpeg's name of the pictures' coding.
    width, height : int or None
        Size of the pictures as shown: turned upright, in square pixels.
    fps : float or None
        Mean number of pictures a second.
    """

    container: str
    duration: float | None
    has_audio: bool
    has_video: bool
    audio_codec: str | None = None
    audio_rate: int | None = None
    audio_channels: int | None = None
    video_codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None


def probe(path, *, max_pixels=MAX_PIXELS, max_decode_seconds=MAX_DECODE_SECONDS):
    """Tell what a media file holds.

    Parameters
    ----------
    path : str or PathLike
        The file.
    max_pixels : int or None, default=33177600
        Larger pictures are an error before memory is taken for them; the default
        is 8K video. None: no limit but FFmpeg's own.
    max_decode_seconds : float or None, default=300.0
        A file that takes longer to open, or to decode its first picture, is an
        error. None: no limit.

    Returns
    -------
    info : MediaInfo

    Raises
    ------
    MediaError
        If the file cannot be opened as a media file.
    MediaLimitError
        If it is more than ``max_pixels`` or ``max_decode_seconds`` allow.

    See Also
    --------
    read_clip : Read what it holds.
    """
    limit = TimeLimit(path, max_decode_seconds)
    with open_media(path, limit, max_pixels) as container:
        duration = container.duration
        sound, picture = audio_stream(container), video_stream(container)
        facts = {}
        if sound is not None:
            facts["audio_codec"] = sound.codec_context.name
            facts["audio_rate"] = sound.codec_context.sample_rate
            facts["audio_channels"] = sound.codec_context.channels
        if picture is not None:
            check_video(path, picture, max_pixels)
            rate = picture.average_rate or picture.guessed_rate
            facts["video_codec"] = picture.codec_context.name
            facts["fps"] = float(rate) if rate else None
            facts["width"], facts["height"] = _size(limit, container, picture)
        return MediaInfo(
            container=container.format.name,
            duration=None if duration is None else duration / av.time_base,
            has_audio=sound is not None,
            has_video=picture is not None,
            **facts,
        )


def _size(limit, container, stream):
    """Return width and height as shown; only a decoded picture knows its turn."""
    context = stream.codec_context
    width, height = context.width, context.height
    select_streams(container, stream)
    for packet in packets(container, [stream], limit, "video"):
        frames, _ = decode(packet)
        if frames:
            frame = frames[0]
            width, height = shown_size(frame.width, frame.height, aspect_of(stream))
            if quarter_turns(frame) % 2:
                width, height = height, width
            break
    return width, height
