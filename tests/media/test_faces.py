"""One face followed through a clip."""

import cv2
import numpy as np
import pytest

from skmer.media import FaceDetector, Faces, Frames, face_crops, get_face_detector

SHAPE = (180, 320)


class RedSquareDetector(FaceDetector):
    """Finds pure red squares, whose upper corners count as eyes if asked."""

    identity = "red"

    def __init__(self, landmarks=False):
        super().__init__(max_side=None)
        self.landmarks = landmarks

    def _build(self):
        return None

    def _search(self, machine, image):
        red = (image[..., 0] > 200) & (image[..., 1:].max(axis=2) < 50)
        n, _, stats, _ = cv2.connectedComponentsWithStats(red.astype(np.uint8))
        boxes, points = [], []
        for label in range(1, n):
            x, y, w, h = stats[label, :4]
            boxes.append((x, y, w, h))
            patch = image[y : y + h, x : x + w]
            blue = np.argwhere(patch[..., 2] > 20)[:, ::-1] + (x, y)
            blue = blue[np.argsort(blue[:, 0])] if len(blue) else np.zeros((2, 2))
            points.append(np.tile(blue[-1:], (5, 1)))
            points[-1][0] = blue[0]
        scores = [1.0] * len(boxes)
        return boxes, scores, points if self.landmarks else None


def picture(*squares, shape=SHAPE):
    """Draw red squares given as (centre x, centre y, side)."""
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    for x, y, side in squares:
        left, top = x - side // 2, y - side // 2
        image[top : top + side, left : left + side] = 255, 0, 0
    return image


def centres(track):
    return (track.boxes[:, 0] + track.boxes[:, 2] / 2).tolist()


def follow(*pictures, **parameters):
    return face_crops(np.stack(pictures), detector=RedSquareDetector(), **parameters)


def test_one_moving_face():
    track = follow(*[picture((60 + 20 * i, 90, 40)) for i in range(6)])
    assert centres(track) == [60, 80, 100, 120, 140, 160]
    assert track.found.tolist() == [True] * 6
    assert track.detected.tolist() == [True] * 6
    assert track.index.tolist() == list(range(6))
    assert track.images.shape == (6, 112, 112, 3)
    assert track.images.dtype == np.uint8
    assert track.times is None


def test_the_larger_of_two_is_followed_to_the_end():
    # They come near each other, and the smaller one outlives the larger.
    track = follow(
        picture((60, 90, 60), (260, 90, 40)),
        picture((90, 90, 60), (230, 90, 40)),
        picture((110, 90, 60), (200, 90, 40)),
        picture((110, 90, 60), (200, 90, 40)),
        picture((230, 90, 40)),
        picture((260, 90, 40)),
    )
    assert centres(track) == [60, 90, 110, 110]
    assert track.found.tolist() == [True, True, True, True, False, False]


def test_the_more_central_of_two_equals_is_followed():
    track = follow(*[picture((50, 40, 40), (160, 90, 40))] * 3)
    assert centres(track) == [160, 160, 160]


def test_two_that_cross_keep_their_sizes():
    track = follow(
        *[picture((60 + 30 * i, 50, 50), (260 - 30 * i, 130, 32)) for i in range(7)]
    )
    assert centres(track) == [60 + 30 * i for i in range(7)]


def test_a_stray_hit_far_away_is_not_taken():
    track = follow(
        picture((160, 90, 60)),
        picture((40, 40, 50)),
        picture((160, 90, 60)),
        max_gap=0,
    )
    assert track.index.tolist() == [0, 2]
    assert track.found.tolist() == [True, False, True]


def test_a_cut_to_another_place_is_followed_if_never_seen_together():
    parts = [picture((80, 90, 60))] * 4, [picture((250, 90, 70))] * 3
    track = follow(*parts[0], *parts[1])
    assert centres(track) == [80] * 4 + [250] * 3
    together = picture((80, 90, 60), (250, 90, 70))
    # Seen together, they are two.
    assert centres(follow(*parts[0], together, *parts[0])) == [80] * 9
    # Of another size, it is another.
    other = [picture((250, 90, 24))] * 3
    assert centres(follow(*parts[0], *other)) == [80] * 4


@pytest.mark.parametrize("max_gap", [0, 1, 2, 3])
def test_short_gaps_are_filled_between_the_neighbours(max_gap):
    track = follow(
        picture((100, 90, 40)),
        picture(),
        picture(),
        picture((130, 90, 46)),
        picture(),
        max_gap=max_gap,
    )
    if max_gap < 2:
        assert track.index.tolist() == [0, 3]
        assert track.detected.all()
        return
    assert track.index.tolist() == [0, 1, 2, 3]
    assert track.detected.tolist() == [True, False, False, True]
    assert track.found.tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(centres(track), [100, 110, 120, 130])
    np.testing.assert_allclose(track.boxes[:, 2], [40, 42, 44, 46])


def test_frames_carry_their_times():
    images = np.stack([picture(), picture((160, 90, 40)), picture((160, 90, 40))])
    frames = Frames(images, np.array([0.5, 1.5, 2.5]))
    track = face_crops(frames, detector=RedSquareDetector())
    assert track.times.tolist() == [1.5, 2.5]


def test_no_face_gives_none():
    assert follow(picture(), picture()) is None
    assert face_crops(np.zeros((0, 90, 160, 3), dtype=np.uint8)) is None


@pytest.mark.parametrize("side", [20, 40, 93, 170])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_the_crop_is_the_box_and_its_margin(side, margin):
    track = follow(picture((160, 90, side)), size=60, margin=margin)
    red = track.images[0, :, :, 1].astype(float) < 45
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    border = 60 * margin / (1 + 2 * margin)
    for line in (rows, columns):
        np.testing.assert_allclose(
            [line[0], line[-1] + 1], [border, 60 - border], atol=1.01
        )


def test_upright_crop_of_a_whole_box_is_the_picture_itself():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 40, (96, 96, 3), dtype=np.uint8)
    image[16:80, 16:80, 0] = rng.integers(210, 256, (64, 64), dtype=np.uint8)
    track = face_crops(image[None], detector=RedSquareDetector(), size=64, margin=0)
    np.testing.assert_array_equal(track.images[0], image[16:80, 16:80])


def test_reducing_averages():
    image = picture((160, 90, 128))
    image[::2, ::2, 0] = np.where(image[::2, ::2, 0] == 255, 205, image[::2, ::2, 0])
    track = follow(image, size=32, margin=0)
    # Every crop pixel is the mean of 4 x 4: a quarter of them 205.
    assert np.abs(track.images[0, 2:-2, 2:-2, 0].astype(float) - 242.5).max() <= 1.5


def test_outside_the_picture_the_edge_is_repeated():
    track = follow(picture((15, 90, 30)), size=60, margin=0.5)
    np.testing.assert_array_equal(track.images[0, 30, :8], [[255, 0, 0]] * 8)


@pytest.mark.parametrize("angle", [-30, 0, 20, 80])
def test_eyes_are_made_level(angle):
    image = picture((160, 90, 120))
    offset = 30 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    for sign in (-1, 1):
        x, y = np.round((160, 90) + sign * offset).astype(int)
        image[y - 1 : y + 2, x - 1 : x + 2, 2] = 45
    detector = RedSquareDetector(landmarks=True)
    track = face_crops(image[None], detector=detector, size=168, margin=0.2)
    crop = track.images[0, 34:-34, 34:-34]
    spots = (crop[..., 2] > 25) & (crop[..., 0] > 200)
    n, _, _, places = cv2.connectedComponentsWithStats(spots.astype(np.uint8))
    left, right = sorted(places[1:].tolist())
    left_over = np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0]))
    # No further than 45 degrees: beyond, the landmarks are wrong.
    assert n == 3
    assert left_over == pytest.approx(max(0, angle - 45), abs=2.5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 0}, "size must be a positive whole number"),
        ({"margin": -0.1}, "margin must lie between"),
        ({"max_gap": -1}, "max_gap must be a whole number"),
        ({"max_gap": 1.5}, "max_gap must be a whole number"),
    ],
)
def test_senseless_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        follow(picture(), **parameters)


def test_frames_of_another_kind():
    with pytest.raises(ValueError, match="must be Frames or a uint8 array"):
        face_crops(np.zeros((90, 160, 3), dtype=np.uint8))


def test_the_detector_is_the_one_given():
    assert face_crops(picture((160, 90, 60))[None], detector="haar") is None
    assert get_face_detector(RedSquareDetector()).identity == "red"


def test_faces_has_a_length():
    assert len(Faces(np.zeros((3, 4)), np.zeros(3))) == 3
