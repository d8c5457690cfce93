"""Transcriber: against transformers' own generate, and what becomes of a table."""

import json
import logging
import pickle
import random
from functools import cache
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from joblib import Parallel, delayed, parallel_config
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted
from tiny_models import speech_model
from tiny_whisper import LANGUAGES, MAX_TOKENS, WINDOW, whisper_model

import skmer
from skmer._pretrained import Backbone, _backbones, unload_backbones
from skmer.cache import open_store
from skmer.clips import ClipTable
from skmer.encoders import AcousticEncoder, TextEncoder
from skmer.enrichment import Transcriber
from skmer.enrichment._whisper import Writer
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import read_audio, write_clip

# Two longer than the window, the others shorter.
SECONDS = (0.5, 5.3, 0.9, 1.3, 1.9, 3.1)


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Six sound files, each of another pitch, noise and length."""
    folder = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    return [_write(folder / f"{i}.wav", rng, s) for i, s in enumerate(SECONDS)]


def _write(path, rng, seconds):
    times = np.arange(round(seconds * 16000))
    sound = 0.3 * np.sin(rng.uniform(0.02, 0.5) * times)
    sound += rng.uniform(0, 0.2) * rng.standard_normal(len(times))
    write_clip(path, audio=sound.astype(np.float32), rate=16000)
    return str(path)


def _silence(path, level=0.0):
    write_clip(path, audio=np.full(16000, level, dtype=np.float32), rate=16000)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """A copy of a tiny model, to be changed."""
    return Path(copytree(whisper_model(), tmp_path / "model"))


@cache
def _loaded(name):
    folder = whisper_model(name)
    return (
        transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval(),
        transformers.WhisperFeatureExtractor.from_pretrained(folder),
        transformers.WhisperTokenizer.from_pretrained(folder),
    )


def _reference(name, path, **options):
    """Return what transformers writes, by the calls that its documentation shows."""
    model, extractor, tokenizer = _loaded(name)
    sound = read_audio(path, rate=16000)
    long = {"truncation": False, "padding": "longest", "return_attention_mask": True}
    inputs = extractor(
        sound,
        sampling_rate=16000,
        return_tensors="pt",
        **long if len(sound) > WINDOW * 16000 else {},
    )
    tokens = model.generate(**inputs, **options)
    return tokenizer.decode(tokens[0], skip_special_tokens=True).strip()


def _transcriber(name="multilingual", **params):
    return Transcriber(whisper_model(name), **params)


def _texts(transcriber, X):
    return list(transcriber.transform(X)["text"])


def _models_held():
    return [v for v in _backbones._loaded.values() if isinstance(v, Backbone)]


@pytest.mark.parametrize("batch_size", ["auto", 3])
@pytest.mark.parametrize(
    ("name", "params", "options"),
    [
        ("multilingual", {}, {"task": "transcribe"}),
        (
            "multilingual",
            {"language": "zh"},
            {"task": "transcribe", "language": "chinese"},
        ),
        (
            "multilingual",
            {"language": "German", "num_beams": 3, "max_new_tokens": 12},
            {
                "task": "transcribe",
                "language": "de",
                "num_beams": 3,
                "max_new_tokens": 12,
            },
        ),
        ("english", {}, {}),
    ],
)
def test_texts_are_those_of_transformers(name, params, options, batch_size, voices):
    expected = [_reference(name, path, **options) for path in voices]
    assert len(set(expected)) >= 4 and all(expected)
    found = _texts(_transcriber(name, batch_size=batch_size, **params), voices)
    assert found == expected


def test_long_sound_is_written_to_its_end(voices):
    # More than one window can hold, and what generate gives with time stamps on.
    model, extractor, tokenizer = _loaded("multilingual")
    inputs = extractor(
        read_audio(voices[1], rate=16000),
        sampling_rate=16000,
        return_tensors="pt",
        truncation=False,
        padding="longest",
    )
    tokens = model.generate(
        inputs.input_features, task="transcribe", return_timestamps=True
    )
    written = [token for token in tokens[0] if token < tokenizer.eos_token_id]
    assert inputs.input_features.shape[-1] == 530
    assert _texts(_transcriber(), [voices[1]]) == [tokenizer.decode(written)]
    pieces = model.generate(
        inputs.input_features,
        task="transcribe",
        return_timestamps=True,
        return_segments=True,
    )["segments"][0]
    assert float(pieces[-1]["end"]) > 2 * WINDOW


def test_language_is_heard_and_can_be_chosen(voices):
    model, extractor, _ = _loaded("multilingual")
    heard = set()
    for path in voices:
        inputs = extractor(read_audio(path, rate=16000), return_tensors="pt")
        heard |= set(model.detect_language(inputs.input_features).tolist())
    known = model.generation_config.lang_to_id
    assert heard <= set(known.values())
    texts = {
        language: tuple(_texts(_transcriber(language=language), voices))
        for language in LANGUAGES
    }
    assert len(set(texts.values())) == len(LANGUAGES)
    chinese = texts["zh"]
    for same in ("Chinese", "mandarin", "<|zh|>", " ZH "):
        assert tuple(_texts(_transcriber(language=same), voices)) == chinese


def test_company_does_not_matter(voices):
    expected = _texts(_transcriber(cache=None, batch_size=1), voices)
    order = [3, 5, 0, 2, 4, 1]
    for batch_size in (2, 5, 60):
        twin = _transcriber(cache=None, batch_size=batch_size)
        found = _texts(twin, [voices[i] for i in order])
        assert found == [expected[i] for i in order]
    twin = _transcriber(cache=None)
    assert [_texts(twin, [path])[0] for path in voices] == expected
    assert _texts(twin, [voices[0], *voices, voices[0]])[-1] == expected[0]


def test_threads_do_not_matter(voices):
    twin = _transcriber(cache=None)
    expected = _texts(twin, voices)
    runs = Parallel(n_jobs=3, backend="threading")(
        delayed(_texts)(twin, voices) for _ in range(3)
    )
    assert runs == [expected] * 3


def test_worker_processes_write_the_same_and_know_the_settings(voices, warm_workers):
    exact = _transcriber(cache=None, batch_size=3)
    half = clone(exact).set_params(dtype="bfloat16")
    expected = _texts(half, voices)
    assert expected != _texts(exact, voices)
    with skmer.config_context(dtype="bfloat16"), parallel_config(n_jobs=2):
        assert _texts(exact, voices) == expected


def test_only_missing_text_is_filled(voices):
    heard = _texts(_transcriber(), voices)
    X = pd.DataFrame(
        {
            "speaker": list("abcdef"),
            "text": ["so glad", None, np.nan, "  ", pd.NA, "go away"],
            "audio": voices,
        },
        index=[f"id{i}" for i in range(6)],
    )
    before = X.copy()
    table = _transcriber().fit_transform(X)
    assert list(table.columns) == ["video", "audio", "text"]
    assert table.index.equals(X.index)
    assert list(table["audio"]) == voices
    assert list(table["video"]) == [None] * 6
    assert list(table["text"]) == ["so glad", *heard[1:5], "go away"]
    assert set(map(str, table.dtypes)) == {"object"}
    pd.testing.assert_frame_equal(X, before)


def test_overwritten_text_is_what_is_heard(voices, tmp_path):
    heard = _texts(_transcriber(), voices)
    quiet = _silence(tmp_path / "quiet.wav")
    X = pd.DataFrame({"audio": [*voices, quiet, None], "text": "given"})
    assert _texts(_transcriber(overwrite=True), X) == [*heard, None, None]
    assert _texts(_transcriber(), X) == ["given"] * 8


def test_takes_what_a_clip_table_takes(small_clips):
    paths = small_clips.paths
    transcriber = _transcriber()
    series = pd.Series(paths, index=list("abcdef"))
    heard = _texts(transcriber, paths)
    assert all(heard)
    for X in (
        paths,
        tuple(paths),
        [Path(path) for path in paths],
        np.asarray(paths),
        np.asarray(paths, dtype=object)[:, None],
        series,
        series.to_frame("anything"),
        series.to_frame("video"),
        [paths[0], None, paths[1]],
        [*paths, "speech.wav"][:-1],
    ):
        expected = ClipTable().fit_transform(X)
        found = transcriber.fit_transform(X)
        pd.testing.assert_frame_equal(found[["video", "audio"]], expected.iloc[:, :2])
        pd.testing.assert_frame_equal(
            transcriber.fit_transform(expected), found, check_names=False
        )
        known = dict(zip(paths, heard, strict=True))
        assert list(found["text"]) == [known.get(a) for a in found["audio"]]


def test_clips_without_words_have_no_text(voices, tmp_path, folder):
    frames = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    write_clip(tmp_path / "mute.mp4", frames)
    X = [
        str(tmp_path / "mute.mp4"),
        _silence(tmp_path / "silent.wav"),
        _silence(tmp_path / "faint.wav", 2.0**-16),
        None,
        voices[0],
    ]
    for _ in range(2):
        texts = _texts(_transcriber(), X)
        assert texts[:4] == [None] * 4 and texts[4]
    # A model that stops at once hears no words in anything.
    settings = json.loads((folder / "generation_config.json").read_text())
    known = transformers.AutoTokenizer.from_pretrained(folder)
    settings["begin_suppress_tokens"] = list(range(known.eos_token_id))
    settings["suppress_tokens"] = list(range(known.eos_token_id))
    settings["max_new_tokens"] = 2
    (folder / "generation_config.json").write_text(json.dumps(settings))
    assert _texts(Transcriber(folder), [voices[0]]) == [None]


def test_unreadable_clips(voices, tmp_path):
    broken, gone = str(tmp_path / "broken.mp4"), str(tmp_path / "gone.mp4")
    Path(broken).write_bytes(b"no media file at all" * 50)
    for path in (broken, gone):
        with pytest.raises(MediaError, match=Path(path).name):
            _transcriber().transform([voices[0], path])
    expected = _texts(_transcriber(), voices[:2])
    X = pd.DataFrame(
        {"audio": [voices[0], gone, broken, voices[1], gone]},
        index=list("abcde"),
    ).assign(text=[None, None, None, None, "known"])
    lenient = _transcriber(on_error="nan")
    for _ in range(2):
        with pytest.warns(ExtractionWarning, match=r"2 of 5 .* have no text") as caught:
            table = lenient.transform(X)
        assert [Path(w.filename).name for w in caught] == [Path(__file__).name]
        assert list(table["text"]) == [expected[0], None, None, expected[1], "known"]
    failures = lenient.failures(X)
    assert list(failures["clip"]) == [gone, broken]
    assert list(failures.index) == ["b", "c"]
    assert "no such file" in failures["error"].iloc[0]


def test_sound_that_is_too_long_is_an_error(voices):
    with pytest.raises(MediaError, match="more than max_seconds=3"):
        _transcriber(max_seconds=3).transform(voices)


def test_a_cached_text_needs_no_model(voices, tmp_path):
    transcriber = _transcriber(cache=tmp_path / "store")
    first = _texts(transcriber, voices[:3])
    unload_backbones()
    assert _texts(clone(transcriber), voices[:3]) == first
    # "auto" is a matter of how, not of what.
    twin = clone(transcriber).set_params(batch_size=2, device="cpu", n_jobs=1)
    assert _texts(twin, voices[2::-1]) == first[::-1]
    assert _models_held() == []
    texts = _texts(transcriber, voices)
    assert texts[:3] == first and len(_models_held()) == 1
    assert texts == _texts(_transcriber(cache=None), voices)


def test_records_are_plain_text(voices, tmp_path):
    transcriber = _transcriber(cache=tmp_path / "store", language="zh")
    texts = _texts(transcriber, voices)
    _silence(tmp_path / "silent.wav")
    _texts(transcriber, [tmp_path / "silent.wav"])
    store = open_store(str(tmp_path / "store"))
    assert store.info()["entries"] == len(voices) + 1
    held = b"".join(path.read_bytes() for path in Path(store.path).glob("*.mdb"))
    for text in texts:
        assert text.encode() in held


def test_what_was_written_before_a_failure_stays(voices, tmp_path):
    transcriber = _transcriber(cache=tmp_path / "store", batch_size=1)
    with pytest.raises(MediaError, match="gone"):
        transcriber.transform([*voices[:2], str(tmp_path / "gone.wav")])
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound" * 50)
    with pytest.raises(MediaError, match="broken"):
        transcriber.transform([*voices[:2], str(broken), *voices[2:]])
    unload_backbones()
    assert all(_texts(transcriber, voices[:2]))
    assert _models_held() == []


def test_keys(voices, folder):
    def key(**params):
        return _transcriber(**params)._namespace()

    one = key()
    for params in (
        {"language": "zh"},
        {"num_beams": 2},
        {"max_new_tokens": 5},
        {"max_seconds": 5},
        {"dtype": "bfloat16"},
    ):
        assert key(**params) != one, params
    for params in (
        {"overwrite": True},
        {"batch_size": 3},
        {"n_jobs": 2},
        {"device": "cpu"},
        {"on_error": "nan"},
        {"max_seconds": 600},
    ):
        assert key(**params) == one, params
    assert key(language="zh") == key(language="Mandarin")
    assert Transcriber(folder)._namespace() == one
    # What the generation config says decides what is written.
    settings = json.loads((folder / "generation_config.json").read_text())
    settings["max_length"] = 5
    (folder / "generation_config.json").write_text(json.dumps(settings))
    changed = Transcriber(folder)
    assert changed._namespace() != one
    assert len(_texts(changed, [voices[0]])[0]) <= 5 < MAX_TOKENS


def test_no_model_is_needed_where_every_clip_has_text(voices, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transcriber = Transcriber("someone/no-such-model", language="zh")
    X = pd.DataFrame({"audio": voices, "text": "given"})
    assert list(transcriber.fit_transform(X)["text"]) == ["given"] * len(voices)
    with pytest.raises(OSError, match="hf download someone/no-such-model"):
        transcriber.set_params(overwrite=True).transform(X)


@pytest.mark.parametrize(
    ("name", "language", "words"),
    [
        ("multilingual", "klingon", "Use one of de, en, zh"),
        ("multilingual", "fr", "Use one of de, en, zh"),
        ("english", "en", "knows English only"),
        ("english", "zh", "knows English only"),
    ],
)
def test_languages_that_a_model_does_not_know(name, language, words, voices):
    transcriber = _transcriber(name, language=language)
    for method in (transcriber.fit, transcriber.transform, transcriber.failures):
        with pytest.raises(ValueError, match=words):
            method(voices)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": 3}, "model"),
        ({"language": 5}, "language"),
        ({"overwrite": "no"}, "overwrite"),
        ({"num_beams": 0}, "num_beams"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"dtype": "int8"}, "dtype"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"on_error": "ignore"}, "on_error"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_parameters(params, words, voices):
    transcriber = _transcriber().set_params(**params)
    for method in (transcriber.fit, transcriber.transform):
        with pytest.raises(ValueError, match=words):
            method(voices)


def test_bad_input(voices):
    transcriber = _transcriber()
    for method in (transcriber.fit, transcriber.transform):
        with pytest.raises(ValueError, match="Transcriber was given no clips"):
            method([])
        with pytest.raises(TypeError, match="Transcriber takes a list"):
            method(voices[0])
        with pytest.raises(TypeError, match="Clip 1"):
            method([voices[0], 3])
        with pytest.raises(ValueError, match="Transcriber needs at least one"):
            method(pd.DataFrame({"a": voices, "b": 1}))


def test_neither_sound_nor_text_is_an_error():
    X = pd.DataFrame({"audio": [None, None], "text": None})
    with pytest.raises(ValueError, match="none of the 2 clips has audio"):
        _transcriber().fit(X)
    with pytest.warns(ExtractionWarning, match="none of the 2"):
        table = _transcriber(on_error="nan").fit_transform(X)
    assert list(table["text"]) == [None, None]
    given = X.assign(text=["a", None])
    assert _texts(_transcriber().fit(given), given) == ["a", None]
    with pytest.raises(ValueError, match="none of the 2"):
        _transcriber(overwrite=True).fit(given)


def test_models_that_do_not_fit(voices, folder):
    with pytest.raises(ValueError, match="type 'hubert'"):
        Transcriber(speech_model("hubert-base")).transform(voices)
    settings = json.loads((folder / "generation_config.json").read_text())
    del settings["lang_to_id"]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="has no 'lang_to_id'"):
        Transcriber(folder, language="zh").transform(voices)
    (folder / "generation_config.json").unlink()
    with pytest.raises(OSError, match=r"lacks generation_config\.json"):
        Transcriber(folder).transform(voices)


def test_a_decoder_of_random_weights_is_refused(voices, folder):
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if "decoder.layers.1" not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match="Its results would be random"):
        Transcriber(folder, cache=None).transform(voices[:1])


def test_numbers_that_overflow_are_an_error(voices, folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.decoder.layer_norm.weight"][:] = torch.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for batch_size in (1, 3):
        transcriber = Transcriber(folder, cache=None, batch_size=batch_size)
        with pytest.raises(MediaError, match="bfloat16"):
            transcriber.transform(voices)
    transcriber.set_params(on_error="nan")
    with pytest.warns(ExtractionWarning, match="6 of 6"):
        assert _texts(transcriber, voices) == [None] * 6


def test_batches_become_smaller_where_memory_runs_out(voices):
    sizes = []

    class Narrow(Writer):
        """Has no room for many sounds at once."""

        def _generate(self, sounds):
            sizes.append(len(sounds))
            if len(sounds) > room:
                raise torch.OutOfMemoryError("no room")
            return super()._generate(sounds)

    model, extractor, tokenizer = _loaded("multilingual")
    writer = Narrow(
        Backbone(model, model.config, "cpu", "float32"),
        extractor,
        tokenizer,
        language=None,
        num_beams=1,
        max_new_tokens=None,
    )
    sounds = [read_audio(path, rate=16000) for path in voices]
    room = 2
    assert writer.write(sounds, 16) == _texts(_transcriber(), voices)
    assert sorted(sizes) == [1, 1, 2, 2, 4]
    room = 0
    for error in writer.write(sounds, 16):
        assert isinstance(error, MemoryError)
        assert "for this sound alone (no room)" in str(error)


def test_pickle_and_clone(voices):
    transcriber = _transcriber(language="zh")
    twin = clone(transcriber)
    assert vars(twin).keys() == transcriber.get_params().keys()
    expected = _texts(transcriber.fit(voices), voices)
    data = pickle.dumps(transcriber)
    assert len(data) < 2000 and b"torch" not in data
    assert _texts(pickle.loads(data), voices) == expected
    assert _texts(twin, voices) == expected
    assert transcriber.get_params() == twin.get_params()
    check_is_fitted(twin)


def test_names_and_set_output(voices):
    transcriber = _transcriber()
    names = ["video", "audio", "text"]
    assert list(transcriber.get_feature_names_out()) == names
    plain = transcriber.transform(voices)
    frame = transcriber.set_output(transform="pandas").transform(voices)
    pd.testing.assert_frame_equal(frame, plain)
    assert list(frame.index) == voices


def test_nothing_is_said_and_no_random_number_drawn(voices, caplog, capfd):
    unload_backbones()
    transcriber = _transcriber(
        cache=None, batch_size=3, language="zh", max_new_tokens=12
    )
    states = (
        np.random.get_state()[1].copy(),  # noqa: NPY002
        torch.random.get_rng_state(),
        random.getstate(),
    )
    with caplog.at_level(logging.WARNING):
        transcriber.fit_transform(voices)
    assert (np.random.get_state()[1] == states[0]).all()  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), states[1])
    assert random.getstate() == states[2]
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    transcriber.set_params(verbose=True).transform(voices)
    assert "Transcriber: 100%" in capfd.readouterr().err


def test_words_go_on_to_an_encoder(small_clips):
    paths, y = small_clips.paths, [0, 1, 0, 1, 0, 1]
    heard = _texts(_transcriber(), paths)
    words = TextEncoder(n_features=16)
    both = [("audio", AcousticEncoder()), ("text", words)]
    for encode in (
        FeatureUnion(both),
        ColumnTransformer([(name, step, name) for name, step in both]),
    ):
        model = make_pipeline(ClipTable(), _transcriber(), encode)
        features = model.set_output(transform="pandas").fit_transform(paths)
        assert list(features.index) == paths
        found = features[[c for c in features.columns if c.startswith("text__")]]
        np.testing.assert_array_equal(found, clone(words).fit_transform(heard))
    model = Pipeline(
        [
            ("words", _transcriber()),
            ("encode", words),
            ("classify", LogisticRegression()),
        ]
    )
    grid = {"words__language": ["zh", "en", None], "classify__C": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=3).fit(paths, y)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert len(search.predict(paths)) == 6
