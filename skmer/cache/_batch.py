"""Reading many stored records at once, without an object for each."""

import json
import zlib

import numpy as np

from skmer.cache._checksum import row_checksums
from skmer.cache._record import (
    ABSENT,
    CHECKSUM_WORD,
    HEAD,
    MAGIC,
    OK,
    STATUSES,
    VERSION,
    Record,
    layout_id,
    parse_layout,
)

# Rows are joined, checked and copied out in pieces that stay in the CPU's cache.
_PIECE_BYTES = 1 << 19
_LAYOUTS = {}
_LAYOUTS_KEPT = 4096


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
    n_damaged : int
        Records that did not match their checksum; their status is absent.
    """

    def __init__(self, n_keys, names=None):
        self.status = np.zeros(n_keys, dtype=np.uint8)
        self.groups = []
        self.n_damaged = 0
        self._names = None if names is None else frozenset(names)
        self._notes = {}
        self._seen_notes = {}
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
        raw = self._notes.get(range(len(self))[index])
        try:
            note = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) else {}

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
                row = np.searchsorted(positions, index)
                if row < len(positions) and positions[row] == index:
                    arrays = {name: a[row, ...] for name, a in stacked.items()}
        return Record(STATUSES[status], arrays, self.note(index))

    def add(self, start, keys, values):
        """Take in what LMDB holds for some consecutive keys.

        Parameters
        ----------
        start : int
            Position of the first of them.
        keys : sequence of bytes
            The keys.
        values : sequence of buffer
            Their values, empty where absent; not used after this returns.
        """
        size = HEAD.itemsize
        heads = b"".join([value[:size] for value in values])
        if len(heads) != size * len(values):
            # Absent values, and any cut off inside the head.
            held = [i for i, value in enumerate(values) if len(value) >= size]
            self.n_damaged += sum(0 < len(value) < size for value in values)
            if not held:
                return
            heads = b"".join([values[i][:size] for i in held])
            heads = np.frombuffer(heads, dtype=HEAD)
        else:
            held = range(len(values))
            heads = np.frombuffer(heads, dtype=HEAD)
        lengths = np.fromiter((len(values[i]) for i in held), np.uint64, len(held))
        known = (heads["magic"] == MAGIC) & (heads["version"] == VERSION)
        layout, payload = heads["layout_bytes"], heads["payload_bytes"]
        note = heads["note_bytes"]
        # Each is compared first: a damaged payload size could wrap the sum.
        whole = (
            (payload <= lengths)
            & (layout + payload + note + np.uint64(size) == lengths)
            & (layout % 8 == 0)
            & (payload % 8 == 0)
            & (heads["status"] >= OK)
            & (heads["status"] < len(STATUSES))
        )
        self.n_damaged += int(np.count_nonzero(known & ~whole))
        usable = np.flatnonzero(known & whole)
        while len(usable):
            first = heads[usable[0]]
            same = (
                (heads["layout_id"][usable] == first["layout_id"])
                & (layout[usable] == first["layout_bytes"])
                & (payload[usable] == first["payload_bytes"])
            )
            alike = usable[same]
            self._add_alike(start, keys, values, held, heads, alike)
            usable = usable[~same]

    def _add_alike(self, start, keys, values, held, heads, alike):
        """Take in values whose heads give one layout and one size."""
        head = heads[alike[0]]
        fixed = HEAD.itemsize + int(head["layout_bytes"] + head["payload_bytes"])
        noted = heads["note_bytes"][alike].any()
        common = 2 * len(alike) > len(values)
        step = max(1, _PIECE_BYTES // fixed)
        for begin in range(0, len(alike), step):
            piece = alike[begin : begin + step]
            where = [held[i] for i in piece.tolist()]
            cut = [values[i][:fixed] if noted else values[i] for i in where]
            raw = b"".join(cut) if len(cut) > 1 else cut[0]
            rows = np.frombuffer(raw, dtype="<u8").reshape(len(cut), fixed // 8)
            found = row_checksums(rows, [keys[i] for i in where], CHECKSUM_WORD)
            good = found == heads["checksum"][piece]
            if noted:
                self._check_notes(start, values, where, heads[piece], fixed, good)
            positions = np.asarray(where, dtype=np.int64) + start
            status = heads["status"][piece]
            self._add_rows(rows, head, status, positions, good, common)

    def _check_notes(self, start, values, where, heads, fixed, good):
        crcs = heads["note_crc"].tolist()
        for number, (index, crc) in enumerate(zip(where, crcs, strict=True)):
            note = bytes(values[index][fixed:])
            # The same few notes stand beside most clips.
            found = self._seen_notes.get(note)
            if found is None:
                found = self._seen_notes[note] = zlib.crc32(note)
            if found != crc:
                good[number] = False
            elif note:
                self._notes[start + index] = note

    def _add_rows(self, rows, head, status, positions, good, common):
        begin = HEAD.itemsize
        end = begin + int(head["layout_bytes"])
        raw = rows.view(np.uint8)
        # Rows whose checksum holds may share an identifier and yet, in a forged
        # store, not a layout.
        layouts = raw[:, begin:end]
        if good.any():
            row = int(np.argmax(good))
            layout = layouts[row].tobytes()
            good &= (layouts == layouts[row]).all(axis=1)
            entries = _entries(layout, head)
            if entries is None:
                good[:] = False
        self.n_damaged += len(good) - int(np.count_nonzero(good))
        if not good.any():
            return
        if not good.all():
            rows, raw, status = rows[good], raw[good], status[good]
            positions = positions[good]
        self.status[positions] = status
        ok = status == OK
        if not ok.all():
            raw, positions = raw[ok], positions[ok]
        if not len(positions):
            return
        group = self._open.get(layout)
        if group is None:
            wanted = [e for e in entries if self._names is None or e[0] in self._names]
            room = len(self) - int(positions[0]) if common and not self._open else 0
            group = self._open[layout] = _Group(wanted, room)
        group.add(positions, raw, end)

    def finish(self):
        """Put the groups into their final form."""
        self.groups = [group.finish() for group in self._open.values()]
        self._open = {}
        return self


class _Group:
    """Records of one layout, as they come in."""

    def __init__(self, entries, room):
        self.entries = entries
        self.positions = []
        self.count = 0
        # A layout that most first records have is likely that of all: then there is
        # one array, filled in place. Untouched pages of it take no memory.
        self.room = room
        self.arrays = {
            name: np.empty((room, *shape), dtype)
            for name, dtype, shape, _, _ in entries
        }
        self.pieces = {name: [] for name in self.arrays}

    def add(self, positions, raw, begin):
        stop = self.count + len(positions)
        for name, dtype, shape, offset, size in self.entries:
            cells = raw[:, begin + offset : begin + offset + size]
            if dtype.kind == "b":
                cells = cells != 0
            elif size:
                cells = cells.view(dtype)
            cells = cells.reshape(len(positions), *shape)
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


def _entries(layout, head):
    """Parse a layout once per process."""
    payload = int(head["payload_bytes"])
    entries = _LAYOUTS.get((layout, payload))
    if entries is None and layout_id(layout) == int(head["layout_id"]):
        entries = parse_layout(layout, payload)
        if entries is not None:
            if len(_LAYOUTS) >= _LAYOUTS_KEPT:
                _LAYOUTS.clear()
            _LAYOUTS[layout, payload] = entries
    return entries
