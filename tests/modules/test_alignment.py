import numpy as np
import pytest
import torch

from skmer.modules._alignment import alignment_loss, choose_negatives

EVERYONE = torch.ones(4, 4, dtype=torch.bool)
LABELS = torch.tensor([0, 1, 0, 2])
SAME = LABELS[:, None] == LABELS[None, :]


def similarities(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("average", [True, False])
def test_the_loss_is_the_formula(average):
    similarity = similarities()
    losses = alignment_loss(similarity, SAME, EVERYONE, average=average)
    for i, row in enumerate(similarity.numpy()):
        share = np.exp(row) / np.exp(row).sum()
        terms = [-np.log(share[j]) for j in range(4) if LABELS[j] == LABELS[i]]
        expected = np.mean(terms) if average else np.sum(terms)
        assert float(losses[i]) == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    similarity = torch.log(torch.tensor([[1.0, 3.0], [1.0, 1.0]]).double())
    same = torch.ones(2, 2, dtype=torch.bool)
    summed = alignment_loss(similarity, same, same, average=False)
    # -log(1/4) - log(3/4) = log(16/3), and 2 log 2
    expected = torch.log(torch.tensor([16 / 3, 4.0]).double())
    torch.testing.assert_close(summed, expected)
    torch.testing.assert_close(alignment_loss(similarity, same, same), expected / 2)


def test_candidates_left_out_are_not_there():
    similarity = similarities()
    allowed = EVERYONE.clone()
    allowed[:, 2] = False
    kept = [0, 1, 3]
    expected = alignment_loss(similarity[:, kept], SAME[:, kept], EVERYONE[:, :3])
    losses = alignment_loss(similarity, SAME, allowed)
    torch.testing.assert_close(losses, expected)
    nothing = torch.zeros_like(EVERYONE)
    assert alignment_loss(similarity, SAME, nothing).tolist() == [0.0] * 4


def test_negatives_are_the_most_similar_of_another_class():
    similarity = torch.tensor(
        [[9.0, 1, 8, 2], [3, 9, 2, 4], [9, 2, 9, 1], [1, 2, 3, 9]]
    )
    anchors, negatives = choose_negatives(similarity, ~SAME)
    assert anchors.tolist() == [0, 1, 2, 3]
    assert negatives.tolist() == [3, 3, 1, 2]


def test_negatives_are_drawn_in_proportion_to_the_softmax():
    similarity = torch.log(torch.tensor([[5.0, 3.0, 5.0, 1.0]]).repeat(4000, 1))
    allowed = (~SAME)[:1].repeat(4000, 1)
    generator = torch.Generator().manual_seed(0)
    _, drawn = choose_negatives(similarity, allowed, generator)
    counts = torch.bincount(drawn, minlength=4)
    assert counts[0] == counts[2] == 0
    # 3 to 1; four standard deviations of the count are 110
    assert abs(int(counts[1]) - 3000) < 110


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_an_anchor_without_another_class_gets_no_negative(generator):
    labels = torch.tensor([1, 1, 1])
    anchors, negatives = choose_negatives(
        torch.zeros(3, 3), labels[:, None] != labels[None, :], generator
    )
    assert len(anchors) == len(negatives) == 0
