import pytest

from skmer.fusion import AttentionFusionClassifier


def test_the_two_attentions_are_two_nets(clips):
    X, y = clips
    joint, alone = (
        AttentionFusionClassifier(
            attention=attention,
            max_epochs=1,
            hidden_size=8,
            stream_heads=None,
            random_state=0,
        ).fit(X, y)
        for attention in ("joint", "per_stream")
    )
    assert len(list(joint.module_.parameters())) == 3 * 6 + 8 + 2
    assert len(list(alone.module_.parameters())) == 3 * 4 + 2 + 2


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability(clips, dropout):
    with pytest.raises(ValueError, match="The 'dropout' parameter"):
        AttentionFusionClassifier(dropout=dropout).fit(*clips)
