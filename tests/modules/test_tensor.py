import itertools

import numpy as np
import pytest
import torch

from skmer.modules import TensorFusion
from skmer.modules._tensor import outer_product

SIZES = {"a": 3, "b": 2, "c": 4}


def batch(n=4):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]


def test_the_outer_product_holds_every_product():
    codes = torch.tensor([[[2.0, 3.0], [5.0, 7.0]]], dtype=torch.float64)
    expected = [10.0, 14.0, 2.0, 15.0, 21.0, 3.0, 5.0, 7.0, 1.0]
    assert outer_product(codes).tolist() == [expected]


def test_forward_equals_the_formula():
    net = TensorFusion(SIZES, 5, hidden_size=6, code_size=2).double().eval()
    streams = batch()
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    with torch.no_grad():
        logits = net(streams, mask).numpy()
    for row in range(4):
        codes = []
        for index, (encoder, x) in enumerate(zip(net.encoders, streams, strict=True)):
            code = run(encoder, x[row].numpy()) * mask[row, index].item()
            codes.append([*code, 1.0])
        products = [np.prod(chosen) for chosen in itertools.product(*codes)]
        code = run(net.fuse, np.array(products))
        np.testing.assert_allclose(logits[row], affine(net.head, code), atol=1e-12)


def affine(layer, x):
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def run(layers, x):
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            x = np.maximum(affine(layer, x), 0)
    return x


def test_a_stream_that_is_missing_leaves_the_products_of_the_others():
    codes = torch.tensor([[[2.0], [3.0], [5.0]], [[2.0], [0.0], [5.0]]])
    whole, rest = outer_product(codes)
    assert whole.tolist() == [30.0, 6.0, 10.0, 2.0, 15.0, 3.0, 5.0, 1.0]
    assert rest.tolist() == [0.0, 0.0, 10.0, 2.0, 0.0, 0.0, 5.0, 1.0]


def test_a_product_too_large_is_refused():
    sizes = {f"s{i}": 2 for i in range(6)}
    with pytest.raises(ValueError, match=r"17\*\*6 = 24,137,569 .* Lower code_size"):
        TensorFusion(sizes, 3)
    assert TensorFusion(sizes, 3, code_size=3).fuse[1].in_features == 4**6
    with pytest.raises(ValueError, match="more than max_product=99"):
        TensorFusion(SIZES, 3, code_size=4, max_product=99)
