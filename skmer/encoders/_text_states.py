"""Words to hidden states of a language model, pooled over their tokens."""

import os
import threading
from inspect import signature

import numpy as np

from skmer.encoders._forward import in_parts, pool_states

# Tokens, padding included, that go through a GPU at once.
_BATCH_TOKENS = 16_384
# A tokenizer must not be used by two threads at once.
_tokenizing = threading.Lock()


def text_states(
    texts, tokenizer, backbone, *, n_states, max_length, pooling, batch_tokens=None
):
    """Return pooled hidden states of texts.

    Parameters
    ----------
    texts : list of str
        What was said.
    tokenizer : transformers.PreTrainedTokenizerBase
        Of the model.
    backbone : Backbone
        A BERT-like encoder or a decoder.
    n_states : int
        How many hidden states to return, from the input of block 1 on.
    max_length : int
        Tokens of a window at most, special ones included. The tokens of a longer
        text are cut into windows of like length that do not see each other.
    pooling : {"mean", "mean_std"}, int or None
        Over all tokens of the text but special ones.
    batch_tokens : int or None, default=None
        Tokens, padding included, of one forward pass; a longer window goes alone.
        None: one window a pass on the CPU, where padded batches are slower, else
        16,384.

    Returns
    -------
    states : list of (ndarray or None)
        Of shape (n_states, n_outputs * width), or (n_states, n_tokens, width) for
        ``pooling=None``, dtype float32. None for a text without tokens.
    """
    if batch_tokens is None:
        batch_tokens = 0 if backbone.device == "cpu" else _BATCH_TOKENS
    with _tokenizing:
        before, after = _frame(tokenizer)
        contents = _tokens(texts, tokenizer, len(before), len(after))
    room = _room(max_length, backbone) - len(before) - len(after)
    if room < 1:
        raise ValueError(
            f"max_length={max_length} leaves no room for a token of text: this model "
            f"adds {len(before) + len(after)} special tokens. Raise it."
        )
    windows, pieces = [], []
    for tokens in contents:
        n_parts = -(-len(tokens) // room)
        parts = np.array_split(tokens, n_parts) if n_parts else []
        pieces.append(range(len(windows), len(windows) + n_parts))
        windows += [[*before, *part.tolist(), *after] for part in parts]
    # What is in several windows is pooled when all of them are there.
    whole = {numbers[0] for numbers in pieces if len(numbers) == 1}
    results = {}

    def forward(numbers):
        states = _hidden_states(backbone, tokenizer, [windows[i] for i in numbers])
        return [
            _pooled(
                states[:n_states],
                row,
                slice(len(before), len(windows[i]) - len(after)),
                pooling if i in whole else None,
            )
            for row, i in enumerate(numbers)
        ]

    for numbers in _groups(windows, batch_tokens):
        found = in_parts(forward, numbers)
        results.update(zip(numbers, found, strict=True))
    return [_joined([results[i] for i in numbers], pooling) for numbers in pieces]


def _pooled(states, row, inside, pooling):
    import torch

    return pool_states(torch.stack([s[row, inside] for s in states]), pooling)


def _joined(parts, pooling):
    if len(parts) < 2:
        return parts[0] if parts else None
    import torch

    return pool_states(torch.from_numpy(np.concatenate(parts, axis=1)), pooling)


def _hidden_states(backbone, tokenizer, windows):
    """Run windows through the model, padded on the right.

    Padding after the text keeps the positions of its tokens, and a decoder, whose
    tokens see only what is before them, never sees it.
    """
    import torch

    shape = len(windows), max(map(len, windows))
    pad = tokenizer.pad_token_id
    ids = torch.full(shape, 0 if pad is None else pad, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = torch.tensor(window)
        mask[row, : len(window)] = 1
    options = {}
    if "use_cache" in signature(backbone.model.forward).parameters:
        options["use_cache"] = False
    with torch.inference_mode():
        output = backbone.model(
            input_ids=ids.to(backbone.device),
            attention_mask=mask.to(backbone.device),
            output_hidden_states=True,
            **options,
        )
    return output.hidden_states


def _groups(windows, batch_tokens):
    """Put windows of like length together, as many as a pass may hold."""
    order = sorted(range(len(windows)), key=lambda i: (len(windows[i]), i))
    groups = []
    for i in order:
        # Ascending: the latest is the longest of its group.
        if groups and (len(groups[-1]) + 1) * len(windows[i]) <= batch_tokens:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _tokens(texts, tokenizer, n_before, n_after):
    """Return the numbers of the tokens of texts, special ones left out."""
    # verbose=False: that a text is longer than a window is no news here.
    encoded = tokenizer(texts, padding=False, truncation=False, verbose=False)
    return [ids[n_before : len(ids) - n_after] for ids in encoded["input_ids"]]


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
