"""Sound through a speech model, in windows."""

import math
import warnings
from functools import cached_property, partial

import numpy as np

from skmer._pretrained import (
    depth_name,
    load_backbone,
    load_config,
    load_processor,
)
from skmer.encoders._forward import to_device
from skmer.encoders._job import Job
from skmer.encoders._stretches import Stretch
from skmer.exceptions import MediaError
from skmer.media import read_audio

# What the tests compare with transformers, state by state.
FAMILIES = ("hubert", "wavlm", "wav2vec2", "data2vec-audio", "whisper")


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
    families : tuple of str, default=FAMILIES
        Types of models that are taken.
    owner : str, default="SpeechEncoder"
        Who takes them, for the message.

    Raises
    ------
    ValueError
        If it is no model of a family that is supported.
    """

    def __init__(
        self,
        model,
        revision,
        trust_remote_code,
        window_seconds,
        fixed,
        *,
        families=FAMILIES,
        owner="SpeechEncoder",
    ):
        self.source = {
            "model": model,
            "revision": revision,
            "trust_remote_code": trust_remote_code,
        }
        self.config = config = load_config(**self.source)
        if config.model_type not in families:
            raise ValueError(
                f"{model} is a model of type {config.model_type!r}. {owner} takes "
                f"{', '.join(families)}."
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

    @cached_property
    def extractor(self):
        """What turns sound into the model's input."""
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

    def windows(self, sound):
        """Return the windows of a clip, normalised as the model expects.

        Parameters
        ----------
        sound : ndarray of shape (n_samples,), dtype float32
            At the extractor's sample rate.

        Returns
        -------
        windows : list of Stretch
        """
        extractor = self.extractor
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
        if not self.whisper and len(pieces[0]) < self.shortest:
            pieces = [np.pad(pieces[0], (0, self.shortest - len(pieces[0])))]
        sizes = [self.n_frames(len(piece)) for piece in pieces]
        starts = np.cumsum([0, *sizes]).tolist()
        return [
            Stretch(piece, start, size, starts[-1])
            for piece, start, size in zip(pieces, starts, sizes, strict=False)
        ]

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
            return math.ceil(math.ceil(n_samples / self.extractor.hop_length) / 2)
        for kernel, stride in zip(
            self.config.conv_kernel, self.config.conv_stride, strict=True
        ):
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    @property
    def longest(self):
        """Length of the longest window of a batch by that of the shortest."""
        if self.whisper:
            return math.inf
        return 1.5 if self.masks_padding else 1.0

    def run(self, backbone, batch):
        """Run the model.

        Parameters
        ----------
        backbone : Backbone
            As :meth:`backbone` returns it.
        batch : list of Stretch
            Windows, none longer than the shortest by more than ``longest``.

        Returns
        -------
        outputs : list of (list of Tensor of shape (n_frames, width))
            For each window its hidden states and after them the last hidden state;
            frames of padding are left out.
        """
        import torch

        mask, device = None, backbone.device
        if self.whisper:
            extractor = self.extractor
            values = extractor(
                [window.values for window in batch],
                sampling_rate=extractor.sampling_rate,
                return_tensors="np",
                device=device,
            ).input_features
        else:
            lengths = [len(window) for window in batch]
            values = np.zeros((len(batch), max(lengths)), dtype=np.float32)
            for row, window in zip(values, batch, strict=True):
                row[: len(window)] = window.values
            if min(lengths) < max(lengths):
                within = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
                mask = to_device(within.astype(np.int64), device)
        values = to_device(values, device, getattr(torch, backbone.dtype))
        if self.warns and mask is not None:
            # Of a way to pass masks that WavLM has to itself; for good, since the list
            # of filters belongs to all threads.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        with torch.inference_mode():
            output = backbone.model(
                values, attention_mask=mask, output_hidden_states=True
            )
        states = [*output.hidden_states, output.last_hidden_state]
        return [
            [state[i, : window.n_steps] for state in states]
            for i, window in enumerate(batch)
        ]


class SpeechJob(Job):
    """Hidden states of the sound of clips.

    Parameters
    ----------
    model : SpeechModel
        What runs.
    states : list of (int or "last")
        The states that are asked for.
    depth : int or None
        Blocks to run, None for all.
    limits : dict
        Arguments of :func:`~skmer.media.read_audio` that say what a clip may take.
    loading : dict
        Further arguments of ``model.backbone``.
    **job : dict
        Arguments of :class:`~skmer.encoders._job.Job`.
    """

    # Samples: 320 seconds at 16 kHz.
    gpu_budget = 5_120_000

    def __init__(self, model, *, states, depth, limits, loading, **job):
        super().__init__(**job)
        self.model = model
        self.depth = depth
        self.taken = [-1 if s == "last" else s for s in states]
        self.loading = loading
        self.longest = model.longest
        rate = model.extractor.sampling_rate
        self.reader = partial(_read, rate=rate, **limits)

    def limits(self, device):
        """Return the budget of a batch, and how many windows it has at most."""
        budget, at_most = super().limits(device)
        if self.model.whisper and at_most is None and budget:
            # Whatever a window holds, it is run at full length.
            return math.inf, max(1, budget // self.model.extractor.n_samples)
        return budget, at_most

    def cost(self, stretches):
        """Return what a batch takes of a device's memory."""
        return len(stretches) if self.model.whisper else super().cost(stretches)

    def stretches(self, found):
        """Cut sound into windows."""
        return self.model.windows(found)

    def load(self, device):
        """Return the model on a device."""
        return self.model.backbone(self.depth, device=device, **self.loading)

    def forward(self, backbone, stretches):
        """Run windows through the model."""
        outputs = self.model.run(backbone, stretches)
        if self.depth is not None:
            # The last of a model that was cut off is not the model's last.
            outputs = [states[:-1] for states in outputs]
        return [
            self.keep(states, window, self.taken)
            for states, window in zip(outputs, stretches, strict=True)
        ]

    def arrays(self, name, values):
        """Return what a record holds."""
        if self.depth is None:
            return {"states": values[:-1], "last": values[-1]}
        return {"states": values}


def _read(path, rate, **limits):
    try:
        sound = read_audio(path, rate=rate, **limits)
    except (MediaError, MemoryError, TimeoutError) as error:
        return error
    return None if sound is None or len(sound) == 0 else sound
