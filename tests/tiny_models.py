"""Small random models of every family, saved where real ones would be."""

import atexit
import tempfile
from functools import cache
from pathlib import Path

_folder = tempfile.TemporaryDirectory(prefix="skmer-models-")
atexit.register(_folder.cleanup)

N_LAYERS = 4
WIDTH = 16
_CONVOLUTIONS = {
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 8, 8],
    "conv_stride": [5, 8, 8],
    "num_conv_pos_embeddings": 9,
    "num_conv_pos_embedding_groups": 2,
}
_BODY = {
    "hidden_size": WIDTH,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 8,
}
# Name -> model class, configuration.
SPEECH = {
    "hubert-large": (
        "HubertModel",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    ),
    "hubert-base": ("HubertModel", {"feat_extract_norm": "group"}),
    "wavlm-large": (
        "WavLMModel",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    ),
    "wavlm-base": ("WavLMModel", {"feat_extract_norm": "group"}),
    "wav2vec2-large": (
        "Wav2Vec2Model",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    ),
    "wav2vec2-base": ("Wav2Vec2Model", {"feat_extract_norm": "group"}),
    "data2vec": (
        "Data2VecAudioModel",
        {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 3},
    ),
    "whisper": ("WhisperModel", None),
}
# As deep as large models are.
_DEEP = SPEECH["hubert-large"][1] | {"num_hidden_layers": 24}


@cache
def speech_model(name):
    """Return the folder of a tiny speech model, made at first use.

    ``"hubert-24"`` has 24 layers. Weights are drawn wider than models start with, so
    that layers differ as those of trained models do.
    """
    import torch
    import transformers

    deep = name == "hubert-24"
    kind, settings = ("HubertModel", _DEEP) if deep else SPEECH[name]
    kind = getattr(transformers, kind)
    if name == "whisper":
        config = kind.config_class(
            vocab_size=40,
            num_mel_bins=16,
            d_model=WIDTH,
            encoder_layers=N_LAYERS,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            max_source_positions=100,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=3,
        )
        extractor = transformers.WhisperFeatureExtractor(
            feature_size=16, chunk_length=2
        )
    else:
        config = kind.config_class(**_BODY | _CONVOLUTIONS | settings)
        stable = settings.get("feat_extract_norm") == "layer"
        extractor = transformers.Wav2Vec2FeatureExtractor(
            do_normalize=True, return_attention_mask=stable or name == "data2vec"
        )
    with torch.random.fork_rng():
        torch.manual_seed(sum(name.encode()))
        model = kind(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(3)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
    folder = Path(_folder.name) / name
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)
