import numpy as np
import pytest
import torch
from torch.nn import functional

from skmer.modules import ModalTokenFusion

SIZES = {"audio": 6, "text": 3, "video__face": 4, "video__frame": 4}
LAYERS = {"audio": [2, 2, 2]}


def make(**params):
    net = ModalTokenFusion(SIZES, 3, hidden_size=8, layer_sizes=LAYERS, **params)
    net = net.double().eval()
    # Away from where it starts: zeros would hide what is left out.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return net


def batch():
    generator = torch.Generator().manual_seed(0)
    streams = [
        torch.randn(4, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.tensor(
        [[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 0]], dtype=torch.bool
    )
    return streams, mask


def token(encoder, x):
    x = encoder.enter[1](x)
    norm, first, _, _, second = encoder.residual
    return encoder.norm(x + second(functional.relu(first(norm(x)))))


def transformed(net, sequence):
    """Two pre-norm layers and the rolled-out attention, over what is there."""
    flow = torch.eye(len(sequence), dtype=torch.float64)
    for block in net.blocks:
        seen = block.norm(sequence)
        attention, heads = block.attention, []
        query, key, value = attention.project(seen).chunk(3, dim=1)
        for own in (slice(0, 4), slice(4, 8)):
            heads.append((query[:, own] @ key[:, own].T / 2).softmax(dim=1))
        read = [
            h @ value[:, own]
            for h, own in zip(heads, (slice(0, 4), slice(4, 8)), strict=True)
        ]
        sequence = sequence + attention.out(torch.cat(read, dim=1))
        norm, up, _, _, down, _ = block.feed
        sequence = sequence + down(functional.gelu(up(norm(sequence))))
        mean = (heads[0] + heads[1]) / 2
        flow = (mean / 2 + torch.eye(len(mean), dtype=torch.float64) / 2) @ flow
    return net.norm(sequence), flow


def reference(net, streams, there, layers, modal_tokens):
    """One clip, leaving out what it lacks instead of masking it."""
    audio = streams[0].view(3, 2)
    if layers == "weighted":
        share = net.layer_scores["0"].softmax(dim=0)
        parts = [("audio", 0, share @ audio)]
    elif layers == "tokens":
        parts = [("audio", 0, layer) for layer in audio]
    else:
        parts = [("audio", 0, streams[0])]
    parts += [("text", 1, streams[1]), ("video", 2, streams[2])]
    parts += [("video", 3, streams[3])]
    encoded = [
        (modality, stream, token(encoder, x))
        for (modality, stream, x), encoder in zip(parts, net.encoders, strict=True)
        if there[stream]
    ]
    names = ["audio", "text", "video"]
    known = [name for name in names if name in [m for m, _, _ in encoded]]
    sequence, readers = [], []
    for name in known:
        own = [(stream, x) for m, stream, x in encoded if m == name]
        modal = net.modal[names.index(name)]
        if modal_tokens == "prepend":
            readers.append([len(sequence)])
            sequence += [(None, modal), *own]
        else:
            readers.append(range(len(sequence), len(sequence) + len(own)))
            sequence += [(stream, x + modal) for stream, x in own]
    out, flow = transformed(net, torch.stack([x for _, x in sequence]))
    codes = {
        name: out[list(rows)].mean(dim=0)
        for name, rows in zip(known, readers, strict=True)
    }
    reached = torch.stack([flow[list(rows)].mean(dim=0) for rows in readers]).mean(0)
    weights = torch.zeros(4, dtype=torch.float64)
    for (stream, _), amount in zip(sequence, reached, strict=True):
        if stream is not None:
            weights[stream] += amount
    nothing = torch.zeros(8, dtype=torch.float64)
    return [codes.get(name, nothing) for name in names], weights / weights.sum()


@pytest.mark.parametrize("modal_tokens", ["prepend", "add"])
@pytest.mark.parametrize("layers", ["weighted", "tokens", "concat"])
def test_forward_equals_the_formulas(layers, modal_tokens):
    net = make(layers=layers, modal_tokens=modal_tokens)
    streams, mask = batch()
    with torch.no_grad():
        codes, weights = net.encode(streams, mask), net.weights(streams, mask)
        logits = net(streams, mask)
        for row in range(4):
            clip = [x[row] for x in streams]
            parts, shares = reference(net, clip, mask[row], layers, modal_tokens)
            code = torch.cat(parts)
            torch.testing.assert_close(codes[row], code, rtol=0, atol=1e-10)
            torch.testing.assert_close(logits[row], net.head(code), rtol=0, atol=1e-10)
            torch.testing.assert_close(weights[row], shares, rtol=0, atol=1e-6)


def test_the_mean_readout_leaves_out_modalities_that_are_missing():
    whole, mean = make(), make(readout="mean")
    whole.load_state_dict({**whole.state_dict(), **_but_head(mean)})
    streams, mask = batch()
    with torch.no_grad():
        codes = whole.encode(streams, mask).view(4, 3, 8)
        known = codes.abs().sum(dim=2) > 0
        assert known.sum(dim=1).tolist() == [3, 2, 2, 1]
        expected = codes.sum(dim=1) / known.sum(dim=1, keepdim=True)
        torch.testing.assert_close(mean.encode(streams, mask), expected)


def _but_head(net):
    return {k: v for k, v in net.state_dict().items() if not k.startswith("head")}


def test_a_modality_is_the_first_part_of_a_name():
    net = make(layers="tokens")
    assert net.modalities == ["audio", "text", "video"]
    assert net.modal.shape == (3, 8) and len(net.encoders) == 6
    assert net.head.in_features == 24


def test_layer_weights_begin_equal_and_add_up():
    net = ModalTokenFusion(SIZES, 3, layer_sizes=LAYERS)
    assert list(net.layer_weights()) == ["audio"]
    np.testing.assert_allclose(net.layer_weights()["audio"], [1 / 3] * 3, rtol=1e-6)
    assert make(layers="tokens").layer_weights() == {}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([3, 2], r"'audio' have 5 columns together, the stream has 6"),
        ([4, 2], r"'audio' have \[2, 4\] columns; only layers of one size"),
    ],
)
def test_layers_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        ModalTokenFusion(SIZES, 3, layer_sizes={"audio": sizes})


@pytest.mark.parametrize("name", ["layers", "modal_tokens", "readout"])
def test_unknown_choices_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be one of"):
        make(**{name: "x"})
