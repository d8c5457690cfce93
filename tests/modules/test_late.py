import numpy as np
import torch

from skmer.modules import LateFusion


def test_forward_equals_the_formula():
    net = LateFusion({"a": 3, "b": 2}, 4, hidden_size=5).double().eval()
    generator = torch.Generator().manual_seed(0)
    streams = [
        torch.randn(4, size, generator=generator, dtype=torch.float64)
        for size in (3, 2)
    ]
    mask = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    codes = [
        run(encoder, x.numpy()) * mask[:, [m]].numpy()
        for m, (encoder, x) in enumerate(zip(net.encoders, streams, strict=True))
    ]
    code = run(net.fuse, np.hstack(codes))
    logits = code @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(net.encode(streams, mask), code, atol=1e-12)
        np.testing.assert_allclose(net(streams, mask), logits, atol=1e-12)
    layers = [m for m in net.modules() if isinstance(m, torch.nn.Linear)]
    assert len(layers) == 3 + 3 + 2 + 1


def run(layers, x):
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
            x = np.maximum(x, 0)
    return x
