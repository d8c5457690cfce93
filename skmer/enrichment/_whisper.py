"""Sound to text by a Whisper model, as transformers itself generates it."""

import logging
import re
from contextlib import contextmanager

# transformers says the first of how it calls itself, the second of every model that
# has a limit of its own.
_NO_NEWS = (
    "Passing `generation_config` together with generation-related arguments",
    "Both `max_new_tokens`",
)
_NO_ROOM = (
    "the device has no memory for this sound alone ({reason}). Use dtype='float16', "
    "fewer beams or another device"
)
_generation_log = logging.getLogger("transformers.generation.utils")


def language_token(language, generation, model):
    """Return the token by which a model is told the language.

    Parameters
    ----------
    language : str
        Code (``"zh"``), English name (``"chinese"``) or token (``"<|zh|>"``).
    generation : transformers.GenerationConfig
        Of the model.
    model : str or path
        For messages.

    Returns
    -------
    token : str
        Such as ``"<|zh|>"``.

    Raises
    ------
    ValueError
        If the model does not know the language, or English only.
    """
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    known = getattr(generation, "lang_to_id", None)
    if not is_multilingual(generation):
        raise ValueError(
            f"language={language!r} cannot be chosen: {model} knows English only. "
            "Leave language out, or take a multilingual model (without '.en' in its "
            "name)."
        )
    if not known:
        raise ValueError(
            f"language={language!r} cannot be chosen: generation_config.json of "
            f"{model} has no 'lang_to_id'. Copy that file from the Whisper model it "
            "was made of, or leave language out."
        )
    name = re.sub(r"^<\|(.*)\|>$", r"\1", language.strip().lower())
    token = f"<|{TO_LANGUAGE_CODE.get(name, name)}|>"
    if token not in known:
        codes = ", ".join(sorted(code.strip("<|>") for code in known))
        raise ValueError(
            f"language={language!r} is none that {model} knows. Use one of {codes}, "
            "the English name of one of them, or None to have it detected."
        )
    return token


def is_multilingual(generation):
    """Tell whether a model knows more than English, by its generation config."""
    known = bool(getattr(generation, "lang_to_id", None))
    return getattr(generation, "is_multilingual", known)


class Writer:
    """A Whisper model with what it needs to turn sounds into texts.

    Parameters
    ----------
    backbone : Backbone
        A ``WhisperForConditionalGeneration``.
    extractor : transformers.WhisperFeatureExtractor
        Its sample rate is that of the sounds.
    tokenizer : transformers.PreTrainedTokenizerBase
        Of the model.
    language : str or None
        As :func:`language_token` returns it; None detects it.
    num_beams : int
        Width of the beam search.
    max_new_tokens : int or None
        Longest text of a window; None is the model's own limit.
    """

    def __init__(
        self, backbone, extractor, tokenizer, *, language, num_beams, max_new_tokens
    ):
        self.backbone = backbone
        self.extractor = extractor
        self.tokenizer = tokenizer
        generation = backbone.model.generation_config
        self.options = {"num_beams": num_beams}
        if max_new_tokens is not None:
            self.options["max_new_tokens"] = max_new_tokens
        if language is not None:
            self.options["language"] = language
        if is_multilingual(generation) and hasattr(generation, "task_to_id"):
            self.options["task"] = "transcribe"

    def write(self, sounds, batch_size):
        """Return what is said.

        Parameters
        ----------
        sounds : list of ndarray of shape (n_samples,), dtype float32
            Each of another clip.
        batch_size : int
            Sounds no longer than the model's window that it hears side by side;
            longer ones go alone, and so does what memory does not suffice for.

        Returns
        -------
        texts : list of (str, None or MemoryError)
            None where the model's numbers overflow, so that what it writes has
            nothing to do with the sound.
        """
        import torch

        window = self.extractor.n_samples
        short = [i for i, sound in enumerate(sounds) if len(sound) <= window]
        groups = [short[i : i + batch_size] for i in range(0, len(short), batch_size)]
        groups += [[i] for i, sound in enumerate(sounds) if len(sound) > window]
        texts = [None] * len(sounds)
        while groups:
            group = groups.pop()
            try:
                written = self._generate([sounds[i] for i in group])
            except torch.OutOfMemoryError as error:
                written = None
                if len(group) == 1:
                    reason = str(error).partition("\n")[0]
                    written = [MemoryError(_NO_ROOM.format(reason=reason))]
            if written is not None:
                for i, text in zip(group, written, strict=True):
                    texts[i] = text
            elif len(group) > 1:
                # For want of memory, or to find the sound that overflows
                torch.cuda.empty_cache()
                half = len(group) // 2
                groups += [group[:half], group[half:]]
        return texts

    def _generate(self, sounds):
        import torch

        extractor, backbone = self.extractor, self.backbone
        length = {}
        if len(sounds[0]) > extractor.n_samples:
            length = {"truncation": False, "padding": "longest"}
        inputs = extractor(
            sounds,
            sampling_rate=extractor.sampling_rate,
            return_attention_mask=True,
            return_tensors="pt",
            **length,
        )
        watch = Watch()
        with _quiet_generation(), torch.inference_mode():
            tokens = backbone.model.generate(
                inputs.input_features.to(
                    backbone.device, getattr(torch, backbone.dtype)
                ),
                attention_mask=inputs.attention_mask.to(backbone.device),
                logits_processor=[watch],
                **self.options,
            )
        if watch.saw_nan:
            return None
        texts = self.tokenizer.batch_decode(tokens.cpu(), skip_special_tokens=True)
        return [text.strip() for text in texts]


class Watch:
    """A logits processor that changes nothing and notes scores that are NaN."""

    def __init__(self):
        self.saw_nan = False

    def __call__(self, input_ids, scores):
        # Not read before the end, for which a GPU would have to wait.
        self.saw_nan = scores.isnan().any() | self.saw_nan
        return scores


@contextmanager
def _quiet_generation():
    def is_news(record):
        return not record.getMessage().startswith(_NO_NEWS)

    _generation_log.addFilter(is_news)
    try:
        yield
    finally:
        _generation_log.removeFilter(is_news)
