"""AdaptedSpeechEncoder: the full pass, training per fold, leaks, the cache, files."""

import copy
import json
import pickle
import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from leaks import differences
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tiny_models import WIDTH, speech_model
from tiny_text_models import text_model

from skmer._pretrained import load_backbone
from skmer.cache import CachedArray
from skmer.encoders import AdaptedSpeechEncoder, SpeechEncoder
from skmer.encoders._adapted_frames import ClipFrames, FrozenFrames
from skmer.encoders._adapted_run import pool_each
from skmer.encoders._adapted_training import divide
from skmer.encoders._stretches import Stretch
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import write_clip
from skmer.preprocessing import ModalityImputer

LARGE = speech_model("hubert-large")
SMALL = {
    "layers": [2, 4],
    "adapter_size": 8,
    "max_epochs": 2,
    "lr": 1e-2,
    "train_split": None,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Twelve noises of unequal length and colour."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    paths = []
    for i in range(12):
        sound = rng.standard_normal(round(rng.uniform(0.3, 1.3) * 16000))
        sound = np.convolve(sound, np.ones(1 + 3 * (i % 3)), "same") * 0.05
        write_clip(folder / f"{i}.wav", audio=sound.astype(np.float32), rate=16000)
        paths.append(str(folder / f"{i}.wav"))
    return np.array(paths, dtype=object)


Y = np.arange(12) % 3


def make(model=LARGE, **params):
    return AdaptedSpeechEncoder(model, **SMALL | params)


def _without_adapters(encoder):
    """Let the adapters of a fitted encoder add nothing."""
    module = copy.deepcopy(encoder.module_)
    with torch.no_grad():
        for adapter in module.adapters.values():
            adapter.up.weight.zero_()
            adapter.up.bias.zero_()
    encoder._keep(module)
    return encoder


def _passes(n_layers, work):
    """Return how many passes through a model of so many blocks some work takes."""
    model = load_backbone("AutoModel", LARGE, n_layers=n_layers, dtype="float32").model
    count = []
    hook = model.register_forward_hook(lambda *_: count.append(1))
    try:
        work()
    finally:
        hook.remove()
    return len(count)


@pytest.mark.parametrize(
    "name",
    ["hubert-large", "hubert-base", "wavlm-large", "wav2vec2-large", "data2vec"],
)
def test_cached_lower_blocks_give_what_the_whole_model_gives(name, sounds):
    model = speech_model(name)
    encoder = _without_adapters(make(model, output="layers").fit(sounds, Y))
    found = encoder.transform(sounds)
    plain = SpeechEncoder(model, layers=[2, 4], layer_pooling="concat", cache=None)
    expected = plain.fit_transform(sounds)
    assert list(encoder.get_feature_names_out()) == list(plain.get_feature_names_out())
    # What float16 costs: by what a feature differs between clips.
    assert (np.abs(found - expected) / expected.std(axis=0)).max() < 1e-2
    # And without it
    sequences = SpeechEncoder(model, layers=1, pooling=None, cache=None)
    frames = sequences.transform(sounds)[:, 0]
    clips = [ClipFrames(f, np.array([len(f)])) for f in frames]
    exact = pool_each(encoder.module_, encoder._blocks(), clips, "cpu")
    exact = np.reshape(exact, found.shape)
    np.testing.assert_allclose(exact, expected, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(exact, found)


@pytest.mark.parametrize("name", ["hubert-large", "wavlm-large"])
def test_long_sound_is_cut_where_the_whole_model_cuts_it(name, tmp_path, sounds):
    rng = np.random.default_rng(1)
    sound = (rng.standard_normal(55_000) * 0.1).astype(np.float32)
    write_clip(tmp_path / "long.wav", audio=sound, rate=16000)
    X = [str(tmp_path / "long.wav"), *sounds[:5]]
    options = {"window_seconds": 1.0}
    model = speech_model(name)
    encoder = make(model, output="layers", **options).fit(X, Y[:6])
    found = _without_adapters(encoder).transform(X)
    plain = SpeechEncoder(
        model, layers=[2, 4], layer_pooling="concat", cache=None, **options
    )
    expected = plain.transform(X)
    np.testing.assert_allclose(found, expected, atol=3e-3, rtol=0)
    whole = plain.set_params(window_seconds=30.0).transform(X)
    assert np.abs(whole[0] - expected[0]).max() > 3e-2


def test_pieces_stay_within_windows():
    frames = np.arange(10)[:, None]
    clip = ClipFrames(frames, np.array([4, 3, 3], dtype=np.int32))
    assert len(clip) == 10
    pieces = [p.ravel().tolist() for p in clip.pieces(frames)]
    assert pieces == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    pieces = [p.ravel().tolist() for p in clip.pieces(frames, 3, 7)]
    assert pieces == [[3], [4, 5, 6]]


def test_frames_are_kept_in_half_precision_where_they_fit():
    job = FrozenFrames(LARGE, layers=1, pooling=None)._job()
    whole = [Stretch(np.zeros(9), 4, 2, 6), Stretch(np.zeros(9), 0, 4, 6)]
    values = np.random.default_rng(0).normal(size=(6, 1, WIDTH)).astype(np.float32)
    for scale, dtype in ((6e4, np.float16), (7e4, np.float32)):
        frames = values / np.abs(values).max() * np.float32(scale)
        found = job.record(whole, [frames[4:], frames[:4]]).arrays
        assert found["windows"].tolist() == [4, 2]
        assert found["values"].dtype == dtype
        np.testing.assert_allclose(found["values"], frames[:, 0], rtol=2**-11)


def test_frames_stay_in_the_cache_until_they_are_used(sounds):
    clips, failures = make()._lower().frames(list(sounds), raising=True)
    assert not failures and {type(clip.cell) for clip in clips} == {CachedArray}
    assert [len(clip) for clip in clips] == [clip.cell.shape[0] for clip in clips]
    assert clips[0].cell.dtype == np.float16
    clips, _ = make(cache=None)._lower().frames(list(sounds[:2]), raising=True)
    assert {type(clip.cell) for clip in clips} == {np.ndarray}


def test_what_is_watched():
    units = np.arange(60) // 2
    codes = np.where(np.arange(60) < 50, units % 2, -1)
    units[50:55] = 3
    watched = divide(codes, units, 0.2, 0)
    held = watched == 1
    assert held.sum() == 10 and (codes[held] >= 0).all()
    # Stratified, and whole units; what has no label goes where its unit does.
    assert 4 <= codes[held].sum() <= 6
    assert not set(units[held]) & set(units[watched == 0])
    assert set(units[watched == 2]) <= set(units[held])
    found = [divide(codes, units, 0.2, seed) for seed in range(20)]
    assert {tuple(w[50:55]) for w in found} == {(0,) * 5, (2,) * 5}
    assert not divide(codes, units, None, 0).any()
    assert not divide(codes[:38], units[:38], 0.2, 0).any()
    # A share of less than a unit is one.
    assert (divide(codes[:50], units[:50], 0.01, 0) == 1).sum() == 2


def test_training_learns_and_leaves_the_model_as_it_was(sounds):
    model = load_backbone("AutoModel", LARGE, dtype="float32").model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    encoder = make(max_epochs=40, batch_size=4).fit(sounds, Y)
    history = encoder.training_.history
    assert history[-1]["cross_entropy"] < 0.6 * history[0]["cross_entropy"]
    assert history[-1]["reconstruction"] < history[0]["reconstruction"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not model.training
    assert encoder.classes_.tolist() == [0, 1, 2] and encoder.n_clips_ == 12
    assert list(encoder.layer_weights_) == [2, 4]
    assert 0 < encoder.layer_weights_[4] != encoder.layer_weights_[2] != 1
    # Adapters behind the layer that is read first have learnt too.
    fresh = encoder._new_module(3)
    for layer in ("2", "4"):
        trained = encoder.module_.adapters[layer].up.weight
        assert not torch.equal(trained, fresh.adapters[layer].up.weight)


def test_outputs(sounds):
    encoder = make().fit(sounds, Y)
    fused = encoder.transform(sounds)
    layers = clone(encoder).set_params(output="layers").fit(sounds, Y)
    weights = list(layers.layer_weights_.values())
    pooled = layers.transform(sounds).reshape(12, 2, WIDTH)
    expected = weights[0] * pooled[:, 0] + weights[1] * pooled[:, 1]
    np.testing.assert_allclose(fused, expected, rtol=1e-4, atol=1e-5)
    encoder.set_params(output="masked")
    masked = encoder.transform(sounds)
    with torch.no_grad():
        _, parts = encoder.module_(torch.from_numpy(pooled))
    np.testing.assert_allclose(masked, parts["rebuilt"], rtol=1e-4, atol=1e-5)
    assert fused.dtype == np.float32 and fused.shape == masked.shape == (12, WIDTH)
    assert encoder.get_feature_names_out()[0] == "m0"


def test_lower_blocks_run_once_whatever_is_fitted(sounds):
    assert _passes(1, lambda: make().fit(sounds, Y)) == 12

    def more():
        for seed in (1, 2):
            encoder = make(random_state=seed, lr=1e-3).fit(sounds[:8], Y[:8])
            encoder.transform(sounds)

    assert _passes(1, more) == 0


def test_features_are_cached_by_what_was_fitted(sounds, monkeypatch):
    first = make().fit(sounds, Y)
    expected = first.transform(sounds)
    other = make(random_state=1).fit(sounds, Y)
    assert not np.allclose(other.transform(sounds), expected, atol=1e-3)
    monkeypatch.setattr(AdaptedSpeechEncoder, "_blocks", None)
    assert (pickle.loads(pickle.dumps(first)).transform(sounds) == expected).all()
    with pytest.raises(TypeError):
        first.set_params(output="masked").transform(sounds)


def test_the_cache_changes_nothing(sounds):
    cached = make().fit(sounds, Y)
    without = make(cache=None).fit(sounds, Y)
    assert (cached.transform(sounds) == without.transform(sounds)).all()
    rows = [7, 2]
    assert (without.transform(sounds[rows]) == without.transform(sounds)[rows]).all()
    assert (cached.transform(sounds) == make().fit_transform(sounds, Y)).all()


def test_seeded_fits_repeat_in_threads_too_and_draw_nothing_global(sounds):
    expected = make(crop_seconds=0.3, n_threads=1).fit(sounds, Y)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    runs = joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(make(crop_seconds=0.3, n_threads=1).fit)(sounds, Y)
        for _ in range(3)
    )
    for run in runs:
        assert not differences(expected, run)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert differences(expected, make(crop_seconds=0.3, random_state=1).fit(sounds, Y))
    assert differences(expected, make(crop_seconds=None).fit(sounds, Y))


def test_each_fold_has_adapters_of_its_own_and_held_out_clips_have_no_say(
    sounds, tmp_path
):
    sounds, fitted = sounds.copy(), []
    for train, test in KFold(3).split(sounds):
        fitted.append(make().fit(sounds[train], Y[train]))
        # Held-out files that cannot even be read, and other labels there
        changed, labels = sounds.copy(), Y.copy()
        changed[test] = str(tmp_path / "none.wav")
        labels[test] = 2 - labels[test]
        again = make(cache=str(tmp_path / "other")).fit(changed[train], labels[train])
        assert not differences(fitted[-1], again)
    assert differences(fitted[0], fitted[1])
    # The comparison would see a leak.
    labels[train[0]] = (labels[train[0]] + 1) % 3
    assert differences(fitted[-1], make().fit(sounds[train], labels[train]))


def test_clips_without_labels(sounds, tmp_path):
    labels = np.array(["a", "b", "c"], dtype=object)[Y]
    labels[8:] = None
    few = make().fit(sounds[:8], Y[:8])
    X = sounds.copy()
    X[8:] = str(tmp_path / "none.wav")
    ignoring = make().fit(X, labels)
    assert ignoring.n_clips_ == 8 and ignoring.classes_.tolist() == ["a", "b", "c"]
    assert not differences(few.module_, ignoring.module_)
    rebuilding = make(use_unlabeled=True).fit(sounds, labels)
    assert rebuilding.n_clips_ == 12
    assert differences(few.module_, rebuilding.module_)
    with pytest.raises(MediaError, match="none.wav"):
        make(use_unlabeled=True).fit(X, labels)


def test_clips_without_sound_and_unreadable_ones(sounds, tmp_path):
    X = [None, str(tmp_path / "none.wav"), *sounds]
    y = [0, 1, *Y]
    with pytest.raises(MediaError, match="none.wav"):
        make().fit(X, y)
    with pytest.warns(ExtractionWarning, match="1 of 13 clips could not be read and"):
        encoder = make(on_error="nan").fit(X, y)
    assert encoder.n_clips_ == 12
    assert not differences(encoder.module_, make().fit(sounds, Y).module_)
    with pytest.warns(ExtractionWarning, match="1 of 14 clips"):
        features = encoder.transform(X)
    assert np.isnan(features[:2]).all() and np.isfinite(features[2:]).all()
    assert encoder.failures(X)["clip"].tolist() == [str(tmp_path / "none.wav")]
    with pytest.raises(MediaError, match="none.wav"):
        encoder.set_params(on_error="raise").transform(X)
    # A file that was not there is not remembered as missing.
    shutil.copy(sounds[0], tmp_path / "none.wav")
    assert (encoder.transform(X)[1] == features[2]).all()


def test_failures_that_may_pass_are_not_remembered(sounds, monkeypatch):
    encoder = make(on_error="nan").fit(sounds[:6], Y[:6])

    def fail(*args, **options):
        raise MemoryError("full")

    with monkeypatch.context() as patch:
        patch.setattr("skmer.encoders._speech_model.read_audio", fail)
        with pytest.warns(ExtractionWarning, match="full"):
            assert np.isnan(encoder.transform(sounds[6:7])).all()
    assert np.isfinite(encoder.transform(sounds[6:7])).all()


def test_what_is_refused(sounds):
    with pytest.raises(ValueError, match="requires y to be passed"):
        make().fit(sounds, None)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        make().fit(sounds, Y[:5])
    with pytest.raises(ValueError, match="at least two classes"):
        make().fit(sounds, np.zeros(12, dtype=int))
    with pytest.raises(ValueError, match="Got 0 labelled clips"):
        make().fit([None, None], ["a", "b"])
    advice = r"large models; for 4 blocks for example range\(2, 3\)"
    with pytest.raises(ValueError, match=f"blocks from 1 to 4, .* {advice}"):
        AdaptedSpeechEncoder(LARGE).fit(sounds, Y)
    with pytest.raises(ValueError, match=r"Got \[5\]\.$"):
        make(layers=[5]).fit(sounds, Y)
    for layers in (0, [2, 2], [2, "last"], [], [5], [True]):
        with pytest.raises(ValueError, match="layers"):
            make(layers=layers).fit(sounds, Y)
    with pytest.raises(ValueError, match="read_layer must be one of"):
        make(read_layer=3).fit(sounds, Y)
    with pytest.raises(ValueError, match=r"-1 being block 4.*Got -2"):
        make(read_layer=-2).fit(sounds, Y)
    takes = "Adapted[a-zA-Z]* takes hubert, wavlm, wav2vec2, data2vec-audio"
    for model, kind in (
        (speech_model("whisper"), "whisper"),
        (text_model("bert"), "bert"),
    ):
        with pytest.raises(ValueError, match=f"of type '{kind}'. {takes}\\."):
            make(model).fit(sounds, Y)
        with pytest.raises(ValueError, match=takes):
            make(model).get_feature_names_out()
    with pytest.raises(ValueError, match=r"Encoder diverged: .* is nan\. Lower lr\.$"):
        make(lr=1e30).fit(sounds, Y)
    with pytest.raises(ValueError, match="not fitted"):
        make().transform(sounds)


def test_layers_and_the_one_read_first():
    def read(model="hubert-24", **params):
        encoder = AdaptedSpeechEncoder(speech_model(model), **params)
        weights = encoder._new_module(3).layer_weights.tolist()
        return encoder._adapted_layers(), weights

    assert read() == ([16, 17, 18, 19, 20, 21], [0, 0, 1, 0, 0, 0])
    assert read(layers=18) == ([18], [1])
    assert read(layers=[-1, 23]) == ([23, 24], [1, 0])
    assert read(layers=[23, 24], read_layer=-1) == ([23, 24], [0, 1])
    assert read(layers=[23, 24], read_layer="all") == ([23, 24], [0.5, 0.5])
    # Blocks between adapted ones run without an adapter; the first can have one.
    assert read("hubert-large", layers=[4, 1])[0] == [1, 4]


def test_the_first_block_can_have_an_adapter(sounds):
    encoder = make(layers=[1], output="layers").fit(sounds, Y)
    found = _without_adapters(encoder).transform(sounds)
    expected = SpeechEncoder(LARGE, layers=[1], cache=None).transform(sounds)
    np.testing.assert_allclose(found, expected, atol=3e-3, rtol=0)


def test_variants(sounds):
    sound, paper = (make(variant=v).fit(sounds, Y) for v in ("sound", "paper"))
    assert differences(sound.module_, paper.module_)
    module = paper.module_
    assert module.mask_share == 0 and not module.frozen_target
    assert isinstance(module.normalize, torch.nn.Identity)
    assert sound.module_.mask_share == 0.15 and sound.module_.frozen_target
    first = [e.training_.history[0]["reconstruction"] for e in (sound, paper)]
    assert first[0] != first[1]
    can_take = make(outer_relu=False).fit(sounds, Y)
    assert not can_take.module_.adapters["2"].outer_relu


def test_watched_clips_choose_the_epoch_and_stay_with_their_group(sounds):
    X, y = np.tile(sounds, 3), np.tile(Y, 3)
    index = [f"clip{i}" for i in range(36)]
    X = pd.Series(X, index=index, dtype=object)
    groups = pd.Series([f"speaker{i // 3 % 12}" for i in range(36)], index=index)
    options = {"train_split": 0.2, "max_epochs": 30, "patience": 2}
    encoder = make(**options).fit(X, y)
    record = encoder.training_
    assert record.stopped == "patience" and len(record.history) == record.best_epoch + 2
    watched = [epoch["watched"] for epoch in record.history]
    assert np.argmin(watched) + 1 == record.best_epoch
    # Twelve speakers are too few to watch some of them.
    assert make(**options, groups=groups).fit(X, y).training_.best_epoch is None
    with pytest.raises(ValueError, match="groups has no value for clip"):
        make(groups=groups[1:]).fit(X, y)


def test_files_of_adapters(sounds, tmp_path):
    path = tmp_path / "adapters.safetensors"
    encoder = make().fit(sounds, np.array(["a", "b", "c"])[Y])
    encoder.save_adapters(path)
    assert path.stat().st_size < 20_000
    twin = make().load_adapters(path)
    assert twin.classes_.tolist() == ["a", "b", "c"]
    assert twin.layer_weights_ == encoder.layer_weights_
    twin.set_params(cache=None)
    assert (twin.transform(sounds) == encoder.transform(sounds)).all()
    with pytest.warns(UserWarning, match=r"hubert-large.*\(folder:.*hubert-base.*\("):
        make(speech_model("hubert-base")).load_adapters(path)


def test_files_of_adapters_of_other_parameters(sounds, tmp_path):
    path = tmp_path / "adapters.safetensors"
    encoder = make(adapter_size=8).fit(sounds, Y)
    encoder.save_adapters(path)
    for params, message in (
        ({"layers": [2, 3]}, r"file has layers \[2, 4\]; .* has layers \[2, 3\]"),
        ({"adapter_size": 4}, "file has adapter_size 8; .* has adapter_size 4"),
        ({"outer_relu": False}, "file has outer_relu True; .* has outer_relu False"),
        ({"variant": "paper"}, "file has variant 'sound'; .* has variant 'paper'"),
        ({"window_seconds": 5}, "window_seconds 30.0; .* has window_seconds 5.0"),
        (
            {"layers": [4], "adapter_size": 4},
            r"layers \[2, 4\], adapter_size 8; .* has layers \[4\], adapter_size 4\.",
        ),
    ):
        with pytest.raises(ValueError, match=message) as info:
            make(**params).load_adapters(path)
        assert str(path) in str(info.value) and "trained on" not in str(info.value)
    wide = shutil.copytree(LARGE, tmp_path / "wide-hubert")
    config = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(
        ValueError, match=r"width 16; .* 32\. .* hubert-large.*wide-hub"
    ):
        make(wide).load_adapters(path)
    # Of no weight in features: how adapters were trained, and what is shown of them
    free = {"read_layer": 4, "output": "layers", "mask_share": 0.5, "lr": 1.0}
    free |= {"dtype": "float32", "reconstruction_weight": 0.0, "crop_seconds": None}
    shown = make(**free).load_adapters(path).transform(sounds)
    assert (shown == encoder.set_params(output="layers").transform(sounds)).all()
    # What is written is what was fitted, whatever the parameters are by now.
    encoder.set_params(layers=[3], adapter_size=2, outer_relu=False, variant="paper")
    encoder.save_adapters(path)
    make().load_adapters(path)


def test_files_that_hold_no_adapters(sounds, tmp_path):
    from safetensors.numpy import load, save

    path = tmp_path / "adapters.safetensors"
    make().fit(sounds, Y).save_adapters(path)
    data = path.read_bytes()
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pt")
    for content in (
        b"",
        b"This is no file of weights.\n" * 9,
        (tmp_path / "weights.pt").read_bytes(),
        save({"a": np.zeros(2)}),
        *(
            save(
                load(data), {"skmer": f'{{"estimator": "AdaptedSpeechEncoder"{more}}}'}
            )
            for more in ("", ', "format": 1', ', "format": "1"')
        ),
        b"\x02" + b"\0" * 7 + b"[]",
        data[:60],
        data[:-10],
        # A file whose weights are not those it tells of.
        data.replace(b"head.bias", b"head.bios"),
    ):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match="not a file that save_adapters wrote"
        ) as e:
            make().load_adapters(path)
        assert str(path) in str(e.value)
    path.write_bytes(data.replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(ValueError, match="format 9, .* Update skmer"):
        make().load_adapters(path)
    with pytest.raises(FileNotFoundError):
        make().load_adapters(tmp_path / "absent")


def test_pipelines_train_anew_unless_the_encoder_is_frozen(sounds, tmp_path):
    path = tmp_path / "adapters.safetensors"
    make().fit(sounds, Y[::-1]).save_adapters(path)
    loaded = make().load_adapters(path)
    before = loaded.transform(sounds)

    def fitted(step):
        pipeline = make_pipeline(step, StandardScaler(), LogisticRegression())
        folds = cross_validate(pipeline, sounds, Y, cv=KFold(3), return_estimator=True)[
            "estimator"
        ]
        return [fold[0].transform(sounds) for fold in [pipeline.fit(sounds, Y), *folds]]

    assert all((found == before).all() for found in fitted(FrozenEstimator(loaded)))
    assert all((found != before).any() for found in fitted(loaded))


def test_what_was_fitted_stays_until_the_next_fit(sounds):
    encoder = make(output="layers", cache=None).fit(sounds, Y)
    before, names = encoder.transform(sounds), encoder.get_feature_names_out()
    encoder.set_params(layers=[3, 4], outer_relu=False, variant="paper")
    assert (encoder.transform(sounds) == before).all()
    assert list(encoder.get_feature_names_out()) == list(names)


def test_clone_pickle_and_names(sounds):
    encoder = make().fit(sounds, Y).set_output(transform="pandas")
    data = pickle.dumps(encoder)
    assert len(data) < 30_000
    frame = pd.DataFrame({"video": sounds}, index=[f"id{i}" for i in range(12)])
    features = pickle.loads(data).transform(frame)
    assert list(features.columns) == [f"h{i}" for i in range(WIDTH)]
    assert list(features.index) == list(frame.index)
    assert (features.to_numpy() == encoder.transform(sounds).to_numpy()).all()
    twin = clone(encoder)
    assert not hasattr(twin, "module_") and repr(twin) == repr(make())


def test_the_pipeline_of_the_example_takes_clips_without_sound(sounds):
    X = np.array([*sounds, None], dtype=object)
    y = [*Y, 0]
    steps = StandardScaler(), LogisticRegression()
    with pytest.raises(ValueError, match="NaN"):
        make_pipeline(make(), *steps).fit(X, y)
    pipeline = make_pipeline(make(), ModalityImputer(), *steps).fit(X, y)
    assert set(pipeline.predict(X[-3:])) <= set(Y)


def test_grid_search_over_raw_clips(small_clips):
    """Clips with pictures, all in one pipeline."""
    y = np.array(["a", "b"] * 3)
    pipeline = make_pipeline(make(), StandardScaler(), LogisticRegression())
    search = GridSearchCV(
        pipeline, {"adaptedspeechencoder__adapter_size": [4, 8]}, cv=2
    )
    search.fit(small_clips.data, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.predict(small_clips.data)) <= {"a", "b"}


def _modulated(folder, n, seed):
    """Make sounds of two pitches: which of them is loud tells the class."""
    rng, time = np.random.default_rng(seed), np.arange(1600) / 16000
    paths, y = [], np.arange(n) % 2
    for i, code in enumerate(y):
        parts = []
        for part in rng.permutation(4):
            high = part % 2
            pitch = (300, 3000)[high] * rng.uniform(0.95, 1.05)
            tone = np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6))
            parts.append(tone * (0.03, 0.3)[high ^ code])
        sound = np.concatenate(parts) + rng.standard_normal(6400) * 0.003
        path = folder / f"{seed}-{i}.wav"
        write_clip(path, audio=sound.astype(np.float32), rate=16000)
        paths.append(str(path))
    return paths, y


def test_adapted_features_tell_more_than_frozen_ones(tmp_path):
    model = speech_model("wav2vec2-base")
    X, y = _modulated(tmp_path, 120, 0)
    X_test, y_test = _modulated(tmp_path, 100, 1)

    def score(encoder, labels):
        classifier = LogisticRegression(max_iter=1000)
        pipeline = make_pipeline(encoder, StandardScaler(), classifier)
        return pipeline.fit(X, labels).score(X_test, y_test)

    adapted = make(model, layers=[2, 3, 4], max_epochs=20)
    frozen = score(SpeechEncoder(model, layers=3), y)
    assert score(adapted, y) > frozen + 0.06 > 0.6
    # Where labels mean nothing, nothing is found.
    shuffled = np.random.default_rng(0).permutation(y)
    assert score(adapted, shuffled) < 0.7
