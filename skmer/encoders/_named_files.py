"""Files of features that belong to clips by name."""

import os
from abc import abstractmethod
from os import PathLike, fspath

import pandas as pd

from skmer.clips import ClipEncoder
from skmer.clips._cells import is_missing, resolve_cells
from skmer.utils._sklearn import StrOptions
from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

_SUFFIXES = AUDIO_SUFFIXES | VIDEO_SUFFIXES


def clip_name(clip):
    """Return the name of a clip: the last part of its path, without suffix.

    Only suffixes of sound and video files are taken off, for names may hold dots.

    Parameters
    ----------
    clip : str
        Path or id.

    Returns
    -------
    name : str
    """
    name = os.path.basename(clip)
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _SUFFIXES else name


class NamedFileEncoder(ClipEncoder):
    """Base of encoders that read one file of features a clip.

    Children have the parameters ``root`` (folder, or None where the cells are the
    files), ``pattern`` and ``column``.
    """

    _remedy = "Check root, pattern and column"
    _parameter_constraints: dict = {
        "root": [str, PathLike],
        "pattern": [str],
        "column": [StrOptions({"video", "audio", "index"})],
        **ClipEncoder._parameter_constraints,
    }

    @abstractmethod
    def __init__(
        self,
        root,
        *,
        pattern,
        column,
        n_jobs,
        batch_size,
        cache,
        on_error,
        verbose,
    ):
        self.root = root
        self.pattern = pattern
        self.column = column
        super().__init__(
            n_jobs=n_jobs,
            batch_size=batch_size,
            cache=cache,
            on_error=on_error,
            verbose=verbose,
        )

    @property
    def _column(self):
        # Ids of clips follow the same rules as paths.
        return "video" if self.column == "index" else self.column

    def _validate_params(self):
        super()._validate_params()
        owner = type(self).__name__
        if self.pattern.count("{name}") != 1 or os.path.isabs(self.pattern):
            raise ValueError(
                f"The 'pattern' parameter of {owner} must be a path below root that "
                f"holds '{{name}}' once. Got {self.pattern!r} instead."
            )

    def _cells(self, X):
        owner = type(self).__name__
        if self.column == "index":
            X = _index(X, owner)
        cells = resolve_cells(X, self._column, owner)
        if self.root is not None:
            _refuse_steps(cells, owner)
            _refuse_shared_names(cells, owner)
        return cells

    def _sources(self, cells):
        if self.root is None:
            return cells
        head, tail = self.pattern.split("{name}")
        start = os.path.join(fspath(self.root), head)
        return [f"{start}{clip_name(cell)}{tail}" for cell in cells]

    def _key_params(self):
        # The content of the file decides, not where it lies.
        places = ("root", "pattern", "column")
        params = super()._key_params()
        return {name: value for name, value in params.items() if name not in places}


def _index(X, owner):
    if not isinstance(X, (pd.DataFrame, pd.Series)):
        raise TypeError(
            f"{owner}(column='index') takes the clips' names from the index of a "
            f"frame or Series. Got {type(X).__name__}: {str(X)[:60]!r}. Pass "
            "pd.Series(list) with an index, put ClipTable() before it, or choose "
            "column='video'."
        )
    return [None if is_missing(name) else str(name) for name in X.index]


def _refuse_steps(cells, owner):
    # As a folder of a pattern they would lead out of root.
    for cell in cells:
        if cell is not None and clip_name(cell) in ("", ".", ".."):
            raise ValueError(
                f"{owner}: the clip {cell!r} has no name by which a file could be "
                "found. Name the clips in the index of a frame, and set "
                "column='index'."
            )


def _refuse_shared_names(cells, owner):
    # Two clips would silently get the features of one.
    seen = {}
    for cell in dict.fromkeys(cells):
        if cell is None:
            continue
        name = clip_name(cell)
        other = seen.setdefault(name, cell)
        if other != cell and _folder(other) != _folder(cell):
            raise ValueError(
                f"{owner}: {other} and {cell} lie in different folders and have the "
                f"same name {name!r}, so that both would get the features of one "
                "file. Give them names of their own in the index of a frame and set "
                "column='index'."
            )


def _folder(path):
    return os.path.dirname(os.path.abspath(path))
