"""Sound and pictures of clips, as models behind a server take them."""

import base64
import io
import wave
from hashlib import blake2b
from typing import NamedTuple

import cv2
import numpy as np

from skmer.cache import text_id
from skmer.media import read_clip

RATE = 16_000
_JPEG_QUALITY = 90


class OmniCell(NamedTuple):
    """What there is of one clip.

    Parameters
    ----------
    video, audio : str or None
        Files with its pictures and its sound.
    data : str
        What else is known, one line of JSON.
    """

    video: str | None
    audio: str | None
    data: str


class NothingThereError(ValueError):
    """A clip whose files hold neither sound nor picture, and of which no words are."""


def identify(cells, store):
    """Return what identifies the content of clips.

    Parameters
    ----------
    cells : list of OmniCell
        Clips.
    store : FeatureStore
        Knows the contents of files that it has seen.

    Returns
    -------
    identities : list of (bytes of length 16 or OSError)
        Of all their parts; an error where a file cannot be read.
    """
    paths = {path for cell in cells for path in cell[:2] if path is not None}
    paths = sorted(paths)
    known = dict(zip(paths, store.content_ids(paths), strict=True))
    identities = []
    for cell in cells:
        parts = [b"" if path is None else known[path] for path in cell[:2]]
        errors = [part for part in parts if not isinstance(part, bytes)]
        if errors:
            identities.append(errors[0])
            continue
        digest = blake2b(digest_size=16, person=b"skmer omni")
        for part in [*parts, text_id(cell.data)]:
            digest.update(bytes([len(part)]) + part)
        identities.append(digest.digest())
    return identities


def read_media(cell, n_frames, max_side, max_seconds):
    """Read what a clip's files hold.

    Parameters
    ----------
    cell : OmniCell
        The clip.
    n_frames : int
        How many pictures at most.
    max_side : int
        Longer side of a picture at most, pixels.
    max_seconds : float
        What comes after is left out.

    Returns
    -------
    images : list of ndarray of shape (height, width, 3), dtype uint8
        RGB, in the order of time; empty where there are none.
    sound : ndarray of shape (n_samples,), dtype float32, or None
        At :data:`RATE`.

    Raises
    ------
    MediaError
        If a file cannot be read.
    """
    window = {"start": 0.0, "stop": float(max_seconds), "max_seconds": None}
    pictures = {"n_frames": n_frames, "max_side": max_side}
    frames = sound = None
    if cell.video is not None and cell.video == cell.audio:
        clip = read_clip(cell.video, rate=RATE, **pictures, **window)
        frames, sound = clip.frames, clip.audio
    else:
        if cell.video is not None:
            frames = read_clip(cell.video, **pictures, **window).frames
        if cell.audio is not None:
            sound = read_clip(cell.audio, rate=RATE, **window).audio
    return [] if frames is None else list(frames.images), sound


def as_parts(images, sound, data):
    """Return the content of a message.

    Parameters
    ----------
    images : list of ndarray of shape (height, width, 3), dtype uint8
        RGB pictures.
    sound : ndarray of shape (n_samples,), dtype float32, or None
        At :data:`RATE`.
    data : str
        Text.

    Returns
    -------
    parts : list of dict
        Pictures as JPEG in data URLs, sound as 16-bit WAV, then the text.
    """
    parts = [
        {"type": "image_url", "image_url": {"url": _jpeg_url(image)}}
        for image in images
    ]
    if sound is not None:
        encoded = {"data": _base64(_wav(sound)), "format": "wav"}
        parts.append({"type": "input_audio", "input_audio": encoded})
    return [*parts, {"type": "text", "text": data}]


def _jpeg_url(image):
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return f"data:image/jpeg;base64,{_base64(encoded.tobytes())}"


def _wav(sound):
    samples = np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def _base64(content):
    return base64.b64encode(content).decode()
