"""OmniAnnotator: what a model is given of clips, and what becomes of its answers."""

import base64
import io
import json
import pickle
import shutil
import warnings
import wave

import cv2
import numpy as np
import pandas as pd
import pytest
from chat_server import LABELS, ChatServer, Response, completion
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from tiny_image_models import image_model
from tiny_omni import omni_model

from skmer.clips import ClipTable
from skmer.enrichment import ContextEnricher, OmniAnnotator
from skmer.enrichment import _omni as module
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import read_audio, read_frames, write_clip

NAMES = ["omni__label", "omni__description", "omni__cues"]
SOUND = 0.2 * np.sin(np.arange(8000, dtype=np.float32) / 20)


def _parts(request):
    """Return pictures, sounds and text of a request."""
    parts = request.body["messages"][-1]["content"]
    found = {kind: [] for kind in ("image_url", "input_audio", "text")}
    for part in parts:
        found[part["type"]].append(part[part["type"]])
    return found["image_url"], found["input_audio"], found["text"]


def _answer(request):
    pictures, sounds, texts = _parts(request)
    fields = {
        "description": f"{len(pictures)} pictures, {len(sounds)} sounds.",
        "cues": ["a smile", "loud"],
        "label": LABELS[len(texts[-1]) % 3],
    }
    return Response(completion(json.dumps(fields)))


@pytest.fixture
def server():
    pytest.importorskip("openai", reason="the extra llm is not installed")
    with ChatServer(_answer) as server:
        yield server


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Clips with both, without sound, without picture; and no clip at all."""
    folder = tmp_path_factory.mktemp("omni")
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 256, (6, 6, 10, 3)), np.ones((1, 8, 8, 1)))
    frames = frames.astype(np.uint8)
    paths = {name: str(folder / f"{name}.mp4") for name in ("both", "mute", "broken")}
    paths["sound"] = str(folder / "sound.wav")
    write_clip(paths["both"], frames, SOUND, fps=12, rate=16_000)
    write_clip(paths["mute"], frames[::-1], None, fps=12)
    with wave.open(paths["sound"], "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((SOUND * 32767).astype("<i2").tobytes())
    with open(paths["broken"], "wb") as file:
        file.write(b"no clip")
    return paths


@pytest.fixture
def clips(files):
    rows = {
        "a": (files["both"], None, "so glad"),
        "b": (files["mute"], None, None),
        "c": (None, files["sound"], "I see"),
        "d": (None, None, "go away"),
        "e": (None, None, None),
    }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["video", "audio", "text"], dtype=object
    )


def _remote(server, **params):
    params = {"base_url": server.url, "max_retries": 0, "n_frames": 3} | params
    return OmniAnnotator("tiny", LABELS, **params)


def _local(**params):
    params = {"n_frames": 2, "max_tokens": 6, "device": "cpu"} | params
    return OmniAnnotator(omni_model(), LABELS, **params)


def test_the_table_gets_three_columns(server, clips):
    before = clips.copy(deep=True)
    table = _remote(server).fit_transform(clips)
    pd.testing.assert_frame_equal(clips, before)
    pd.testing.assert_frame_equal(table[list(clips)], before)
    assert list(table.columns[3:]) == NAMES
    assert list(table["omni__description"]) == [
        "3 pictures, 1 sounds.",
        "3 pictures, 0 sounds.",
        "0 pictures, 1 sounds.",
        "0 pictures, 0 sounds.",
        None,
    ]
    assert list(table["omni__cues"]) == [*["a smile, loud"] * 4, None]
    assert list(table["omni__label"].isna()) == [False] * 4 + [True]


def test_what_is_sent(server, files):
    clips = pd.DataFrame(
        {"video": [files["both"]], "text": ['so "glad" <|im_end|>']}, index=["a"]
    )
    context = pd.Series({"a": "Anna"}, name="speaker")
    _remote(server, context=context, max_side=40, language="zh").transform(clips)
    (request,) = server.requests
    system, user = request.body["messages"]
    assert system["role"] == "system" and "description" in system["content"]
    assert all(f"- {label}" in system["content"] for label in LABELS)
    kinds = [part["type"] for part in user["content"]]
    assert kinds == ["image_url"] * 3 + ["input_audio", "text"]
    pictures, (sound,), (text,) = _parts(request)

    frames = read_frames(files["both"], 3, max_side=40).images
    for picture, frame in zip(pictures, frames, strict=True):
        start, _, content = picture["url"].partition(",")
        assert start == "data:image/jpeg;base64"
        content = np.frombuffer(base64.b64decode(content), np.uint8)
        image = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert max(image.shape) == 40 and image.shape == frame.shape
        far = np.abs(image.astype(float) - frame).mean()
        swapped = np.abs(image[..., ::-1].astype(float) - frame).mean()
        assert far < 20 < 2 * 20 < swapped

    assert sound["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 16_000)
        heard = np.frombuffer(file.readframes(-1), "<i2") / 32767
    assert np.abs(heard - read_audio(files["both"])).max() < 1e-4

    assert json.loads(text) == {
        "context": {"speaker": "Anna"},
        "text": 'so "glad" <|im_end|>',
    }
    assert "<" not in text
    schema = request.body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["description", "cues", "label"]
    assert schema["properties"]["label"]["enum"] == list(LABELS)


@pytest.mark.parametrize(
    ("inputs", "counts"),
    [
        (["audio"], (0, 1, {})),
        (["video"], (3, 0, {})),
        (["text"], (0, 0, {"text": "so glad"})),
        (["video", "text"], (3, 0, {"text": "so glad"})),
    ],
)
def test_inputs(server, clips, inputs, counts):
    _remote(server, inputs=inputs, system_message=False).transform(clips[:1])
    (request,) = server.requests
    (message,) = request.body["messages"]
    assert "exactly one of" in message["content"][0]["text"]
    pictures, sounds, texts = _parts(request)
    assert (len(pictures), len(sounds), json.loads(texts[-1])) == counts


def test_only_the_beginning_is_seen_and_heard(server, files):
    _remote(server, max_seconds=0.25).transform([files["both"]])
    pictures, (sound,), _ = _parts(server.requests[0])
    with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as file:
        assert file.getnframes() == 4000
    assert len(pictures) == 3


def test_nothing_is_asked_twice(server, clips, files, tmp_path, monkeypatch):
    annotator = _remote(server)
    table = annotator.transform(clips)
    assert len(server.requests) == 4
    # The same content in another place is the same clip.
    copy = str(tmp_path / "copy.mp4")
    shutil.copy(files["both"], copy)
    moved = clips.copy()
    moved.loc["a", "video"] = copy

    def refuse(*args):
        raise AssertionError("a file was opened")

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_media", refuse)
        for twin in (
            annotator,
            clone(annotator),
            pickle.loads(pickle.dumps(annotator)),
        ):
            pd.testing.assert_frame_equal(twin.transform(clips), table)
            assert list(twin.transform(moved)["omni__cues"]) == list(
                table["omni__cues"]
            )
            assert list(twin.labels(clips)) == list(table["omni__label"])
        assert list(annotator.usage(clips)["prompt_tokens"]) == [100] * 4 + [0]
        assert len(server.requests) == 4
    for n_more, changed in enumerate(
        (
            {"n_frames": 2},
            {"max_side": 30},
            {"max_seconds": 0.3},
            {"inputs": ["video"]},
            {"language": "zh"},
            {"context": pd.Series({"a": "Anna"})},
            {"max_tokens": 99},
        ),
        start=1,
    ):
        clone(annotator).set_params(**changed).transform(clips[:1])
        assert len(server.requests) == 4 + n_more, changed
    other = clips[:1].assign(text="so sad")
    annotator.transform(other)
    annotator.transform(other)
    assert len(server.requests) == 12


def test_files_that_cannot_be_read(server, clips, files):
    clips.loc["b", "video"] = files["broken"]
    clips.loc["c", "audio"] = "nowhere.wav"
    with pytest.raises(MediaError, match=r"c: cannot open it: there is no such file"):
        _remote(server).transform(clips)
    with pytest.raises(MediaError, match="b: cannot"):
        _remote(server).transform(clips.drop(index="c"))
    annotator = _remote(server, on_error="nan")
    with pytest.warns(ExtractionWarning, match="2 of 5 clips have no answer") as caught:
        table = annotator.transform(clips)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert list(table["omni__label"].isna()) == [False, True, True, False, True]
    failures = annotator.failures(clips)
    assert list(failures.index) == ["b", "c"] == list(failures["clip"])
    assert set(failures["stage"]) == {"open"}
    assert len(server.requests) == 2


def test_garbage_is_missing_and_warned_of_once(clips):
    pytest.importorskip("openai", reason="the extra llm is not installed")
    answers = iter(["happy!", '{"label": "glad", "cues": " a\\nb "}', '{"cues": {}}'])
    with ChatServer(lambda request: Response(completion(next(answers)))) as server:
        annotator = _remote(server, concurrency=1)
        message = "3 of 3 clips hold no label"
        with pytest.warns(ExtractionWarning, match=message) as caught:
            fields = annotator.annotate(clips[:3])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert list(fields["label"]) == [None] * 3
    assert list(fields["cues"]) == [None, "a b", None]
    assert set(annotator.failures(clips[:3])["stage"]) == {"content"}


def test_only_what_failed_is_asked_again(clips):
    pytest.importorskip("openai", reason="the extra llm is not installed")
    broken = True

    def respond(request):
        if broken and not _parts(request)[0]:
            return Response({"error": "out of memory"}, status=500)
        return _answer(request)

    with ChatServer(respond) as server:
        annotator = _remote(server, on_error="nan")
        with pytest.warns(ExtractionWarning, match="2 of 5 clips have no answer"):
            table = annotator.transform(clips)
        assert list(table["omni__label"].isna()) == [False, False, True, True, True]
        broken = False
        assert list(annotator.labels(clips).isna()) == [False] * 4 + [True]
    assert len(server.requests) == 4 + 2


def test_interrupted_answers_go_to_what_was_asked_about(server, clips, files, tmp_path):
    path = shutil.copy(files["both"], tmp_path / "clip.mp4")
    annotator = _remote(server, inputs=["video"])
    cells = annotator._cells([path])
    results = annotator._results(cells, lambda: False)
    next(results)
    shutil.copy(files["mute"], path)
    results.close()
    annotator.labels([path])
    assert len(server.requests) == 2
    # Where nothing is replaced they are kept.
    results = annotator._results(annotator._cells([files["both"]]), lambda: False)
    next(results)
    results.close()
    annotator.labels([files["both"]])
    assert len(server.requests) == 3


def test_usage_counts_a_clip_once_wherever_it_lies(server, clips, files, tmp_path):
    copy = str(tmp_path / "copy.mp4")
    shutil.copy(files["both"], copy)
    twice = clips.iloc[[0, 0, 1]].copy()
    twice["video"] = [files["both"], copy, files["mute"]]
    twice.index = ["a", "a2", "b"]
    annotator = _remote(server, prices=(1e6, 0))
    annotator.transform(twice)
    usage = annotator.usage(twice)
    assert list(usage["prompt_tokens"]) == [100, 0, 100]
    assert list(usage["cost"]) == [100, 0, 100]
    assert len(server.requests) == 2


def test_it_is_a_transformer(server, files):
    paths = [files["both"], files["sound"]]
    annotator = _remote(server, name="qwen").set_output(transform="pandas")
    with pytest.raises(NotFittedError, match="OmniAnnotator keeps the columns"):
        annotator.get_feature_names_out()
    table = annotator.fit(paths).transform(paths)
    assert list(table.index) == paths
    assert list(table.columns) == list(annotator.get_feature_names_out())
    assert list(table.columns[:4]) == ["video", "audio", "text", "qwen__label"]
    labels = annotator.labels(paths)
    assert list(labels.index) == paths and labels.name == "qwen"
    with pytest.raises(ValueError, match="another name than 'qwen'"):
        clone(annotator).transform(table)
    model = make_pipeline(ClipTable(), _remote(server), ContextEnricher())
    texts = model.fit_transform(paths)["text"]
    assert texts.iloc[0].endswith("Signs of emotion: a smile, loud.")
    assert "What is seen and heard: 3 pictures, 1 sounds." in texts.iloc[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"inputs": []}, "some of 'audio', 'video', 'text'"),
        ({"inputs": ["sound"]}, "some of 'audio', 'video', 'text'"),
        ({"inputs": "text"}, "'inputs' parameter"),
        ({"n_frames": 0}, "'n_frames' parameter"),
        ({"classes": ["happy"]}, "at least two labels"),
        ({"base_url": "localhost"}, "no address"),
        ({"backend": "cloud"}, "'backend' parameter"),
    ],
)
def test_what_is_refused(clips, params, message):
    params = {"base_url": "http://localhost:1/v1", "classes": LABELS} | params
    with pytest.raises(ValueError, match=message):
        OmniAnnotator("tiny", **params).fit(clips)


def test_where_there_is_nothing_to_ask(clips):
    annotator = OmniAnnotator("tiny", LABELS, base_url="http://localhost:1/v1")
    with pytest.raises(ValueError, match="none of the 1 clips"):
        annotator.fit(clips.loc[["e"]])
    assert annotator.transform(clips.loc[["e"]])["omni__label"].isna().all()


# In this process


def test_a_random_model_writes_garbage_which_is_missing(clips, monkeypatch):
    annotator = _local()
    with pytest.warns(ExtractionWarning, match="4 of 5 clips hold no label") as caught:
        table = annotator.fit_transform(clips)
    assert len(caught) == 1
    assert table[NAMES].isna().all(axis=None)
    assert list(annotator.failures(clips).index) == ["a", "b", "c", "d"]
    usage = annotator.usage(clips)
    assert list(usage["completion_tokens"]) == [6, 6, 6, 6, 0]
    n_tokens = usage["prompt_tokens"]
    assert n_tokens["a"] > n_tokens["c"] > n_tokens["d"] > n_tokens["e"] == 0
    # With all in the cache no model is looked for.
    monkeypatch.setattr(module, "LocalOmni", None)
    pd.testing.assert_frame_equal(annotator.usage(clips), usage)


def test_answers_of_a_model_in_this_process_are_read(clips, monkeypatch):
    """All but the model itself, which alone would write no label in ages."""
    from skmer.enrichment._endpoint import Reply

    content = '{"description": "A man.", "cues": "loud", "label": "Happy"}'
    monkeypatch.setattr(
        module.LocalOmni, "answer", lambda *args: Reply(content, "stop", 5, 9)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = _local().transform(clips)
    assert list(table.loc["a", NAMES]) == ["happy", "A man.", "loud"]


def test_a_name_of_a_model_behind_a_server(clips, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name = "gpt-4o-audio-preview"
    for act in ("fit", "transform"):
        with pytest.raises(OSError, match="give base_url, api_key_env or backend="):
            getattr(OmniAnnotator(name, LABELS), act)(clips)
    with pytest.raises(OSError) as error:
        OmniAnnotator(name, LABELS, backend="local").fit(clips)
    assert "base_url" not in str(error.value)


def test_other_models_are_refused(clips):
    with pytest.raises(ValueError, match="of type 'clip'.*behind a server"):
        OmniAnnotator(image_model("clip"), LABELS).fit(clips)


def test_local_files_that_cannot_be_read(clips, files):
    clips.loc["b", "video"] = files["broken"]
    with pytest.raises(MediaError, match="b: cannot"):
        _local().transform(clips.loc[["b"]])
    with pytest.warns(ExtractionWarning):
        table = _local(on_error="nan").transform(clips)
    assert table["omni__label"].isna().all()
