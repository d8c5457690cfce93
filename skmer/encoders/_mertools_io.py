"""Features in the folder layout of MERTools."""

import os
import warnings
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype

from skmer._streams import resolve_streams
from skmer.clips._cells import is_missing
from skmer.encoders._named_files import clip_name
from skmer.exceptions import ExtractionWarning
from skmer.utils._files import written_whole
from skmer.utils._sklearn import StrOptions, validate_params


@validate_params(
    {
        "features": [pd.DataFrame, np.ndarray],
        "root": [str, PathLike],
        "model_name": [str, dict],
        "level": [StrOptions({"UTT", "FRA"})],
        "names": ["array-like", None],
        "overwrite": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def write_mertools(
    features, root, model_name, *, level="UTT", names=None, overwrite=False
):
    """Write features as MERTools keeps them, one ``.npy`` file a clip.

    The files are ``<root>/<model_name>-<level>/<name>.npy``, dtype float32.
    :class:`PrecomputedEncoder` reads exactly what was written.

    Parameters
    ----------
    features : DataFrame or ndarray of shape (n_clips, n_features)
        What encoders return: numbers for ``level="UTT"``; for ``level="FRA"``
        object cells with sequences of shape (n_frames, n_values) each.
    root : str or path
        Folder of the feature folders; made if need be.
    model_name : str or dict of str to str
        Name of the features, such as ``"chinese-hubert-large"``. A dict writes
        streams of a frame (the part of column names before the last ``__``) each to
        a folder of its own: ``{"audio": "chinese-hubert-large"}``.
    level : {"UTT", "FRA"}, default="UTT"
        One vector a clip, or one vector a frame.
    names : sequence of str of length n_clips, default=None
        Paths or ids of the clips; names of the files are their last parts without
        the suffix of a sound or video file. None takes the index of a frame.
    overwrite : bool, default=False
        Replace files that are already there.

    Returns
    -------
    n_written : dict of str to int
        For each folder how many files were written to it.

    Raises
    ------
    FileExistsError
        If a file is already there and ``overwrite=False``; nothing is written then.
    ValueError
        If two clips have one name, a clip has some values only (NaN or infinite),
        or the cells do not fit ``level``.

    Warns
    -----
    ExtractionWarning
        If rows were left out because a clip has no values at all (NaN or None).

    Notes
    -----
    Each file appears whole or not at all, so that an interrupted call can be run
    again with ``overwrite=True``.

    Examples
    --------
    >>> import tempfile
    >>> from skmer.encoders import PrecomputedEncoder, TextEncoder, write_mertools
    >>> features = TextEncoder(cache=None).transform(["so glad", "go away"])
    >>> root = tempfile.mkdtemp()
    >>> written = write_mertools(features, root, "hashing", names=["a", "b"])
    >>> list(written.values())
    [2]
    >>> again = PrecomputedEncoder(f"{root}/hashing-UTT").transform(["a", "b"])
    >>> bool((again == features).all())
    True
    """
    if features.ndim != 2:
        raise ValueError(
            f"features must be of shape (n_clips, n_features). Got {features.shape}."
        )
    names = _file_names(features, names)
    blocks = _blocks(features, model_name)
    to_cells = _vectors if level == "UTT" else _sequences
    plan = {}
    for model, block in blocks.items():
        folder = os.path.join(os.fspath(root), f"{model}-{level}")
        plan[folder] = to_cells(block, names, model)
    if not overwrite:
        _refuse_existing(plan)
    n_written, n_left_out = {}, 0
    for folder, cells in plan.items():
        os.makedirs(folder, exist_ok=True)
        for name, cell in cells.items():
            values = _checked(cell, name, level)
            with written_whole(Path(folder, f"{name}.npy"), "wb", sync=False) as file:
                np.save(file, values, allow_pickle=False)
        n_written[folder] = len(cells)
        n_left_out += len(names) - len(cells)
    if n_left_out:
        warnings.warn(
            f"write_mertools left out {n_left_out} of {len(names) * len(plan)} rows, "
            "which hold no values at all. PrecomputedEncoder(on_error='nan') gives "
            "these clips rows of NaN again.",
            ExtractionWarning,
            stacklevel=2,
        )
    return n_written


def _file_names(features, names):
    if names is None:
        index = getattr(features, "index", None)
        if index is None or not all(isinstance(name, str) for name in index):
            raise ValueError(
                "write_mertools needs the names of the clips: pass names, or a frame "
                "whose index holds ids or paths (set_output(transform='pandas') on "
                "the encoder, after ClipTable)."
            )
        names = index
    files = [clip_name(os.fspath(name)) for name in names]
    if len(files) != len(features):
        raise ValueError(f"Got {len(files)} names for {len(features)} rows.")
    seen = set()
    for given, name in zip(names, files, strict=True):
        if name in seen or name in ("", ".", "..") or "\0" in name:
            reason = "is there twice" if name in seen else "cannot name a file"
            raise ValueError(
                f"The name {name!r} (clip {str(given)!r}) {reason}. Pass other names."
            )
        seen.add(name)
    return files


def _blocks(features, model_name):
    """Return the columns of each model, ndarray or DataFrame."""
    if isinstance(model_name, str):
        model_name = {None: model_name}
    models = list(model_name.values())
    for model in models:
        if not model or os.path.basename(model) != model or models.count(model) > 1:
            raise ValueError(
                f"model_name must be names of folders, each once. Got {model!r}. "
                "Take the last part of a hub id such as 'org/model'."
            )
    if None in model_name:
        return {model_name[None]: features}
    columns = getattr(features, "columns", None)
    streams = resolve_streams(
        list(model_name),
        None if columns is None else [str(name) for name in columns],
        features.shape[1],
    )
    return {
        model_name[stream]: features.iloc[:, where] for stream, where in streams.items()
    }


def _vectors(block, names, model):
    try:
        values = pd.DataFrame(block).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Features for {model!r} are not all numbers ({error}). Sequences are "
            "written by level='FRA'."
        ) from error
    empty = np.isnan(values).all(axis=1)
    return {names[i]: values[i] for i in np.flatnonzero(~empty)}


def _sequences(block, names, model):
    table = pd.DataFrame(block)
    if table.shape[1] != 1 or not is_object_dtype(table.dtypes.iloc[0]):
        raise ValueError(
            f"level='FRA' takes one object column of sequences for {model!r}; got "
            f"{table.shape[1]} columns of dtype {table.dtypes.iloc[0]}. Encoders give "
            "it with pooling=None; choose one stream by model_name={stream: name}, "
            "and write vectors by level='UTT'."
        )
    cells = zip(names, table.iloc[:, 0], strict=True)
    return {name: cell for name, cell in cells if not is_missing(cell)}


def _checked(cell, name, level):
    n_dims = 1 if level == "UTT" else 2
    try:
        values = np.asarray(cell)
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Clip {name!r} holds no numbers: {error}.") from error
    if values.ndim != n_dims:
        raise ValueError(
            f"Clip {name!r} holds an array of shape {values.shape}; level='FRA' takes "
            "(n_frames, n_values)."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"Clip {name!r} holds NaN or infinite values among others. Fill them "
            "(skmer.preprocessing.ModalityImputer), or write each stream on its own."
        )
    return values


def _refuse_existing(plan):
    for folder, cells in plan.items():
        if not os.path.isdir(folder):
            continue
        present = set(os.listdir(folder))
        there = [name for name in cells if f"{name}.npy" in present]
        if there:
            raise FileExistsError(
                f"{folder} already holds {len(there)} of the {len(cells)} files, the "
                f"first: {there[0]}.npy. Pass overwrite=True to replace them."
            )
