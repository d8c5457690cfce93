"""Words to hidden states of a language model."""

import os
import threading
from inspect import signature

import numpy as np

from skmer.encoders._forward import to_device
from skmer.encoders._job import Job
from skmer.encoders._stretches import Stretch

# Tokens of a batch on a GPU, and bytes of their hidden states, at most.
_BATCH_TOKENS = 16_384
_BATCH_BYTES = 2**30
# A tokenizer must not be used by two threads at once.
_tokenizing = threading.Lock()


class TextJob(Job):
    """Hidden states of the tokens of texts.

    Parameters
    ----------
    load : callable
        Takes a device and returns the Backbone there, a BERT-like encoder or a
        decoder.
    device : str
        One that it will be loaded on.
    tokenizer : transformers.PreTrainedTokenizerBase
        Of the model.
    n_states : int
        How many hidden states to keep, from the input of block 1 on.
    states : list of int
        The states that are asked for.
    max_length : int
        Tokens of a window at most, special ones included. The tokens of a longer
        text are cut into windows of like length that do not see each other.
    **job : dict
        Arguments of :class:`~skmer.encoders._job.Job`.
    """

    def __init__(self, load, device, tokenizer, *, n_states, states, max_length, **job):
        super().__init__(**job)
        self._load = load
        self.tokenizer = tokenizer
        self.n_states = n_states
        self.taken = states
        with _tokenizing:
            self.before, self.after = _frame(tokenizer)
        special = len(self.before) + len(self.after)
        # Only the model knows how many positions it has.
        backbone = load(device)
        self.room = _room(max_length, backbone) - special
        # All hidden states of a batch are in memory together.
        size = 2 * n_states * backbone.config.hidden_size
        self.gpu_budget = min(_BATCH_TOKENS, _BATCH_BYTES // size)
        if self.room < 1:
            raise ValueError(
                f"max_length={max_length} leaves no room for a token of text: this "
                f"model adds {special} special tokens. Raise max_length."
            )

    def stretches(self, found):
        """Cut the tokens of a text into windows."""
        with _tokenizing:
            # verbose=False: that a text is longer than a window is no news here.
            ids = self.tokenizer(
                with_bytes(found), padding=False, truncation=False, verbose=False
            )["input_ids"]
        tokens = ids[len(self.before) : len(ids) - len(self.after)]
        if not tokens:
            return []
        windows, start = [], 0
        for part in np.array_split(tokens, -(-len(tokens) // self.room)):
            values = np.array([*self.before, *part, *self.after], dtype=np.int64)
            windows.append(Stretch(values, start, len(part), len(tokens)))
            start += len(part)
        return windows

    def load(self, device):
        """Return the model on a device."""
        return self._load(device)

    def forward(self, backbone, stretches):
        """Run windows through the model."""
        states = _hidden_states(backbone, self.tokenizer.pad_token_id, stretches)
        first, states = len(self.before), states[: self.n_states]
        return [
            self.keep(
                [state[row, first : first + window.n_steps] for state in states],
                window,
                self.taken,
            )
            for row, window in enumerate(stretches)
        ]

    def arrays(self, name, values):
        """Return what a record holds."""
        return {"states": values}


def with_bytes(text):
    """Return a text without halves of surrogate pairs, which have no bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _hidden_states(backbone, pad, windows):
    """Run windows through the model, padded on the right.

    Padding after the text keeps the positions of its tokens, and a decoder, whose
    tokens see only what is before them, never sees it.
    """
    import torch

    shape = len(windows), max(map(len, windows))
    ids = np.full(shape, 0 if pad is None else pad, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window.values
        mask[row, : len(window)] = 1
    options = {}
    if "use_cache" in signature(backbone.model.forward).parameters:
        options["use_cache"] = False
    with torch.inference_mode():
        output = backbone.model(
            input_ids=to_device(ids, backbone.device),
            attention_mask=to_device(mask, backbone.device),
            output_hidden_states=True,
            **options,
        )
    return output.hidden_states


def _frame(tokenizer):
    """Return the special tokens that a tokenizer puts before and after a text."""
    probe = "a"
    inner = tokenizer(probe, add_special_tokens=False)["input_ids"]
    whole = tokenizer(probe)["input_ids"]
    for start in range(len(whole) - len(inner) + 1):
        if inner and whole[start : start + len(inner)] == inner:
            return whole[:start], whole[start + len(inner) :]
    raise ValueError(
        f"{type(tokenizer).__name__} does not put its special tokens around the "
        f"text: {probe!r} is {inner} without and {whole} with them. Such a model "
        "cannot be used here."
    )


def _room(max_length, backbone):
    """Return how many tokens a window may have, no more than there are positions."""
    limits = [max_length, getattr(backbone.config, "max_position_embeddings", None)]
    embeddings = getattr(backbone.model, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    if table is not None and table.padding_idx is not None:
        # RoBERTa and its kin count positions from the one after that of padding.
        limits[1] -= table.padding_idx + 1
    return min(limit for limit in limits if limit and limit > 0)


def _after_fork_in_child():
    global _tokenizing
    _tokenizing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
