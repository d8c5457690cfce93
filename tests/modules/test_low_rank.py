import numpy as np
import torch

from skmer.modules import LowRankFusion, RandomSource
from skmer.modules._tensor import outer_product

SIZES = {"a": 3, "b": 2, "c": 4}


def make(sizes=SIZES, **params):
    params = {"hidden_size": 4, "rank": 3, **params}
    net = LowRankFusion(sizes, 5, random_source=RandomSource(0), **params)
    return net.double().eval()


def batch(n=6):
    generator = torch.Generator().manual_seed(0)
    streams = [
        torch.randn(n, size, generator=generator, dtype=torch.float64)
        for size in SIZES.values()
    ]
    mask = torch.ones(n, 3, dtype=torch.bool)
    mask[1, 0] = mask[2, 1] = mask[3, :2] = mask[4] = False
    return streams, mask


def test_it_is_tensor_fusion_by_the_tensor_that_the_factors_make():
    net = make()
    streams, mask = batch()
    with torch.no_grad():
        a, b, c = net.factors  # (rank, number, output)
        tensor = torch.einsum("rio,rjo,rko,r->oijk", a, b, c, net.rank_weights)
        products = outer_product(net.encoders(streams, mask))  # (batch, 5 * 5 * 5)
        expected = products @ tensor.flatten(1).T + net.bias
        torch.testing.assert_close(
            net.encode(streams, mask), expected, rtol=0, atol=1e-12
        )
    assert torch.linalg.matrix_rank(tensor[0].flatten(1).detach()) <= 3


def test_one_product_by_hand():
    net = make({"a": 1, "b": 1}, hidden_size=1, rank=2)
    with torch.no_grad():
        for encoder in net.encoders:
            for layer in encoder[1::2]:
                layer.weight.fill_(1.0)
                layer.bias.zero_()
        # code 2 gives 2 * 3 + 1 and 2 * -1 + 0.5; code 5 gives 5 + 2 and 5 * 4
        net.factors[0].copy_(torch.tensor([[[3.0], [1.0]], [[-1.0], [0.5]]]))
        net.factors[1].copy_(torch.tensor([[[1.0], [2.0]], [[4.0], [0.0]]]))
        net.rank_weights.copy_(torch.tensor([0.5, 2.0]))
        net.bias.fill_(10.0)
    x = [torch.tensor([[2.0]]).double(), torch.tensor([[5.0]]).double()]
    expected = 0.5 * (7 * 7) + 2 * (-1.5 * 20) + 10
    np.testing.assert_allclose(net.encode(x).item(), expected)
    # without the second stream its code is 0: the products have 2 and 0 of it
    alone = net.encode(x, torch.tensor([[True, False]])).item()
    np.testing.assert_allclose(alone, 0.5 * 7 * 2 + 2 * -1.5 * 0 + 10)


def test_products_of_many_streams_neither_vanish_nor_explode():
    sizes = {f"s{i}": 5 for i in range(8)}
    net = LowRankFusion(sizes, 3, random_source=RandomSource(0)).eval()
    generator = torch.Generator().manual_seed(0)
    streams = [torch.randn(200, 5, generator=generator) for _ in sizes]
    spread = net.encode(streams).std(dim=0).mean()
    assert 0.05 < spread < 5
