"""Pictures to embeddings or hidden states of an image model."""

from dataclasses import dataclass

import numpy as np

from skmer.encoders._forward import in_parts

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
        """Return states averaged over patches, (n, 1 + n_blocks + 1, width).

        The last one is the last hidden state.
        """
        import torch

        output = backbone.model(pixel_values=values, output_hidden_states=True)
        # What stands before the patches: a class token, registers.
        extra = 0 if self.config.model_type == "siglip" else 1
        extra += getattr(self.config, "num_register_tokens", 0)
        every = [*output.hidden_states, output.last_hidden_state]
        return torch.stack([s[:, extra:].float().mean(1) for s in every], 1)


def describe_images(model, backbone, preprocessing, pictures, *, embedding, size):
    """Run pictures of any clips through a model.

    Parameters
    ----------
    model : ImageModel
        What it is.
    backbone : Backbone
        Loaded as ``model.loading`` says.
    preprocessing : ImagePreprocessing
        Of the model.
    pictures : list of (Tensor of shape (n_i, 3, height, width), dtype uint8)
        As ``preprocessing.shrink`` returns them, at least one.
    embedding : bool
        Return embeddings in place of states.
    size : int
        Pictures that go through at once, fewer where memory runs out.

    Returns
    -------
    values : list of ndarray
        Of shape (n_i, embedding_width) or (n_i, n_states, width), dtype float32.
    """
    import torch

    together = torch.cat(pictures)
    run = model.embed if embedding else model.states

    def forward(numbers):
        with torch.inference_mode():
            values = preprocessing.normalise(together[numbers[0] : numbers[-1] + 1])
            values = values.to(dtype=getattr(torch, backbone.dtype))
            return list(run(backbone, values).float().cpu().numpy())

    found = []
    for start in range(0, len(together), size):
        numbers = range(start, min(start + size, len(together)))
        found += in_parts(forward, numbers)
    ends = np.cumsum([len(p) for p in pictures])[:-1]
    return np.split(np.stack(found), ends)
