import numpy as np
import torch

from skmer.modules import ConcatFusion, RandomSource


def test_forward_equals_the_formula():
    net = ConcatFusion({"a": 3, "b": 2}, 4, hidden_sizes=(5, 6)).double().eval()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    b = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    there = mask.numpy().astype(float)
    x = np.hstack([a.numpy() * there[:, :1], b.numpy() * there[:, 1:], there])
    for index in (0, 3):
        layer = net.layers[index]
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        x = np.maximum(x, 0)
    logits = x @ net.head.weight.detach().numpy().T + net.head.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(net.encode([a, b], mask), x, atol=1e-12)
        np.testing.assert_allclose(net([a, b], mask), logits, atol=1e-12)


def test_a_missing_stream_is_not_one_of_zeros():
    net = ConcatFusion({"a": 3, "b": 2}, 4, random_source=RandomSource(0)).eval()
    streams = [torch.ones(2, 3), torch.zeros(2, 2)]
    first, second = net(streams, torch.tensor([[True, True], [True, False]]))
    assert not torch.allclose(first, second)


def test_dropout_of_the_input_leaves_presence_alone():
    net = ConcatFusion({"a": 300}, 2, hidden_sizes=(), input_dropout=0.5).train()
    with torch.no_grad():
        code = net.encode([torch.ones(20, 300)])
    assert set(code[:, :300].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(code[:, 300], torch.ones(20))
