"""Read the sound and the pictures of a clip in one pass over its file."""

from dataclasses import dataclass

import numpy as np

from skmer.exceptions import MediaError
from skmer.media._audio import AudioReader, check_rate, undecodable
from skmer.media._container import (
    MAX_BYTES,
    MAX_DECODE_SECONDS,
    MAX_PIXELS,
    TimeLimit,
    audio_stream,
    check_audio,
    check_video,
    check_window,
    decode,
    open_media,
    origin,
    packets,
    select_streams,
    too_long,
    video_stream,
)
from skmer.media._video import FrameReader, Frames, Timeline, check_frames


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound and pictures of one clip.

    Parameters
    ----------
    audio : ndarray of shape (n_samples,), dtype float32, or None
        Mono sound in -1..1; None if not asked for or the file has none.
    rate : int or None
        Sample rate of ``audio``, Hz; None if sound was not asked for.
    frames : Frames or None
        Pictures; None if not asked for or the file has none.
    """

    audio: np.ndarray | None
    rate: int | None
    frames: Frames | None


def read_audio(
    path,
    *,
    rate=16_000,
    start=None,
    stop=None,
    max_seconds=600.0,
    max_decode_seconds=MAX_DECODE_SECONDS,
):
    """Read the sound of a clip.

    Parameters
    ----------
    path : str or PathLike
        A sound or video file in any container that FFmpeg reads.
    rate : int, default=16000
        Sample rate of the result, Hz.
    start, stop : float or None, default=None
        Read only from ``start`` up to ``stop``, seconds from the clip's
        beginning. The result is ``whole[round(start * rate):round(stop * rate)]``
        of the whole sound; it ends where the sound ends.
    max_seconds : float or None, default=600.0
        A longer result is an error, so that a forgotten window does not fill the
        memory. None: no limit.
    max_decode_seconds : float or None, default=300.0
        A file that takes longer to read is an error: processor time, or any one wait
        for the file system. None: no limit.

    Returns
    -------
    audio : ndarray of shape (n_samples,), dtype float32, or None
        Mono sound in -1..1. None if the file has no sound stream, or not one
        sample of it lies in the window.

    Raises
    ------
    MediaError
        If the file cannot be opened, none of its sound decodes, or it lasts
        longer than ``max_seconds``.
    MediaLimitError
        If it takes longer to read than ``max_decode_seconds``, a MediaError too.

    See Also
    --------
    read_clip : Sound and pictures in one pass.

    Notes
    -----
    The clip begins where its first stream begins. Sound that begins later is
    preceded by silence, as are packets missing on the way. Packets that do not
    decode are skipped, and a file that is cut off gives what is there, as in
    players; only a stream of which nothing decodes is an error.

    Stereo is averaged. Other layouts are mixed with the weights of ITU-R BS.775
    (centre 1, left and right 0.71, surround 0.5, low frequencies 0) scaled to sum
    one: dialogue sits in the centre. Rates are converted by soxr at its "HQ"
    quality.

    A file with more than 768,000 samples a second, 64 channels or 200 streams counts
    as damaged.

    Examples
    --------
    >>> from skmer.media import read_audio
    >>> from skmer.exceptions import MediaError
    >>> try:
    ...     read_audio("gone.mp4")
    ... except MediaError as error:
    ...     print(error.reason)
    there is no such file
    """
    return read_clip(
        path,
        rate=rate,
        start=start,
        stop=stop,
        max_seconds=max_seconds,
        max_decode_seconds=max_decode_seconds,
    ).audio


def read_frames(
    path,
    n_frames,
    *,
    start=None,
    stop=None,
    max_side=None,
    max_seconds=600.0,
    max_pixels=MAX_PIXELS,
    max_bytes=MAX_BYTES,
    max_decode_seconds=MAX_DECODE_SECONDS,
):
    """Read evenly spaced pictures of a clip.

    The time from the first picture's appearance to the last one's end, or the
    part of it inside the window, is cut into ``n_frames`` equal parts; the
    picture on screen at the centre of each part is kept. Timestamps decide, so
    that a variable frame rate, or a header with a wrong duration, does no harm.

    Parameters
    ----------
    path : str or PathLike
        A video or picture file in any container that FFmpeg reads.
    n_frames : int
        How many pictures.
    start, stop : float or None, default=None
        Look only from ``start`` up to ``stop``, seconds from the clip's
        beginning. The first picture may have come on screen before ``start``.
    max_side : int or None, default=None
        Reduce the pictures so that the longer side has at most so many pixels;
        never enlarged.
    max_seconds : float or None, default=600.0
        A longer clip, or window, is an error. None: no limit.
    max_pixels : int or None, default=33177600
        Larger pictures are an error before memory is taken for them; the default
        is 8K video. None: no limit but FFmpeg's own.
    max_bytes : int or None, default=4294967296
        Pictures that together take more memory are an error. None: no limit.
    max_decode_seconds : float or None, default=300.0
        A file that takes longer to read is an error: processor time, or any one wait
        for the file system. None: no limit.

    Returns
    -------
    frames : Frames or None
        At most ``n_frames`` pictures in the order of time. A picture that is on
        screen at several of the moments comes once; a clip, or window, of no
        more pictures than asked for gives all of them. None if the file has no
        picture stream (cover art is none), or the window shows no picture.

    Raises
    ------
    MediaError
        If the file cannot be opened, none of its pictures decodes, or it lasts
        longer than ``max_seconds``.
    MediaLimitError
        If it is more than ``max_pixels``, ``max_bytes`` or ``max_decode_seconds``
        allow, a MediaError too.

    See Also
    --------
    read_clip : Sound and pictures in one pass.
    face_crops : The face in each picture.

    Notes
    -----
    One sequential decode on one thread, from the file's beginning; pictures that
    no other is predicted from are skipped unless wanted, and only the pictures
    kept are converted.
    Pictures are turned as the file's display matrix says and have square pixels.
    Packets that do not decode are skipped, and a file that is cut off gives what
    is there, as in players; only a stream of which nothing decodes is an error.
    """
    return read_clip(
        path,
        n_frames=n_frames,
        start=start,
        stop=stop,
        max_side=max_side,
        max_seconds=max_seconds,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        max_decode_seconds=max_decode_seconds,
    ).frames


def read_clip(
    path,
    *,
    rate=None,
    n_frames=None,
    start=None,
    stop=None,
    max_side=None,
    max_seconds=600.0,
    max_pixels=MAX_PIXELS,
    max_bytes=MAX_BYTES,
    max_decode_seconds=MAX_DECODE_SECONDS,
):
    """Read the sound and the pictures of a clip in one pass over its file.

    Parameters
    ----------
    path : str or PathLike
        A media file in any container that FFmpeg reads.
    rate : int or None, default=None
        Sample rate of the sound, Hz. None: no sound is read.
    n_frames : int or None, default=None
        How many pictures. None: no picture is read.
    start, stop : float or None, default=None
        Read only this window, seconds from the clip's beginning.
    max_side : int or None, default=None
        Reduce pictures to this longer side, pixels.
    max_seconds : float or None, default=600.0
        A longer clip, or window, is an error. None: no limit.
    max_pixels : int or None, default=33177600
        Larger pictures are an error. None: no limit but FFmpeg's own.
    max_bytes : int or None, default=4294967296
        Pictures that together take more memory are an error. None: no limit.
    max_decode_seconds : float or None, default=300.0
        A file that takes longer to read is an error. None: no limit.

    Returns
    -------
    clip : Clip
        With ``audio``, ``rate`` and ``frames``, equal to what :func:`read_audio`
        and :func:`read_frames` return.

    Raises
    ------
    MediaError, MediaLimitError
        As :func:`read_audio` and :func:`read_frames` raise them.
    ValueError
        If neither ``rate`` nor ``n_frames`` is given, or one of the parameters
        makes no sense.
    """
    if rate is None and n_frames is None:
        raise ValueError("Give rate= to read sound, n_frames= to read pictures.")
    start, stop = check_window(start, stop, max_seconds)
    if rate is not None:
        rate = check_rate(rate)
    if n_frames is not None:
        check_frames(n_frames, max_side)
    limit = TimeLimit(path, max_decode_seconds)
    timeline = None
    if n_frames is not None:
        timeline = _read_timeline(limit, start, stop, max_seconds, max_pixels)
    with open_media(path, limit, max_pixels) as container:
        sound = audio_stream(container) if rate is not None else None
        picture = video_stream(container) if timeline is not None else None
        zero = origin(container)
        readers = {}
        if sound is not None:
            check_audio(path, sound)
            readers[sound.index] = AudioReader(
                path, zero, rate, start, stop, max_seconds
            )
        if picture is not None:
            check_video(path, picture, max_pixels)
            readers[picture.index] = FrameReader(
                path, timeline, n_frames, start, stop, max_side, max_pixels, max_bytes
            )
        streams = [stream for stream in (sound, picture) if stream is not None]
        if streams:
            select_streams(container, *streams)
            _decode_streams(limit, container, streams, readers, max_pixels)
        return Clip(
            audio=readers[sound.index].finish() if sound is not None else None,
            rate=rate,
            frames=readers[picture.index].finish() if picture is not None else None,
        )


def _read_timeline(limit, start, stop, max_seconds, max_pixels):
    """Return the Timeline of the picture stream, None without one."""
    path = limit.path
    with open_media(path, limit, max_pixels) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        select_streams(container, stream)
        check_video(path, stream, max_pixels)
        timeline = Timeline(path, stream, origin(container))
        first = None
        for packet in packets(container, [stream], limit, "video"):
            time = timeline.add(packet)
            if time is None:
                continue
            first = time if first is None else min(first, time)
            if (
                max_seconds is not None
                and min(time, stop) - max(first, start) > max_seconds
            ):
                raise too_long(path, "video", max_seconds)
        return timeline


def _decode_streams(limit, container, streams, readers, max_pixels):
    path = limit.path
    stages = {stream.index: stream.type for stream in streams}
    seen = dict.fromkeys(stages, 0)
    decoded = dict.fromkeys(stages, 0)
    for packet in packets(container, streams, limit, "+".join(stages.values())):
        index = packet.stream.index
        reader = readers[index]
        if reader.done:
            if all(reader.done for reader in readers.values()):
                break
            continue
        if packet.size:
            reader.prepare(packet)
        frames, _ = decode(packet)
        seen[index] += packet.size > 0
        decoded[index] += len(frames)
        for frame in frames:
            reader.add(frame)
    for stream in streams:
        index, stage = stream.index, stages[stream.index]
        if seen[index] and not decoded[index]:
            raise undecodable(path, stream, seen[index], max_pixels)
        announced = stream.frames or (stream.duration or 0) > 0
        if not seen[index] and announced and not readers[index].skipped:
            raise MediaError(
                path,
                stage,
                "its header announces some, but the file is cut off before the "
                "first of it. Copy or record it again",
            )
