"""Small random language models with tokenizers, saved where real ones would be."""

import atexit
import tempfile
from functools import cache
from pathlib import Path

_folder = tempfile.TemporaryDirectory(prefix="skmer-text-models-")
atexit.register(_folder.cleanup)

N_LAYERS = 5
WIDTH = 16
TEXTS = [
    "I am so happy today!",
    "go away",
    "The weather on the mountain was rather cold, but nobody minded it at all.",
    "no",
    "我今天很高兴",
]
_BODY = {
    "vocab_size": 320,
    "hidden_size": WIDTH,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_BERT = {"max_position_embeddings": 160}
_DECODER = {"num_key_value_heads": 1, "head_dim": 8}
# Name -> configuration class, settings, special tokens around a text.
FAMILIES = {
    "bert": ("BertConfig", _BERT, "<s> $A </s>"),
    "roberta": ("RobertaConfig", _BERT, "<s> $A </s>"),
    "xlm-roberta": ("XLMRobertaConfig", _BERT, "<s> $A </s>"),
    "electra": ("ElectraConfig", {**_BERT, "embedding_size": 12}, "<s> $A </s>"),
    "qwen2": ("Qwen2Config", _DECODER, "$A"),
    "qwen3": ("Qwen3Config", _DECODER, "$A"),
    "llama": ("LlamaConfig", _DECODER, "<s> $A"),
}


@cache
def text_model(name, n_layers=N_LAYERS):
    """Return the folder of a tiny language model, made at first use.

    Weights are drawn wider than models start with, so that layers differ as those
    of trained models do.
    """
    import torch
    import transformers

    config, settings, template = FAMILIES[name]
    body = {**_BODY, "num_hidden_layers": n_layers}
    config = getattr(transformers, config)(**body, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(sum(name.encode()))
        model = transformers.AutoModel.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(5)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
    folder = Path(_folder.name) / f"{name}-{n_layers}"
    model.save_pretrained(folder)
    _tokenizer(template).save_pretrained(folder)
    return str(folder)


def _tokenizer(template):
    """Return a byte-level tokenizer, so that no text is unknown to it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "a"), ("Ġ", "t"), ("Ġt", "h"), ("a", "t"), ("e", "r"), ("n", "o")]
    words = [*special, *letters, *(a + b for a, b in merges)]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        tokenizer_class="PreTrainedTokenizerFast",
    )
