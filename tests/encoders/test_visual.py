"""VisualEncoder(model="hog"): faces and frames of a file."""

import cv2
import numpy as np
import pytest

from skmer.encoders import TextEncoder, VisualEncoder
from skmer.encoders._hog import hog, hog_length
from skmer.exceptions import MediaError
from skmer.media import FaceDetector, face_crops, read_frames, write_clip


def test_layers_are_for_models():
    for encoder in (
        VisualEncoder(layers=3),
        VisualEncoder(preset="mertools"),
        TextEncoder(layers=[1, 2]),
    ):
        with pytest.raises(ValueError, match="is for models"):
            encoder.fit(["a.mp4"])


def test_one_region_by_its_name(small_clips):
    one = VisualEncoder(regions="frame").transform(small_clips.paths[:2])
    other = VisualEncoder(regions=["frame"]).transform(small_clips.paths[:2])
    np.testing.assert_array_equal(one, other)


def test_regions_are_described_from_what_media_reads(small_clips):
    paths = small_clips.paths[:2]
    encoder = VisualEncoder(n_frames=4, cache=None)
    features = encoder.fit_transform(paths)
    width = hog_length(64)
    for path, row in zip(paths, features, strict=True):
        frames = read_frames(path, 4)
        track = face_crops(frames, detector="haar", size=64, margin=0.2)
        face = hog(track.images, 64).mean(axis=0)
        frame = hog(frames.images, 64).mean(axis=0)
        np.testing.assert_allclose(row[:width], face, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(row[width:], frame, rtol=1e-5, atol=1e-6)
    names = encoder.get_feature_names_out()
    assert names[0] == "face__0" and names[-1] == f"frame__{width - 1}"


def test_one_region_gives_the_columns_of_both(small_clips):
    paths = small_clips.paths[:2]
    both = VisualEncoder(n_frames=3, cache=None).transform(paths)
    face = VisualEncoder(regions=["face"], n_frames=3, cache=None).transform(paths)
    frame = VisualEncoder(regions=["frame"], n_frames=3, cache=None).transform(paths)
    np.testing.assert_array_equal(np.hstack([face, frame]), both)
    turned = VisualEncoder(regions=["frame", "face"], n_frames=3, cache=None)
    np.testing.assert_array_equal(turned.transform(paths), np.hstack([frame, face]))


@pytest.mark.parametrize("pooling", ["mean_std", 2, None])
def test_other_poolings(small_clips, pooling):
    encoder = VisualEncoder(n_frames=3, pooling=pooling, cache=None)
    rows = encoder.fit_transform(small_clips.paths[:2])
    assert rows.shape == (2, len(encoder.get_feature_names_out()))
    if pooling is None:
        assert rows.shape[1] == 2 and rows[0, 1].shape == (3, hog_length(64))
    else:
        assert rows.shape[1] == 4 * hog_length(64) and np.isfinite(rows).all()


def test_without_a_face_the_frame_remains(tmp_path, small_clips):
    rng = np.random.default_rng(0)
    ground = np.linspace(0, 255, 64 * 48).reshape(48, 64, 1)
    frames = np.clip(ground + rng.normal(0, 4, (5, 48, 64, 3)), 0, 255)
    path = tmp_path / "wall.mp4"
    write_clip(path, frames=frames.astype(np.uint8))
    features = VisualEncoder(n_frames=3).fit_transform([path, small_clips.paths[0]])
    width = hog_length(64)
    assert np.isnan(features[0, :width]).all()
    assert np.isfinite(features[0, width:]).all() and np.isfinite(features[1]).all()
    alone = VisualEncoder(regions=["face"], n_frames=3)
    assert np.isnan(alone.transform([path])).all()
    with pytest.raises(ValueError, match="face"):
        alone.fit_transform([path, path])


def test_sound_files_have_no_picture(tmp_path):
    path = tmp_path / "a.wav"
    write_clip(path, audio=np.zeros(4000, dtype=np.float32), rate=16000)
    assert np.isnan(VisualEncoder().transform([path])).all()


def test_faces_of_real_recordings(shared_data):
    media = shared_data / "media"
    with_face = [
        media / "pyfeat" / "single_face.mp4",
        media / "pyfeat" / "WolfgangLanger_Pexels.mp4",
        media / "fer" / "test.mp4",
    ]
    features = VisualEncoder(regions=["face"]).transform(
        [*with_face, media / "silero" / "test.wav"]
    )
    assert np.isfinite(features[:3]).all() and np.isnan(features[3]).all()


def test_detectors_can_be_chosen(shared_data, small_clips):
    model = shared_data / "face_detector" / "yunet_n_640_640.onnx"
    clip = shared_data / "media" / "pyfeat" / "single_face.mp4"
    haar = VisualEncoder(regions=["face"], n_frames=3)
    yunet = VisualEncoder(regions=["face"], n_frames=3, face_detector=model)
    one, two = haar.transform([clip]), yunet.transform([clip])
    assert np.isfinite(one).all() and np.isfinite(two).all()
    assert np.abs(one - two).max() > 0.01
    assert np.corrcoef(one[0], two[0])[0, 1] > 0.2


def test_unreadable_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing")
    with pytest.raises(MediaError, match="a.mp4"):
        VisualEncoder().transform([path])


class _Fixed(FaceDetector):
    """Find one tilted face at one place in every picture."""

    identity = "fixed"

    def _build(self):
        return None

    def _search(self, machine, image):
        eyes = [[40, 30], [60, 36], [48, 46], [40, 54], [56, 58]]
        return [[30, 20, 40, 44]], [1.0], [eyes]


# All features weighed into one number, then every twelfth part of the row.
GOLDEN = [
    *(-3.1384, 0.0049147, 0.0010555, 0.40514, 2.028e-05, 0.035278, 0.36454),
    *(0.0016504, 0.0043829, 0.35871, 0.00020131, 0.0062137, 0.12717),
]


def test_golden_values(tmp_path):
    # Other values mean other features: raise VisualEncoder._cache_version with them.
    y, x = np.mgrid[:96, :128]
    waves = np.stack([np.sin(x / 7 + y / 19), np.cos(y / 5), np.sin(x * y / 900)], -1)
    path = str(tmp_path / "waves.png")
    assert cv2.imwrite(path, (127 + 100 * waves).astype(np.uint8))
    encoder = VisualEncoder(face_detector=_Fixed(None), cache=None)
    row = encoder.transform([path])[0]
    assert VisualEncoder._cache_version == 1
    np.testing.assert_allclose(row[:: len(row) // 12], GOLDEN[1:], rtol=0, atol=2e-3)
    places = np.cos(np.arange(len(row)))
    assert row.astype(np.float64) @ places == pytest.approx(GOLDEN[0], abs=5e-3)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"regions": []}, "regions"),
        ({"regions": ["hand"]}, "hand"),
        ({"regions": ["face", "face"]}, "once"),
        ({"image_size": 60}, "multiple of 8"),
        ({"image_size": 8}, "image_size"),
        ({"model": 3}, "model"),
        ({"n_frames": 0}, "n_frames"),
    ],
)
def test_bad_parameters(small_clips, params, words):
    with pytest.raises(ValueError, match=words):
        VisualEncoder(**params).fit(small_clips.paths)


def test_an_unknown_detector_is_named(small_clips):
    with pytest.raises(ValueError, match="eagle"):
        VisualEncoder(face_detector="eagle").fit_transform(small_clips.paths[:1])
