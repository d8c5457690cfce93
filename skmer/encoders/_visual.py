"""Pictures of a clip to features: the face, the whole frame, or both."""

from numbers import Integral, Real
from os import PathLike

import numpy as np

from skmer.cache import Record
from skmer.encoders._hog import hog, hog_length
from skmer.encoders._image_preprocessing import ImagePreprocessing
from skmer.encoders._image_states import ImageJob, ImageModel
from skmer.encoders._layers import (
    CACHE_LAYERS,
    LAYER_POOLING,
    LAYERS,
    combine,
    depth_needed,
    holds,
    layered_names,
    n_pooled,
    resolve_layers,
)
from skmer.encoders._pictures import REGIONS, PictureReader
from skmer.encoders._pooling import POOLING, pool, pooled_names
from skmer.encoders._pretrained import PretrainedEncoder
from skmer.media import get_face_detector
from skmer.utils._sklearn import HasMethods, Interval, StrOptions

# Parameters of "hog" that decide what it gives.
_HOG_KEY = (
    "model",
    "regions",
    "n_frames",
    "pooling",
    "image_size",
    "face_detector",
    "face_margin",
    "max_seconds",
)


class VisualEncoder(PretrainedEncoder):
    """Encode the pictures of clips, the face and the whole frame apart.

    Parameters
    ----------
    model : "hog", str or path, default="hog"
        ``"hog"``: histograms of oriented gradients (Dalal and Triggs, 2005),
        nothing to download and nothing learned.

        Anything else is an image model of transformers: a folder made by
        ``save_pretrained``, or the id of a model on the hub, such as
        ``"openai/clip-vit-large-patch14"``. CLIP, SigLIP, DINOv2 (also with
        registers) and ViT are supported. What the hub's local cache holds is used
        without asking the network.
    regions : {"face", "frame"}, sequence of these, or None, default=None
        What is described: the aligned crop of the face that is followed through
        the clip, the whole frame, or both from one decoding. Each is a stream of
        its own, ``face__...`` and ``frame__...``. None: both, and with a preset what
        the preset has.
    n_frames : int or None, default=8
        Frames taken from a clip, evenly spaced in time. None takes every frame,
        all of which are in memory at once.
    pooling : {"mean", "mean_std"}, int or None, default="mean"
        How frames become one vector: mean, mean and standard deviation, means over
        that many equal parts of the clip, or, for None, not at all (sequences).
    image_size : int, default=64
        For ``"hog"``: side of the square that crops and frames are resized to,
        pixels; a multiple of 8, at least 16. Models come with a size of their own.
    face_detector : str, path or FaceDetector, default="haar"
        ``"haar"`` (OpenCV, always there), ``"yunet"`` (also finds small and turned
        faces; its model comes from the hub), ``"dlib"``, or the path of a YuNet
        model file (``.onnx``); see :func:`skmer.media.get_face_detector`.
    face_margin : float, default=0.2
        How much wider than the detected face the crop is, as a share of its side.
    layers : "embedding", int, "last", "all" or sequence of int and "last", \
default="embedding"
        Of models. ``"embedding"`` is the model's own vector of an image: that of
        CLIP projected into the space it shares with text, the pooled output of
        SigLIP, the class token of the last hidden state of DINOv2 and ViT.

        Otherwise transformer blocks counted from 1, which is the index into
        transformers' ``hidden_states``, averaged over the patches of an image
        without class token and registers; 0 is the input of the first block, -1 the
        last block, ``"all"`` all blocks from 1 on. Layer i is the raw output of
        block i, ``"last"`` is ``last_hidden_state``, which SigLIP, DINOv2 and ViT
        normalise.
    layer_pooling : {"mean", "sum", "concat"}, default="mean"
        How several layers become one vector.
    preset : {"mertools"} or None, default=None
        ``"mertools"`` takes the place of ``n_frames`` and ``layers`` by those of the
        MERTools baselines: embeddings of every frame. These are of faces unless
        ``regions`` names others.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    device : str or list of str, default="auto"
        Of models: ``"cpu"``, ``"cuda"``, ``"cuda:1"``...; ``"auto"`` is
        ``skmer.get_config()["device"]``, by default a GPU if there is one. A list,
        such as ``["cuda:0", "cuda:1"]``, runs the model on each.
    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format a model runs in; ``"auto"`` is
        ``skmer.get_config()["dtype"]``, by default float16 on a GPU and float32
        elsewhere. Features are float32.
    cache_layers : {"asked", "all"}, default="asked"
        Unless embeddings are asked for, the cache holds all layers that were
        computed, one record a clip whatever ``layers`` and ``layer_pooling`` are.
        ``"asked"`` stops the model at the highest layer asked for; a later call
        that asks for a higher one computes the clip again. ``"all"`` runs to the
        end once: for searches over layers.
    trust_remote_code : bool, default=False
        Run Python files that come with the model.
    attn_implementation : str or None, default=None
        As for ``from_pretrained``; None leaves it to transformers, which takes SDPA
        where the model has it.
    compile : bool, default=False
        Compile the blocks of the model by ``torch.compile``; worth its minute where
        many thousand clips follow.
    max_seconds : float, default=600.0
        A longer clip is an error.
    max_pixels : int or None, default=33177600
        A clip with larger pictures is an error; the default is 8K video.
    max_bytes : int or None, default=4294967296
        A clip whose pictures, those that are taken, need more memory is an error.
        The limits for pixels, bytes and decoding may be None, for none; what they
        refuse is not remembered.
    max_decode_seconds : float or None, default=300.0
        A clip that takes longer to decode is an error: processor time, or any one
        wait for the file system.
    n_jobs : int or None, default=None
        With ``"hog"`` or on the CPU, worker processes, each with a model of its
        own; None is one unless a joblib context says otherwise. On other devices,
        and for a list of them, the processes that read clips ahead of the model;
        None is then one a core. With dask or Ray, workers do both.
    batch_size : int or "auto", default="auto"
        Runs of up to eight pictures of a clip that go through a model at once; with
        ``"hog"`` or on the CPU also the clips of a task. ``"auto"``: 256 pictures on
        a GPU, fewer after memory has run out, and one run on the CPU; four clips a
        task.
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

    Pictures are prepared as the model's image processor of transformers (its Pillow
    kind) would, resized to the same bytes. Crops of
    faces are made in the size that the processor resizes to.

    A model is loaded at the first use and shared by all encoders of the process; an
    encoder pickles as its parameters alone. Weights are read from safetensors, or
    from a pickle with ``weights_only=True`` and a notice. The cache knows a hub
    model by its commit and a folder by the digest of its files.

    References
    ----------
    N. Dalal and B. Triggs (2005). Histograms of oriented gradients for human
    detection. CVPR.

    A. Radford et al. (2021). Learning transferable visual models from natural
    language supervision. ICML.

    X. Zhai, B. Mustafa, A. Kolesnikov and L. Beyer (2023). Sigmoid loss for language
    image pre-training. ICCV.

    M. Oquab et al. (2024). DINOv2: learning robust visual features without
    supervision. TMLR.

    A. Dosovitskiy et al. (2021). An image is worth 16x16 words: transformers for
    image recognition at scale. ICLR.

    Z. Lian et al. (2024). MERBench: a unified evaluation benchmark for multimodal
    emotion recognition. arXiv:2401.03429.

    Examples
    --------
    >>> from skmer.encoders import VisualEncoder
    >>> encoder = VisualEncoder(regions=["face"])
    >>> len(encoder.get_feature_names_out())
    1764

    >>> encoder = VisualEncoder("openai/clip-vit-large-patch14", n_frames=16)
    >>> features = encoder.fit_transform(clips)  # doctest: +SKIP
    """

    _column = "video"
    _built_in = "hog"
    _cache_version = 1
    _parameter_constraints: dict = {
        "model": [str, PathLike],
        "regions": ["array-like", StrOptions(set(REGIONS)), None],
        "n_frames": [Interval(Integral, 1, None, closed="left"), None],
        "pooling": POOLING,
        "image_size": [Interval(Integral, 16, 1024, closed="both")],
        "face_detector": [str, PathLike, HasMethods("detect")],
        "face_margin": [Interval(Real, 0, 2, closed="both")],
        "layers": [*LAYERS, StrOptions({"embedding"})],
        "layer_pooling": LAYER_POOLING,
        "preset": [StrOptions({"mertools"}), None],
        "cache_layers": CACHE_LAYERS,
        "max_seconds": [Interval(Real, 0, None, closed="neither")],
        "max_pixels": [Interval(Integral, 1, None, closed="left"), None],
        "max_bytes": [Interval(Integral, 1, None, closed="left"), None],
        "max_decode_seconds": [Interval(Real, 0, None, closed="neither"), None],
        **PretrainedEncoder._parameter_constraints,
    }

    def __init__(
        self,
        model="hog",
        *,
        regions=None,
        n_frames=8,
        pooling="mean",
        image_size=64,
        face_detector="haar",
        face_margin=0.2,
        layers="embedding",
        layer_pooling="mean",
        preset=None,
        revision=None,
        device="auto",
        dtype="auto",
        cache_layers="asked",
        trust_remote_code=False,
        attn_implementation=None,
        compile=False,
        max_seconds=600.0,
        max_pixels=7680 * 4320,
        max_bytes=4 * 2**30,
        max_decode_seconds=300.0,
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
        self.layers = layers
        self.layer_pooling = layer_pooling
        self.preset = preset
        self.revision = revision
        self.device = device
        self.dtype = dtype
        self.cache_layers = cache_layers
        self.trust_remote_code = trust_remote_code
        self.attn_implementation = attn_implementation
        self.compile = compile
        self.max_seconds = max_seconds
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self.max_decode_seconds = max_decode_seconds
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _validate_params(self):
        super()._validate_params()
        regions = self._streams
        if (
            not regions
            or not set(regions) <= set(REGIONS)
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

    @property
    def _is_mertools(self):
        return self.preset == "mertools" and not self._is_built_in

    @property
    def _streams(self):
        given = self.regions
        if given is None:
            return ["face"] if self._is_mertools else list(REGIONS)
        return [given] if isinstance(given, str) else list(given)

    @property
    def _embeds(self):
        """Whether a record holds vectors ready to use, and not layers of them."""
        layers = self.layers
        asked = isinstance(layers, str) and layers == "embedding"
        return self._is_built_in or self._is_mertools or asked

    def _image_model(self):
        return ImageModel(self.model, self._config())

    def _states(self):
        return resolve_layers(self.layers, self._image_model().n_layers)

    def _feature_names(self):
        if self.pooling is None:
            names = ["frames"]
        elif not self._embeds:
            width = self._image_model().width
            names = layered_names(
                width, self._states(), self.layer_pooling, self.pooling
            )
        else:
            if self._is_built_in:
                width = hog_length(self.image_size)
            else:
                width = self._image_model().embedding_width
            names = pooled_names([str(i) for i in range(width)], self.pooling)
        return [f"{region}__{name}" for region in self._streams for name in names]

    def _sequence_columns(self):
        return self._streams if self.pooling is None else None

    def _key_params(self):
        if self._is_built_in:
            key = {name: getattr(self, name) for name in _HOG_KEY}
        else:
            key = self._model_key()
            for name in ("pooling", "face_margin", "max_seconds"):
                key[name] = getattr(self, name)
            key["n_frames"] = None if self._is_mertools else self.n_frames
            key["layers"] = "embedding" if self._embeds else "states"
            if self.pooling is None and not self._embeds:
                # Sequences of all layers would be too large to keep.
                key["layers"] = self._states()
                key["layer_pooling"] = self.layer_pooling
        key["regions"] = self._streams
        key["face_detector"] = get_face_detector(self.face_detector).identity
        return key

    def _parts(self):
        width = len(self._feature_names()) // len(self._streams)
        return {
            region: slice(i * width, (i + 1) * width)
            for i, region in enumerate(self._streams)
        }

    @property
    def _reduce(self):
        return None if self._embeds else self._rows

    def _rows(self, arrays):
        n_clips = len(next(iter(arrays.values())))
        parts = self._parts()
        n_features = max(part.stop for part in parts.values())
        rows = np.full((n_clips, n_features), np.nan, dtype=np.float32)
        for region, part in parts.items():
            if region in arrays:
                rows[:, part] = combine(
                    _layers_of(arrays, region),
                    self._states(),
                    self.layer_pooling,
                    n_pooled(self.pooling),
                )
        return rows

    def _is_enough(self, arrays):
        if self._embeds or self.pooling is None:
            return True
        return all(
            holds(_layers_of(arrays, region), self._states())
            for region in self._streams
            if region in arrays
        )

    def _encode(self, cells):
        if self._is_built_in:
            read = self._reader(self.image_size)
            return [self._hog(read(path)) for path in cells]
        return super()._encode(cells)

    def _reader(self, face_size, preprocessing=None):
        return PictureReader(
            regions=self._streams,
            n_frames=None if self._is_mertools else self.n_frames,
            limits={
                name: getattr(self, name)
                for name in (
                    *("max_seconds", "max_pixels", "max_bytes"),
                    "max_decode_seconds",
                )
            },
            detector=self.face_detector,
            margin=self.face_margin,
            face_size=face_size,
            preprocessing=preprocessing,
        )

    def _job(self):
        model, states, depth = self._image_model(), None, None
        if not self._embeds:
            states = self._states()
            cached = "asked" if self.pooling is None else self.cache_layers
            depth = depth_needed(states, model.n_layers, cached)
        preprocessing = ImagePreprocessing.of(self._processor("AutoImageProcessor"))
        return ImageJob(
            model,
            self._loader(**model.loading(depth, embedding=self._embeds)),
            preprocessing,
            self._reader(preprocessing.side, preprocessing),
            states=states,
            depth=depth,
            pooling=self.pooling,
            batch_size=self.batch_size,
            layer_pooling=self.layer_pooling,
        )

    def _hog(self, found):
        if found is None or isinstance(found, Exception):
            return found
        arrays = {
            region: pool(hog(images, self.image_size), self.pooling)
            for region, images in found.items()
        }
        return Record("ok", arrays)


def _layers_of(arrays, region):
    """Return a region's arrays under the names that layers have."""
    layers = {"states": arrays[region]}
    if f"{region}_last" in arrays:
        layers["last"] = arrays[f"{region}_last"]
    return layers
