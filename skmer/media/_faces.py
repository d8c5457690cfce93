"""Follow one face through a clip and cut it out."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from skmer.media._detectors import get_face_detector, one_cv2_thread
from skmer.media._video import Frames

# Two detections are one face if it moved by less than its size and changed
# size by less than half.
_MAX_MOVE = 1.0
_MAX_SCALE = 1.6


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face followed through the pictures of a clip.

    ``n_found`` of the ``n_frames`` pictures show it; arrays of that length are in
    the order of the pictures.

    Parameters
    ----------
    images : ndarray of shape (n_found, size, size, 3), dtype uint8
        RGB, the face upright in the middle.
    boxes : ndarray of shape (n_found, 4), dtype float32
        ``x, y, width, height`` of the face in the picture, pixels.
    index : ndarray of shape (n_found,), dtype int64
        Which picture each comes from.
    times : ndarray of shape (n_found,), dtype float64, or None
        When that picture comes on screen, seconds; None if unknown.
    detected : ndarray of shape (n_found,), dtype bool
        False where the face was not found and its place taken from the pictures
        before and after.
    found : ndarray of shape (n_frames,), dtype bool
        Which pictures of the clip show the face.
    """

    images: np.ndarray
    boxes: np.ndarray
    index: np.ndarray
    times: np.ndarray | None
    detected: np.ndarray
    found: np.ndarray

    def __len__(self):
        return len(self.images)


def face_crops(frames, *, detector="auto", size=112, margin=0.2, max_gap=2):
    """Cut the main face out of the pictures of a clip.

    Parameters
    ----------
    frames : Frames, ndarray of shape (n_frames, height, width, 3), or None
        The pictures, uint8, in the order of time; None as :func:`read_frames`
        returns it for a clip without any.
    detector : str, path or FaceDetector, default="auto"
        As for :func:`get_face_detector`.
    size : int, default=112
        Width and height of the crops, pixels.
    margin : float, default=0.2
        Room around the face on each side, as a part of its longer side.
    max_gap : int, default=2
        Between two pictures that show the face, up to so many in which it was
        not found take its place from those two. 0: none.

    Returns
    -------
    track : FaceTrack or None
        None if no picture shows a face, or there is none.

    See Also
    --------
    read_frames : The pictures of a clip.

    Notes
    -----
    Detections that lie near each other in successive pictures are one face. The
    main face is the one with the largest sum, over the pictures, of its size
    (square root of its part of the picture) times its nearness to the middle.
    The result never mixes it with a face that is seen beside it in any picture.
    Another of like size that is never seen together with it, in two pictures at
    least, is taken for the same face after a cut.

    Where the detector finds eyes the crop is turned so that they are level, up to
    45 degrees. What lies outside the picture repeats its edge.

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.media import face_crops
    >>> face_crops(np.zeros((2, 90, 160, 3), dtype=np.uint8)) is None
    True
    """
    if int(size) != size or size < 1:
        raise ValueError(f"size must be a positive whole number. Got {size!r}.")
    if not 0 <= margin <= 10:
        raise ValueError(f"margin must lie between 0 and 10. Got {margin!r}.")
    if int(max_gap) != max_gap or max_gap < 0:
        raise ValueError(f"max_gap must be a whole number from 0. Got {max_gap!r}.")
    detector = get_face_detector(detector)
    if frames is None:
        return None
    images, times = _pictures(frames)
    faces = [detector.detect(image) for image in images]
    if not any(len(found) for found in faces):
        return None
    chosen = main_face(faces, images.shape[1:3])
    places = _fill_gaps(chosen, faces, max_gap)
    index = np.array(sorted(places), dtype=np.int64)
    with one_cv2_thread():
        crops = np.stack([_crop(images[i], *places[i], size, margin) for i in index])
    return FaceTrack(
        images=crops,
        boxes=np.array([places[i][0] for i in index], dtype=np.float32),
        index=index,
        times=None if times is None else times[index],
        detected=np.isin(index, list(chosen)),
        found=np.isin(np.arange(len(images)), index),
    )


def _pictures(frames):
    if isinstance(frames, Frames):
        return frames.images, frames.times
    images = np.asarray(frames)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(
            "frames must be Frames or a uint8 array of shape (n_frames, height, "
            f"width, 3). Got {images.dtype} of shape {images.shape}. Read a file with "
            "read_frames(path, n_frames) first."
        )
    return images, None


def main_face(faces, shape):
    """Choose one face and say where it is.

    Parameters
    ----------
    faces : list of Faces of length n_frames
        What each picture shows.
    shape : tuple of (height, width)
        Of the pictures.

    Returns
    -------
    chosen : dict of int to int
        For each picture that shows the main face, which of its faces that is.
    """
    tracks = _link(faces)
    weights = [
        sum(_weight(faces[i].boxes[k], shape) for i, k in track.items())
        for track in tracks
    ]
    order = np.argsort(-np.array(weights), kind="stable")
    chosen = dict(tracks[order[0]])
    main_size = np.median([_size(faces[i].boxes[k]) for i, k in chosen.items()])
    for position in order[1:]:
        track = tracks[position]
        size = np.median([_size(faces[i].boxes[k]) for i, k in track.items()])
        alike = 0.5 < size / main_size < 2
        if len(track) > 1 and alike and not chosen.keys() & track.keys():
            chosen.update(track)
    return chosen


def _link(faces):
    """Join detections into tracks, each a dict from picture to detection."""
    tracks = []
    for i, found in enumerate(faces):
        free = set(range(len(found)))
        if tracks and free:
            last = np.array(
                [faces[max(t)].boxes[t[max(t)]] for t in tracks], dtype=np.float64
            )
            cost = _distance(last, found.boxes.astype(np.float64))
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < 1:
                    tracks[row][i] = int(column)
                    free.discard(column)
        tracks.extend({i: k} for k in sorted(free))
    return tracks


def _distance(before, now):
    """Return how far apart boxes are, below 1 for what may be one face."""
    size_before = _size(before.T)[:, None]
    size_now = _size(now.T)[None, :]
    centre_before = before[:, None, :2] + before[:, None, 2:] / 2
    centre_now = now[None, :, :2] + now[None, :, 2:] / 2
    move = np.linalg.norm(centre_before - centre_now, axis=2)
    move = move / np.minimum(size_before, size_now) / _MAX_MOVE
    scale = np.abs(np.log(size_before / size_now)) / np.log(_MAX_SCALE)
    # All impossible pairs cost the same, so that they never trade off against
    # the possible ones.
    return np.where((move < 1) & (scale < 1), (move + scale) / 2, 1e3)


def _size(box):
    return np.sqrt(np.maximum(box[2] * box[3], 1e-6))


def _weight(box, shape):
    height, width = shape
    x = (box[0] + box[2] / 2) / width - 0.5
    y = (box[1] + box[3] / 2) / height - 0.5
    return float(_size(box) / np.sqrt(height * width) * (1 - min(1.0, np.hypot(x, y))))


def _fill_gaps(chosen, faces, max_gap):
    """Return {picture: (box, angle)}, short gaps filled in a straight line."""
    places = {}
    before = None
    for i in sorted(chosen):
        found, k = faces[i], chosen[i]
        box = found.boxes[k].astype(np.float64)
        angle = 0.0 if found.landmarks is None else _tilt(found.landmarks[k])
        places[i] = box, angle
        if before is not None and 0 < i - before - 1 <= max_gap:
            box_before, angle_before = places[before]
            if _distance(box_before[None], box[None])[0, 0] < 1:
                for j in range(before + 1, i):
                    part = (j - before) / (i - before)
                    places[j] = (
                        (1 - part) * box_before + part * box,
                        (1 - part) * angle_before + part * angle,
                    )
        before = i
    return places


def _tilt(landmarks):
    """Return the angle of the line through the eyes, degrees clockwise."""
    dx, dy = (landmarks[1] - landmarks[0]).astype(np.float64)
    return float(np.clip(np.degrees(np.arctan2(dy, dx)), -45, 45))


def _crop(image, box, angle, size, margin):
    """Cut a square around a box, turned by an angle, and bring it to size."""
    side = max(box[2], box[3]) * (1 + 2 * margin)
    centre = box[0] + box[2] / 2, box[1] + box[3] / 2
    # Sample no coarser than the picture, then average: no aliasing.
    factor = int(np.clip(np.floor(side / size), 1, 16))
    wide = size * factor
    matrix = cv2.getRotationMatrix2D(centre, angle, wide / side)
    # Pixel centres lie at whole numbers.
    matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    matrix[:, 2] += wide / 2 - np.array(centre)
    crop = cv2.warpAffine(
        image,
        matrix,
        (wide, wide),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if factor > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return crop
