"""Pictures to embeddings or hidden states of an image model."""

import math
from dataclasses import dataclass

import numpy as np

from skmer.encoders._forward import to_device
from skmer.encoders._job import Job
from skmer.encoders._stretches import Stretch

# Pictures of a stretch: what goes through a CPU at once.
_RUN = 8

# Model type -> whether it is the image half of a pair of models.
FAMILIES = {
    "clip": True,
    "siglip": True,
    "dinov2": False,
    "dinov2_with_registers": False,
    "vit": False,
}


@dataclass(frozen=True)
class ImageModel:
    """What a configuration tells of an image model.

    Parameters
    ----------
    name : str or path
        The model, for messages.
    config : transformers.PreTrainedConfig
        Of the whole model.

    Raises
    ------
    ValueError
        If it is no model of a family that is supported.
    """

    name: object
    config: object

    def __post_init__(self):
        if self.config.model_type not in FAMILIES:
            raise ValueError(
                f"{self.name} is a model of type {self.config.model_type!r}. "
                f"VisualEncoder takes {', '.join(FAMILIES)}."
            )

    @property
    def is_half(self):
        """Whether there is a model of text beside that of images."""
        return FAMILIES[self.config.model_type]

    @property
    def vision(self):
        """Configuration of the blocks that see images."""
        return self.config.vision_config if self.is_half else self.config

    @property
    def n_layers(self):
        """Number of blocks."""
        return self.vision.num_hidden_layers

    @property
    def width(self):
        """Length of hidden states."""
        return self.vision.hidden_size

    @property
    def embedding_width(self):
        """Length of the embedding of an image."""
        projects = self.config.model_type == "clip"
        return self.config.projection_dim if projects else self.width

    def loading(self, depth, *, embedding):
        """Return options of ``load_backbone``, to load what is needed only.

        Parameters
        ----------
        depth : int or None
            Blocks to load, None for all.
        embedding : bool
            Whether the embedding is wanted, which needs all of them.
        """
        if not self.is_half:
            return {"n_layers": depth}
        overrides = {"text_config.num_hidden_layers": 1}
        if depth is not None:
            overrides["vision_config.num_hidden_layers"] = depth
        part = None if embedding else "vision_model"
        return {"overrides": overrides, "part": part}

    def embed(self, backbone, values):
        """Return embeddings of images, Tensor of shape (n, embedding_width)."""
        if self.is_half:
            return backbone.model.get_image_features(pixel_values=values).pooler_output
        # The pooler of a ViT is often left untrained.
        return backbone.model(pixel_values=values).last_hidden_state[:, 0]

    def states(self, backbone, values):
        """Return states averaged over patches, 1 + n_blocks + 1 of (n, width).

        The last one is the last hidden state.
        """
        output = backbone.model(pixel_values=values, output_hidden_states=True)
        # What stands before the patches: a class token, registers.
        extra = 0 if self.config.model_type == "siglip" else 1
        extra += getattr(self.config, "num_register_tokens", 0)
        every = [*output.hidden_states, output.last_hidden_state]
        return [state[:, extra:].float().mean(1) for state in every]


class ImageJob(Job):
    """Embeddings or hidden states of the pictures of clips.

    Parameters
    ----------
    model : ImageModel
        What runs.
    load : callable
        Takes a device and returns the Backbone there.
    preprocessing : ImagePreprocessing
        Of the model.
    reader : callable
        Takes a path and returns, for each region that the clip shows, pictures as
        ``preprocessing.shrink`` returns them.
    states : list of (int or "last"), or None
        The states that are asked for, None for the embedding.
    depth : int or None
        Blocks that are loaded, None for all.
    **job : dict
        Arguments of :class:`~skmer.encoders._job.Job`.
    """

    # Pictures.
    gpu_budget = 256
    longest = math.inf

    def __init__(self, model, load, preprocessing, reader, *, states, depth, **job):
        super().__init__(**job)
        self.model = model
        self._load = load
        self.preprocessing = preprocessing
        self.reader = reader
        self.embeds = states is None
        self.depth = depth
        self.taken = [-1 if s == "last" else s for s in states or [0]]

    def stretches(self, found):
        """Cut the pictures of each region into runs of a few."""
        return [
            Stretch(
                pictures[i : i + _RUN],
                i,
                len(pictures[i : i + _RUN]),
                len(pictures),
                region,
            )
            for region, pictures in found.items()
            for i in range(0, len(pictures), _RUN)
        ]

    def batches(self, stretches, device):
        """Return batches; only pictures of one size go together."""
        sizes = {}
        for i, stretch in enumerate(stretches):
            sizes.setdefault(stretch.values.shape[1:], []).append(i)
        return [
            [numbers[i] for i in batch]
            for numbers in sizes.values()
            for batch in super(ImageJob, self).batches(
                [stretches[i] for i in numbers], device
            )
        ]

    def load(self, device):
        """Return the model on a device."""
        return self._load(device)

    def forward(self, backbone, stretches):
        """Run pictures through the model."""
        import torch

        together = np.concatenate([stretch.values for stretch in stretches])
        values = self.preprocessing.normalise(to_device(together, backbone.device))
        values = values.to(dtype=getattr(torch, backbone.dtype))
        with torch.inference_mode():
            if self.embeds:
                states = [self.model.embed(backbone, values)]
            else:
                states = self.model.states(backbone, values)
        starts = np.cumsum([0, *map(len, stretches)]).tolist()
        return [
            self.keep(
                [state[start : start + len(stretch)] for state in states],
                stretch,
                self.taken,
            )
            for start, stretch in zip(starts, stretches, strict=False)
        ]

    def arrays(self, name, values):
        """Return what a record holds of a region."""
        if self.embeds:
            return {name: values[0]}
        # The last state of a model that was cut off is not the model's own.
        arrays = {name: values[:-1]}
        if self.depth is None:
            arrays[f"{name}_last"] = values[-1]
        return arrays
