"""How an emotion moves the brows, eyes, mouth and head of a drawn face."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Expression:
    """How far a face departs from rest.

    Attributes
    ----------
    raised, slant : float
        Brows up (+) or down; their inner ends up (+, worry) or down (-, anger).
    eye, smile, gape, width : float
        Opening of the eyes (1 at rest), corners of the mouth up (+) or down,
        opening of the mouth (0 to 1), its width (1 at rest).
    nod, shake, tempo : float
        Swing of the head up and down and sideways in radians, in hertz.
    bow : float
        Head lowered (+) or raised, in radians.
    """

    raised: float
    slant: float
    eye: float
    smile: float
    gape: float
    width: float
    nod: float
    shake: float
    tempo: float
    bow: float


STYLES = {
    "neutral": Expression(0.0, 0.0, 1.0, 0.05, 0.05, 1.0, 0.02, 0.03, 0.6, 0.0),
    "angry": Expression(-0.6, -1.0, 0.75, -0.35, 0.3, 0.95, 0.10, 0.04, 2.2, 0.08),
    "happy": Expression(0.2, 0.1, 0.75, 1.0, 0.35, 1.3, 0.08, 0.05, 1.6, -0.06),
    "sad": Expression(-0.1, 0.8, 0.55, -0.9, 0.05, 0.85, 0.03, 0.03, 0.4, 0.14),
    "worried": Expression(0.6, 0.9, 1.15, -0.45, 0.15, 0.8, 0.02, 0.12, 1.3, 0.0),
    "surprise": Expression(0.95, 0.0, 1.35, 0.1, 0.65, 0.8, 0.03, 0.02, 0.8, -0.05),
}
# Spread of the fields of Expression from clip to clip.
_SPREAD = (0.12, 0.12, 0.08, 0.12, 0.06, 0.05, 0.01, 0.01, 0.15, 0.03)


def vary(style, vividness, rng):
    """Draw how a speaker shows a style in one clip."""
    rest = STYLES["neutral"]
    values = {}
    for (name, value), spread in zip(vars(style).items(), _SPREAD, strict=True):
        base = getattr(rest, name)
        values[name] = base + vividness * (value - base) + spread * rng.normal()
    values["tempo"] = max(values["tempo"], 0.2)
    return Expression(**values)


def _smooth_noise(n_frames, fps, hertz, rng):
    """Draw a slow wander between -1.4 and 1.4."""
    t = np.arange(n_frames) / fps
    waves = hertz * rng.uniform(0.4, 1.0, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * waves * t[:, None] + phases).mean(axis=1) * np.sqrt(2)


def idle(n_frames, fps, rng):
    """Return the pose of a head that shows nothing, frame by frame."""
    return {
        "yaw": 0.1 * rng.normal() + 0.05 * _smooth_noise(n_frames, fps, 0.8, rng),
        "pitch": 0.03 * rng.normal() + 0.02 * _smooth_noise(n_frames, fps, 0.8, rng),
        "roll": np.radians(
            np.clip(2 * rng.normal(), -4, 4)
            + 1.5 * _smooth_noise(n_frames, fps, 0.7, rng)
        ),
        "drift": 0.04
        * np.stack([_smooth_noise(n_frames, fps, 0.6, rng) for _ in range(2)], axis=1),
    }


def act(style, n_frames, fps, rng):
    """Return the pose of the head and the moves of the face, frame by frame."""
    t = np.arange(n_frames) / fps
    pose = idle(n_frames, fps, rng)
    swing = 2 * np.pi * style.tempo * t
    nod_phase, shake_phase = rng.uniform(0, 2 * np.pi, 2)
    pose["pitch"] = pose["pitch"] + style.bow + style.nod * np.sin(swing + nod_phase)
    pose["yaw"] = pose["yaw"] + style.shake * np.sin(swing + shake_phase)
    # The face comes to its expression in the first quarter of a second.
    rise = np.clip(0.75 + t, 0, 1) * (1 + 0.08 * _smooth_noise(n_frames, fps, 1.5, rng))
    # The mouth talks at a rate of its own: following the drawn voice, it would
    # carry the voice's evidence into the picture.
    talk = np.abs(np.sin(np.pi * rng.uniform(3.0, 4.5) * t + rng.uniform(0, np.pi)))
    blink = 1 - 0.9 * np.exp(-(((t - rng.uniform(0, 3.0)) / 0.06) ** 2))
    moves = {
        "raised": style.raised * rise,
        "slant": style.slant * rise,
        "eye": np.clip(1 + (style.eye - 1) * rise, 0.25, 1.8) * blink,
        "smile": style.smile * rise,
        "gape": np.clip(style.gape * rise, 0, 1.1) + 0.16 * talk,
        "width": 1 + (style.width - 1) * rise,
    }
    return pose, moves
