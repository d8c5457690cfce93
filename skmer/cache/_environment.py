"""One LMDB environment: opening, growing, forking, recovering."""

import os
import threading
import weakref
from contextlib import contextmanager

import lmdb

from skmer.cache._gate import Gate
from skmer.cache._pages import UnsoundError, check_heads, check_pages

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None

# Address space of a new store, not disk or memory; it doubles when full.
INITIAL_MAP = 1 << 28
DATA, LOCK, GUARD = "data.mdb", "lock.mdb", "guard.lock"
_MAX_READERS = 1024

# What LMDB says of a broken file, or of a transaction that met one. A file of another
# version of LMDB is not broken: others may be using it.
BROKEN = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
)

_all = weakref.WeakSet()
_all_lock = threading.Lock()


class Environment:
    """An open LMDB environment that several threads may use.

    Parameters
    ----------
    folder : str
        Where it lies; made if need be.

    Attributes
    ----------
    readonly : bool
        Whether the folder can only be read.
    set_aside : str or None
        Where the file went that was found broken on opening.
    opened : int
        How often a file was opened for writing.

    Raises
    ------
    OSError, lmdb.Error
        If it can be opened neither for writing nor for reading.
    """

    def __init__(self, folder):
        self.folder = folder
        self.readonly = False
        self.set_aside = None
        self.opened = 0
        self._gate = Gate()
        self._inherited = False
        self._env = None
        self._guard = None
        self._open()
        with _all_lock:
            _all.add(self)

    # Opening and closing: the caller holds the gate alone, or is the constructor.

    def _open(self):
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._guard = _open_guard(self.folder)
            try:
                self._open_writable()
            except BROKEN:
                self._set_aside_and_open()
            self.readonly = False
        except (OSError, lmdb.Error):
            self._close()
            if not os.path.isfile(os.path.join(self.folder, DATA)):
                raise
            self._open_readonly()
            self.readonly = True
        self._inherited = False

    def _open_writable(self):
        data = os.path.join(self.folder, DATA)
        try:
            new = os.path.getsize(data) == 0
        except FileNotFoundError:
            new = True
        if not new:
            _pages(check_heads, data)
        # sync without metasync: a commit waits until its pages are on the disk, but
        # not for the pointer to them. A killed process loses no commit; a power cut
        # may lose the last one and damages nothing. With sync=False a commit of 64
        # vectors takes 0.01 ms a clip in place of 0.08, where computing one takes
        # tens, but a power cut could leave a broken file. writemap is off because a
        # full disk would then kill the process instead of giving an error.
        # No spare transactions: a fork must not inherit a reader's slot.
        self._env = lmdb.open(
            self.folder,
            map_size=INITIAL_MAP if new else 0,
            metasync=False,
            max_dbs=8,
            max_readers=_MAX_READERS,
            max_spare_txns=0,
        )
        # Slots of killed processes would keep old pages from being used again.
        self._env.reader_check()
        self._check(data, write=True)
        self.values = self._env.open_db(b"values")
        self.ids = self._env.open_db(b"ids")
        self.used = self._env.open_db(b"used")
        self.opened += 1

    def _open_readonly(self):
        data = os.path.join(self.folder, DATA)
        _pages(check_heads, data)
        options = dict(map_size=0, max_dbs=8, readonly=True, max_spare_txns=0)
        try:
            self._env = lmdb.open(self.folder, **options)
        except (OSError, lmdb.Error):
            self._env = lmdb.open(self.folder, lock=False, **options)
        self._check(data)
        self.values = self._env.open_db(b"values", create=False)
        self.ids = self._env.open_db(b"ids", create=False)
        self.used = None

    def _check(self, data, write=False):
        """Refuse a file by which LMDB would be led astray."""
        try:
            # While this holds the write lock nobody else writes to the file; pages
            # that a reader sees stay as they are.
            with self._env.begin(write=write) as txn:
                _pages(check_pages, data, txn.id() - write)
        except lmdb.MapResizedError:
            self._env.set_mapsize(0)
            self._check(data, write)

    def _set_aside_and_open(self):
        self._close_environment()
        if not _own_alone(self._guard):
            raise lmdb.CorruptedError(
                "its file is broken and other processes have it open"
            )
        data = os.path.join(self.folder, DATA)
        self.set_aside = data + ".broken"
        os.replace(data, self.set_aside)
        _remove(os.path.join(self.folder, LOCK))
        self._open_writable()
        _share(self._guard)

    def _close_environment(self):
        if self._env is not None:
            self._env.close()
            self._env = None

    def _close(self):
        self._close_environment()
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None

    def close(self):
        """Close the environment; using it again opens it again."""
        with self._gate.alone():
            self._close()

    @contextmanager
    def _use(self):
        """Hold the gate beside others, with the environment open."""
        while True:
            with self._gate.shared():
                if self._env is not None and not self._inherited:
                    yield
                    return
            with self._gate.alone():
                if self._inherited:
                    self._close()
                if self._env is None:
                    self._open()

    # Transactions

    def run(self, work, write=False):
        """Call ``work(txn)`` inside one transaction.

        Parameters
        ----------
        work : callable
            Called with the transaction, again from the start where the map had to
            be enlarged; must keep no buffer.
        write : bool, default=False
            Whether it writes; then it is committed when ``work`` returns.

        Returns
        -------
        result : object
            What ``work`` returned.
        """
        while True:
            with self._use():
                size = self._env.info()["map_size"]
                try:
                    with self._env.begin(self.values, write=write, buffers=True) as txn:
                        return work(txn)
                except lmdb.MapResizedError:
                    new_size = 0
                except lmdb.MapFullError:
                    new_size = 2 * size
            # Nobody in this process may be in a transaction while the map moves.
            with self._gate.alone():
                if self._env is not None and not self._inherited:
                    if not new_size:
                        self._env.set_mapsize(0)
                    elif self._env.info()["map_size"] < new_size:
                        self._env.reader_check()
                        self._env.set_mapsize(new_size)

    def sizes(self, txn):
        """Return entries, bytes of pages in use by them, and bytes of the file."""
        stat = txn.stat(self.values)
        data = os.path.join(self.folder, DATA)
        return stat["entries"], page_bytes(stat), os.path.getsize(data)

    def clear(self):
        """Remove everything.

        Returns
        -------
        freed : bool
            True where the disk space went back to the system; False where other
            processes have the store open, so that the file keeps its size and its
            pages are used again.
        """
        with self._gate.alone():
            if self._inherited:
                self._close()
            if self._env is None:
                self._open()
            if _own_alone(self._guard):
                self._close_environment()
                _remove(os.path.join(self.folder, DATA))
                _remove(os.path.join(self.folder, LOCK))
                self._open_writable()
                _share(self._guard)
                return True
            _share(self._guard)

        def work(txn):
            for db in (self.values, self.ids, self.used):
                txn.drop(db, delete=False)

        self.run(work, write=True)
        return False

    def recover(self, opened):
        """Put a broken file aside and start an empty one.

        Parameters
        ----------
        opened : int
            The value of :attr:`opened` before the file was found broken.

        Returns
        -------
        set_aside : str or None
            Where the broken file went; None where another thread was quicker.

        Raises
        ------
        lmdb.Error, OSError
            If other processes have it open, or nothing can be written.
        """
        with self._gate.alone():
            if self.opened != opened or self._inherited:
                return None
            try:
                self._set_aside_and_open()
            except (OSError, lmdb.Error):
                self._close()
                raise
            return self.set_aside

    def moved(self):
        """Return whether the file this has open is no longer the one in the folder."""
        guard = self._guard
        if guard is None:
            return False
        try:
            here = os.fstat(guard)
            there = os.stat(os.path.join(self.folder, GUARD))
        except OSError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)


def _pages(check, *args):
    try:
        check(*args)
    except UnsoundError as error:
        raise lmdb.CorruptedError(str(error)) from error


def page_bytes(stat):
    """Return the bytes of the pages that one database fills."""
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * stat["psize"]


# Who has the store open: everybody holds the guard file's lock shared, and only who
# can have it alone may take files away. The lock goes when its process dies.


def _open_guard(folder):
    guard = os.open(os.path.join(folder, GUARD), os.O_RDWR | os.O_CREAT, 0o666)
    _share(guard)
    return guard


def _share(guard):
    if fcntl is not None and guard is not None:
        fcntl.flock(guard, fcntl.LOCK_SH)


def _own_alone(guard):
    if fcntl is None or guard is None:
        return False
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path):
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


# A fork waits until no thread is in a transaction; the child closes what it
# inherited and opens it anew at first use, as LMDB asks.

_held = []


def _before_fork():
    _all_lock.acquire()
    for environment in list(_all):
        environment._gate.acquire_alone()
        _held.append(environment)


def _after_fork_in_parent():
    while _held:
        _held.pop()._gate.release_alone()
    _all_lock.release()


def _after_fork_in_child():
    global _all_lock
    _held.clear()
    _all_lock = threading.Lock()
    for environment in list(_all):
        environment._gate = Gate()
        environment._inherited = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
