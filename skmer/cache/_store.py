"""The store of features: what is known about clips, found by content."""

import os
import struct
import threading
import time
import warnings

import lmdb
import numpy as np

from skmer.cache._batch import RecordBatch
from skmer.cache._contents import Contents
from skmer.cache._environment import BROKEN, Environment, page_bytes
from skmer.cache._filesystem import network_file_system, node_folder
from skmer.cache._record import encode
from skmer.exceptions import CacheWarning

# Keys looked up before their records are taken in: few enough that records stay in
# the CPU's cache and that Python's garbage collector never starts.
_PER_LOOKUP = 256
# Below a size limit: down to which part of it is evicted, and after how many
# seconds the times of use are written.
_LOW_WATER = 0.8
_USE_INTERVAL = 60.0

_TIME = struct.Struct("<Q")

_registry = {}
_registry_lock = threading.RLock()


def open_store(path, max_bytes=None):
    """Open a feature store, or return the one already open in this process.

    Parameters
    ----------
    path : str, os.PathLike or None
        Folder of the store; made if need be. A folder on a network file system is
        replaced by one of this machine, with a warning. None gives a store that
        keeps nothing.
    max_bytes : int or None, default=None
        Size above which the least recently used records are dropped, counted as
        the pages that records fill. None sets no limit, or leaves the limit that
        the open store has.

    Returns
    -------
    store : FeatureStore
        One object per folder and process. Where the folder cannot be written, a
        :class:`~skmer.exceptions.CacheWarning` says why and the store keeps
        nothing, but still reads what lies in it.

    Raises
    ------
    ValueError
        If ``max_bytes`` is not positive.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skmer.cache import Record, config_digest, make_key, open_store, text_id
    >>> store = open_store(tempfile.mkdtemp())
    >>> key = make_key(text_id("so happy"), config_digest({"pooling": "mean"}))
    >>> store.put_many([(key, Record("ok", {"mean": np.arange(3.0)}))])
    True
    >>> store.get_many([key]).record(0).arrays["mean"]
    array([0., 1., 2.])
    >>> store.close()
    """
    if max_bytes is not None and not max_bytes > 0:
        raise ValueError(
            f"max_bytes must be a positive number of bytes, or None for no limit. "
            f"Got {max_bytes!r}."
        )
    real = path and os.path.realpath(os.path.expanduser(os.fspath(path)))
    notes = []
    with _registry_lock:
        store = _registry.get(real)
        if store is not None and store._moved():
            # The folder was deleted, and maybe made again, behind our back.
            store.close()
            store = None
        if store is None:
            store = _registry[real] = _make_store(real, max_bytes, notes.append)
        elif max_bytes is not None:
            store.max_bytes = max_bytes
    for note in notes:
        warnings.warn(note, CacheWarning, stacklevel=2)
    return store


def _make_store(real, max_bytes, note):
    if real is None:
        return FeatureStore(None, None, max_bytes)
    folder = real
    kind = network_file_system(real)
    try:
        if kind is not None:
            folder = node_folder(real)
            note(
                f"The feature cache {real} is on a network file system ({kind}), "
                f"where it could be damaged. This machine uses {folder} instead. "
                "Name a folder on a local disk to choose where."
            )
        environment = Environment(folder)
    except (OSError, lmdb.Error) as error:
        note(
            f"The feature cache {real} cannot be used: {error}. Features are computed "
            "and not stored. Name another folder (the parameter cache, or the "
            "variable SKMER_CACHE_DIR), or make this one writable. If its data.mdb "
            "is damaged or of another version of LMDB, move that away."
        )
        return FeatureStore(real, None, max_bytes)
    if environment.set_aside:
        note(
            f"The feature cache {folder} was damaged. An empty one was started; what "
            f"was there lies in {environment.set_aside}, which may be deleted."
        )
    elif environment.readonly:
        note(
            f"The feature cache {folder} cannot be written. What it holds is used; "
            "new features are computed and not stored. Make the folder writable, or "
            "name another one."
        )
    return FeatureStore(real, environment, max_bytes)


class FeatureStore:
    """Records of clips in an LMDB environment, or nowhere.

    Made by :func:`open_store`. Any number of threads and processes of one machine
    may use one store at once. Each call of :meth:`put_many` is one commit, which a
    killed process does not lose. A copy in another process, by pickling or by a
    fork, opens the folder there.

    Nothing here raises because of the disk: what cannot be read is absent and what
    cannot be written is not stored, with a
    :class:`~skmer.exceptions.CacheWarning`.

    Attributes
    ----------
    path : str or None
        The folder asked for.
    writable : bool
        Whether records can be stored.
    max_bytes : int or None
        The size limit.

    Notes
    -----
    LMDB stores a value above 2 KB in whole pages of 4,096 bytes, 16 of which are
    its own: a vector of 1,024 float32 takes two pages (8.3 KB with its share of the
    index), 24 of them in one record 25 pages (4.3 KB a vector).

    A record is numbers and JSON; nothing in a store is ever unpickled or run. LMDB
    itself believes what its file says, so the file's index is checked whenever it is
    opened (0.2 to 0.4 s where it holds 130,000 clips): one that is damaged, or was
    made to lead LMDB astray, is set aside. Whoever may write to the folder of a cache
    can still make features that are wrong, as checksums tell of damage, not of forgery.
    """

    def __init__(self, path, environment, max_bytes):
        self.path = path
        self.max_bytes = max_bytes
        self._environment = environment
        self._lock = threading.Lock()
        self._contents = Contents(self._read_contents, self._write_contents)
        self._touched = {}
        self._touched_since = time.monotonic()
        self._warned = set()
        self._counts = {"hits": 0, "misses": 0, "damaged": 0}

    def __repr__(self):
        return f"FeatureStore({self.path!r}, max_bytes={self.max_bytes!r})"

    def __reduce__(self):
        return open_store, (self.path, self.max_bytes)

    @property
    def writable(self):
        """Whether records can be stored."""
        return self._environment is not None and not self._environment.readonly

    # Contents

    def content_ids(self, paths):
        """Return the identities of files' contents.

        A file is read when its size or one of its times of change (of the content,
        of the file) is new to the store; otherwise it is only looked at (one
        ``os.stat``). What is missed is a change that leaves all three as they were:
        one within 10 ms of the last while the file was read between the two, or,
        since clocks of computers can be set back, one at the same nanosecond.

        Parameters
        ----------
        paths : sequence of str or os.PathLike of length n
            The files.

        Returns
        -------
        identities : list of length n
            Bytes of length 16 for each file, and the OSError itself in place of
            one that cannot be read.
        """
        paths = list(paths)
        if set(map(type, paths)) - {str}:
            paths = [os.fspath(path) for path in paths]
        return self._contents.identities(paths)

    # Records

    def get_many(self, keys, names=None, into=None):
        """Read the records of many keys.

        Parameters
        ----------
        keys : sequence of bytes of length n_keys
            As :func:`make_key` gives them; a few thousand at a time bound the
            memory.
        names : collection of str or None, default=None
            Arrays that are wanted; None for all.
        into : dict of str to ndarray of shape (n_keys, ...), default=None
            Where wanted arrays of these names, of the same dtype and shape, are
            written at the positions of their keys, which spares a copy. Rows of
            records that are not found stay as they are. ``placed`` of the result
            tells what was written; other records are in ``groups`` as without it.

        Returns
        -------
        batch : RecordBatch
            A record that is damaged counts as absent, with one warning for all.
        """
        keys = list(keys)

        def work(txn):
            batch = RecordBatch(len(keys), names, into)
            for start in range(0, len(keys), _PER_LOOKUP):
                piece = keys[start : start + _PER_LOOKUP]
                batch.add(start, piece, list(map(txn.get, piece)))
            return batch.finish()

        batch = self._read(work, RecordBatch(len(keys), names)) if keys else None
        if batch is None:
            return RecordBatch(0, names)
        n_found = int(np.count_nonzero(batch.status))
        with self._lock:
            self._counts["hits"] += n_found
            self._counts["misses"] += len(keys) - n_found
            self._counts["damaged"] += batch.n_damaged
            if self.max_bytes is not None and self.writable:
                used = [keys[i] for i in np.flatnonzero(batch.status).tolist()]
                self._touched.update(dict.fromkeys(used, time.time_ns()))
            late = time.monotonic() - self._touched_since > _USE_INTERVAL
        if late and self._touched:
            touched = self._take_uses()
            self._write(lambda txn: self._write_uses(txn, touched))
        if batch.n_damaged:
            warnings.warn(
                f"{batch.n_damaged} of {len(keys)} records in the feature cache "
                f"{self.path} are damaged. They are computed again.",
                CacheWarning,
                stacklevel=2,
            )
        return batch

    def put_many(self, items):
        """Store records, all of them in one commit.

        Parameters
        ----------
        items : sequence of (bytes, Record)
            Keys and their records; one there already is replaced.

        Returns
        -------
        stored : bool
            False where the store cannot be written; the first time, a warning says
            why.

        Raises
        ------
        TypeError, ValueError
            If a record holds what cannot be stored.
        """
        if not self.writable:
            return False
        pairs = sorted((key, encode(key, record)) for key, record in items)
        if not pairs:
            return True

        # Taken here, since the work starts again where the map has to grow.
        touched = {} if self.max_bytes is None else self._take_uses()

        def work(txn):
            environment = self._environment
            for key, value in pairs:
                txn.put(key, value)
            if self.max_bytes is not None:
                self._write_uses(txn, touched)
                now = _TIME.pack(time.time_ns())
                for key, _ in pairs:
                    txn.put(key, now, db=environment.used)
                self._evict(txn)

        return self._write(work)

    def _take_uses(self):
        with self._lock:
            touched, self._touched = self._touched, {}
            self._touched_since = time.monotonic()
        return touched

    def _write_uses(self, txn, touched):
        environment = self._environment
        for key, when in sorted(touched.items()):
            # Another process may have dropped it since it was read.
            if txn.get(key, db=environment.values) is not None:
                txn.put(key, _TIME.pack(when), db=environment.used)

    def _evict(self, txn):
        """Above the limit, drop the least recently used down to the low-water mark."""
        environment = self._environment
        used = page_bytes(txn.stat(environment.values))
        if used <= self.max_bytes:
            return
        # Records stored before there was a limit have no time: they go first.
        times = {
            bytes(key): _TIME.unpack(when)[0]
            for key, when in txn.cursor(environment.used)
        }
        entries = sorted(
            (times.get(key, 0), key)
            for key in map(bytes, txn.cursor(environment.values).iternext(values=False))
        )
        # The newest record stays: else one larger than the limit could never be.
        for _, key in entries[:-1]:
            if used <= self.max_bytes * _LOW_WATER:
                break
            txn.delete(key, db=environment.values)
            txn.delete(key, db=environment.used)
            used = page_bytes(txn.stat(environment.values))

    # Looking after the store

    def info(self):
        """Describe the store.

        Returns
        -------
        info : dict
            ``path`` (where it lies, None for nowhere), ``writable``, ``entries``
            (records), ``bytes`` (pages that records fill), ``file_bytes`` (the file,
            which keeps its size when records go and is then filled again),
            ``max_bytes``, and of this process ``hits``, ``misses`` and ``damaged``
            (keys looked up).
        """
        environment = self._environment
        sizes = (0, 0, 0)
        if environment is not None:
            sizes = self._read(lambda txn: environment.sizes(txn), sizes)
        return {
            "path": None if environment is None else environment.folder,
            "writable": self.writable,
            "entries": sizes[0],
            "bytes": sizes[1],
            "file_bytes": sizes[2],
            "max_bytes": self.max_bytes,
            **self._counts,
        }

    def clear(self):
        """Remove all records and all that is remembered about files.

        Disk space goes back to the system unless another process has the store
        open; then it is kept for new records.
        """
        self._contents.forget()
        with self._lock:
            self._touched = {}
        if self.writable:
            try:
                self._environment.clear()
            except (OSError, lmdb.Error) as error:
                self._complain("clear", f"cannot be cleared: {error}.", stacklevel=3)

    def close(self):
        """Close the store's file; :func:`open_store` opens it again."""
        with _registry_lock:
            for path in [p for p, store in _registry.items() if store is self]:
                del _registry[path]
        if self._environment is not None:
            self._environment.close()

    def _read_contents(self, work):
        return self._read(lambda txn: work(txn, self._environment.ids), None)

    def _write_contents(self, work):
        self._write(lambda txn: work(txn, self._environment.ids))

    def _moved(self):
        return self._environment is not None and self._environment.moved()

    def _read(self, work, otherwise):
        if self._environment is None:
            return otherwise
        opened = self._environment.opened
        try:
            return self._environment.run(work)
        except BROKEN as error:
            self._recover(error, opened)
        except (OSError, lmdb.Error) as error:
            self._complain("read", f"cannot be read: {error}.")
        return otherwise

    def _write(self, work):
        if not self.writable:
            return False
        opened = self._environment.opened
        try:
            self._environment.run(work, write=True)
        except BROKEN as error:
            self._recover(error, opened)
        except (OSError, lmdb.Error) as error:
            self._complain(
                "write",
                f"cannot be written: {error}. Features are computed all the same, and "
                "storing is tried again with each batch. Make room on its disk, or "
                "name another folder.",
            )
        else:
            return True
        return False

    def _recover(self, error, opened):
        """Start an empty file where LMDB itself finds the file broken."""
        if self._environment.readonly:
            self._complain("broken", f"is damaged: {error}. It is not used.")
            return
        try:
            place = self._environment.recover(opened)
        except (OSError, lmdb.Error) as other:
            self._complain("broken", f"is damaged ({error}) and not used: {other}.")
            return
        if place is not None:
            self._complain(
                None,
                f"was damaged ({error}). An empty one was started; what was there "
                f"lies in {place}, which may be deleted.",
            )

    def _complain(self, kind, what, stacklevel=5):
        if kind is None or kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(
                f"The feature cache {self.path} {what}",
                CacheWarning,
                stacklevel=stacklevel,
            )


# A fork waits until no thread is opening a store.


def _before_fork():
    _registry_lock.acquire()


def _after_fork_in_parent():
    _registry_lock.release()


def _after_fork_in_child():
    global _registry_lock
    _registry_lock = threading.RLock()
    for store in _registry.values():
        store._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # Run before the environments' own: the last registered comes first.
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
