import os

import cv2
import numpy as np
import pytest

from skmer.datasets._evidence import EMOTIONS
from skmer.datasets._expression import STYLES, act, vary
from skmer.datasets._face import Look, draw_clip

SIZE = (320, 240)


@pytest.fixture(scope="module")
def haar():
    folder = cv2.data.haarcascades
    name = os.path.join(folder, "haarcascade_frontalface_default.xml")
    return cv2.CascadeClassifier(name)


def _found(haar, frame):
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return len(haar.detectMultiScale(grey, 1.2, 3, minSize=(40, 40))) > 0


def _draw(shown, speaker, n_frames=6, key=0, size=SIZE):
    look = Look.draw(np.random.default_rng(speaker))
    rng = np.random.default_rng([speaker, key])
    return draw_clip(shown, look, n_frames, 12, size, rng)


def test_styles_cover_the_emotions():
    assert tuple(STYLES) == EMOTIONS


def test_faces_are_found_in_every_emotion(haar):
    found = {
        shown: [
            _found(haar, frame)
            for speaker in range(12)
            for frame in _draw(shown, speaker, key=key)[::3]
        ]
        for key, shown in enumerate(EMOTIONS)
    }
    assert np.mean([hit for hits in found.values() for hit in hits]) >= 0.95
    for shown, hits in found.items():
        assert np.mean(hits) >= 0.85, shown


def test_no_face_is_found_when_turned_away(haar):
    frames = [_draw(None, speaker, n_frames=1)[0] for speaker in range(24)]
    assert np.mean([_found(haar, frame) for frame in frames]) <= 0.05


def test_frames_move_and_fill_the_size():
    frames = _draw("happy", 0, size=(200, 160))
    assert frames.shape == (6, 160, 200, 3)
    assert frames.dtype == np.uint8
    assert np.abs(np.diff(frames.astype(int), axis=0)).mean() > 1


def test_same_seed_same_frames_other_clip_other_frames():
    np.testing.assert_array_equal(_draw("sad", 1), _draw("sad", 1))
    assert (_draw("sad", 1) != _draw("sad", 1, key=1)).any()


def _mean_moves(shown, speakers):
    """Mean of some moves of the face over the speakers."""
    read = []
    for speaker in speakers:
        look = Look.draw(np.random.default_rng(speaker))
        rng = np.random.default_rng([speaker, 5])
        style = vary(STYLES[shown], look.vividness, rng)
        _, moves = act(style, 12, 12, rng)
        read.append([moves[key].mean() for key in ("smile", "slant", "eye", "gape")])
    return np.mean(read, axis=0)


def test_expressions_differ_as_they_should():
    smile, slant, eye, gape = np.transpose(
        [_mean_moves(shown, range(20)) for shown in EMOTIONS]
    )
    at = {name: i for i, name in enumerate(EMOTIONS)}
    assert smile.argmax() == at["happy"]
    assert smile.argmin() == at["sad"]
    assert slant.argmin() == at["angry"]
    assert eye.argmax() == at["surprise"]
    assert gape.argmax() == at["surprise"]


def test_the_scene_beside_the_face_says_nothing():
    # The same draws behind any expression: corners hold wall, light and grain.
    corners = [_draw(shown, 3)[0, :20, :20] for shown in (*EMOTIONS, None)]
    for corner in corners[1:]:
        mean = corner.astype(float).mean()
        assert mean == pytest.approx(corners[0].astype(float).mean(), abs=0.5)
