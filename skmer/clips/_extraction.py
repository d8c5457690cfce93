"""From cells to records: look up, compute what is missing, store as it completes."""

from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from skmer._config import get_config, thread_settings
from skmer.cache import Record, make_keys
from skmer.clips._clusters import is_cluster_active
from skmer.clips._files_there import encode_where_same, with_sizes
from skmer.clips._workers import run_tasks
from skmer.exceptions import MediaError, MediaLimitError

# Failures that may be gone the next time: never stored.
_PASSING = (MemoryError, OSError, OverflowError, MediaLimitError)


@dataclass(frozen=True)
class Failure:
    """Why one row of X gave no features."""

    position: int
    clip: str
    stage: str
    reason: str

    def error(self):
        """Return the failure as the error it came from."""
        error = MediaError(self.clip, self.stage, self.reason)
        error.add_note(
            "With on_error='nan' clips that cannot be read become rows of NaN, and "
            "failures(X) of the encoder lists them."
        )
        return error


def extract(encoder, cells, store, namespace, sink, *, stop_at_failure):
    """Hand the records of all cells to a sink, each computed at most once.

    Parameters
    ----------
    encoder : ClipEncoder
        Gives ``_encode``, ``_is_enough``, ``n_jobs``, ``batch_size``, ``verbose``.
    cells : list of (str or None)
        Paths or texts.
    store : FeatureStore
        Where records are looked up and put.
    namespace : bytes
        Digest of everything but the clip that decides a record.
    sink : Matrix, Reduced or Columns
        Where values go.
    stop_at_failure : bool
        Raise the first failure; what was computed before it is stored all the same.

    Returns
    -------
    failures : list of Failure
        In order of rows.
    """
    work = _Work(encoder, cells, store, sink, stop_at_failure)
    work.identify(namespace)
    absent = work.look_up()
    if absent:
        work.compute(absent)
    return sorted(work.failures, key=lambda failure: failure.position)


class _Work:
    """One call of :func:`extract`.

    Clips are numbered by their distinct keys: number i has ``keys[i]`` and stands
    in the rows ``rows_of(i)``.
    """

    def __init__(self, encoder, cells, store, sink, stop_at_failure):
        self.encoder = encoder
        self.cells = cells
        self.store = store
        self.sink = sink
        self.stop_at_failure = stop_at_failure
        self.failures = []

    def identify(self, namespace):
        """Find the key of every cell and number the distinct ones."""
        rows, known = range(len(self.cells)), self.cells
        if None in known:
            rows = [row for row in rows if self.cells[row] is not None]
            known = [self.cells[row] for row in rows]
        identities = self.identities(known)
        if set(map(type, identities)) - {bytes}:
            for row, identity in zip(rows, identities, strict=True):
                if isinstance(identity, Exception):
                    self.fail([row], "open", _sentence(identity))
            readable = [i for i, v in enumerate(identities) if isinstance(v, bytes)]
            rows = [rows[i] for i in readable]
            identities = [identities[i] for i in readable]
        self.keys = make_keys(identities, namespace)
        self.rows, self.copies = rows, None
        if len(set(self.keys)) < len(self.keys):
            self.copies = {}
            for key, row in zip(self.keys, rows, strict=True):
                self.copies.setdefault(key, []).append(row)
            self.keys = list(self.copies)

    def identities(self, cells):
        """Return what identifies the content of cells, an error where unreadable."""
        return self.encoder._identities(cells, self.store)

    def rows_of(self, number):
        """Return the rows that hold one clip."""
        if self.copies is None:
            return [self.rows[number]]
        return self.copies[self.keys[number]]

    def look_up(self):
        """Hand over what is stored; return the numbers of what is not."""
        in_place = self.copies is None and len(self.rows) == len(self.cells)
        n_keys = len(self.keys)
        step = self.sink.lookup(in_place)
        absent = []
        for start in range(0, n_keys, step):
            stop = min(start + step, n_keys)
            into = self.sink.places(start, stop) if in_place else None
            batch = self.store.get_many(self.keys[start:stop], into=into)
            for found, names in batch.placed:
                self.sink.mark(found + start, names)
            for found, arrays in batch.groups:
                if not self.encoder._is_enough(arrays):
                    absent += (found + start).tolist()
                    continue
                rows, take = self.expand(found + start)
                keys = [self.keys[i] for i in found + start]
                if take is not None:
                    arrays = {name: array[take] for name, array in arrays.items()}
                    keys = [keys[i] for i in take]
                self.sink.receive(rows, arrays, keys)
            for i in np.flatnonzero(batch.status == Record.STATUS["error"]):
                self.fail_as_noted(self.rows_of(start + i), batch.note(i))
            missed = np.flatnonzero(batch.status == Record.STATUS["absent"])
            absent += (missed + start).tolist()
        return sorted(absent)

    def expand(self, numbers):
        """Return the rows of clips, and for each row which of the clips it is."""
        lists = [self.rows_of(number) for number in numbers]
        if self.copies is None:
            return np.asarray([rows[0] for rows in lists]), None
        take = np.repeat(np.arange(len(lists)), [len(rows) for rows in lists])
        return np.asarray([row for rows in lists for row in rows]), take

    def compute(self, numbers):
        """Encode clips and store what is done at once."""
        cells = [self.cell(number) for number in numbers]
        failed = []
        # Nothing new once one failed; what is under way is still stored.
        results = self.encoder._results(cells, lambda: bool(failed))
        with (
            closing(results),
            tqdm(
                total=len(numbers),
                desc=type(self.encoder).__name__,
                unit="clip",
                disable=not self.encoder.verbose,
            ) as bar,
        ):
            for places, found in results:
                try:
                    self.accept([numbers[place] for place in places], found)
                except MediaError as error:
                    failed.append(error)
                bar.update(len(found))
        if failed:
            raise failed[0]

    def cell(self, number):
        """Return the path or text of a clip."""
        return self.cells[self.rows_of(number)[0]]

    def accept(self, numbers, results):
        """Store one finished batch, then hand it over."""
        records = [
            _failed(result) if isinstance(result, Exception) else result
            for result in results
        ]
        stored = self.keep(numbers, results, records)
        for number, record in zip(numbers, records, strict=True):
            rows = self.rows_of(number)
            if record.status == "error":
                self.fail_as_noted(rows, record.note)
            elif record.status == "ok":
                arrays = {
                    name: np.repeat(array[None], len(rows), axis=0)
                    for name, array in record.arrays.items()
                }
                key = self.keys[number] if number in stored else None
                self.sink.receive(np.asarray(rows), arrays, [key] * len(rows))

    def keep(self, numbers, results, records):
        """Store what may be stored; return the numbers of the clips it was."""
        if not self.store.writable:
            return frozenset()
        # A file replaced since it was identified must not be stored under what it
        # was before.
        identities = self.identities([self.cell(number) for number in numbers])
        wanted = {
            number: record
            for number, identity, result, record in zip(
                numbers, identities, results, records, strict=True
            )
            if not isinstance(result, _PASSING)
            and isinstance(identity, bytes)
            and self.keys[number].endswith(identity)
        }
        items = [(self.keys[number], record) for number, record in wanted.items()]
        return frozenset(wanted) if self.store.put_many(items) else frozenset()

    def fail_as_noted(self, rows, note):
        """Fail rows for the reason that a record of status "error" gives."""
        self.fail(rows, note.get("stage", "encode"), note.get("reason", "unknown"))

    def fail(self, rows, stage, reason):
        """Note that rows gave nothing, or raise where that is asked for."""
        for row in rows:
            failure = self.failure(row, stage, reason)
            if self.stop_at_failure:
                raise failure.error()
            self.failures.append(failure)

    def failure(self, row, stage, reason):
        """Return why a row gave nothing, with the file where that is not the clip."""
        cell = self.cells[row]
        source = self.encoder._sources([cell])[0]
        if source != cell:
            stage, reason = "features", f"{source}: {reason}"
        return Failure(row, cell, stage, reason)


def encode_in_tasks(encoder, cells, stop):
    """Encode clips a few at a time, in joblib's workers where asked.

    Parameters
    ----------
    encoder : ClipEncoder
        Gives ``_encode``, ``_clips_per_task`` and ``n_jobs``.
    cells : list of str
        Paths or texts.
    stop : callable
        Tells whether to begin nothing more.

    Yields
    ------
    numbers : list of int
        Which cells, in any order.
    results : list of (Record or Exception)
        What they gave.
    """
    settings = {name: get_config()[name] for name in ("device", "dtype")}
    encode, clips = partial(_encode_task, encoder, settings), cells
    if is_cluster_active():
        encode = partial(encode_where_same, encode)
        clips = with_sizes(encoder, cells)
    yield from run_tasks(encode, clips, encoder._clips_per_task(), encoder.n_jobs, stop)


def _encode_task(encoder, settings, cells):
    """Encode one batch in whatever process or thread joblib chose."""
    with thread_settings(**settings):
        try:
            results = encoder._encode(cells)
        except MediaError as error:
            # Raised in place of returned, which tells nothing of the other clips
            results = [error] if len(cells) == 1 else _one_by_one(encoder, cells)
    results = [_as_record(encoder, result) for result in results]
    if len(results) != len(cells):
        raise RuntimeError(
            f"{type(encoder).__name__}._encode returned {len(results)} results for "
            f"{len(cells)} clips. It must return one Record or exception a clip."
        )
    return results


def _one_by_one(encoder, cells):
    results = []
    for cell in cells:
        try:
            results.extend(encoder._encode([cell]))
        except MediaError as error:
            results.append(error)
    return results


def _as_record(encoder, result):
    """Let an encoder return an array, or None where a clip has nothing."""
    if isinstance(result, (Record, Exception)):
        return result
    if result is None:
        return Record("missing")
    if isinstance(result, np.ndarray):
        return Record("ok", {"values": np.asarray(result, dtype=np.float32)})
    raise TypeError(
        f"{type(encoder).__name__}._encode returned {type(result).__name__} for a "
        "clip. It must return a list with, for each clip, an array of its features, "
        "None (nothing there), a skmer.cache.Record, or a MediaError."
    )


def _failed(error):
    if isinstance(error, MediaError):
        return Record("error", note={"stage": error.stage, "reason": error.reason})
    return Record("error", note={"stage": "encode", "reason": _sentence(error)})


def _sentence(error):
    if isinstance(error, FileNotFoundError):
        return "there is no such file. Check the path"
    if isinstance(error, IsADirectoryError):
        return "it is a folder. Pass the files in it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
