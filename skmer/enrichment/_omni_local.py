"""Qwen2.5-Omni in this process: a clip and an instruction in, its answer out."""

import threading

from skmer._config import get_config
from skmer._pretrained import (
    load_backbone,
    load_config,
    load_processor,
    resolve_device,
    resolve_dtype,
)
from skmer.enrichment._endpoint import Reply
from skmer.enrichment._omni_media import RATE
from skmer.enrichment._whisper import Watch

_KINDS = ("qwen2_5_omni", "qwen2_5_omni_thinker")
# A model notes positions of one generation for the next step on itself.
_one_at_a_time = threading.Lock()


def check_model(model, revision):
    """Raise a ValueError where a model is none that this module can run."""
    kind = load_config(model, revision=revision).model_type
    if kind not in _KINDS:
        raise ValueError(
            f"{model} is a model of type {kind!r}. backend='local' runs Qwen2.5-Omni, "
            "such as 'Qwen/Qwen2.5-Omni-7B'; put others behind a server (vLLM) and "
            "give its base_url."
        )


class LocalOmni:
    """The part of a Qwen2.5-Omni that writes, with what prepares its input.

    transformers' own processor of this model needs torchvision for videos; pictures
    go in one by one here, which it does not.

    Parameters
    ----------
    model : str or path
        As for :func:`skmer._pretrained.load_backbone`, and so the next four.
    revision : str or None
        Of the model.
    device, dtype : str
        Where it runs and in which format; ``dtype="auto"`` is bfloat16 on a GPU,
        since values of these models go beyond float16.
    device_map : str, dict or None
        In place of ``device``.
    """

    def __init__(self, model, *, revision, device, dtype, device_map):
        device = resolve_device(device)
        if dtype == "auto" == get_config()["dtype"] and device.startswith("cuda"):
            dtype = "bfloat16"
        source = {"model": model, "revision": revision}
        self.backbone = load_backbone(
            "Qwen2_5OmniThinkerForConditionalGeneration",
            **source,
            device=device,
            dtype=resolve_dtype(dtype, device),
            device_map=device_map,
            config_part="thinker_config",
        )
        self.config = self.backbone.config
        self.tokenizer = load_processor("AutoTokenizer", **source)
        # By name: the automatic classes look for torchvision.
        self.pictures = load_processor("Qwen2VLImageProcessorPil", **source)
        self.sounds = load_processor("WhisperFeatureExtractor", **source)
        if self.sounds.sampling_rate != RATE:
            raise ValueError(
                f"{model} hears {self.sounds.sampling_rate} samples a second, not "
                f"{RATE}."
            )

    def inputs(self, images, sound, data, told):
        """Return what the model takes in.

        Parameters
        ----------
        images : list of ndarray of shape (height, width, 3), dtype uint8
            RGB pictures.
        sound : ndarray of shape (n_samples,), dtype float32, or None
            At 16 kHz.
        data : str
            Text of the user's message, after pictures and sound.
        told : str or None
            Text of the system's message; None leaves that out.

        Returns
        -------
        inputs : dict of str to Tensor
            Of one sequence, on the CPU. Each picture and the sound has a placeholder
            for each of its vectors, between marks of where it begins and ends.
        """
        import torch

        config, inputs = self.config, {}
        ids = [] if told is None else self._ids(f"<|im_start|>system\n{told}<|im_end|>")
        ids += self._ids(("\n" if ids else "") + "<|im_start|>user\n")
        if images:
            found = self.pictures(images=images, return_tensors="pt")
            inputs |= {name: found[name] for name in ("pixel_values", "image_grid_thw")}
            merged = self.pictures.merge_size**2
            for grid in inputs["image_grid_thw"]:
                ids.append(config.vision_start_token_id)
                ids += [config.image_token_id] * (int(grid.prod()) // merged)
                ids.append(config.vision_end_token_id)
        if sound is not None:
            found = self.sounds(
                sound,
                sampling_rate=RATE,
                padding="max_length",
                return_attention_mask=True,
                return_tensors="pt",
            )
            mask = found["attention_mask"]
            n_vectors = _count_vectors(int(mask.sum()))
            if n_vectors > 0:
                inputs["input_features"] = found["input_features"]
                inputs["feature_attention_mask"] = mask
                ids.append(config.audio_start_token_id)
                ids += [config.audio_token_id] * n_vectors
                ids.append(config.audio_end_token_id)
        ids += self._ids(f"{data}<|im_end|>\n<|im_start|>assistant\n")
        inputs["input_ids"] = torch.tensor([ids])
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return inputs

    def answer(self, images, sound, data, told, max_tokens):
        """Return what the model writes, always its likeliest next token.

        Parameters
        ----------
        images, sound, data, told
            As for :meth:`inputs`.
        max_tokens : int
            Longest answer.

        Returns
        -------
        reply : Reply or Exception
            An OverflowError where its numbers overflow, a MemoryError where the
            device has no memory for the clip.
        """
        import torch
        from transformers import GenerationConfig

        backbone, watch = self.backbone, Watch()
        inputs = self.inputs(images, sound, data, told)
        n_given = inputs["input_ids"].shape[1]
        tokenizer = self.tokenizer
        ends = [tokenizer.convert_tokens_to_ids("<|im_end|>")]
        ends += [tokenizer.eos_token_id, tokenizer.pad_token_id]
        ends = [token for token in dict.fromkeys(ends) if token is not None]
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=ends,
            pad_token_id=ends[-1],
        )
        try:
            with torch.inference_mode(), _one_at_a_time:
                tokens = backbone.model.generate(
                    **self._placed(inputs),
                    generation_config=settings,
                    logits_processor=[watch],
                )
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            reason = str(error).partition("\n")[0]
            return MemoryError(
                f"the device has no memory for this clip ({reason}). Use fewer or "
                "smaller frames (n_frames, max_side), or device_map='auto'"
            )
        if watch.saw_nan:
            return OverflowError(
                "the model's numbers overflow. In float16 large values do: set "
                "dtype='bfloat16' or 'float32'"
            )
        written = tokens[0, n_given:].tolist()
        return Reply(
            tokenizer.decode(written, skip_special_tokens=True),
            "stop" if written and written[-1] in ends else "length",
            n_given,
            len(written),
        )

    def _placed(self, inputs):
        import torch

        backbone = self.backbone
        dtype = getattr(torch, backbone.dtype)
        return {
            name: value.to(
                backbone.device, dtype if value.is_floating_point() else None
            )
            for name, value in inputs.items()
        }

    def _ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def _count_vectors(n_steps):
    """Return how many vectors the model makes of so many steps of a spectrogram.

    A convolution and a mean halve them, one after the other.
    """
    return ((n_steps - 1) // 2 + 1 - 2) // 2 + 1
