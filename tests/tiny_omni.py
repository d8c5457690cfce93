"""A small random Qwen2.5-Omni, saved where a real one would be."""

import atexit
import json
import tempfile
from functools import cache
from pathlib import Path

_folder = tempfile.TemporaryDirectory(prefix="skmer-omni-")
atexit.register(_folder.cleanup)

N_MELS = 16
# Seconds of sound at most, where the real one hears 300.
WINDOW = 4
# Pixels of a picture at most.
MAX_PIXELS = 56 * 84
MARKS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|IMAGE|>"),
    *("<|VIDEO|>", "<|audio_bos|>", "<|audio_eos|>", "<|vision_bos|>"),
    "<|vision_eos|>",
]


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        tokenizer_class="PreTrainedTokenizerFast",
    )
    fast.add_special_tokens({"additional_special_tokens": MARKS})
    return fast


@cache
def omni_model(part="thinker"):
    """Return the folder of a tiny model, made at first use.

    ``"whole"`` is saved as checkpoints are published, with the parts that speak left
    out; ``"thinker"`` the part that writes, alone.
    """
    import torch
    import transformers

    tokenizer = _tokenizer()
    number = tokenizer.convert_tokens_to_ids
    thinker = {
        "audio_config": {
            "num_mel_bins": N_MELS,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "d_model": 16,
            "n_window": 20,
            "output_dim": 32,
            "max_source_positions": 60,
        },
        "vision_config": {
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        "text_config": {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "tie_word_embeddings": False,
        },
        "audio_token_index": number("<|AUDIO|>"),
        "image_token_index": number("<|IMAGE|>"),
        "video_token_index": number("<|VIDEO|>"),
        "audio_start_token_id": number("<|audio_bos|>"),
        "audio_end_token_id": number("<|audio_eos|>"),
        "vision_start_token_id": number("<|vision_bos|>"),
        "vision_end_token_id": number("<|vision_eos|>"),
    }
    # What it says of parts that are not there is no news.
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        config = transformers.Qwen2_5OmniConfig(
            thinker_config=thinker, enable_audio_output=False
        )
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(3)
            model = transformers.Qwen2_5OmniForConditionalGeneration(config).eval()
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4)
        folder = Path(_folder.name) / part
        (model if part == "whole" else model.thinker).save_pretrained(folder)
    finally:
        transformers.logging.set_verbosity(verbosity)
    tokenizer.save_pretrained(folder)
    # One file for pictures and sound, as published.
    transformers.WhisperFeatureExtractor(
        feature_size=N_MELS, chunk_length=WINDOW, return_attention_mask=True
    ).save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    pictures = transformers.Qwen2VLImageProcessorPil(
        min_pixels=28 * 28, max_pixels=MAX_PIXELS
    )
    file.write_text(json.dumps(pictures.to_dict() | settings))
    return str(folder)
