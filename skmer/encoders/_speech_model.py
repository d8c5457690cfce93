"""Sound through a speech model: windows, batches, and pooling as frames come."""

import math
import threading
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np

from skmer._pretrained import (
    depth_name,
    load_backbone,
    load_config,
    load_processor,
)

# What the tests compare with transformers, state by state.
FAMILIES = ("hubert", "wavlm", "wav2vec2", "data2vec-audio", "whisper")
# Length of the longest sound of a batch by that of the shortest: the rest is padding.
_LONGEST = 1.5
_filters = threading.Lock()


@dataclass(frozen=True)
class Window:
    """A stretch of one clip's sound that goes through the model in one piece."""

    clip: int
    start_frame: int
    n_frames: int
    sound: np.ndarray


class SpeechModel:
    """A speech model's configuration, and what follows from it.

    Parameters
    ----------
    model, revision, trust_remote_code
        As for ``load_backbone``.
    window_seconds : float
        Longest stretch of sound that goes through the model in one piece.
    fixed : bool
        Cut long sound into windows of exactly that length, the last filled up with
        zeros that count as sound; otherwise windows are of equal length.

    Raises
    ------
    ValueError
        If it is no model of a family that is supported.
    """

    def __init__(self, model, revision, trust_remote_code, window_seconds, fixed):
        self.source = {
            "model": model,
            "revision": revision,
            "trust_remote_code": trust_remote_code,
        }
        self.config = config = load_config(**self.source)
        if config.model_type not in FAMILIES:
            raise ValueError(
                f"{model} is a model of type {config.model_type!r}. SpeechEncoder "
                f"takes {', '.join(FAMILIES)}."
            )
        self.whisper = config.model_type == "whisper"
        if fixed and self.whisper:
            raise ValueError(
                "preset='mertools' is for models that read the sound itself; "
                f"{model} is a Whisper model. Leave the preset out."
            )
        self.fixed = fixed
        self.window_seconds = window_seconds
        self.n_layers = getattr(config, depth_name(config))
        self.width = config.hidden_size
        # Normalisation over groups mixes padding into all frames, and so does the
        # position embedding of data2vec.
        self.masks_padding = (
            config.model_type != "data2vec-audio"
            and getattr(config, "feat_extract_norm", None) == "layer"
        )

        self.warns = config.model_type == "wavlm"

    def extractor(self):
        """Return what turns sound into the model's input."""
        return load_processor("AutoFeatureExtractor", **self.source)

    def backbone(self, n_layers, **where):
        """Return the model, cut off after some blocks (None: whole)."""
        options = {}
        if self.whisper:
            # The decoder is not needed; the last state stays as the block left it.
            overrides = {"decoder_layers": 0, "tie_last_hidden_states": False}
            options = {"part": "encoder", "overrides": overrides}
        elif getattr(self.config, "add_adapter", False):
            options = {"overrides": {"add_adapter": False}}
        return load_backbone(
            "AutoModel", **self.source, n_layers=n_layers, **where, **options
        )

    def windows(self, clip, sound):
        """Return the windows of a clip, normalised as the model expects.

        Parameters
        ----------
        clip : int
            What the windows are marked with.
        sound : ndarray of shape (n_samples,), dtype float32
            At the extractor's sample rate.

        Returns
        -------
        windows : list of Window
        """
        extractor = self.extractor()
        seconds = self.window_seconds
        if self.whisper:
            seconds = min(seconds, extractor.chunk_length)
        else:
            sound = extractor(
                sound, sampling_rate=extractor.sampling_rate, return_tensors="np"
            ).input_values[0]
        size = int(seconds * extractor.sampling_rate)
        pieces = [sound]
        if len(sound) > size:
            count = math.ceil(len(sound) / size)
            if self.fixed:
                sound = np.pad(sound, (0, count * size - len(sound)))
            pieces = np.array_split(sound, count)
        windows, start = [], 0
        for piece in pieces:
            if not self.whisper and len(piece) < self.shortest:
                piece = np.pad(piece, (0, self.shortest - len(piece)))
            n_frames = self.n_frames(len(piece))
            windows.append(Window(clip, start, n_frames, piece))
            start += n_frames
        return windows

    @property
    def shortest(self):
        """Samples that give one frame."""
        size = 1
        layers = zip(self.config.conv_kernel, self.config.conv_stride, strict=True)
        for kernel, stride in reversed(list(layers)):
            size = (size - 1) * stride + kernel
        return size

    def n_frames(self, n_samples):
        """Return how many frames stand for so much sound."""
        if self.whisper:
            # Two steps of the spectrogram make a frame.
            return math.ceil(math.ceil(n_samples / self.extractor().hop_length) / 2)
        for kernel, stride in zip(
            self.config.conv_kernel, self.config.conv_stride, strict=True
        ):
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    def batches(self, windows, size):
        """Group windows of like lengths, of equal ones where padding would show.

        Parameters
        ----------
        windows : list of Window
            Of any clips.
        size : int
            Windows in a batch at most.

        Returns
        -------
        batches : list of list of Window
        """
        longest = 1.0 if not self.masks_padding else _LONGEST
        if self.whisper:
            longest = math.inf
        batches = []
        for window in sorted(windows, key=lambda window: len(window.sound)):
            length = len(window.sound)
            batch = batches[-1] if batches else []
            if batch and len(batch) < size and length <= longest * len(batch[0].sound):
                batch.append(window)
            else:
                batches.append([window])
        return batches

    def run(self, backbone, batch):
        """Run the model.

        Parameters
        ----------
        backbone : Backbone
            As :meth:`backbone` returns it.
        batch : list of Window
            As :meth:`batches` groups them.

        Returns
        -------
        outputs : list of (list of Tensor of shape (n_frames, width))
            For each window its hidden states and after them the last hidden state;
            frames of padding are left out.
        """
        import torch

        mask = None
        if self.whisper:
            extractor = self.extractor()
            values = extractor(
                [window.sound for window in batch],
                sampling_rate=extractor.sampling_rate,
                return_tensors="np",
            ).input_features
        else:
            lengths = [len(window.sound) for window in batch]
            values = np.zeros((len(batch), max(lengths)), dtype=np.float32)
            for row, window in zip(values, batch, strict=True):
                row[: len(window.sound)] = window.sound
            if min(lengths) < max(lengths):
                within = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
                mask = torch.from_numpy(within.astype(np.int64)).to(backbone.device)
        values = torch.from_numpy(values).to(
            backbone.device, getattr(torch, backbone.dtype)
        )
        quiet = _quiet_masks() if self.warns and mask is not None else nullcontext()
        with quiet, torch.inference_mode():
            output = backbone.model(
                values, attention_mask=mask, output_hidden_states=True
            )
        states = [*output.hidden_states, output.last_hidden_state]
        return [
            [state[i, : window.n_frames] for state in states]
            for i, window in enumerate(batch)
        ]


@contextmanager
def _quiet_masks():
    """Keep WavLM's warning about its own masks from users.

    The list of filters is the process's: one thread at a time changes it.
    """
    with _filters, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        yield


class TimePooler:
    """Pool the frames of one clip over time as its windows come, in any order.

    Parameters
    ----------
    pooling : {"mean", "mean_std"} or int
        As ``skmer.encoders._pooling.pool`` has it.
    n_frames : int
        Frames that will come in all.
    """

    def __init__(self, pooling, n_frames):
        self.spread = pooling == "mean_std"
        count = 1 if isinstance(pooling, str) else pooling
        self.starts = [i * n_frames // count for i in range(count)]
        self.stops = [-(-(i + 1) * n_frames // count) for i in range(count)]
        self.sums = None

    def add(self, start, states):
        """Take in the frames of a window.

        Parameters
        ----------
        start : int
            Number of the first frame in the clip.
        states : list of Tensor of shape (n_frames, width)
            Of every hidden state.
        """
        import torch

        if states[0].device.type == "mps":  # which has no float64
            states = [state.cpu() for state in states]
        parts = [
            slice(max(0, first - start), max(0, last - start))
            for first, last in zip(self.starts, self.stops, strict=True)
        ]
        if self.sums is None:
            # Squares are taken of differences from a mean nearby, which keeps them
            # accurate where a mean is far from zero.
            self.origins = [state.double().mean(dim=0) for state in states]
            self.sums = self.squares = 0
        sums, squares = [], []
        for state, origin in zip(states, self.origins, strict=True):
            shifted = state.double() - origin
            sums.append(torch.stack([shifted[part].sum(dim=0) for part in parts]))
            if self.spread:
                squares.append((shifted**2).sum(dim=0))
        self.sums = self.sums + torch.stack(sums)
        if self.spread:
            self.squares = self.squares + torch.stack(squares)

    def finish(self):
        """Return the pooled states, (n_states, n_parts * width), dtype float32."""
        import torch

        sizes = [b - a for a, b in zip(self.starts, self.stops, strict=True)]
        sizes = torch.tensor(sizes, device=self.sums.device)[:, None]
        shifts = self.sums / sizes
        pooled = (torch.stack(self.origins)[:, None] + shifts).flatten(1)
        if self.spread:
            variance = self.squares / sizes[0] - shifts[:, 0] ** 2
            pooled = torch.cat([pooled, variance.clamp(min=0).sqrt()], dim=1)
        return pooled.float().cpu().numpy()
