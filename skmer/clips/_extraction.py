"""From cells to records: look up, compute what is missing, store as it completes."""

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from skmer.cache import Record, make_key, text_id
from skmer.exceptions import MediaError

# Keys looked up at a time: bounds the memory that a warm read needs besides its
# result to some tens of megabytes.
_LOOKUP = 4096
# Failures that may be gone the next time: never stored.
_PASSING = (MemoryError, TimeoutError)


@dataclass(frozen=True)
class Failure:
    """Why one row of X gave no features."""

    position: int
    clip: str
    stage: str
    reason: str

    def error(self):
        """Return the failure as the error it came from."""
        return MediaError(self.clip, self.stage, self.reason)


def extract(encoder, cells, store, namespace, receive, *, stop_at_failure):
    """Hand the records of all cells to ``receive``, each computed at most once.

    Parameters
    ----------
    encoder : ClipEncoder
        Gives ``_encode``, ``n_jobs``, ``batch_size`` and ``verbose``.
    cells : list of (str or None)
        Paths or texts.
    store : FeatureStore
        Where records are looked up and put.
    namespace : bytes
        Digest of everything but the clip that decides a record.
    receive : callable
        ``receive(rows, arrays, keys)``: ``rows`` an int array, ``arrays`` a dict of
        arrays whose first axis is the rows, ``keys`` the keys of the rows.
    stop_at_failure : bool
        Raise the first failure; what was computed before it is stored all the same.

    Returns
    -------
    failures : list of Failure
        In order of rows.
    """
    work = _Work(encoder, cells, store, receive, stop_at_failure)
    rows_of = work.keys(namespace)
    keys = list(rows_of)
    absent = []
    for start in range(0, len(keys), _LOOKUP):
        absent += work.look_up(keys[start : start + _LOOKUP], rows_of)
    if absent:
        work.compute(absent, rows_of)
    return sorted(work.failures, key=lambda failure: failure.position)


class _Work:
    """One call of :func:`extract`."""

    def __init__(self, encoder, cells, store, receive, stop_at_failure):
        self.encoder = encoder
        self.cells = cells
        self.store = store
        self.receive = receive
        self.stop_at_failure = stop_at_failure
        self.failures = []

    def keys(self, namespace):
        """Map each distinct key to the rows that need it."""
        rows = [i for i, cell in enumerate(self.cells) if cell is not None]
        known = [self.cells[i] for i in rows]
        if self.encoder._column == "text":
            identities = [text_id(text) for text in known]
        else:
            identities = self.store.content_ids(known)
        rows_of = {}
        for row, identity in zip(rows, identities, strict=True):
            if isinstance(identity, Exception):
                self.fail([row], "open", _sentence(identity))
            else:
                rows_of.setdefault(make_key(identity, namespace), []).append(row)
        return rows_of

    def look_up(self, keys, rows_of):
        """Hand over what is stored; return the keys that are not."""
        batch = self.store.get_many(keys)
        for found, arrays in batch.groups:
            rows, take, owners = _expand(found, keys, rows_of)
            if take is not None:
                arrays = {name: array[take] for name, array in arrays.items()}
            self.receive(rows, arrays, owners)
        for i in np.flatnonzero(batch.status == Record.STATUS["error"]):
            self.fail_as_noted(rows_of[keys[i]], batch.note(i))
        return [
            keys[i] for i in np.flatnonzero(batch.status == Record.STATUS["absent"])
        ]

    def compute(self, keys, rows_of):
        """Encode clips, in workers where asked, and store every batch at once."""
        size = self.encoder._clips_per_task()
        tasks = [keys[i : i + size] for i in range(0, len(keys), size)]
        # Pickled with every task, so without what only the caller needs.
        calls = (
            delayed(_encode_task)(
                self.encoder, number, [self.cells[rows_of[key][0]] for key in task]
            )
            for number, task in enumerate(tasks)
        )
        parallel = Parallel(n_jobs=self.encoder.n_jobs, return_as="generator_unordered")
        with tqdm(
            total=len(keys),
            desc=type(self.encoder).__name__,
            unit="clip",
            disable=not self.encoder.verbose,
        ) as bar:
            for number, results in parallel(calls):
                self.accept(tasks[number], results, rows_of)
                bar.update(len(results))

    def accept(self, keys, results, rows_of):
        """Store one finished batch, then hand it over."""
        records = [
            _failed(result) if isinstance(result, Exception) else result
            for result in results
        ]
        self.store.put_many(
            [
                (key, record)
                for key, record, result in zip(keys, records, results, strict=True)
                if not isinstance(result, _PASSING)
            ]
        )
        for key, record in zip(keys, records, strict=True):
            rows = rows_of[key]
            if record.status == "error":
                self.fail_as_noted(rows, record.note)
            elif record.status == "ok":
                arrays = {
                    name: np.repeat(array[None], len(rows), axis=0)
                    for name, array in record.arrays.items()
                }
                self.receive(np.asarray(rows), arrays, [key] * len(rows))

    def fail_as_noted(self, rows, note):
        """Fail rows for the reason that a record of status "error" gives."""
        self.fail(rows, note.get("stage", "encode"), note.get("reason", "unknown"))

    def fail(self, rows, stage, reason):
        """Note that rows gave nothing, or raise where that is asked for."""
        for row in rows:
            failure = Failure(row, self.cells[row], stage, reason)
            if self.stop_at_failure:
                raise failure.error()
            self.failures.append(failure)


def _encode_task(encoder, number, cells):
    """Encode one batch in whatever process joblib chose."""
    results = encoder._encode(cells)
    if len(results) != len(cells):
        raise RuntimeError(
            f"{type(encoder).__name__}._encode returned {len(results)} results for "
            f"{len(cells)} clips. It must return one Record or exception a clip."
        )
    return number, results


def _expand(found, keys, rows_of):
    """Return rows, which found entry each one takes, and the keys of the rows."""
    owners = [keys[i] for i in found]
    lists = [rows_of[key] for key in owners]
    if all(len(rows) == 1 for rows in lists):
        return np.asarray([rows[0] for rows in lists]), None, owners
    take = np.repeat(np.arange(len(lists)), [len(rows) for rows in lists])
    return (
        np.asarray([row for rows in lists for row in rows]),
        take,
        [owners[i] for i in take],
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
