"""A model kept busy: clips are read ahead of it, and batches wait for it."""

import math
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from joblib import cpu_count, effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor
from joblib.parallel import get_active_backend

from skmer.cache import Record
from skmer.encoders._forward import Fetch, Room

# Batches that are made at once: the more, the more alike their lengths.
_BLOCK_BATCHES = 8
# Bytes of a block, and of all that was read and waits, at most.
_BLOCK_BYTES = 2**27
_HELD_BYTES = 2**29
# Libraries that would start threads of their own in each reading process.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
}


def encode_with(job, cells, device):
    """Read clips and run them through a model, one thing after the other.

    Parameters
    ----------
    job : Job
        What there is to do.
    cells : list of str
        Paths or texts.
    device : str
        Where the model runs.

    Returns
    -------
    results : list of (Record or Exception)
        One a clip.
    """
    read = job.reader or str
    clips = [_Clip(job, cell, read(cell)) for cell in cells]
    places = [(clip, place) for clip in clips for place in range(len(clip.stretches))]
    if places:
        forward, room = partial(job.forward, job.load(device)), Room()
        for batch in job.batches([c.stretches[p] for c, p in places], device):
            stretches = [places[i][0].stretches[places[i][1]] for i in batch]
            parts = Fetch(room.run(forward, stretches)).wait()
            for i, part in zip(batch, parts, strict=True):
                clip, place = places[i]
                clip.parts[place] = part
    return [clip.result(job) for clip in clips]


def encode_ahead(job, cells, devices, n_jobs, stop):
    """Encode clips, reading ahead of the models; yield what is done.

    Batches are made of blocks of clips in their order, so that they do not depend
    on what is ready first.

    Parameters
    ----------
    job : Job
        What there is to do.
    cells : list of str
        Paths or texts.
    devices : list of str
        A model runs on each, in a thread of this process.
    n_jobs : int or None
        How many read; see :func:`n_readers`.
    stop : callable
        Tells whether to begin nothing more.

    Yields
    ------
    numbers : list of int
        Which clips.
    results : list of (Record or Exception)
        What became of them.
    """
    ahead = _Ahead(job, cells, devices, stop)
    with _readers(job, devices, n_jobs) as readers, ahead.serving():
        yield from ahead.results(*readers)


def n_readers(n_jobs, devices):
    """Return how many clips are read at a time.

    Parameters
    ----------
    n_jobs : int or None
        As elsewhere; None beside a GPU is every core, unless a joblib context says
        otherwise or this is a worker itself.
    devices : list of str
        Where models run.
    """
    backend, n_context = get_active_backend()
    alone = n_context in (None, 1) and not getattr(backend, "nesting_level", 0)
    if n_jobs is None and alone and any(device != "cpu" for device in devices):
        return cpu_count()
    return effective_n_jobs(n_jobs)


@contextmanager
def _readers(job, devices, n_jobs):
    """Give a function that starts reading a cell, and how many it reads at a time."""
    if job.reader is None:
        yield _at_once, 1
        return
    n = n_readers(n_jobs, devices)
    backend, _ = get_active_backend()
    if n == 1 or getattr(backend, "supports_sharedmem", False):
        pool, options = ThreadPoolExecutor(n), {"cancel_futures": True}
    else:
        pool, options = ProcessPoolExecutor(n, env=_ONE_THREAD), {"kill_workers": True}
    try:
        yield partial(pool.submit, job.reader), n
    except BaseException:
        pool.shutdown(wait=True, **options)
        raise
    pool.shutdown(wait=True)


def _at_once(cell):
    future = Future()
    future.set_result(cell)
    return future


class _Clip:
    """One clip between being read and being done."""

    def __init__(self, job, cell, found):
        self.cell = cell
        self.failure = found if isinstance(found, Exception) else None
        whole = found is not None and self.failure is None
        self.stretches = job.stretches(found) if whole else []
        self.parts = [None] * len(self.stretches)
        self.left = len(self.stretches)
        self.n_bytes = sum(stretch.values.nbytes for stretch in self.stretches)

    def result(self, job):
        """Return what became of it."""
        if self.failure is not None:
            return self.failure
        for part in self.parts:
            if isinstance(part, Exception):
                return part
        if not self.stretches:
            return Record("missing")
        return job.record(self.cell, self.stretches, self.parts)


class _Ahead:
    """One call of :func:`encode_ahead`.

    The thread that calls it does everything but to read and to run the models, and
    sleeps until one of these is done with something.
    """

    def __init__(self, job, cells, devices, stop):
        self.job = job
        self.cells = cells
        self.devices = devices
        self.stop = stop
        self.events = queue.SimpleQueue()
        self.todo = queue.SimpleQueue()
        self.reading = deque()  # (number, future), in the order of clips
        self.clips = {}  # number -> clip that models work on
        self.block = []  # (number, place) of stretches that wait to be batched
        self.block_length = self.block_bytes = 0
        self.done = []
        self.next = 0
        self.held = 0

    @contextmanager
    def serving(self):
        """Run a thread for each device."""
        threads = [
            threading.Thread(target=self.serve, args=(device,), daemon=True)
            for device in self.devices
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            # What is left is not wanted any more; the batch under way ends.
            self.forget()
            for _ in threads:
                self.todo.put(None)
            for thread in threads:
                thread.join()

    def forget(self):
        """Take back the batches that no device has begun."""
        try:
            while True:
                self.todo.get(block=False)
        except queue.Empty:
            pass

    def results(self, read, n_readers):
        """Yield what is done until all is."""
        while True:
            self.read_on(read, n_readers)
            self.take_in()
            self.hand_out()
            if self.done:
                numbers, results = zip(*self.done, strict=True)
                self.done = []
                yield list(numbers), list(results)
            elif self.reading or self.clips:
                self.hear(self.events.get())
            elif self.read_all():
                return

    def read_all(self):
        """Tell whether nothing more is going to be read."""
        return self.next == len(self.cells) or self.stop()

    def read_on(self, read, n_readers):
        """Keep readers busy, as long as what they read finds room."""
        while (
            len(self.reading) < 2 * n_readers + 2
            and self.held < _HELD_BYTES
            and not self.read_all()
        ):
            future = read(self.cells[self.next])
            self.reading.append((self.next, future))
            self.next += 1
            future.add_done_callback(lambda _: self.events.put(None))

    def take_in(self):
        """Take what was read, in the order of clips."""
        while self.reading and self.reading[0][1].done():
            number, future = self.reading.popleft()
            clip = _Clip(self.job, self.cells[number], future.result())
            if not clip.stretches:
                self.done.append((number, clip.result(self.job)))
                continue
            self.clips[number] = clip
            self.held += clip.n_bytes
            self.block += [(number, place) for place in range(len(clip.stretches))]
            self.block_length += sum(map(len, clip.stretches))
            self.block_bytes += clip.n_bytes
            if self.is_full():
                self.hand_out(whole=True)

    def stretches(self, places):
        """Return stretches by number of clip and place in it."""
        return [self.clips[number].stretches[place] for number, place in places]

    def is_full(self):
        """Tell whether a block is large enough to be batched."""
        budget, at_most = self.job.limits(self.devices[0])
        return (
            self.block_length >= _BLOCK_BATCHES * budget
            or len(self.block) >= _BLOCK_BATCHES * (at_most or math.inf)
            or self.block_bytes >= _BLOCK_BYTES
        )

    def hand_out(self, whole=False):
        """Give a block to the devices when it is whole, or the last."""
        if not self.block or not (whole or (self.read_all() and not self.reading)):
            return
        for batch in self.job.batches(self.stretches(self.block), self.devices[0]):
            self.todo.put([self.block[i] for i in batch])
        self.block, self.block_length, self.block_bytes = [], 0, 0

    def serve(self, device):
        """Run batches on a device; the copies of one are made beside the next."""
        under_way = deque()
        try:
            forward, room = partial(self.job.forward, self.job.load(device)), Room()
            while True:
                try:
                    batch = self.todo.get(block=not under_way)
                except queue.Empty:
                    self.report(*under_way.popleft())
                    continue
                if batch is None:
                    break
                parts = room.run(forward, self.stretches(batch))
                under_way.append((batch, Fetch(parts)))
                if len(under_way) > 1:
                    self.report(*under_way.popleft())
            while under_way:
                self.report(*under_way.popleft())
        except BaseException as error:
            self.events.put(error)

    def report(self, batch, fetch):
        """Tell the calling thread of a batch that is done."""
        self.events.put((batch, fetch.wait()))

    def hear(self, event):
        """Take in what happened."""
        if isinstance(event, BaseException):
            raise event
        if event is None:
            return
        for (number, place), part in zip(*event, strict=True):
            clip = self.clips[number]
            clip.parts[place] = part
            clip.left -= 1
            if not clip.left:
                self.held -= clip.n_bytes
                self.done.append((number, clip.result(self.job)))
                del self.clips[number]
