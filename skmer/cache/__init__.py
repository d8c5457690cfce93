"""Content-addressed store of extracted features."""

from skmer.cache._array import CachedArray, load_arrays
from skmer.cache._batch import RecordBatch
from skmer.cache._filesystem import network_file_system
from skmer.cache._keys import (
    config_digest,
    content_id,
    file_signature,
    make_key,
    make_keys,
    text_id,
)
from skmer.cache._record import Record
from skmer.cache._store import FeatureStore, open_store

__all__ = [
    "CachedArray",
    "FeatureStore",
    "Record",
    "RecordBatch",
    "config_digest",
    "content_id",
    "file_signature",
    "load_arrays",
    "make_key",
    "make_keys",
    "network_file_system",
    "open_store",
    "text_id",
]
