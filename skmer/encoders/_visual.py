"""Pictures of a clip to features: the face, the whole frame, or both."""

from numbers import Integral, Real
from os import PathLike

from skmer.cache import Record
from skmer.clips import ClipEncoder
from skmer.encoders._hog import hog, hog_length
from skmer.encoders._pooling import POOLING, pool, pooled_names
from skmer.exceptions import MediaError
from skmer.media import face_crops, get_face_detector, read_frames
from skmer.utils._sklearn import HasMethods, Interval, StrOptions

_REGIONS = ("face", "frame")


class VisualEncoder(ClipEncoder):
    """Encode the pictures of clips, the face and the whole frame apart.

    Parameters
    ----------
    model : {"hog"}, default="hog"
        ``"hog"``: histograms of oriented gradients (Dalal and Triggs, 2005),
        nothing to download and nothing learned.
    regions : sequence of {"face", "frame"}, default=("face", "frame")
        What is described: the aligned crop of the face that is followed through
        the clip, the whole frame, or both from one decoding. Each is a stream of
        its own, ``face__...`` and ``frame__...``.
    n_frames : int, default=8
        Frames taken from a clip, evenly spaced in time.
    pooling : {"mean", "mean_std"}, int or None, default="mean"
        How frames become one vector: mean, mean and standard deviation, means over
        that many equal parts of the clip, or, for None, not at all (sequences).
    image_size : int, default=64
        Side of the square that crops and frames are resized to, pixels; a multiple
        of 8, at least 16.
    face_detector : str, path or FaceDetector, default="haar"
        ``"haar"`` (OpenCV, always there), ``"yunet"`` (also finds small and turned
        faces; its model comes from the hub), ``"dlib"``, or the path of a YuNet
        model file (``.onnx``); see :func:`skmer.media.get_face_detector`.
    face_margin : float, default=0.2
        How much wider than the detected face the crop is, as a share of its side.
    max_seconds : float, default=600.0
        A longer clip is an error.
    n_jobs : int or None, default=None
        Worker processes. None is one unless a joblib context says otherwise.
    batch_size : int or "auto", default="auto"
        Clips that one task encodes and that are stored together.
    cache : "default", path or None, default="default"
        Folder of the feature cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be read: an error naming it, or a row of
        NaN and one warning. With ``"nan"``, X without any picture is a warning too.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    skmer.media.read_frames : Takes the frames.
    skmer.media.face_crops : Finds and follows the face.

    Notes
    -----
    A clip without a picture gives a row of NaN; one in which no frame shows a face
    gives NaN in the columns of ``face``. Frames without a face are left out of the
    face's mean.

    References
    ----------
    N. Dalal and B. Triggs (2005). Histograms of oriented gradients for human
    detection. CVPR.

    Examples
    --------
    >>> from skmer.encoders import VisualEncoder
    >>> encoder = VisualEncoder(regions=["face"])
    >>> len(encoder.get_feature_names_out())
    1764
    """

    _column = "video"
    _cache_version = 1
    _parameter_constraints: dict = {
        "model": [StrOptions({"hog"})],
        "regions": ["array-like"],
        "n_frames": [Interval(Integral, 1, None, closed="left")],
        "pooling": POOLING,
        "image_size": [Interval(Integral, 16, 1024, closed="both")],
        "face_detector": [str, PathLike, HasMethods("detect")],
        "face_margin": [Interval(Real, 0, 2, closed="both")],
        "max_seconds": [Interval(Real, 0, None, closed="neither")],
        **ClipEncoder._parameter_constraints,
    }

    def __init__(
        self,
        model="hog",
        *,
        regions=("face", "frame"),
        n_frames=8,
        pooling="mean",
        image_size=64,
        face_detector="haar",
        face_margin=0.2,
        max_seconds=600.0,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.model = model
        self.regions = regions
        self.n_frames = n_frames
        self.pooling = pooling
        self.image_size = image_size
        self.face_detector = face_detector
        self.face_margin = face_margin
        self.max_seconds = max_seconds
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _validate_params(self):
        super()._validate_params()
        regions = list(self.regions)
        if (
            not regions
            or not set(regions) <= set(_REGIONS)
            or len(set(regions)) < len(regions)
        ):
            raise ValueError(
                "The 'regions' parameter of VisualEncoder must hold 'face', 'frame' "
                f"or both, each once. Got {self.regions!r} instead."
            )
        if self.image_size % 8:
            raise ValueError(
                "The 'image_size' parameter of VisualEncoder must be a multiple of "
                f"8. Got {self.image_size} instead."
            )

    def _feature_names(self):
        values = [str(i) for i in range(hog_length(self.image_size))]
        return [
            f"{region}__{name}"
            for region in self.regions
            for name in pooled_names(values, self.pooling)
        ]

    def _sequence_columns(self):
        return list(self.regions) if self.pooling is None else None

    def _key_params(self):
        params = super()._key_params()
        params["regions"] = list(self.regions)
        params["face_detector"] = get_face_detector(self.face_detector).identity
        return params

    def _parts(self):
        width = len(self._feature_names()) // len(self.regions)
        return {
            region: slice(i * width, (i + 1) * width)
            for i, region in enumerate(self.regions)
        }

    def _encode(self, cells):
        return [self._encode_one(path) for path in cells]

    def _encode_one(self, path):
        try:
            frames = read_frames(path, self.n_frames, max_seconds=self.max_seconds)
            if frames is None:
                return Record("missing")
            arrays = {}
            for region in self.regions:
                images = self._images(frames, region)
                if images is not None:
                    features = hog(images, self.image_size)
                    arrays[region] = pool(features, self.pooling)
        except (MediaError, MemoryError, TimeoutError) as error:
            return error
        return Record("ok", arrays) if arrays else Record("missing")

    def _images(self, frames, region):
        if region == "frame":
            return frames.images
        track = face_crops(
            frames,
            detector=self.face_detector,
            size=self.image_size,
            margin=self.face_margin,
        )
        return None if track is None else track.images
