"""Face detectors: one interface, the same result anywhere."""

import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from huggingface_hub import constants

from skmer.datasets import make_clips
from skmer.exceptions import MissingDependencyError
from skmer.media import (
    DlibDetector,
    HaarDetector,
    YuNetDetector,
    get_face_detector,
    read_frames,
)

MODEL = "face_detector/yunet_n_640_640.onnx"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Pictures of drawn faces, a few of each of six clips."""
    folder = tmp_path_factory.mktemp("drawn")
    clips = make_clips(6, folder, random_state=0).data["video"].dropna()
    found = [read_frames(path, 3) for path in clips]
    return np.concatenate([frames.images for frames in found if frames is not None])


@pytest.fixture(params=["haar", "dlib", "yunet"])
def detector(request):
    if request.param == "dlib":
        pytest.importorskip("dlib", reason="dlib is an optional package")
    if request.param == "yunet":
        return get_face_detector(request.getfixturevalue("shared_data") / MODEL)
    return get_face_detector(request.param)


def test_drawn_faces_are_found(drawn):
    found = [len(HaarDetector().detect(image)) for image in drawn]
    assert np.mean(np.array(found) > 0) >= 0.95


def test_shapes_and_order(drawn, detector):
    for image in drawn:
        faces = detector.detect(image)
        n_faces = len(faces)
        assert faces.boxes.shape == (n_faces, 4)
        assert faces.scores.shape == (n_faces,)
        assert faces.boxes.dtype == faces.scores.dtype == np.float32
        assert (np.diff(faces.scores) <= 0).all()
        if isinstance(detector, YuNetDetector):
            assert faces.landmarks.shape == (n_faces, 5, 2)
            left, right, nose = faces.landmarks[:, :3].transpose(1, 0, 2)
            assert (left[:, 0] < right[:, 0]).all()
            assert (nose[:, 1] > np.minimum(left[:, 1], right[:, 1])).all()
        else:
            assert faces.landmarks is None


def test_no_face_in_noise(detector):
    noise = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    faces = detector.detect(noise)
    assert len(faces) == 0
    assert faces.boxes.shape == (0, 4)


def test_boxes_scale_with_the_picture(drawn, detector):
    image = drawn[0]
    twice = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    small, large = detector.detect(image), detector.detect(twice)
    np.testing.assert_allclose(
        large.boxes[0] / 4, small.boxes[0], atol=0.2 * small.boxes[0, 2]
    )


def test_same_in_threads_and_after_a_pickle(drawn, detector):
    threads_before = cv2.getNumThreads()
    expected = [detector.detect(image).boxes for image in drawn[::3]]
    copy = pickle.loads(pickle.dumps(detector))
    assert copy.identity == detector.identity
    results = [[] for _ in range(3)]

    def search(which):
        for image in drawn[::3]:
            results[which].append(copy.detect(image).boxes)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for boxes in results:
        for one, other in zip(boxes, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert cv2.getNumThreads() == threads_before


def test_random_state_of_opencv_is_left_alone(drawn):
    cv2.setRNGSeed(3)
    expected = cv2.randu(np.zeros(5), 0, 1)
    cv2.setRNGSeed(3)
    HaarDetector().detect(drawn[0])
    np.testing.assert_array_equal(cv2.randu(np.zeros(5), 0, 1), expected)


def test_threads_of_opencv_are_put_back_after_an_error():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        bad = YuNetDetector(__file__)
        with pytest.raises(ValueError, match="no YuNet face detection model"):
            bad.detect(np.zeros((64, 64, 3), dtype=np.uint8))
        assert cv2.getNumThreads() == 2
        HaarDetector().detect(np.zeros((64, 64, 3), dtype=np.uint8))
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_identity_tells_settings_apart(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"a")
    (tmp_path / "b.onnx").write_bytes(b"b")
    detectors = [
        HaarDetector(),
        HaarDetector(max_side=480),
        HaarDetector(min_face=0.2),
        HaarDetector(scale_factor=1.1),
        HaarDetector(min_neighbors=4),
        DlibDetector(),
        DlibDetector(max_side=640),
        DlibDetector(threshold=0.1),
        YuNetDetector(),
        YuNetDetector(tmp_path / "a.onnx"),
        YuNetDetector(tmp_path / "b.onnx"),
        YuNetDetector(tmp_path / "a.onnx", threshold=0.8),
    ]
    assert len({detector.identity for detector in detectors}) == len(detectors)
    assert HaarDetector().identity == get_face_detector("auto").identity
    # A model replaced under the same name is another model.
    before = YuNetDetector(tmp_path / "a.onnx").identity
    (tmp_path / "a.onnx").write_bytes(b"another")
    assert YuNetDetector(tmp_path / "a.onnx").identity != before


def test_names_and_paths(tmp_path):
    assert isinstance(get_face_detector("auto"), HaarDetector)
    assert isinstance(get_face_detector("haar"), HaarDetector)
    assert isinstance(get_face_detector("dlib"), DlibDetector)
    assert isinstance(get_face_detector("yunet"), YuNetDetector)
    assert isinstance(get_face_detector(tmp_path / "a.onnx"), YuNetDetector)
    detector = HaarDetector()
    assert get_face_detector(detector) is detector
    assert get_face_detector("haar") is get_face_detector("auto")
    for wrong in ("mtcnn", None, 3):
        with pytest.raises(ValueError, match='must be one of "auto", "haar"'):
            get_face_detector(wrong)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
    ],
)
def test_pictures_of_another_kind(image):
    with pytest.raises(ValueError, match="must be a uint8 array of shape"):
        HaarDetector().detect(image)


@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 400), (400, 5), (24, 24), (65, 33), (90, 60)]
)
def test_tiny_pictures(detector, shape):
    assert len(detector.detect(np.full((*shape, 3), 128, dtype=np.uint8))) == 0


def test_missing_model_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no face detection model at"):
        YuNetDetector(tmp_path / "gone.onnx").detect(np.zeros((64, 64, 3), np.uint8))


def test_missing_dlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"skmer\[face\]\""):
        DlibDetector().detect(np.zeros((64, 64, 3), np.uint8))


def test_hub_model_is_taken_from_the_hub_cache(tmp_path, shared_data, drawn):
    from skmer.media._face_models import YUNET

    folder = tmp_path / "models--opencv--face_detection_yunet" / "snapshots"
    folder = folder / YUNET["revision"]
    folder.mkdir(parents=True)
    shutil.copy(shared_data / MODEL, folder / YUNET["filename"])
    code = (
        "import sys, numpy as np; from skmer.media import get_face_detector;"
        "print(len(get_face_detector('yunet').detect(np.load(sys.argv[1]))))"
    )
    np.save(tmp_path / "image.npy", drawn[0])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "image.npy")],
        env={
            "HF_HUB_CACHE": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": ":".join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("hub", ["offline", "silent", "refusing"])
def test_hub_out_of_reach(tmp_path, monkeypatch, hub):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", hub == "offline")
    monkeypatch.setattr("skmer.media._face_models._hub_cache", lambda: str(tmp_path))
    monkeypatch.setattr("skmer.media._face_models.HUB_TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if hub == "refusing":
            server.close()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(MissingDependencyError, match=r"give its path as the det"):
            get_face_detector("yunet").detect(np.zeros((64, 64, 3), np.uint8))
    assert time.monotonic() - began < 10
