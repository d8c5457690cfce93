"""Small helpers that every part of skmer shares."""

from skmer.utils._dask import DaskBackend
from skmer.utils._labels import split_labels
from skmer.utils._optional import import_optional
from skmer.utils._ragged import as_object_column

__all__ = ["DaskBackend", "as_object_column", "import_optional", "split_labels"]
