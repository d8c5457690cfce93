"""Draw a talking face whose brows, eyes, mouth and head move with an emotion.

Lengths on the face are in half head heights, x to the right and y down, the
origin between nose and eyes; :func:`_project` turns them into pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from skmer.datasets._expression import STYLES, act, idle, vary

# Fixed point pixels of OpenCV: four bits after the point.
_SHIFT = 4
_TURN = np.linspace(0, 2 * np.pi, 33)[:-1]
_SPAN = np.linspace(-1, 1, 13)
_SKINS = np.array(
    [(241, 205, 178), (226, 180, 145), (201, 150, 113), (160, 112, 80), (232, 190, 160)]
)
_HAIRS = np.array(
    [(35, 28, 26), (72, 48, 33), (120, 82, 48), (146, 108, 62), (98, 94, 92)]
)


@dataclass(frozen=True)
class Look:
    """What a speaker looks like; the same in all of the speaker's clips."""

    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    head_width: float
    jaw: float
    eye_distance: float
    eye_size: float
    brow_height: float
    brow_thickness: float
    nose: float
    mouth_height: float
    mouth_width: float
    hairline: float
    long_hair: bool
    vividness: float

    @classmethod
    def draw(cls, rng):
        """Draw a speaker's look."""
        skin = _SKINS[rng.integers(len(_SKINS))] * rng.uniform(0.94, 1.05)
        return cls(
            skin=np.clip(skin + rng.normal(0, 4, 3), 0, 255),
            hair=np.clip(
                _HAIRS[rng.integers(len(_HAIRS))] + rng.normal(0, 6, 3), 0, 255
            ),
            shirt=rng.uniform(30, 220, 3),
            iris=rng.uniform((30, 35, 25), (95, 90, 110)),
            lips=skin * rng.uniform((0.78, 0.5, 0.5), (0.9, 0.62, 0.64)),
            head_width=rng.uniform(0.74, 0.84),
            jaw=rng.uniform(0.75, 1.0),
            eye_distance=rng.uniform(0.32, 0.38),
            eye_size=rng.uniform(0.145, 0.18),
            brow_height=rng.uniform(0.12, 0.18),
            brow_thickness=rng.uniform(0.035, 0.06),
            nose=rng.uniform(0.28, 0.36),
            mouth_height=rng.uniform(0.52, 0.6),
            mouth_width=rng.uniform(0.25, 0.31),
            hairline=rng.uniform(-0.82, -0.68),
            long_hair=bool(rng.random() < 0.5),
            vividness=rng.uniform(0.85, 1.15),
        )


def draw_clip(shown, look, n_frames, fps, size, rng):
    """Draw the frames of a clip.

    Parameters
    ----------
    shown : str or None
        The emotion shown, one of the six; None turns the speaker away,
        so that no face is seen.
    look : Look
        The speaker.
    n_frames : int
        Number of frames.
    fps : float
        Frames a second.
    size : tuple of int
        Width and height in pixels.
    rng : numpy.random.Generator
        Source of everything that differs from clip to clip.

    Returns
    -------
    frames : ndarray of uint8 of shape (n_frames, height, width, 3)
        RGB pictures.
    """
    width, height = size
    scene = _draw_scene(width, height, rng)
    light = _draw_light(width, height, rng)
    grain = _draw_grain(width, height, rng)
    scale = height * rng.uniform(0.29, 0.34)
    centre = np.array(
        [width * rng.uniform(0.42, 0.58), height * rng.uniform(0.47, 0.53)]
    )
    if shown is None:
        pose, moves = idle(n_frames, fps, rng), None
    else:
        style = vary(STYLES[shown], look.vividness, rng)
        pose, moves = act(style, n_frames, fps, rng)
    frames = np.empty((n_frames, height, width, 3), dtype=np.uint8)
    for i in range(n_frames):
        canvas = scene.copy()
        place = _Place(centre + pose["drift"][i] * scale, scale, pose, i)
        _draw_body(canvas, look, place)
        if moves is None:
            _draw_back(canvas, look, place)
        else:
            _draw_head(canvas, look, place, {key: v[i] for key, v in moves.items()})
        canvas = cv2.multiply(canvas, light, dtype=cv2.CV_8U)
        dx, dy = rng.integers(0, 32, 2)
        cv2.add(
            canvas,
            grain[dy : dy + height, dx : dx + width],
            dst=frames[i],
            dtype=cv2.CV_8U,
        )
    return frames


class _Place:
    """Take points on the face to pixels: turn the head, scale, shift."""

    def __init__(self, centre, scale, pose, i):
        self.yaw, self.pitch = np.sin(pose["yaw"][i]), np.sin(pose["pitch"][i])
        roll = pose["roll"][i]
        self.turn = np.array(
            [[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]]
        )
        self.centre, self.scale = centre, scale

    def __call__(self, points):
        x, y = points[:, 0], points[:, 1]
        depth = 0.7 * np.sqrt(np.clip(1 - (x / 0.85) ** 2 - (y / 1.1) ** 2, 0, 1))
        turned = np.stack([x + depth * self.yaw, y + depth * self.pitch], axis=1)
        return turned @ self.turn * self.scale + self.centre

    def still(self, points):
        """Place points that do not turn with the head."""
        return points * self.scale + self.centre


def _fill(canvas, pixels, colour):
    points = np.rint(pixels * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(
        canvas, [points], np.clip(colour, 0, 255).tolist(), cv2.LINE_AA, _SHIFT
    )


def _stroke(canvas, pixels, colour, thickness):
    points = np.rint(pixels * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(
        canvas,
        [points],
        False,
        np.clip(colour, 0, 255).tolist(),
        max(1, round(float(thickness))),
        cv2.LINE_AA,
        _SHIFT,
    )


def _oval(x, y, rx, ry, jaw=1.0):
    """Outline of an ellipse; ``jaw`` below one narrows its lower half."""
    px, py = np.cos(_TURN), np.sin(_TURN)
    px = px * np.where(py > 0, 1 - (1 - jaw) * 0.6 * py**2, 1)
    return np.stack([x + rx * px, y + ry * py], axis=1)


def _band(x, top, bottom):
    """Outline between two curves over the same x."""
    upper = np.stack([x, top], axis=1)
    lower = np.stack([x, bottom], axis=1)[::-1]
    return np.concatenate([upper, lower])


def _draw_body(canvas, look, place):
    shoulders = np.array(
        [
            (-1.35, 2.2),
            (-1.25, 1.5),
            (-0.5, 1.22),
            (0.5, 1.22),
            (1.25, 1.5),
            (1.35, 2.2),
        ]
    )
    neck = np.array([(-0.34, 0.6), (0.34, 0.6), (0.4, 1.35), (-0.4, 1.35)])
    if look.long_hair:
        _fill(
            canvas, place.still(_oval(0, 0.2, look.head_width * 1.22, 1.2)), look.hair
        )
    _fill(canvas, place.still(shoulders), look.shirt)
    _fill(canvas, place.still(neck), look.skin * 0.8)


def _draw_head(canvas, look, place, move):
    skin, wide = look.skin, look.head_width
    for side in (-1, 1):
        _fill(canvas, place(_oval(side * wide, 0.02, 0.11, 0.2)), skin * 0.88)
    _fill(canvas, place(_oval(0, -0.12, wide * 1.07, 1.0)), look.hair)
    _fill(canvas, place(_oval(0, 0.0, wide, 1.0, look.jaw)), skin * 0.97)
    _fill(canvas, place(_oval(0, 0.02, wide * 0.86, 0.9, look.jaw)), skin)
    x = _SPAN * wide * 0.99
    arch = -np.sqrt(np.clip(1 - _SPAN**2, 0, 1))
    line = look.hairline + 0.3 * _SPAN**4
    _fill(canvas, place(_band(x, np.minimum(1.06 * arch, line), line)), look.hair)
    for side in (-1, 1):
        _draw_eye(canvas, look, place, move, side)
        _fill(canvas, place(_oval(side * 0.42, 0.36, 0.2, 0.15)), skin * 1.04)
    _draw_nose(canvas, look, place)
    _draw_mouth(canvas, look, place, move)


def _draw_back(canvas, look, place):
    """Draw the back of the head, with strands: a plain oval may pass for a face."""
    hair = look.hair * 0.7
    _fill(canvas, place(_oval(0, -0.05, look.head_width * 1.04, 1.04)), hair)
    y = np.linspace(-0.75, 0.75, 9)
    for x in np.linspace(-0.8, 0.8, 9) * look.head_width:
        strand = np.stack([x * np.sqrt(1 - (y / 1.1) ** 2), y], axis=1)
        _stroke(canvas, place(strand), hair * 0.5, 0.03 * place.scale)


def _draw_eye(canvas, look, place, move, side):
    size, mid = look.eye_size, side * look.eye_distance
    level = -0.06
    # The shade reaches up to the brow, as it does below a real one.
    lift = 0.07 * np.clip(move["raised"], -0.5, 1.3)
    shade = _oval(mid, level - 0.03 - lift / 2, size * 1.45, size * 1.15 + lift / 2)
    _fill(canvas, place(shade), look.skin * 0.8)
    half = 0.5 * size * np.clip(move["eye"], 0.05, 1.8)
    bow = 1 - _SPAN**2
    x = mid + _SPAN * size
    top, bottom = level - 1.1 * half * bow, level + 0.8 * half * bow
    _fill(canvas, place(_band(x, top, bottom)), np.full(3, 205.0))
    iris = _oval(mid, level, size * 0.6, size * 0.6)
    # The lids cover what of the iris is outside the opening.
    at = 1 - ((iris[:, 0] - mid) / size) ** 2
    iris[:, 1] = np.clip(iris[:, 1], level - 1.1 * half * at, level + 0.8 * half * at)
    _fill(canvas, place(iris), look.iris)
    lid = np.stack([x, top], axis=1)
    _stroke(canvas, place(lid), np.full(3, 30.0), 0.03 * place.scale)
    # s runs from the inner end of the brow (0) to the outer one (1).
    s = (side * _SPAN + 1) / 2
    x = mid + 1.15 * _SPAN * size
    y = (
        level
        - look.brow_height
        - 0.07 * move["raised"]
        + 0.03 * (2 * s - 1) ** 2
        - 0.13 * move["slant"] * (0.6 - s)
    )
    thick = look.brow_thickness * (1.15 - 0.6 * s)
    _fill(
        canvas,
        place(_band(x, y - thick, y + thick)),
        np.minimum(look.hair * 0.7, look.skin * 0.45),
    )


def _draw_nose(canvas, look, place):
    tip = look.nose
    bridge = np.array([(-0.05, -0.15), (0.05, -0.15), (0.08, tip), (-0.08, tip)])
    _fill(canvas, place(bridge), look.skin * 1.08)
    _fill(canvas, place(_oval(0, tip, 0.13, 0.075)), look.skin * 0.95)
    for side in (-1, 1):
        _fill(
            canvas, place(_oval(side * 0.07, tip + 0.03, 0.035, 0.022)), look.skin * 0.5
        )


def _draw_mouth(canvas, look, place, move):
    half = look.mouth_width * np.clip(move["width"], 0.5, 1.6)
    gape = 0.26 * np.clip(move["gape"], 0, 1.2)
    level = look.mouth_height
    x = _SPAN * half
    bow = 1 - _SPAN**2
    curve = level + 0.13 * move["smile"] * (bow - 0.5)
    top, bottom = curve - 0.35 * gape * bow, curve + 0.65 * gape * bow
    lip = 0.05 * bow + 0.012
    _fill(canvas, place(_band(x, top - lip, bottom + 1.2 * lip)), look.lips)
    _fill(canvas, place(_band(x * 0.92, top, bottom)), np.array([70.0, 22.0, 26.0]))
    teeth = np.minimum(top + 0.055, bottom)
    _fill(canvas, place(_band(x * 0.85, top, teeth)), np.full(3, 235.0))
    line = np.stack([x, curve - 0.35 * gape * bow], axis=1)
    _stroke(canvas, place(line), look.lips * 0.5, 0.02 * place.scale)


def _draw_scene(width, height, rng):
    """Draw a wall with a few blurred things on it."""
    wall = rng.uniform(75, 200) + rng.normal(0, 18, 3)
    scene = np.empty((height, width, 3), dtype=np.uint8)
    scene[:] = np.clip(wall, 0, 255)
    for _ in range(rng.integers(0, 5)):
        corner = rng.uniform((-0.1, -0.1), (0.9, 0.8)) * (width, height)
        extent = rng.uniform(0.08, 0.35, 2) * (width, height)
        colour = np.clip(wall + rng.normal(0, 30, 3), 0, 255).tolist()
        start, end = np.rint(corner).astype(int), np.rint(corner + extent).astype(int)
        cv2.rectangle(scene, start.tolist(), end.tolist(), colour, -1)
    return cv2.blur(scene, (15, 15))


def _draw_light(width, height, rng):
    """Draw a slope of brightness over the picture."""
    slope = rng.uniform(-0.14, 0.14, 2)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    light = rng.uniform(0.82, 1.05) + slope[0] * x + slope[1] * y[:, None]
    return np.repeat(light[:, :, None], 3, axis=2).astype(np.float32)


def _draw_grain(width, height, rng):
    """Draw sensor noise, a little larger than the picture, to be shifted about."""
    size = rng.uniform(1.0, 3.0)
    grain = size * rng.standard_normal((height + 32, width + 32), dtype=np.float32)
    return np.repeat(np.rint(grain).astype(np.int8)[:, :, None], 3, axis=2)
