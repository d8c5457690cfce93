"""A model kept busy: clips are read ahead of it, and batches wait for it."""

import math
import queue
import threading
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from joblib import cpu_count, effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor
from joblib.parallel import get_active_backend

from skmer.cache import Record
from skmer.clips._apart import ONE_THREAD, process_died
from skmer.encoders._forward import Fetch, Room

# Batches that are made at once: the more, the more alike their lengths.
_BLOCK_BATCHES = 8
# Bytes of what was read and waits, at most; half of it makes a block.
_HELD_BYTES = 160 * 2**20
# A process that reads has to start first: so many clips make it worth while.
_CLIPS_PER_READER = 8
# How often threads look whether they are still wanted, seconds.
_LOOK = 1.0


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
    clips = [_Clip(job, read(cell)) for cell in cells]
    places = [(clip, place) for clip in clips for place in range(len(clip.stretches))]
    if places:
        forward, room = partial(job.forward, job.load(device)), Room(job.cost)
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
    ahead, well = _Ahead(job, cells, devices, stop), False
    try:
        ahead.start(n_jobs)
        yield from ahead.results()
        well = True
    finally:
        ahead.end(well)


def n_readers(n_jobs, devices, n_clips):
    """Return how many clips are read at a time.

    Parameters
    ----------
    n_jobs : int or None
        As elsewhere; None beside a GPU is every core, fewer for few clips, unless a
        joblib context says how many or this is a worker itself.
    devices : list of str
        Where models run.
    n_clips : int
        How many there are to read.
    """
    backend, n_context = get_active_backend()
    alone = n_context in (None, 1) and not getattr(backend, "nesting_level", 0)
    if n_jobs is None and alone and any(device != "cpu" for device in devices):
        return min(cpu_count(), 1 + n_clips // _CLIPS_PER_READER)
    return max(1, min(effective_n_jobs(n_jobs), n_clips))


class _Threads:
    """Threads of this process that read clips."""

    def __init__(self, read, n_threads, events):
        self.read, self.events = read, events
        self.n_threads = n_threads
        self.todo, self.ended = queue.SimpleQueue(), False
        for _ in range(n_threads):
            threading.Thread(target=self._work, daemon=True).start()

    def start(self, number, cell):
        """Have a clip read; what was read comes as an event."""
        self.todo.put((number, cell))

    def _work(self):
        while not self.ended:
            try:
                task = self.todo.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if task is None:
                return
            number, cell = task
            try:
                self.events.put(("read", number, self.read(cell)))
            except BaseException as error:
                self.events.put(("failed", error))

    def end(self, well):
        """Let the threads go; a clip that is being read is not waited for."""
        self.ended = True
        for _ in range(self.n_threads):
            self.todo.put(None)


class _Processes:
    """Processes that read clips, of which any may die of a clip."""

    def __init__(self, read, n_processes, events):
        self.read, self.n_processes, self.events = read, n_processes, events
        self.pool, self.single = None, None
        self.futures = {}

    def start(self, number, cell):
        """Have a clip read; the future comes as an event when it is done."""
        try:
            future = self.whole_pool().submit(self.read, cell)
        except BrokenProcessPool:
            self.pool = None
            future = self.whole_pool().submit(self.read, cell)
        self.futures[number] = future
        future.add_done_callback(lambda f: self.events.put(("read", number, f)))

    def whole_pool(self):
        """Return the pool, a new one after the last broke."""
        if self.pool is None:
            self.pool = ProcessPoolExecutor(self.n_processes, env=ONE_THREAD)
        return self.pool

    def found(self, number, cell, future):
        """Return what was read, by a process of its own where others died."""
        del self.futures[number]
        try:
            return future.result()
        except BrokenProcessPool:
            self.pool = None
        if self.single is None:
            self.single = ProcessPoolExecutor(1, env=ONE_THREAD)
        try:
            return self.single.submit(self.read, cell).result()
        except BrokenProcessPool:
            self.single = None
            return process_died()

    def end(self, well):
        """Let the processes go; clips that are being read are not waited for."""
        for future in self.futures.values():
            future.cancel()
        for pool in (self.pool, self.single):
            if pool is not None:
                pool.shutdown(wait=well)


class _Clip:
    """One clip between being read and being done."""

    def __init__(self, job, found):
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
        return job.record(self.stretches, self.parts)


class _Ahead:
    """One call of :func:`encode_ahead`.

    The thread that calls it does everything but to read and to run the models, and
    sleeps until one of these is done with something.
    """

    def __init__(self, job, cells, devices, stop):
        self.job, self.cells, self.devices, self.stop = job, cells, devices, stop
        self.events, self.todo = queue.SimpleQueue(), queue.SimpleQueue()
        self.readers, self.threads, self.ended = None, [], False
        # Numbers of the next clip to be read, and to be taken in.
        self.next = self.turn = 0
        self.n_reading = self.n_queued = 0
        self.arrived = {}  # number -> clip that was read before its turn
        self.clips = {}  # number -> clip that models work on
        self.block = []  # (number, place) of stretches that wait to be batched
        self.block_length = self.block_bytes = 0
        self.held = self.n_bytes = self.n_read = 0
        self.done = []

    def start(self, n_jobs):
        """Begin to read, load the models, begin to run them."""
        read = self.job.reader
        self.n_readers = n_readers(n_jobs, self.devices, len(self.cells))
        shared = getattr(get_active_backend()[0], "supports_sharedmem", False)
        if read is not None:
            kind = _Threads if self.n_readers == 1 or shared else _Processes
            self.readers = kind(read, self.n_readers, self.events)
        self.read_on()
        # By one thread, and before any runs: loading changes PyTorch's default
        # number format for the whole process.
        loaded = [(device, self.job.load(device)) for device in self.devices]
        for _, backbone in loaded:
            thread = threading.Thread(target=self.serve, args=(backbone,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def end(self, well):
        """Let go of readers and models; batches under way end."""
        self.ended = True
        for _ in self.threads:
            self.todo.put(None)
        if self.readers is not None:
            self.readers.end(well)
        for thread in self.threads:
            thread.join()

    def results(self):
        """Yield what is done until all is."""
        while True:
            self.read_on()
            self.take_in()
            waiting = self.n_reading or self.n_queued
            if self.block and (not waiting or (self.read_all() and not self.n_reading)):
                self.hand_out()
            if self.done:
                numbers, results = zip(*self.done, strict=True)
                self.done = []
                yield list(numbers), list(results)
            elif self.n_reading or self.n_queued:
                self.hear(*self.events.get())
                while not self.events.empty():
                    self.hear(*self.events.get())
            elif self.read_all():
                return

    def read_all(self):
        """Tell whether nothing more is going to be read."""
        return self.next == len(self.cells) or self.stop()

    def has_room(self):
        """Tell whether one more clip may be read."""
        if not (self.held or self.n_reading):
            return True
        expected = (self.n_reading + 1) * self.n_bytes / max(1, self.n_read)
        return (
            self.n_reading < 2 * self.n_readers + 2
            and self.n_queued <= 2 * _BLOCK_BATCHES * len(self.devices)
            and self.held + expected < _HELD_BYTES
        )

    def read_on(self):
        """Keep readers busy, as long as what they read finds room."""
        while not self.read_all() and self.has_room():
            number, self.next = self.next, self.next + 1
            if self.readers is None:
                self.arrive(number, self.cells[number])
                self.take_in()
            else:
                self.n_reading += 1
                self.readers.start(number, self.cells[number])

    def arrive(self, number, found):
        """Keep what was read until its turn."""
        clip = _Clip(self.job, found)
        self.arrived[number] = clip
        self.held += clip.n_bytes
        if clip.n_bytes:
            self.n_bytes, self.n_read = self.n_bytes + clip.n_bytes, self.n_read + 1

    def take_in(self):
        """Take what was read, in the order of clips."""
        while self.turn in self.arrived:
            number, clip = self.turn, self.arrived.pop(self.turn)
            self.turn += 1
            if not clip.stretches:
                self.done.append((number, clip.result(self.job)))
                continue
            self.clips[number] = clip
            self.block += [(number, place) for place in range(len(clip.stretches))]
            self.block_length += sum(map(len, clip.stretches))
            self.block_bytes += clip.n_bytes
            if self.is_full(clip.n_bytes):
                self.hand_out()

    def is_full(self, n_bytes):
        """Tell whether a block is large enough, if clips are of a size."""
        budget, at_most = self.job.limits(self.devices[0])
        return (
            self.block_length >= _BLOCK_BATCHES * budget
            or len(self.block) >= _BLOCK_BATCHES * (at_most or math.inf)
            or self.block_bytes + n_bytes >= _HELD_BYTES / 2
        )

    def hand_out(self):
        """Give a block to the devices."""
        for batch in self.job.batches(self.stretches(self.block), self.devices[0]):
            self.todo.put([self.block[i] for i in batch])
            self.n_queued += 1
        self.block, self.block_length, self.block_bytes = [], 0, 0

    def stretches(self, places):
        """Return stretches by number of clip and place in it."""
        return [self.clips[number].stretches[place] for number, place in places]

    def serve(self, backbone):
        """Run batches on a device; the copies of one are made beside the next."""
        under_way = deque()
        forward, room = partial(self.job.forward, backbone), Room(self.job.cost)
        try:
            while not self.ended:
                try:
                    batch = self.todo.get(block=not under_way, timeout=_LOOK)
                except queue.Empty:
                    batch = None
                if batch is not None:
                    parts = room.run(forward, self.stretches(batch))
                    under_way.append((batch, Fetch(parts)))
                if len(under_way) > (batch is not None):
                    done, fetch = under_way.popleft()
                    self.events.put(("ran", done, fetch.wait()))
        except BaseException as error:
            self.events.put(("failed", error))

    def hear(self, what, *facts):
        """Take in what happened."""
        if what == "failed":
            raise facts[0]
        if what == "read":
            number, found = facts
            self.n_reading -= 1
            if isinstance(self.readers, _Processes):
                found = self.readers.found(number, self.cells[number], found)
            self.arrive(number, found)
            return
        self.n_queued -= 1
        for (number, place), part in zip(*facts, strict=True):
            clip = self.clips[number]
            clip.parts[place] = part
            clip.left -= 1
            if not clip.left:
                self.held -= clip.n_bytes
                self.done.append((number, clip.result(self.job)))
                del self.clips[number]
