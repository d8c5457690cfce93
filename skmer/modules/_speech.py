"""A pretrained speech model that is trained with the network around it."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from skmer.modules._random import RandomSource
from skmer.modules._seeded import seeded


class SpeechBackbone(nn.Module):
    """Turn sound into steps by a pretrained speech model, which learns too.

    Parameters
    ----------
    model : torch.nn.Module
        HuBERT, WavLM, wav2vec 2.0 or data2vec-audio model of transformers. It is
        copied, and the copy trained in float32; its convolutions stay as they are.
    normalize : bool, default=True
        Bring each clip's sound to mean 0 and variance 1, as the feature extractors
        of many of these models do.
    random_source : RandomSource or None, default=None
        Where the model's dropout and masks are seeded from; None makes one with
        seed 0.

    Attributes
    ----------
    width : int
        Numbers in a step.

    Notes
    -----
    What the model's configuration says of dropout, dropped layers and masked steps
    (``mask_time_prob`` and so on) holds in training; masked features are left out.
    Padding changes no clip's steps: models that cannot mask it run on clips of one
    length at a time.
    """

    def __init__(
        self,
        model: Any,
        *,
        normalize: bool = True,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        self.model = _learning(copy.deepcopy(model).float())
        self.normalize = normalize
        self.random_source = random_source or RandomSource()
        config = self.model.config
        self.width = config.hidden_size
        self.masks_padding = (
            config.feat_extract_norm == "layer"
            and config.model_type != "data2vec-audio"
        )
        self.mask_share = (
            config.mask_time_prob
            if getattr(config, "apply_spec_augment", True)
            and hasattr(self.model, "masked_spec_embed")
            else 0.0
        )
        # transformers would draw these from NumPy's global generator.
        config.mask_time_prob = config.mask_feature_prob = 0.0

    def __getstate__(self) -> dict:
        # torch refuses to pickle the model's normalised weights as they are.
        state = self.__dict__.copy()
        state["_modules"] = {}
        state["_rebuilt"] = type(self.model), self.model.config, self.model.state_dict()
        return state

    def __setstate__(self, state: dict) -> None:
        state = dict(state)
        kind, config, weights = state.pop("_rebuilt")
        super().__setstate__(state)
        config = copy.deepcopy(config)
        # Models that mask nothing have no weights for it.
        config.mask_time_prob = float("masked_spec_embed" in weights)
        with seeded(0, "cpu"):
            model = kind(config)
        config.mask_time_prob = 0.0
        # Assigned, so that they stay on their device.
        model.load_state_dict(weights, assign=True)
        self.model = _learning(model).train(self.training)

    def forward(self, sound: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the model's last hidden states.

        Parameters
        ----------
        sound : Tensor of shape (batch, n_samples), dtype float32
            At the model's sample rate, padded at the end.
        mask : Tensor of shape (batch, n_samples), dtype bool
            True where a sample is real.

        Returns
        -------
        steps : Tensor of shape (batch, n_steps, width)
            Zeros where a clip has no sound.
        mask : Tensor of shape (batch, n_steps), dtype bool
            True where a step is real.
        """
        count = torch.arange(1, sound.shape[1] + 1, device=sound.device)
        lengths = (mask * count).amax(dim=1)
        if self.normalize:
            sound = _normalized(sound, mask)
        rows = lengths.nonzero().squeeze(1)
        shortest = self._shortest()
        sizes = lengths.clamp(min=shortest)
        n_steps = self._n_steps(sizes) * (lengths > 0)
        longest = max(int(n_steps.max()), 1)
        steps = sound.new_zeros(len(sound), longest, self.width)
        groups = [rows] if self.masks_padding else _of_one_length(rows, sizes)
        for group in groups:
            if len(group):
                found = self._run(sound[group], sizes[group])
                found = nn.functional.pad(found, (0, 0, 0, longest - found.shape[1]))
                steps = steps.to(found.dtype).index_put((group,), found)
        real = torch.arange(longest, device=sound.device) < n_steps[:, None]
        return steps * real[..., None], real

    def _run(self, sound, sizes):
        """Run the model on sounds of these numbers of samples, all of them real."""
        longest = int(sizes.max())
        sound = sound[:, :longest]
        sound = nn.functional.pad(sound, (0, longest - sound.shape[1]))
        options = {}
        if int(sizes.min()) < longest:
            within = torch.arange(longest, device=sound.device) < sizes[:, None]
            options["attention_mask"] = within.long()
        seed = 0
        if self.training:
            if self.mask_share > 0:
                options["mask_time_indices"] = self._masked(self._n_steps(sizes))
            generator = self.random_source.generator("cpu")
            seed = int(torch.randint(2**31, (1,), generator=generator))
        # Its dropout can only draw from the global generator; the list of warnings to
        # ignore is the process's too, and is safe under the same lock.
        with seeded(seed, sound.device), warnings.catch_warnings():
            # WavLM gives torch masks of two kinds, which works.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            return self.model(sound, **options).last_hidden_state

    def _masked(self, n_steps):
        """Draw the steps that training hides from the model: spans of one length."""
        generator = self.random_source.generator("cpu")
        config = self.model.config
        span = config.mask_time_length
        hidden = torch.zeros(len(n_steps), int(n_steps.max()), dtype=torch.bool)
        for row, n in enumerate(n_steps.tolist()):
            chance = float(torch.rand(1, generator=generator))
            spans = int(self.mask_share * n / span + chance)
            spans = min(max(spans, config.mask_time_min_masks), n // span)
            starts = torch.randperm(max(n - span + 1, 1), generator=generator)
            for start in starts[:spans].tolist():
                hidden[row, start : start + span] = True
        return hidden.to(n_steps.device)

    def _layers(self):
        config = self.model.config
        return list(zip(config.conv_kernel, config.conv_stride, strict=True))

    def _shortest(self):
        """Return how many samples give one step."""
        size = 1
        for kernel, stride in reversed(self._layers()):
            size = (size - 1) * stride + kernel
        return size

    def _n_steps(self, n_samples):
        for kernel, stride in self._layers():
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples


def _learning(model):
    """Let all of a model learn but its convolutions."""
    model.requires_grad_(True)
    model.feature_extractor.requires_grad_(False)
    if hasattr(model, "freeze_feature_encoder"):
        # Besides, it keeps the convolutions' activations out of memory.
        model.freeze_feature_encoder()
    return model


def _normalized(sound, mask):
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (sound * mask).sum(dim=1, keepdim=True) / count
    centred = (sound - mean) * mask
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred / torch.sqrt(variance + 1e-7)


def _of_one_length(rows, sizes):
    return [rows[sizes[rows] == size] for size in sizes[rows].unique()]
