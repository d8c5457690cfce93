"""Media files for tests: pictures that carry their number, known sound."""

from fractions import Fraction

import av
import numpy as np

BITS = 8


def numbered_picture(number, width=160, height=96):
    """Return an RGB picture that shows ``number`` as black and white bars."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, dtype=np.uint8) * 200 + 25, width // BITS)
    row = np.pad(row, (0, width - len(row)), mode="edge")
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def read_number(image):
    """Return the number that a picture shows."""
    height, width = image.shape[:2]
    step = width // BITS
    levels = [
        image[height // 4 : -height // 4, i * step + 4 : (i + 1) * step - 4].mean()
        for i in range(BITS)
    ]
    return sum((level > 127) << bit for bit, level in enumerate(levels))


def write_video(
    path,
    times,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    pictures=None,
    audio=None,
    audio_start=0.0,
    audio_rate=48_000,
    audio_codec="aac",
    aspect=None,
    options=None,
    muxing=None,
):
    """Write numbered pictures at the given times (seconds), and maybe sound."""
    if pictures is None:
        pictures = [numbered_picture(i) for i in range(len(times))]
    with av.open(str(path), "w", options=muxing or {}) as container:
        video = container.add_stream(codec, rate=25, options=options or {})
        video.width, video.height = pictures[0].shape[1], pictures[0].shape[0]
        video.pix_fmt = pix_fmt
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        sound = None
        if audio is not None:
            sound = container.add_stream(audio_codec, rate=audio_rate, layout="mono")
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(
                audio[None].astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = audio_rate
            frame.time_base = Fraction(1, audio_rate)
            offset = round(audio_start * audio_rate)
            fifo = av.AudioFifo()
            fifo.write(frame)
            size = sound.codec_context.frame_size or 1024
            while (part := fifo.read(size, True)) is not None and part.samples:
                part.pts, part.time_base = offset, frame.time_base
                offset += part.samples
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
    return path


def set_display_matrix(path, matrix):
    """Write a,b,c,d into the track header of an MP4 file with one track."""
    data = bytearray(path.read_bytes())
    box = data.index(b"tkhd") + 4
    begin = box + (4 + 32 if data[box] == 0 else 4 + 44) + 4
    a, b, c, d = (value * 2**16 for value in matrix)
    values = np.array([a, b, 0, c, d, 0, 0, 0, 2**30], dtype=">i4")
    assert data[begin : begin + 4] == (2**16).to_bytes(4, "big")
    data[begin : begin + 36] = values.tobytes()
    path.write_bytes(bytes(data))
