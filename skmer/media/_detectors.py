"""Face detectors behind one small interface."""

import os
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from skmer.exceptions import MissingDependencyError
from skmer.media._face_models import YUNET_SHA256, sha256, yunet_from_hub
from skmer.utils import import_optional


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces found in one picture, the surest first.

    Parameters
    ----------
    boxes : ndarray of shape (n_faces, 4), dtype float32
        ``x, y, width, height`` in pixels of the picture; may reach over its edge.
    scores : ndarray of shape (n_faces,), dtype float32
        The detector's certainty; comparable within one detector only.
    landmarks : ndarray of shape (n_faces, 5, 2), dtype float32, or None
        Eye on the left of the picture, eye on the right, tip of the nose, corner
        of the mouth on the left, on the right, as ``x, y``; None if the detector
        finds none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray | None = None

    def __len__(self):
        return len(self.boxes)


class FaceDetector(ABC):
    """A way to find faces in a picture.

    Parameters
    ----------
    max_side : int or None
        Pictures are reduced to this longer side, pixels, before the search.

    Notes
    -----
    The same picture gives the same faces, in any thread or process. The machinery
    behind is built at the first call, once a thread, and never pickled.
    """

    def __init__(self, max_side):
        self.max_side = max_side
        self._machines = threading.local()

    @property
    @abstractmethod
    def identity(self):
        """str: what the result depends on, for the key of a cache."""

    @abstractmethod
    def _build(self):
        """Return the machinery that searches."""

    @abstractmethod
    def _search(self, machine, image):
        """Return boxes, scores and landmarks (or None) in one RGB picture."""

    def detect(self, image):
        """Find the faces in a picture.

        Parameters
        ----------
        image : ndarray of shape (height, width, 3), dtype uint8
            RGB.

        Returns
        -------
        faces : Faces
        """
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                "A picture must be a uint8 array of shape (height, width, 3). Got "
                f"{image.dtype} of shape {image.shape}."
            )
        # A forked process inherits the attribute but not the threads behind it.
        if getattr(self._machines, "process", None) != os.getpid():
            self._machines.machine = self._build()
            self._machines.process = os.getpid()
        height, width = image.shape[:2]
        scale = 1.0
        if self.max_side is not None and max(height, width) > self.max_side:
            scale = self.max_side / max(height, width)
        with one_cv2_thread():
            if scale < 1:
                size = max(1, round(width * scale)), max(1, round(height * scale))
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            boxes, scores, landmarks = self._search(
                self._machines.machine, np.ascontiguousarray(image)
            )
        ratio = np.array([width / image.shape[1], height / image.shape[0]])
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * np.tile(ratio, 2)
        scores = np.asarray(scores, dtype=np.float64).reshape(-1)
        # The threads of a search finish in any order: sort by what they found.
        order = np.lexsort((*boxes.T[::-1], -scores))
        if landmarks is not None:
            landmarks = np.asarray(landmarks, dtype=np.float64).reshape(-1, 5, 2)
            landmarks = (landmarks * ratio)[order].astype(np.float32)
        return Faces(
            boxes[order].astype(np.float32),
            scores[order].astype(np.float32),
            landmarks,
        )

    def __getstate__(self):
        state = self.__dict__.copy()
        del state["_machines"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._machines = threading.local()


class HaarDetector(FaceDetector):
    """Boosted Haar cascade for upright frontal faces; ships with OpenCV.

    Parameters
    ----------
    max_side : int, default=320
        Longer side, pixels, at which the search runs.
    min_face : float, default=0.08
        Smallest face searched for, as a part of the shorter side.
    scale_factor : float, default=1.2
        Ratio of successive face sizes searched for.
    min_neighbors : int, default=3
        How many windows must agree on a face. A face's score is their number.

    References
    ----------
    .. [1] P. Viola and M. Jones, "Rapid object detection using a boosted cascade
       of simple features", CVPR 2001.
    """

    def __init__(
        self, *, max_side=320, min_face=0.08, scale_factor=1.2, min_neighbors=3
    ):
        super().__init__(max_side)
        self.min_face = min_face
        self.scale_factor = scale_factor
        self.min_neighbors = min_neighbors

    @property
    def identity(self):
        """str: what the result depends on, for the key of a cache."""
        return (
            f"haar:{self.max_side}:{self.min_face}:{self.scale_factor}:"
            f"{self.min_neighbors}"
        )

    def _build(self):
        folder = Path(cv2.data.haarcascades)
        machine = cv2.CascadeClassifier(
            str(folder / "haarcascade_frontalface_default.xml")
        )
        if machine.empty():
            raise MissingDependencyError(
                f"The Haar cascades are not in {folder}. Run: pip install "
                '"opencv-python-headless>=4.12,<5"'
            )
        return machine

    def _search(self, machine, image):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        least = max(24, round(self.min_face * min(gray.shape)))
        boxes, counts = machine.detectMultiScale2(
            gray,
            scaleFactor=self.scale_factor,
            minNeighbors=self.min_neighbors,
            minSize=(least, least),
        )
        return boxes, counts, None


class YuNetDetector(FaceDetector):
    """YuNet, a small convolutional network that also finds five landmarks.

    Parameters
    ----------
    model : str or PathLike or None, default=None
        The network's ``.onnx`` file. None: the one that OpenCV publishes on the
        Hugging Face hub, downloaded once.
    max_side : int, default=480
        Longer side, pixels, at which the search runs.
    threshold : float, default=0.7
        Least score of a face, 0 to 1.

    References
    ----------
    .. [1] W. Wu, H. Peng and S. Yu, "YuNet: a tiny millisecond-level face
       detector", Machine Intelligence Research 20 (2023).
    """

    def __init__(self, model=None, *, max_side=480, threshold=0.7):
        super().__init__(max_side)
        self.model = None if model is None else os.fspath(model)
        self.threshold = threshold

    @property
    def identity(self):
        """str: what the result depends on, for the key of a cache."""
        digest = YUNET_SHA256 if self.model is None else sha256(self._file())
        return f"yunet:{digest}:{self.max_side}:{self.threshold}"

    def _file(self):
        path = Path(self.model if self.model is not None else yunet_from_hub())
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no face detection model at {path}. Give the path of a "
                "YuNet .onnx file."
            )
        return path

    def _build(self):
        path = self._file()
        try:
            return cv2.FaceDetectorYN.create(
                str(path), "", (320, 320), self.threshold, 0.3, 5000
            )
        except cv2.error as error:
            raise ValueError(
                f"{path} is no YuNet face detection model: {error.err or error}"
            ) from error

    def _search(self, machine, image):
        # The network halves the picture five times: OpenCV pads other sizes itself,
        # but reads unset memory where a picture is smaller than two such cells.
        height, width = (max(64, -(-side // 32) * 32) for side in image.shape[:2])
        padded = np.zeros((height, width, 3), dtype=np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image[..., ::-1]
        machine.setInputSize((width, height))
        try:
            _, found = machine.detect(padded)
        except cv2.error as error:
            raise ValueError(
                f"{self.model} is no YuNet face detection model: {error.err or error}"
            ) from error
        if found is None:
            found = np.zeros((0, 15), dtype=np.float32)
        return found[:, :4], found[:, 14], found[:, 4:14]


class DlibDetector(FaceDetector):
    """Histogram-of-gradients detector of dlib; bears tilted heads.

    Needs the optional package dlib.

    Parameters
    ----------
    max_side : int, default=480
        Longer side, pixels, at which the search runs. Faces under 80 pixels
        there are not found.
    threshold : float, default=0.0
        Least score (distance from the decision plane) of a face.

    References
    ----------
    .. [1] D. E. King, "Max-margin object detection", arXiv:1502.00046 (2015).
    """

    def __init__(self, *, max_side=480, threshold=0.0):
        super().__init__(max_side)
        self.threshold = threshold

    @property
    def identity(self):
        """str: what the result depends on, for the key of a cache."""
        return f"dlib:{self.max_side}:{self.threshold}"

    def _build(self):
        dlib = import_optional("dlib", 'The face detector "dlib"')
        return dlib.get_frontal_face_detector()

    def _search(self, machine, image):
        found, scores, _ = machine.run(image, 0, self.threshold)
        boxes = [(r.left(), r.top(), r.width(), r.height()) for r in found]
        return boxes, list(scores), None


_BY_NAME = {
    "auto": HaarDetector,
    "haar": HaarDetector,
    "yunet": YuNetDetector,
    "dlib": DlibDetector,
}


def get_face_detector(detector="auto"):
    """Return a face detector.

    Parameters
    ----------
    detector : {"auto", "haar", "yunet", "dlib"}, path or FaceDetector, \
            default="auto"
        - ``"haar"``: OpenCV's cascade for upright frontal faces, always there;
        - ``"yunet"``: a small network from the Hugging Face hub that also finds
          turned and tilted faces, and landmarks;
        - ``"dlib"``: dlib's detector, an optional package;
        - ``"auto"``: ``"haar"``;
        - a path that ends in ``.onnx``: YuNet from that file;
        - a FaceDetector: itself.

    Returns
    -------
    detector : FaceDetector
        With ``detect(image) -> Faces`` and ``identity``, a string for cache keys.
        The same one for the same name: build your own to change its settings.

    Raises
    ------
    ValueError
        If the name is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from skmer.media import get_face_detector
    >>> faces = get_face_detector("haar").detect(np.zeros((90, 160, 3), np.uint8))
    >>> len(faces)
    0
    """
    if isinstance(detector, FaceDetector):
        return detector
    if isinstance(detector, str) and detector in _BY_NAME:
        return _shared(_BY_NAME[detector])
    if isinstance(detector, (str, os.PathLike)) and Path(detector).suffix == ".onnx":
        path = os.fspath(detector)
        # A file replaced by another makes another detector.
        digest = sha256(path) if os.path.isfile(path) else None
        return _shared(YuNetDetector, path, digest)
    names = ", ".join(f'"{name}"' for name in _BY_NAME)
    raise ValueError(
        f"The face detector must be one of {names}, the path of an .onnx file or a "
        f"FaceDetector. Got {detector!r}."
    )


@lru_cache(maxsize=8)
def _shared(kind, path=None, digest=None):
    """Return one detector a kind and model, so that each is built once a thread."""
    return kind() if path is None else kind(path)


_threads_lock = threading.Lock()
_threads_users = 0
_threads_before = 1


@contextmanager
def one_cv2_thread():
    """Run OpenCV on one thread for a while, then put its setting back.

    The setting is global: the first user in remembers it, the last out restores it.
    """
    global _threads_users, _threads_before
    with _threads_lock:
        if _threads_users == 0:
            _threads_before = cv2.getNumThreads()
            if _threads_before != 1:
                cv2.setNumThreads(1)
        _threads_users += 1
    try:
        yield
    finally:
        with _threads_lock:
            _threads_users -= 1
            if _threads_users == 0 and _threads_before != 1:
                cv2.setNumThreads(_threads_before)
