import warnings

import numpy as np
import pytest
import torch
from tiny_models import WIDTH, speech_model

from skmer.modules import RandomSource, SpeechBackbone


def whole(name, **overrides):
    import transformers

    with torch.random.fork_rng():
        model = transformers.AutoModel.from_pretrained(speech_model(name), **overrides)
    return model.eval().requires_grad_(False)


def make(name="wavlm-large", seed=0, normalize=False, **overrides):
    model = whole(name, **overrides)
    return SpeechBackbone(model, normalize=normalize, random_source=RandomSource(seed))


def sounds(lengths=(4000, 2500, 3200, 2500), seed=0):
    generator = torch.Generator().manual_seed(seed)
    sound = torch.randn(len(lengths), max(lengths), generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return sound * mask, mask


def reference(model, sound, mask, row):
    """The states that transformers gives for one clip alone, without padding."""
    with torch.no_grad():
        return model(sound[row : row + 1, mask[row]]).last_hidden_state[0]


@pytest.mark.parametrize("name", ["wavlm-large", "wavlm-base", "hubert-large"])
def test_a_batch_gives_each_clip_what_it_gets_alone(name):
    backbone, model = make(name).eval(), whole(name)
    sound, mask = sounds()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        steps, real = backbone(sound, mask)
    assert backbone.width == steps.shape[2] == WIDTH
    for row in range(len(sound)):
        expected = reference(model, sound, mask, row)
        assert int(real[row].sum()) == len(expected)
        torch.testing.assert_close(
            steps[row][real[row]], expected, rtol=1e-3, atol=1e-4
        )
        assert steps[row][~real[row]].abs().sum() == 0


def test_sound_is_normalised_as_the_extractor_does():
    import transformers

    extractor = transformers.AutoFeatureExtractor.from_pretrained(
        speech_model("wavlm-large")
    )
    sound, mask = sounds()
    sound = (sound * 5 + 2) * mask
    model = whole("wavlm-large")
    with torch.no_grad():
        steps, real = make(normalize=True).eval()(sound, mask)
    for row in range(len(sound)):
        raw = sound[row][mask[row]].numpy()
        values = extractor(raw, sampling_rate=16000, return_tensors="pt").input_values
        expected = model(values).last_hidden_state[0]
        torch.testing.assert_close(
            steps[row][real[row]], expected, rtol=1e-3, atol=1e-4
        )


def test_a_clip_without_sound_or_hardly_any():
    backbone = make().eval()
    sound, mask = sounds((4000, 3, 0, 4000))
    steps, real = backbone(sound, mask)
    assert real.sum(dim=1).tolist()[1:3] == [1, 0]
    assert steps[2].abs().sum() == 0 and torch.isfinite(steps).all()
    assert torch.isfinite(backbone(sound[2:3], mask[2:3])[0]).all()
    # What fills a short one up is silence, whoever else is in the batch.
    backbone = make(normalize=True).eval()
    sound = (sound + 3) * mask
    together, alone = backbone(sound, mask), backbone(sound[1:2, :3], mask[1:2, :3])
    torch.testing.assert_close(together[0][1, :1], alone[0][0], rtol=1e-4, atol=1e-5)


def test_all_learns_but_the_convolutions_and_the_shared_model_stays():
    model = whole("wavlm-large")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    backbone = SpeechBackbone(model).train()
    sound, mask = sounds()
    learnt = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learnt, lr=0.1)
    backbone(sound, mask)[0].square().mean().backward()
    optimizer.step()
    grown, frozen = set(), set()
    for name, value in backbone.model.state_dict().items():
        changed = not torch.equal(value, before[name])
        (grown if changed else frozen).add(name)
    assert {name for name in frozen if name.startswith("feature_extractor")}
    assert not {name for name in grown if name.startswith("feature_extractor")}
    assert {f"encoder.layers.{i}.attention.k_proj.weight" for i in range(4)} <= grown
    assert "feature_projection.projection.weight" in grown
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not model.training and model.config.mask_time_prob > 0


def test_training_draws_from_its_own_source_only():
    overrides = {"mask_time_prob": 0.5, "mask_time_length": 2, "layerdrop": 0.3}
    overrides["mask_feature_prob"] = 0.5
    sound, mask = sounds()
    torchs, numpys = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    runs = []
    for seed in (0, 0, 1):
        backbone = make(seed=seed, **overrides).train()
        runs.append([backbone(sound, mask)[0] for _ in range(2)])
    assert torch.equal(torchs, torch.random.get_rng_state())
    assert (numpys == np.random.get_state()[1]).all()  # noqa: NPY002
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[0][1])
    assert not torch.equal(runs[0][0], runs[2][0])


def test_dropout_differs_from_step_to_step():
    backbone = make(mask_time_prob=0.0, layerdrop=0.0, hidden_dropout=0.3).train()
    sound, mask = sounds()
    assert not torch.equal(backbone(sound, mask)[0], backbone(sound, mask)[0])
    assert torch.equal(*[backbone.eval()(sound, mask)[0] for _ in range(2)])


def test_masked_steps_are_spans_of_the_configured_share():
    backbone = make(mask_time_prob=0.2, mask_time_length=5)
    hidden = backbone._masked(torch.full((200,), 100))
    assert hidden.shape == (200, 100)
    # Spans may overlap, which costs a little of the share.
    assert 0.15 < hidden.float().mean() < 0.21
    runs = torch.nn.functional.pad(hidden.int(), (1, 1)).diff(dim=1)
    starts = (runs == 1).nonzero()[:, 1]
    stops = (runs == -1).nonzero()[:, 1]
    assert int((stops - starts).min()) == 5
    assert not backbone._masked(torch.tensor([3])).any()
