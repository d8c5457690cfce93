"""A key that a server is asked with is in nothing that skmer keeps, shows or says."""

import base64
import copy
import json
import logging
import pickle
import traceback
import warnings

import numpy as np
import pandas as pd
import pytest
from chat_server import ChatServer, Response, completion
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from skmer import cli
from skmer.encoders import TextEncoder
from skmer.enrichment import ChatAnnotator, ContextEnricher
from skmer.evaluation import evaluate
from skmer.exceptions import EndpointError, MediaError, ModelFormatError
from skmer.persistence import load_model, save_model

pytest.importorskip("openai", reason="openai is not installed: skmer[llm]")

KEY = "sk-3f9a1c77e5d24b60"
CLASSES = ["happy", "sad"]


@pytest.fixture
def key(monkeypatch):
    # As users have them: some in the variables that clients of hubs look for
    for name in ("MY_KEY", "OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)
    return KEY


@pytest.fixture
def server():
    """A server that repeats the key in whatever it says."""

    def respond(request):
        said = f"you sent {request.headers.get('authorization')}"
        if "broken" in request.text:
            return Response({"error": {"message": said}}, 400)
        answer = {
            "label": "sad" if "bad" in request.text else "happy",
            "keywords": [said],
            "reason": said,
        }
        return Response(completion(json.dumps(answer)))

    with ChatServer(respond) as server:
        yield server
        assert f"Bearer {KEY}" in {
            request.headers.get("authorization") for request in server.requests
        }


@pytest.fixture
def clips():
    texts = [f"{'bad' if i % 2 else 'good'} day {i}" for i in range(12)]
    X = pd.DataFrame({"text": texts}, index=[f"clip{i}" for i in range(12)])
    return X, np.array(["sad" if i % 2 else "happy" for i in range(12)])


def _pipeline(server, folder):
    return Pipeline(
        [
            (
                "chat",
                ChatAnnotator(
                    "tiny",
                    classes=CLASSES,
                    base_url=server.url,
                    api_key_env="MY_KEY",
                    cache=folder,
                    max_retries=0,
                ),
            ),
            ("context", ContextEnricher()),
            ("encode", TextEncoder(model="hashing", cache=folder)),
            ("classify", LogisticRegression()),
        ]
    )


def _bytes_below(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return b"\0".join(str(p).encode() + b"\0" + p.read_bytes() for p in files)


def _forms(key):
    """Return the key as it may stand somewhere: in the open or encoded."""
    encoded = base64.b64encode(f"Bearer {key}".encode())
    return [key.encode(), key.encode("utf-16-le"), key.encode().hex().encode(), encoded]


def _assert_nowhere(places):
    for name, content in places.items():
        content = content if isinstance(content, bytes) else str(content).encode()
        assert content, name
        for form in _forms(KEY):
            assert form not in content, name


def test_the_key_is_nowhere(key, server, clips, tmp_path, caplog, capsys, monkeypatch):
    monkeypatch.setenv("SKMER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    X, y = clips
    places = {}
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _pipeline(server, tmp_path / "cache").fit(X, y)
        predictions = model.predict(X)
        report = evaluate(
            clone(model),
            X,
            y,
            cv=2,
            n_bootstraps=20,
            literature=False,
            robustness=False,
            folder=tmp_path / "run",
        )
        report.save(tmp_path / "report")
        annotator = model.named_steps["chat"]
        table = annotator.transform(X)
        # What fails shows the most.
        bad = pd.DataFrame({"text": ["broken", "so bad"]}, index=["b", "c"])
        with pytest.raises(MediaError) as media:
            annotator.transform(bad)
        failing = clone(annotator).set_params(on_error="nan")
        failing.transform(bad)
        failures = failing.failures(bad)
        nowhere = clone(annotator).set_params(base_url="http://127.0.0.1:9/v1")
        with pytest.raises(EndpointError) as refused:
            nowhere.transform(pd.DataFrame({"text": ["new words"]}))
    assert list(predictions) == list(y)
    assert "you sent Bearer ***" in table["chat__reason"].iloc[0]
    places["predictions"] = predictions
    for name, error in (("failed clip", media), ("failed server", refused)):
        places[name] = "".join(traceback.format_exception(error.value))
        places[f"{name}, pickled"] = pickle.dumps(error.value)
        frames = [frame for frame, _ in traceback.walk_tb(error.value.__traceback__)]
        assert len(frames) > 3
        # Clusters pickle what errors come of, too
        assert error.value.__cause__ is None
    assert refused.value.__context__ is None
    places["failures"] = failures.to_csv() + failures.to_html()
    places["table"] = table.to_csv()
    places["usage"] = annotator.usage(X).to_csv()
    for name, shown in (("annotator", annotator), ("pipeline", model)):
        places[f"{name}, repr"] = repr(shown) + str(shown)
        places[f"{name}, HTML"] = shown._repr_html_()
        places[f"{name}, parameters"] = shown.get_params()
        places[f"{name}, pickled"] = pickle.dumps(shown)
        places[f"{name}, copied"] = pickle.dumps(copy.deepcopy(shown))
        places[f"{name}, attributes"] = vars(shown)
    places["report"] = repr(report) + report.to_json()
    places["report, pickled"] = pickle.dumps(report)
    for folder in ("cache", "run", "report"):
        places[f"folder {folder}"] = _bytes_below(tmp_path / folder)
    places["warnings"] = "".join(str(warning.message) for warning in caught)
    places["log"] = caplog.text
    assert "chat/completions" in caplog.text
    capsys.readouterr()
    for arguments in (["doctor"], ["doctor", "--json"]):
        cli.main(arguments)
        shown = capsys.readouterr()
        places[" ".join(arguments)] = shown.out + shown.err
    _assert_nowhere(places)


def test_the_key_is_not_in_a_saved_model(key, server, clips, tmp_path):
    pytest.importorskip("skops", reason="skops is not installed: skmer[persist]")
    X, y = clips
    model = _pipeline(server, tmp_path / "cache").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = save_model(model, tmp_path / "model")
    _assert_nowhere({"model": _bytes_below(folder)})
    with pytest.raises(ModelFormatError) as refused:
        load_model(folder)
    said = "".join(traceback.format_exception(refused.value))
    twin = load_model(folder, trusted=["MY_KEY", server.url])
    assert list(twin.predict(X)) == list(y)
    _assert_nowhere({"refused": said, "loaded": pickle.dumps(twin)})


def test_the_search_finds_a_key():
    for form in _forms(KEY):
        with pytest.raises(AssertionError, match="log"):
            _assert_nowhere({"log": b"before" + form + b"after"})
