"""What OpenFace wrote about the face in a clip."""

import os
from numbers import Real
from os import PathLike

import numpy as np
import pandas as pd

from skmer.cache import Record
from skmer.encoders._named_files import NamedFileEncoder
from skmer.encoders._pooling import POOLING, pool, pooled_names
from skmer.exceptions import MediaError
from skmer.utils._sklearn import Interval

# An hour at 30 frames a second in full is 0.4 GB.
_MAX_BYTES = 1 << 30
# Characters; the widest files need 20,000.
_MAX_LINE = 1 << 20


def _points(axes, n_points, prefix=""):
    return [f"{prefix}{axis}_{i}" for axis in axes for i in range(n_points)]


_UNITS = "01 02 04 05 06 07 09 10 12 14 15 17 20 23 25 26 45".split()
_GROUPS = {
    "intensity": [f"AU{unit}_r" for unit in _UNITS],
    "presence": [f"AU{unit}_c" for unit in sorted([*_UNITS, "28"])],
    "gaze": [f"gaze_{eye}_{axis}" for eye in "01" for axis in "xyz"],
    "gaze_angle": ["gaze_angle_x", "gaze_angle_y"],
    "pose": [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"],
    "landmarks": _points("xy", 68),
    "landmarks_3d": _points("XYZ", 68),
    "eye_landmarks": _points("xy", 56, "eye_lmk_"),
    "eye_landmarks_3d": _points("XYZ", 56, "eye_lmk_"),
    "shape": ["p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *_points("p", 34)],
}
_SETS = {"au": ["intensity", "presence"], "all": list(_GROUPS)}
# As OpenFace writes them on Linux and on Windows.
_NAN = ["nan", "-nan", "nan(ind)", "-nan(ind)", "NaN", "inf", "-inf"]


class OpenFaceEncoder(NamedFileEncoder):
    """Read what OpenFace 2.0 wrote about the face in a clip, one CSV file a clip.

    Parameters
    ----------
    root : str, path or None, default=None
        Folder of the CSV files. None: X holds their paths.
    features : str or sequence of str, default="au"
        Which columns, in this order: ``"intensity"`` (17 action units, 0 to 5),
        ``"presence"`` (18 action units, 0 or 1), ``"gaze"`` (direction of both
        eyes, unit vectors), ``"gaze_angle"`` (radians), ``"pose"`` (of the head, mm
        and radians), ``"landmarks"`` (68 points, pixels), ``"landmarks_3d"`` (mm),
        ``"eye_landmarks"`` (56 points, pixels), ``"eye_landmarks_3d"`` (mm) and
        ``"shape"`` (40 parameters of the face model). ``"au"`` is intensity and
        presence, ``"all"`` is all of them.
    pooling : {"mean", "mean_std"}, int or None, default="mean"
        How frames become one vector: mean, mean and standard deviation, means over
        that many equal parts of the clip, or, for None, not at all (sequences).
    min_confidence : float, default=0.0
        Frames of which OpenFace was less sure are left out, besides those in which
        it did not succeed; between 0 and 1.
    pattern : str, default="{name}.csv"
        Where below ``root`` a clip's file lies; ``{name}`` as for
        :class:`PrecomputedEncoder`.
    column : {"video", "audio", "index"}, default="video"
        What the path or name is taken from where X is a frame: one of its columns,
        or its index.
    n_jobs : int or None, default=None
        Worker processes. None is one unless a joblib context says otherwise.
    batch_size : int or "auto", default="auto"
        Clips that one task encodes and that are stored together.
    cache : "default", path or None, default="default"
        Folder of the feature cache; None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip whose file is not there or cannot be read: an error
        naming both, or a row of NaN and one warning.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    VisualEncoder : Finds and describes faces itself.
    PrecomputedEncoder : Reads features from NumPy files.

    Notes
    -----
    The features keep OpenFace's names. Blanks around names in the file do not
    matter. Files of several faces (``FaceLandmarkVidMulti``) give the face that is
    seen in most accepted frames; of those seen equally often, the one with the
    highest mean confidence, then the lowest ``face_id``. Frames with a wanted value
    that is not finite are left out. A clip without an accepted frame gives a row of
    NaN. Writing with OpenFace's default options gives every column; older files may
    lack those of ``"gaze_angle"`` and of the eyes.

    References
    ----------
    T. Baltrusaitis, A. Zadeh, Y. C. Lim and L.-P. Morency (2018). OpenFace 2.0:
    Facial behavior analysis toolkit. FG.

    Examples
    --------
    >>> from skmer.encoders import OpenFaceEncoder
    >>> names = OpenFaceEncoder(features=["presence", "pose"]).get_feature_names_out()
    >>> len(names), names[0], names[-1]
    (24, 'AU01_c', 'pose_Rz')
    """

    _auto_batch_size = 16
    _parameter_constraints: dict = {
        **NamedFileEncoder._parameter_constraints,
        "root": [str, PathLike, None],
        "features": [str, "array-like"],
        "pooling": POOLING,
        "min_confidence": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        root=None,
        *,
        features="au",
        pooling="mean",
        min_confidence=0.0,
        pattern="{name}.csv",
        column="video",
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.features = features
        self.pooling = pooling
        self.min_confidence = min_confidence
        super().__init__(
            root,
            pattern=pattern,
            column=column,
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    def _validate_params(self):
        super()._validate_params()
        groups = self._groups()
        if not groups or not set(groups) <= set(_GROUPS) or _has_copies(groups):
            raise ValueError(
                "The 'features' parameter of OpenFaceEncoder must name groups of "
                f"columns, each once, out of {', '.join([*_SETS, *_GROUPS])}. Got "
                f"{self.features!r} instead."
            )

    def _groups(self):
        given = [self.features] if isinstance(self.features, str) else self.features
        return [group for name in given for group in _SETS.get(name, [name])]

    def _columns(self):
        return [column for group in self._groups() for column in _GROUPS[group]]

    def _feature_names(self):
        return pooled_names(self._columns(), self.pooling)

    def _sequence_columns(self):
        return ["values"] if self.pooling is None else None

    def _key_params(self):
        return {**super()._key_params(), "features": self._groups()}

    def _encode(self, cells):
        columns = self._columns()
        paths = self._sources(cells)
        return [
            self._encode_one(clip, path, columns)
            for clip, path in zip(cells, paths, strict=True)
        ]

    def _encode_one(self, clip, path, columns):
        try:
            table = _read_table(path, columns)
        except ValueError as error:
            return MediaError(clip, "features", str(error))
        except (MemoryError, OSError) as error:
            return error
        frames = _frames_of_one_face(table, columns, self.min_confidence)
        if len(frames) == 0:
            return Record("missing")
        values = pool(frames, self.pooling)
        if not np.isfinite(values).all():
            return MediaError(clip, "features", "it holds too large numbers")
        return Record("ok", {"values": values})


def _has_copies(items):
    return len(set(items)) < len(items)


def _read_table(path, columns):
    """Read the wanted columns of a file, and those that tell which rows count.

    Parameters
    ----------
    path : str
        A CSV file.
    columns : list of str
        Wanted columns.

    Returns
    -------
    table : DataFrame of float64
        Also has frame, confidence and success, and face_id where the file has it.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
        try:
            head = file.readline(_MAX_LINE)
            names = [name.strip() for name in head.split(",")]
            required = ["frame", "confidence", "success", *columns]
            _refuse_missing(names, required)
            start = file.tell()
            if not _count_rows(file, len(names)):
                return pd.DataFrame(columns=required, dtype=np.float64)
        except UnicodeDecodeError as error:
            raise ValueError("it is no text file") from error
        file.seek(start)
        try:
            return pd.read_csv(
                file,
                header=None,
                names=names,
                usecols=[*required, *(["face_id"] if "face_id" in names else [])],
                dtype=np.float64,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=_NAN,
                low_memory=False,
            )
        except ValueError as error:
            raise ValueError(f"it has a damaged row ({error})") from error


def _count_rows(file, n_columns):
    # pandas would fill rows that are too short and cut those that are too long.
    n_rows = 0
    while line := file.readline(_MAX_LINE):
        if line.isspace():
            continue
        n_rows += 1
        n_values = line.count(",") + 1
        if n_values != n_columns:
            raise ValueError(
                f"it has a damaged row (row {n_rows} holds {n_values} values in "
                f"place of {n_columns})"
            )
    return n_rows


def _refuse_missing(names, required):
    if names == [""]:
        raise ValueError("it is empty")
    if _has_copies(names):
        raise ValueError("two of its columns have the same name")
    missing = [name for name in required if name not in names]
    if {"frame", "confidence", "success"} & set(missing):
        raise ValueError(
            "it is no CSV file of OpenFace's FeatureExtraction, for its first line "
            f"does not name the column {missing[0]}. Where X holds clips, give the "
            "folder of their CSV files as root"
        )
    if missing:
        raise ValueError(
            f"it lacks {len(missing)} of the columns, the first: {missing[0]}. "
            "Choose other features, or have OpenFace write all of its columns"
        )


def _frames_of_one_face(table, columns, min_confidence):
    """Return the accepted frames of the face that is seen longest, in order."""
    accepted = (table["success"] == 1) & (table["confidence"] >= min_confidence)
    accepted &= np.isfinite(table[columns]).all(axis=1)
    table = table[accepted]
    if "face_id" in table and len(table):
        faces = table.groupby("face_id")["confidence"].agg(["size", "mean"])
        # Stable, so that the lowest id remains first among equals.
        order = faces.sort_values(
            ["size", "mean"], ascending=False, kind="stable"
        ).index
        table = table[table["face_id"] == order[0]]
    return table.sort_values("frame", kind="stable")[columns].to_numpy()
