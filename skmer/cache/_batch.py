"""Reading many stored records at once, without an object for each."""

import json

import numpy as np

from skmer.cache._checksum import row_checksums
from skmer.cache._record import (
    ABSENT,
    CHECKSUM_WORD,
    HEAD,
    HEAD_WORDS,
    MAGIC,
    OK,
    STATUSES,
    VERSION,
    Record,
    layout_id,
    parse_layout,
)

# Rows are joined, checked and copied out in pieces that stay in the CPU's cache.
_PIECE_BYTES = 1 << 20
_LAYOUTS = {}
_LAYOUTS_KEPT = 4096
# The first word of a record: magic and version, then its status.
_KIND_MASK = np.uint64((1 << 48) - 1)
_KIND = np.uint64(int.from_bytes(MAGIC + VERSION.to_bytes(2, "little"), "little"))
_STATUS_SHIFT = np.uint64(48)


class RecordBatch:
    """Answer of a store to a sequence of keys.

    Attributes
    ----------
    status : ndarray of shape (n_keys,), dtype uint8
        0 absent, 1 ok, 2 missing, 3 error, in the order of the keys.
    groups : list of (ndarray of int64, dict of str to ndarray)
        The ``ok`` records, those of one layout (the same names, dtypes and
        shapes) stacked: their positions among the keys, ascending, and for each
        name an array of shape (n_positions, \\*shape). All memory is the
        caller's own.
    placed : list of (ndarray of int64, tuple of str)
        The ``ok`` records that went straight into the caller's arrays: their
        positions among the keys, and the names of those arrays.
    n_damaged : int
        Records that did not match their checksum; their status is absent.
    """

    def __init__(self, n_keys, names=None, into=None):
        self.status = np.zeros(n_keys, dtype=np.uint8)
        self.groups = []
        self.placed = []
        self.n_damaged = 0
        self._names = None if names is None else frozenset(names)
        self._into = into
        self._notes = []
        self._open = {}

    def __len__(self):
        return len(self.status)

    def note(self, index):
        """Return the note of one record.

        Parameters
        ----------
        index : int
            Position among the keys.

        Returns
        -------
        note : dict
            Empty where the record has none or is absent.
        """
        index = range(len(self))[index]
        for positions, raw in self._notes:
            row = _row_of(positions, index)
            if row is not None:
                try:
                    note = json.loads(raw[row].tobytes())
                except (ValueError, RecursionError):
                    return {}
                return note if isinstance(note, dict) else {}
        return {}

    def record(self, index):
        """Return one record.

        Parameters
        ----------
        index : int
            Position among the keys.

        Returns
        -------
        record : Record

        Raises
        ------
        KeyError
            If the store does not have it.
        """
        index = range(len(self))[index]
        status = self.status[index]
        if status == ABSENT:
            raise KeyError(f"The store has no record for key number {index}.")
        arrays = {}
        if status == OK:
            for positions, stacked in self.groups:
                row = _row_of(positions, index)
                if row is not None:
                    arrays = {name: a[row, ...] for name, a in stacked.items()}
            for positions, names in self.placed:
                if _row_of(positions, index) is not None:
                    arrays = {name: self._into[name][index, ...] for name in names}
        return Record(STATUSES[status], arrays, self.note(index))

    def add(self, start, keys, values):
        """Take in what LMDB holds for some consecutive keys.

        Parameters
        ----------
        start : int
            Position of the first of them.
        keys : sequence of bytes
            The keys.
        values : sequence of buffer or None
            Their values, None where absent; not used after this returns.
        """
        try:
            sizes = set(map(len, values))
        except TypeError:
            sizes = None
        if sizes is not None and len(sizes) == 1:
            # The common case, spared some lists: nothing absent, one size.
            self._add_size(sizes.pop(), start, None, keys, values)
            return
        by_size = {}
        for index, value in enumerate(values):
            if value is not None:
                by_size.setdefault(len(value), []).append(index)
        for size, where in by_size.items():
            some = [values[i] for i in where]
            self._add_size(size, start, where, [keys[i] for i in where], some)

    def _add_size(self, size, start, where, keys, values):
        """Take in values of one size, at ``start + where`` or from ``start`` on."""
        if size % 8 or size < HEAD.itemsize:
            self.n_damaged += len(values)
            return
        if where is None:
            positions = np.arange(start, start + len(values))
        else:
            positions = np.array(where) + start
        step = max(1, _PIECE_BYTES // size)
        for begin in range(0, len(values), step):
            piece = slice(begin, begin + step)
            raw = values[piece]
            raw = b"".join(raw) if len(raw) > 1 else raw[0]
            rows = np.frombuffer(raw, dtype="<u8").reshape(-1, size // 8)
            self._add_rows(positions[piece], keys[piece], rows, where is None)

    def _add_rows(self, positions, keys, rows, common):
        """Take in values of one size."""
        known = rows[:, 0] & _KIND_MASK == _KIND
        if not known.all():
            rows, positions = rows[known], positions[known]
            keys = [key for key, keep in zip(keys, known, strict=True) if keep]
            if not keys:
                return
        whole = row_checksums(rows, keys, CHECKSUM_WORD) == rows[:, CHECKSUM_WORD]
        if not whole.all():
            self.n_damaged += len(whole) - int(np.count_nonzero(whole))
            rows, positions = rows[whole], positions[whole]
        while len(rows):
            alike = (rows[:, 1:CHECKSUM_WORD] == rows[0, 1:CHECKSUM_WORD]).all(axis=1)
            if alike.all():
                self._add_alike(positions, rows, common)
                return
            self._add_alike(positions[alike], rows[alike], common)
            rows, positions = rows[~alike], positions[~alike]

    def _add_alike(self, positions, rows, common):
        """Take in values whose heads name one layout, one size and one note's size."""
        head = rows[0, :HEAD_WORDS].view(HEAD)[0]
        begin = HEAD.itemsize + int(head["layout_bytes"])
        payload, note = int(head["payload_bytes"]), int(head["note_bytes"])
        status = (rows[:, 0] >> _STATUS_SHIFT & np.uint64(0xFF)).astype(np.uint8)
        entries = None
        raw = rows.view(np.uint8)
        fits = begin + payload + note == raw.shape[1]
        if fits and status.min() >= OK and status.max() < len(STATUSES):
            layout = raw[0, HEAD.itemsize : begin].tobytes()
            entries = _entries(layout, int(head["layout_id"]), payload)
        if entries is None:
            self.n_damaged += len(rows)
            return
        self.status[positions] = status
        if note:
            self._notes.append((positions, raw[:, begin + payload :].copy()))
        ok = status == OK
        if not ok.all():
            raw, positions = raw[ok], positions[ok]
            if not len(positions):
                return
        group = self._open.get(layout)
        if group is None:
            wanted = [e for e in entries if self._names is None or e[0] in self._names]
            if self._into is not None and _fit_into(wanted, self._into):
                group = _Placement(wanted, self._into)
            else:
                first = common and not self._open
                room = len(self) - int(positions[0]) if first else 0
                group = _Group(wanted, room)
            self._open[layout] = group
        group.add(positions, raw, begin)

    def finish(self):
        """Put the groups into their final form.

        Returns
        -------
        self : RecordBatch
        """
        for group in self._open.values():
            placed = isinstance(group, _Placement)
            (self.placed if placed else self.groups).append(group.finish())
        self._open = {}
        return self


def _row_of(positions, index):
    row = int(np.searchsorted(positions, index))
    return row if row < len(positions) and positions[row] == index else None


def _cells(raw, entry, begin):
    """Return one array of records, a view of their bytes where that can be."""
    _, dtype, shape, offset, size = entry
    cells = raw[:, begin + offset : begin + offset + size]
    if dtype.kind == "b":
        cells = cells != 0
    elif size:
        cells = cells.view(dtype)
    return cells.reshape(len(raw), *shape)


def _fit_into(entries, into):
    return all(
        name in into and into[name].dtype == dtype and into[name].shape[1:] == shape
        for name, dtype, shape, _, _ in entries
    )


class _Placement:
    """Records of one layout that go straight into the caller's arrays."""

    def __init__(self, entries, into):
        self.entries = entries
        self.into = into
        self.positions = []

    def add(self, positions, raw, begin):
        first, last = int(positions[0]), int(positions[-1]) + 1
        where = slice(first, last) if last - first == len(positions) else positions
        for entry in self.entries:
            self.into[entry[0]][where] = _cells(raw, entry, begin)
        self.positions.append(positions)

    def finish(self):
        names = tuple(entry[0] for entry in self.entries)
        return np.concatenate(self.positions), names


class _Group:
    """Records of one layout, as they come in."""

    def __init__(self, entries, room):
        self.entries = entries
        self.positions = []
        self.count = 0
        # A layout that all first records have is likely that of all: then there is
        # one array, filled in place. Untouched pages of it take no memory.
        self.room = room
        self.arrays = {
            name: np.empty((room, *shape), dtype)
            for name, dtype, shape, _, _ in entries
        }
        self.pieces = {name: [] for name in self.arrays}

    def add(self, positions, raw, begin):
        stop = self.count + len(positions)
        for entry in self.entries:
            name, dtype = entry[:2]
            cells = _cells(raw, entry, begin)
            if stop <= self.room:
                self.arrays[name][self.count : stop] = cells
            else:
                self.pieces[name].append(cells.astype(dtype, order="C"))
        self.positions.append(positions)
        self.count = stop

    def finish(self):
        arrays = {}
        for name in self.arrays:
            filled = self.arrays[name][: self.count]
            pieces = self.pieces[name]
            if pieces:
                in_place = self.count - sum(map(len, pieces))
                pieces = [filled[:in_place], *pieces] if in_place else pieces
                filled = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            elif self.count < self.room // 2:
                filled = filled.copy()
            arrays[name] = filled
        return np.concatenate(self.positions), arrays


def _entries(layout, identifier, payload):
    """Parse a layout once per process."""
    known = identifier, layout, payload
    entries = _LAYOUTS.get(known)
    if entries is None and layout_id(layout) == identifier:
        entries = parse_layout(layout, payload)
        if entries is not None:
            if len(_LAYOUTS) >= _LAYOUTS_KEPT:
                _LAYOUTS.clear()
            _LAYOUTS[known] = entries
    return entries
