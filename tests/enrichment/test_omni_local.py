"""Qwen2.5-Omni in this process: what goes in is what transformers would put in."""

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from tiny_omni import MAX_PIXELS, N_MELS, WINDOW, omni_model
from transformers import AutoTokenizer
from transformers.models.qwen2_5_omni.processing_qwen2_5_omni import (
    Qwen2_5OmniProcessor,
)

from skmer.enrichment._omni_local import LocalOmni


@pytest.fixture(scope="module")
def omni():
    return _load("thinker")


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (3, 60, 100, 3), dtype=np.uint8))
    sound = rng.normal(0, 0.1, size=20_000).astype(np.float32)
    return images, sound


def _load(part, dtype="float32"):
    return LocalOmni(
        omni_model(part), revision=None, device="cpu", dtype=dtype, device_map=None
    )


class _WithoutVideos(Qwen2_5OmniProcessor):
    """transformers' processor but for its part for videos, which needs torchvision."""

    def check_argument_for_proper_class(self, *args):
        pass


def _processor(omni):
    tokenizer = AutoTokenizer.from_pretrained(omni_model())
    for name in ("image", "audio", "video"):
        mark = f"<|{name.upper()}|>"
        setattr(tokenizer, f"{name}_token", mark)
        setattr(tokenizer, f"{name}_token_id", tokenizer.convert_tokens_to_ids(mark))
    for name in ("vision_bos", "vision_eos", "audio_bos", "audio_eos"):
        setattr(tokenizer, f"{name}_token", f"<|{name}|>")
    return _WithoutVideos(
        image_processor=omni.pictures,
        video_processor=None,
        feature_extractor=omni.sounds,
        tokenizer=tokenizer,
    )


@pytest.mark.parametrize("n_images", [0, 1, 3])
@pytest.mark.parametrize("n_samples", [0, 700, 20_000, 16_000 * WINDOW + 5])
def test_inputs_are_those_of_transformers(omni, clip, n_images, n_samples):
    images = clip[0][:n_images]
    sound = np.resize(clip[1], n_samples) if n_samples else None
    text = (
        "<|im_start|>system\nListen!<|im_end|>\n<|im_start|>user\n"
        + "<|vision_bos|><|IMAGE|><|vision_eos|>" * n_images
        + "<|audio_bos|><|AUDIO|><|audio_eos|>" * (sound is not None)
        + 'data: {"text": "我很高兴"}<|im_end|>\n<|im_start|>assistant\n'
    )
    expected = _processor(omni)(
        text=text, images=images or None, audio=sound, return_tensors="pt"
    )
    found = omni.inputs(images, sound, 'data: {"text": "我很高兴"}', "Listen!")
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_counts_by_hand(omni, clip):
    """Patches of 14 pixels, four of them a vector; 100 steps a second, four a vector.

    60 by 100 pixels, of at most 56 times 84, become 28 by 84; 1.25 seconds are 125
    steps, 63 after the convolution, 31 after the mean.
    """
    images, sound = clip
    found = omni.inputs(images, sound, "x", None)
    assert found["image_grid_thw"].tolist() == [[1, 2, 6]] * 3
    assert 28 * 84 <= MAX_PIXELS
    assert found["pixel_values"].shape == (3 * 12, 3 * 2 * 14 * 14)
    assert found["input_features"].shape == (1, N_MELS, 100 * WINDOW)
    ids = found["input_ids"]
    assert int((ids == omni.config.image_token_id).sum()) == 3 * 3
    assert int((ids == omni.config.audio_token_id).sum()) == 31
    text = omni.tokenizer("<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n")
    assert ids.shape[1] == len(text["input_ids"]) + 3 * (3 + 2) + 31 + 2


def test_a_sound_too_short_to_be_heard_is_left_out(omni, clip):
    found = omni.inputs([], clip[1][:200], "x", None)
    assert set(found) == {"input_ids", "attention_mask"}


def test_everything_counts(omni, clip):
    """Another sound, picture, order or text: other logits."""
    images, sound = clip
    variants = [
        (images, sound, "so", "Look"),
        (images, sound[::-1].copy(), "so", "Look"),
        (images, None, "so", "Look"),
        (images[::-1], sound, "so", "Look"),
        ([255 - image for image in images], sound, "so", "Look"),
        ([], sound, "so", "Look"),
        (images, sound, "no", "Look"),
        (images, sound, "so", "Read"),
        (images, sound, "so", None),
    ]
    with torch.inference_mode():
        logits = torch.stack(
            [omni.backbone.model(**omni.inputs(*v)).logits[0, -1] for v in variants]
        )
        again = omni.backbone.model(**omni.inputs(*variants[0])).logits[0, -1]
    assert torch.equal(again, logits[0])
    apart = torch.cdist(logits, logits) + torch.eye(len(variants)) * 9
    assert apart.min() > 1e-3


def test_answers_are_the_likeliest_tokens(omni, clip):
    images, sound = clip
    inputs = omni.inputs(images, sound, "so", "Look")
    written = []
    with torch.inference_mode():
        for _ in range(5):
            # From the beginning each time, without anything kept from before.
            token = omni.backbone.model(**inputs, use_cache=False).logits[0, -1]
            written.append(int(token.argmax()))
            ids = torch.tensor([[written[-1]]])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    reply = omni.answer(images, sound, "so", "Look", 5)
    assert reply.content == omni.tokenizer.decode(written, skip_special_tokens=True)
    assert reply.finish == "length" and reply.completion_tokens == 5
    assert reply == omni.answer(images, sound, "so", "Look", 5)


def test_threads_share_a_model(omni, clip):
    """It notes positions on itself, which differ from clip to clip."""
    images, sound = clip
    clips = [(images[:n], sound, "so" * n, None, 6) for n in (0, 1, 2, 3)]
    expected = [omni.answer(*arguments) for arguments in clips]
    found = Parallel(n_jobs=4, backend="threading")(
        delayed(omni.answer)(*arguments) for arguments in clips * 2
    )
    assert found == expected * 2


def test_the_end_of_an_answer(omni, clip):
    """The mark of a message's end ends it and is no part of it."""
    head = omni.backbone.model.lm_head.weight
    first = omni.answer(*clip, "so", "Look", 1).content
    end = omni.tokenizer.convert_tokens_to_ids("<|im_end|>")
    likeliest = omni.tokenizer.convert_tokens_to_ids(first)
    before = head[end].clone()
    try:
        with torch.no_grad():
            head[end] = head[likeliest] * 2
        reply = omni.answer(*clip, "so", "Look", 5)
    finally:
        with torch.no_grad():
            head[end] = before
    assert (reply.content, reply.finish, reply.completion_tokens) == ("", "stop", 1)


def test_published_checkpoints_give_the_same(omni, clip):
    whole = _load("whole")
    expected = omni.backbone.model.state_dict()
    found = whole.backbone.model.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert whole.answer(*clip, "so", None, 4) == omni.answer(*clip, "so", None, 4)


def test_numbers_that_overflow(omni, clip):
    head = omni.backbone.model.lm_head.weight
    before = head[0].clone()
    try:
        with torch.no_grad():
            head[0] = torch.nan
        reply = omni.answer(*clip, "so", None, 2)
    finally:
        with torch.no_grad():
            head[0] = before
    assert isinstance(reply, OverflowError)


def test_half_precision(clip):
    reply = _load("thinker", "bfloat16").answer(*clip, "so", None, 3)
    assert reply.completion_tokens == 3
