"""Small random Whisper models that write text, saved where real ones would be."""

import atexit
import tempfile
from functools import cache
from pathlib import Path
from string import ascii_letters

_folder = tempfile.TemporaryDirectory(prefix="skmer-whisper-")
atexit.register(_folder.cleanup)

# Seconds that the model hears at once, where real ones hear 30.
WINDOW = 2
LANGUAGES = ("en", "zh", "de")
MAX_TOKENS = 24


def _tokenizer(multilingual):
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import WhisperTokenizer

    vocabulary = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    names = ["<|endoftext|>", "<|startoftranscript|>"]
    names += [f"<|{language}|>" for language in LANGUAGES if multilingual]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    names += ["<|nospeech|>", "<|notimestamps|>"]
    tokenizer = WhisperTokenizer(
        vocab=vocabulary, merges=[], pad_token="<|endoftext|>", language=None
    )
    tokenizer.add_special_tokens({"additional_special_tokens": names[1:]})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(WINDOW * 50 + 1)])
    return tokenizer


@cache
def whisper_model(name="multilingual"):
    """Return the folder of a tiny model of speech recognition, made at first use.

    ``"english"`` knows one language and takes no name of one. Weights are drawn so
    that what is written depends on the sound.
    """
    import torch
    import transformers

    multilingual = name != "english"
    tokenizer = _tokenizer(multilingual)
    vocabulary = tokenizer.get_vocab()
    number = tokenizer.convert_tokens_to_ids
    end, start = number("<|endoftext|>"), number("<|startoftranscript|>")
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=50 * WINDOW,
        max_target_positions=64,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        tie_word_embeddings=not multilingual,
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5 + sum(name.encode()))
        model = transformers.WhisperForConditionalGeneration(config).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
        # No word is likelier than others whatever is heard.
        sounds = torch.randn(16, 16, 100 * WINDOW)
        tokens = torch.randint(end, (16, 32))
        states = model.model(sounds, decoder_input_ids=tokens).last_hidden_state
        common = states.flatten(0, 1).mean(0)
        weight = model.proj_out.weight
        weight -= (weight @ common)[:, None] * common / (common @ common)
        # Letters rather than other bytes or times.
        letters = [i for c, i in vocabulary.items() if c in ascii_letters]
        others = torch.ones(len(tokenizer), dtype=bool)
        others[letters] = False
        others[end] = False
        weight[others] *= 0.3
    settings = {
        "decoder_start_token_id": start,
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "max_length": MAX_TOKENS,
        "no_timestamps_token_id": number("<|notimestamps|>"),
        "max_initial_timestamp_index": 5,
        "is_multilingual": multilingual,
        "begin_suppress_tokens": [end],
    }
    if multilingual:
        settings["lang_to_id"] = {f"<|{c}|>": number(f"<|{c}|>") for c in LANGUAGES}
        tasks = ("transcribe", "translate")
        settings["task_to_id"] = {task: number(f"<|{task}|>") for task in tasks}
    model.generation_config = transformers.GenerationConfig(**settings)
    folder = Path(_folder.name) / name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(
        feature_size=16, chunk_length=WINDOW
    ).save_pretrained(folder)
    return str(folder)
