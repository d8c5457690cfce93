"""Modal tokens before the streams of each modality, as in ECMF."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skmer._streams import modality_of
from skmer.modules._random import Dropout, RandomSource, linear
from skmer.modules._self_attention import SelfAttention

_CHOICES = {
    "layers": ("weighted", "tokens", "concat"),
    "modal_tokens": ("prepend", "add"),
    "readout": ("concat", "mean"),
}


class ModalTokenFusion(nn.Module):
    """Run a small transformer over streams, each modality led by a learnt token.

    Parameters
    ----------
    stream_sizes : mapping of str to int
        Number of columns of each stream, in the order in which they are given to
        :meth:`forward`. The part of a name before the first ``__`` is its modality.
    n_classes : int
        Number of logits.
    layer_sizes : mapping of str to sequence of int, or None, default=None
        For streams that hold several layers of one encoder side by side: how many
        columns each layer has. They add up to the size of the stream.
    layers : {"weighted", "tokens", "concat"}, default="weighted"
        What becomes of the layers of a stream: one token, made of their mean with
        learnt weights that a softmax keeps positive; one token each; or one token,
        made of all their columns.
    modal_tokens : {"prepend", "add"}, default="prepend"
        Whether the token of a modality stands before the modality's streams, to be
        read out at the end, or is added to each of them, like a position.
    readout : {"concat", "mean"}, default="concat"
        How the modalities' codes become one.
    hidden_size : int, default=128
        Size of a token.
    n_layers : int, default=2
        Self-attention layers.
    n_heads : int, default=2
        Heads of each; ``hidden_size`` is a multiple of it.
    dropout : float, default=0.6
        Dropout of the stream encoders and before the head.
    attention_dropout : float or None, default=0.1
        Dropout inside the self-attention layers; None is ``dropout``.
    random_source : RandomSource or None, default=None
        Where initial weights and dropout draw from; None makes one with seed 0.

    Notes
    -----
    No token looks at that of a masked stream. A modality without any stream takes
    no part: its code is zero.
    """

    def __init__(
        self,
        stream_sizes: Mapping[str, int],
        n_classes: int,
        *,
        layer_sizes: Mapping[str, Sequence[int]] | None = None,
        layers: str = "weighted",
        modal_tokens: str = "prepend",
        readout: str = "concat",
        hidden_size: int = 128,
        n_layers: int = 2,
        n_heads: int = 2,
        dropout: float = 0.6,
        attention_dropout: float | None = 0.1,
        random_source: RandomSource | None = None,
    ):
        super().__init__()
        given = {"layers": layers, "modal_tokens": modal_tokens, "readout": readout}
        for name, value in given.items():
            if value not in _CHOICES[name]:
                raise ValueError(
                    f"{name} must be one of {_CHOICES[name]}. Got {value!r}."
                )
        source = random_source or RandomSource()
        self.modal_tokens = modal_tokens
        self.readout = readout
        # How each stream is cut, and which stream each token comes from.
        self.cuts = _cuts(stream_sizes, layer_sizes or {}, layers)
        self.weighted = layers == "weighted"
        names, sizes = [], []
        for name, cut in self.cuts.items():
            tokens = cut[:1] if self.weighted else cut
            names += [name] * len(tokens)
            sizes += tokens
        modalities = [modality_of(name) for name in names]
        self.modalities = list(dict.fromkeys(modalities))
        self.encoders = nn.ModuleList(
            _Encoder(size, hidden_size, dropout, source) for size in sizes
        )
        self.layer_scores = nn.ParameterDict(
            {
                str(index): nn.Parameter(torch.zeros(len(cut)))
                for index, cut in enumerate(self.cuts.values())
                if self.weighted and len(cut) > 1
            }
        )
        self.modal = nn.Parameter(torch.empty(len(self.modalities), hidden_size))
        generator = source.generator("cpu")
        nn.init.normal_(self.modal, std=0.02, generator=generator)
        inner = dropout if attention_dropout is None else attention_dropout
        self.blocks = nn.ModuleList(
            _Block(hidden_size, n_heads, inner, source) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.drop = Dropout(dropout, source)
        n_codes = len(self.modalities) if readout == "concat" else 1
        self.head = linear(n_codes * hidden_size, n_classes, source)
        self.register_buffer(
            "of_modality", _indicator(self.modalities, modalities), persistent=False
        )
        self.register_buffer(
            "of_stream", _indicator(list(stream_sizes), names), persistent=False
        )

    def forward(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size of the stream)
            One tensor per stream; masked rows may hold any finite number.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            True where a clip has the stream; None where every clip has all.

        Returns
        -------
        logits : Tensor of shape (batch, n_classes)
        """
        return self.head(self.drop(self.encode(streams, mask)))

    def encode(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Return the codes of the modalities, side by side or their mean.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        codes : Tensor of shape (batch, n_modalities * hidden_size)
            What the head classifies; ``(batch, hidden_size)`` with
            ``readout="mean"``.
        """
        tokens, present = self._tokens(streams, mask)
        sequence, heads, known = self._attend(tokens, present)[:3]
        codes = torch.bmm(heads, sequence)  # (batch, modality, hidden)
        if self.readout == "concat":
            return codes.flatten(1)
        return codes.sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1)

    def weights(self, streams: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Weigh the streams by how much of their tokens reaches the readout.

        Parameters
        ----------
        streams : sequence of Tensor of shape (batch, size)
            One a stream, in the order of ``stream_sizes``.
        mask : Tensor of shape (batch, n_streams), dtype bool, or None
            False where a clip lacks a stream.

        Returns
        -------
        weights : Tensor of shape (batch, n_streams)
            They sum to one, and are 0 where a stream is missing. Attention is
            rolled out: the matrices of the layers, each averaged over heads and with
            the identity for the residual path, are multiplied.
        """
        tokens, present = self._tokens(streams, mask)
        _, heads, known, flow = self._attend(tokens, present)
        count = known.sum(dim=1, keepdim=True).clamp(min=1)
        reached = torch.bmm(heads, flow).sum(dim=1) / count
        # What flows from the modal tokens themselves belongs to no stream.
        reached = reached[:, : tokens.shape[1]] * present
        reached = reached / reached.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return reached @ self.of_stream.T

    def layer_weights(self) -> dict[str, Tensor]:
        """Return the weights with which the layers of a stream become one token.

        Returns
        -------
        weights : dict of str to Tensor of shape (n_layers,)
            For streams of several layers, where ``layers="weighted"``.
        """
        names = list(self.cuts)
        return {
            names[int(index)]: scores.detach().softmax(dim=0)
            for index, scores in self.layer_scores.items()
        }

    def _tokens(
        self, streams: Sequence[Tensor], mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the tokens and whether each is there."""
        if mask is None:
            first = streams[0]
            mask = first.new_ones(first.shape[0], len(streams), dtype=torch.bool)
        parts: list[Tensor] = []
        for index, (x, cut) in enumerate(zip(streams, self.cuts.values(), strict=True)):
            x = torch.where(mask[:, index : index + 1], x, 0.0)
            layers = x.split(cut, dim=1)
            if self.weighted and len(layers) > 1:
                share = self.layer_scores[str(index)].softmax(dim=0)
                mixed = sum(a * part for a, part in zip(share, layers, strict=True))
                parts.append(mixed)
            else:
                parts += layers
        tokens = torch.stack(
            [encode(x) for encode, x in zip(self.encoders, parts, strict=True)], dim=1
        )  # (batch, token, hidden)
        present = mask.float() @ self.of_stream.float() > 0
        return tokens * present.unsqueeze(2), present

    def _attend(
        self, tokens: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the layers.

        Returns the sequence (batch, token, hidden), the matrix (batch, modality,
        token) that reads the modalities' codes from it, which modalities are there,
        and the rolled-out attention (batch, token, token).
        """
        batch, n_tokens, _ = tokens.shape
        own = self.of_modality * present.unsqueeze(1)  # (batch, modality, token)
        known = own.sum(dim=2) > 0
        if self.modal_tokens == "prepend":
            # Attention knows no order, so the end serves as well as the beginning.
            modal = self.modal.expand(batch, -1, -1)
            sequence = torch.cat([tokens, modal], dim=1)
            there = torch.cat([present, known], dim=1)
            heads = torch.diag_embed(known.to(tokens.dtype))
            nothing = heads.new_zeros(batch, len(self.modalities), n_tokens)
            heads = torch.cat([nothing, heads], dim=2)
        else:
            sequence = tokens + self.of_modality.T @ self.modal
            there = present
            heads = own / own.sum(dim=2, keepdim=True).clamp(min=1)
        same = torch.eye(sequence.shape[1], dtype=heads.dtype, device=heads.device)
        flow = same.expand(batch, -1, -1)
        for block in self.blocks:
            sequence, attention = block(sequence, there)
            flow = torch.bmm(0.5 * (attention.to(same.dtype).mean(dim=1) + same), flow)
        return self.norm(sequence), heads, known, flow


class _Encoder(nn.Module):
    """One stream to one token: a linear map and, around two more, a residual path."""

    def __init__(self, size: int, hidden: int, dropout: float, source: RandomSource):
        super().__init__()
        self.enter = nn.Sequential(
            Dropout(dropout, source), linear(size, hidden, source)
        )
        self.residual = nn.Sequential(
            nn.LayerNorm(hidden),
            linear(hidden, hidden, source),
            nn.ReLU(),
            Dropout(dropout, source),
            linear(hidden, hidden, source),
        )
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.norm(x + self.residual(x))


class _Block(nn.Module):
    """A transformer layer that normalises before each part."""

    def __init__(self, hidden: int, n_heads: int, dropout: float, source: RandomSource):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.attention = SelfAttention(hidden, n_heads, dropout, source)
        self.drop = Dropout(dropout, source)
        self.feed = nn.Sequential(
            nn.LayerNorm(hidden),
            linear(hidden, 2 * hidden, source),
            nn.GELU(),
            Dropout(dropout, source),
            linear(2 * hidden, hidden, source),
            Dropout(dropout, source),
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        attended, attention = self.attention(self.norm(x), mask)
        x = x + self.drop(attended)
        return x + self.feed(x), attention


def _cuts(
    stream_sizes: Mapping[str, int],
    layer_sizes: Mapping[str, Sequence[int]],
    layers: str,
) -> dict[str, list[int]]:
    """Return the columns of each layer of each stream."""
    cuts = {}
    for name, size in stream_sizes.items():
        cut = list(layer_sizes.get(name, ())) if layers != "concat" else []
        cut = cut or [size]
        if sum(cut) != size:
            raise ValueError(
                f"The layers of stream {name!r} have {sum(cut)} columns together, the "
                f"stream has {size}."
            )
        if layers == "weighted" and len(set(cut)) > 1:
            raise ValueError(
                f"The layers of stream {name!r} have {sorted(set(cut))} columns; only "
                "layers of one size have a mean. Use layers='tokens' or 'concat'."
            )
        cuts[name] = cut
    return cuts


def _indicator(rows: list[str], columns: list[str]) -> Tensor:
    """Return 1 where a column's name is the row's, else 0."""
    return torch.tensor([[float(row == name) for name in columns] for row in rows])
