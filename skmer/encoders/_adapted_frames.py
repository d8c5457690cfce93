"""Frames between the blocks of a speech model, kept for what trains on them."""

import numpy as np

from skmer.cache import CachedArray, load_arrays
from skmer.encoders._layers import depth_needed
from skmer.encoders._speech import SpeechEncoder
from skmer.encoders._speech_model import FAMILIES, SpeechJob, SpeechModel

# The blocks of Whisper take other things.
_FAMILIES = tuple(family for family in FAMILIES if family != "whisper")


class FrozenFrames(SpeechEncoder):
    """Frames of one hidden state, in float16, with the windows they come from.

    Later blocks are to see what they would in the whole model, so it is noted where
    long sound was cut. Takes the parameters of SpeechEncoder.
    """

    _cache_version = 1

    def _speech_model(self):
        return SpeechModel(
            self.model,
            self.revision,
            self.trust_remote_code,
            self.window_seconds,
            fixed=False,
            families=_FAMILIES,
            owner="AdaptedSpeechEncoder",
        )

    def _job(self):
        speech = self._speech_model()
        states, together = self._states(speech.n_layers)
        return _FramesJob(
            speech,
            states=states,
            depth=depth_needed(states, speech.n_layers, "asked"),
            limits=self._limits,
            loading=self._loading,
            pooling=None,
            batch_size=self.batch_size,
            layer_pooling=together,
        )

    def _sink(self, n_clips, store):
        return _Kept(n_clips, store)

    def frames(self, cells, *, raising):
        """Return the frames of clips, those that are missing computed and stored.

        Parameters
        ----------
        cells : list of str
            Paths.
        raising : bool
            Whether a clip that cannot be read is an error at once.

        Returns
        -------
        clips : list of (ClipFrames or None)
            None where there is no sound, or it cannot be read.
        failures : list of Failure
            Why it cannot be read.
        """
        return self._extract(cells, raising=raising)

    @property
    def rate(self):
        """Frames of a second."""
        speech = self._speech_model()
        return speech.extractor.sampling_rate / np.prod(speech.config.conv_stride)


class ClipFrames:
    """Frames of one clip, in the cache where there is one.

    Parameters
    ----------
    cell : CachedArray or ndarray of shape (n_frames, width), dtype float16
        float32 where a number is too large for float16.
    windows : ndarray of shape (n_windows,), dtype int32
        Frames of each window of the sound.
    """

    def __init__(self, cell, windows):
        self.cell = cell
        self.windows = windows

    def __len__(self):
        return int(self.windows.sum())

    def pieces(self, frames, start=0, stop=None):
        """Cut frames into what goes through the blocks in one piece.

        Parameters
        ----------
        frames : ndarray of shape (n_frames, width)
            Of this clip, as :func:`load_frames` reads them.
        start, stop : int or None
            Which of them to keep.

        Returns
        -------
        pieces : list of ndarray of shape (n_some, width)
            None of them longer than a window.
        """
        ends = np.cumsum(self.windows)
        stop = len(frames) if stop is None else stop
        cuts = [
            (max(start, end - size), min(stop, end))
            for end, size in zip(ends.tolist(), self.windows.tolist(), strict=True)
        ]
        return [frames[a:b] for a, b in cuts if a < b]


def load_frames(clips):
    """Read the frames of some clips, a list of ndarray."""
    return load_arrays([clip.cell for clip in clips])


class _FramesJob(SpeechJob):
    """Frames in half the space, and the sizes of windows."""

    def record(self, stretches, parts):
        """Return the record of a clip, or the error that there is none for."""
        record = super().record(stretches, parts)
        if isinstance(record, Exception):
            return record
        frames = record.arrays["values"]
        if np.abs(frames).max() <= np.finfo(np.float16).max:
            frames = frames.astype(np.float16)
        order = sorted(stretches, key=lambda stretch: stretch.start)
        windows = np.array([s.n_steps for s in order], dtype=np.int32)
        record.arrays = {"values": frames, "windows": windows}
        return record


class _Kept:
    """Where records go: frames stay in the store if it has them."""

    def __init__(self, n_clips, store):
        self.clips = [None] * n_clips
        self.store = store

    def lookup(self, in_place):
        """Return how many keys to look up at a time; what is read is not kept."""
        return 64

    def places(self, start, stop):
        """Return None: clips are made one by one."""
        return None

    def receive(self, rows, arrays, keys):
        """Take in stacked records; a key of None is of one that is not stored."""
        held = self.store.writable
        for i, (row, key) in enumerate(zip(rows, keys, strict=True)):
            cell = (
                CachedArray(self.store.path, key, "values")
                if held and key is not None
                else np.array(arrays["values"][i])
            )
            self.clips[row] = ClipFrames(cell, np.array(arrays["windows"][i]))

    def finish(self):
        """Return the clips."""
        return self.clips
