"""The endpoint of language models, against a server that behaves badly."""

import gzip
import json
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import numpy as np
import pandas as pd
import pytest
from chat_server import LABELS, ChatServer, Response, completion, good_answer, label_of

from skmer.enrichment import ChatAnnotator, _endpoint_limits
from skmer.enrichment._endpoint import Endpoint, Reply
from skmer.enrichment._endpoint_limits import (
    backoff,
    parse_duration,
    reset_wait,
    stated_wait,
)
from skmer.exceptions import EndpointError, ExtractionWarning, MediaError

pytest.importorskip("openai", reason="OpenAI's client is not installed: skmer[llm]")

TEXTS = [f"text {i}" for i in range(12)]
KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(_endpoint_limits, "_FIRST_PAUSE", 0.02)


def _annotator(server, **params):
    params = {"classes": LABELS, "base_url": server.url, "max_retries": 3} | params
    return ChatAnnotator("tiny", **params)


def _first(response):
    """Let every text meet a response first and be answered at the second try."""
    return ChatServer(lambda r: good_answer(r) if r.tries else response)


def _error(status, message="out of order", headers=None, **more):
    body = {"error": {"message": message, "type": "error", **more}}
    return Response(body, status, headers or {})


def _assert_right(labels, texts=TEXTS):
    assert list(labels) == [label_of(text) for text in texts]


PASSING = {
    "429": _error(429),
    "500": _error(500),
    "503 of a proxy": Response(
        b"<html>busy</html>", 503, {"content-type": "text/html"}
    ),
    "408": _error(408),
    "dropped": Response(drop=True),
    "truncated": Response(completion("x" * 500), sent=40),
    "truncated head": Response(completion("x"), sent=0),
    "html": Response(b"<html>log in</html>", headers={"content-type": "text/html"}),
    "no json": Response(b'{"choices": [', headers={"content-type": "application/json"}),
    "other json": Response([1, 2]),
    "no choices": Response({"choices": []}),
    "error with 200": Response({"error": {"message": "overloaded", "code": 502}}),
    "slow": Response(completion("{}"), delay=0.7),
    "content of another type": Response(completion({"a": 1})),
}


@pytest.mark.parametrize("response", PASSING.values(), ids=PASSING)
def test_what_passes_is_tried_again(response):
    with _first(response) as server:
        annotator = _annotator(server, timeout=0.35 if response.delay else 30)
        _assert_right(annotator.labels(TEXTS))
        assert len(server.requests) == 2 * len(TEXTS)
        _assert_right(annotator.labels(TEXTS))
    assert len(server.requests) == 2 * len(TEXTS)


def test_a_server_that_trickles_is_given_up():
    # Every byte comes in time, but not the answer.
    listener = socket.create_server(("127.0.0.1", 0))

    def trickle():
        line, _ = listener.accept()
        with line:
            try:
                line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n")
                for _ in range(100):
                    line.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                pass

    thread = threading.Thread(target=trickle)
    thread.start()
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        annotator = ChatAnnotator(
            "tiny", LABELS, base_url=url, timeout=0.4, max_retries=0
        )
        start = time.monotonic()
        with pytest.raises(MediaError, match=r"no answer within 0.4 seconds"):
            annotator.labels(["so glad"])
        assert time.monotonic() - start < 3
        thread.join()


def _bad_for(texts, response):
    return ChatServer(lambda r: response if r.text in texts else good_answer(r))


def test_a_clip_without_answer_is_an_error_that_names_it():
    clips = pd.DataFrame({"text": TEXTS}, index=[f"clip{i}" for i in range(12)])
    with _bad_for(TEXTS[7:8], _error(500, "broken")) as server:
        annotator = _annotator(server, max_retries=2, concurrency=2)
        with pytest.raises(MediaError, match="^clip7: no answer came: ") as error:
            annotator.transform(clips)
        assert "HTTP 500: broken (tries: 3)" in str(error.value)
        assert server.texts.count(TEXTS[7]) == 3
        assert "on_error='nan'" in error.value.__notes__[0]
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
        # What was answered before is kept, and nothing was begun after it.
        n_asked = len(server.requests)
        asked = annotator.dry_run(clips)["asked"]
        assert asked["clip7"] and not asked[:7].any()
        server.respond = good_answer
        _assert_right(annotator.labels(clips))
        assert len(server.requests) == n_asked + asked.sum()


def test_a_clip_without_answer_is_missing():
    bad = [TEXTS[2], TEXTS[5]]
    texts = [*TEXTS, TEXTS[5]]
    with _bad_for(bad, _error(500, "broken")) as server:
        annotator = _annotator(server, max_retries=1, on_error="nan")
        with pytest.warns(ExtractionWarning, match="3 of 13 clips have no") as caught:
            table = annotator.transform(texts)
        assert len(caught) == 1 and caught[0].filename == __file__
        missing = table["chat__label"].isna().to_numpy()
        assert list(np.flatnonzero(missing)) == [2, 5, 12]
        known = [text for text in TEXTS if text not in bad]
        _assert_right(table["chat__label"][~missing], known)
        failures = annotator.failures(texts)
        assert list(failures.index) == [2, 5, 12]
        assert set(failures["stage"]) == {"answer"}
        assert failures["error"].str.contains("HTTP 500: broken").all()
        # Nothing is stored of a failure: it may be gone the next time.
        server.respond = good_answer
        _assert_right(annotator.labels(texts), texts)
        assert annotator.failures(texts).empty


def test_a_refusal_of_one_request_is_not_tried_again():
    with _bad_for(TEXTS[3:4], _error(400, "content policy")) as server:
        annotator = _annotator(server, on_error="nan", structured="json_schema")
        with pytest.warns(ExtractionWarning, match="HTTP 400: content policy"):
            labels = annotator.labels(TEXTS)
        assert list(labels.isna()) == [i == 3 for i in range(12)]
        assert len(server.requests) == 12


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (_error(401, "no such key"), "HTTP 401: no such key. Check the key"),
        (_error(403, "not for you"), "HTTP 403: not for you. Check what"),
        (_error(404, "no model 'tiny'"), "HTTP 404: no model 'tiny'. Check base_url"),
        (Response({"error": "model not found"}, 404), "HTTP 404: model not found"),
        (Response(b"", 404), "HTTP 404: no reason given"),
        (_error(429, "paid up?", code="insufficient_quota"), "Add credit"),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_a_server_that_refuses_all_is_asked_little(response, message, on_error):
    with ChatServer(lambda request: response) as server:
        annotator = _annotator(server, on_error=on_error, concurrency=3)
        with pytest.raises(EndpointError) as error:
            annotator.transform(TEXTS)
        assert len(server.requests) <= 3
    assert message in str(error.value)
    assert server.url in str(error.value) and "'tiny'" in str(error.value)


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_no_server(on_error):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    annotator = ChatAnnotator(
        "tiny",
        LABELS,
        base_url=f"http://127.0.0.1:{port}/v1",
        max_retries=1,
        on_error=on_error,
    )
    with pytest.raises(EndpointError, match="the connection failed: .*tries: 2"):
        annotator.transform(TEXTS * 100)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_where_nobody_listens_few_tries_are_made(concurrency, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Seven tries would take half a minute, two take less than two seconds.
    monkeypatch.setattr(_endpoint_limits, "_FIRST_PAUSE", 0.5)
    url = f"http://127.0.0.1:{port}/v1"
    annotator = ChatAnnotator("tiny", LABELS, base_url=url, concurrency=concurrency)
    start = time.monotonic()
    with pytest.raises(EndpointError, match=r"connection failed: .*\(tries: 2\)"):
        annotator.transform(TEXTS)
    assert time.monotonic() - start < 4


def test_a_server_that_dies_on_the_way():
    with ChatServer() as server:

        def respond(request):
            return Response(drop=True) if request.number >= 4 else good_answer(request)

        server.respond = respond
        annotator = _annotator(server, concurrency=1, max_retries=1, on_error="nan")
        with pytest.warns(ExtractionWarning, match="8 of 12 clips have no answer"):
            labels = annotator.labels(TEXTS)
    _assert_right(labels[:4], TEXTS[:4])
    assert labels[4:].isna().all()


def _in(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "headers",
    [
        lambda: {"retry-after": "0.6"},
        lambda: {"retry-after-ms": "600", "retry-after": "99"},
        # Dates have whole seconds.
        lambda: {"retry-after": _in(1.99)},
        lambda: {"x-ratelimit-reset-requests": "600ms"},
        lambda: {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "0.6s",
            "x-ratelimit-remaining-tokens": "50",
            "x-ratelimit-reset-tokens": "6m0s",
        },
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_stated_wait_holds_for_all(headers, status):
    def respond(request):
        if request.number == 1:
            return _error(status, headers=headers())
        response = good_answer(request)
        # The other of the two that are under way ends after the refusal.
        response.delay = 0.3 if request.number == 0 else 0.0
        return response

    with ChatServer(respond) as server:
        _assert_right(_annotator(server, concurrency=2).labels(TEXTS))
    times = np.array([request.time for request in server.requests])
    assert (times[2:] - times[1] > 0.55).all()


def test_an_empty_quota_is_waited_for_before_it_is_overdrawn():
    def respond(request):
        response = good_answer(request)
        left = 5 - request.number % 6
        response.headers = {
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": "400ms",
        }
        return response

    with ChatServer(respond) as server:
        _assert_right(_annotator(server, concurrency=1).labels(TEXTS))
    gaps = np.diff([request.time for request in server.requests])
    assert gaps[5] > 0.39 > np.median(gaps)
    assert len(server.requests) == 12


def test_waiting_for_others_at_a_limit_uses_up_no_retries():
    lock, next_free = threading.Lock(), [0.0]

    def respond(request):
        with lock:
            if time.monotonic() < next_free[0]:
                return _error(429, headers={"retry-after": "0.05"})
            next_free[0] = time.monotonic() + 0.05
        return good_answer(request)

    with ChatServer(respond) as server:
        annotator = _annotator(server, concurrency=12, max_retries=1)
        _assert_right(annotator.labels(TEXTS))
    assert max(request.tries for request in server.requests) > 2


def test_a_limit_that_lets_nothing_through_is_given_up():
    limited = _error(429, headers={"retry-after": "0"})
    with ChatServer(lambda request: limited) as server:
        with pytest.raises(MediaError, match=r"HTTP 429.*tries: 3"):
            _annotator(server, max_retries=2, concurrency=1).labels(["so glad"])
        assert len(server.requests) == 3


def test_nobody_waits_for_a_day():
    tomorrow = _error(429, headers={"retry-after": "86400"})
    with ChatServer(lambda request: tomorrow) as server:
        with pytest.raises(MediaError, match="asks to wait for 86400 seconds"):
            _annotator(server).labels(["so glad"])
        assert len(server.requests) == 1


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_concurrency_is_bounded(concurrency):
    full = threading.Event()

    def respond(request):
        if request.number + 1 == concurrency:
            full.set()
        # Until so many are there, none is answered.
        assert full.wait(30)
        time.sleep(0.02)
        return good_answer(request)

    with ChatServer(respond) as server:
        _assert_right(_annotator(server, concurrency=concurrency).labels(TEXTS))
        assert server.most_at_once == concurrency


def _knows_no_format(status):
    def respond(request):
        if "response_format" in request.body:
            return _error(status, "response_format is not supported")
        return good_answer(request)

    return ChatServer(respond)


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_format_is_left_out(status):
    with _knows_no_format(status) as server:
        annotator = _annotator(server, concurrency=3, max_retries=0)
        _assert_right(annotator.labels(TEXTS))
        refused = [r for r in server.requests if "response_format" in r.body]
        assert 1 <= len(refused) <= 3
        assert len(server.requests) == len(refused) + len(TEXTS)
        n_asked = len(server.requests)
        _assert_right(annotator.labels(TEXTS))
        assert len(server.requests) == n_asked
        strict = _annotator(server, structured="json_schema")
        with pytest.raises(MediaError, match="response_format is not supported"):
            strict.labels(TEXTS)


def test_a_server_that_knows_the_format_is_not_asked_without():
    with _bad_for(TEXTS[6:], _error(400, "too long")) as server:
        annotator = _annotator(server, concurrency=1, on_error="nan")
        with pytest.warns(ExtractionWarning, match="too long"):
            annotator.labels(TEXTS)
        assert all("response_format" in request.body for request in server.requests)
        assert len(server.requests) == 12


@pytest.mark.parametrize("delay", [0.0, 0.6])
def test_one_refusal_does_not_speak_for_a_server_that_knows_the_format(delay):
    def respond(request):
        if request.text == "text 0" and "response_format" in request.body:
            return _error(400, "this text is not to my liking")
        response = good_answer(request)
        response.delay = delay if request.text == "text 0" else 0.2
        return response

    with ChatServer(respond) as server:
        _assert_right(_annotator(server, concurrency=2).labels(TEXTS))
        without = [r.text for r in server.requests if "response_format" not in r.body]
    # Few, until the first answer shows that the format is known.
    assert without[0] == "text 0" and len(without) <= 3


def test_a_request_that_is_refused_with_and_without():
    with ChatServer(lambda request: _error(400, "no")) as server:
        with pytest.raises(MediaError, match="HTTP 400: no"):
            _annotator(server).labels(["so glad"])
        formats = ["response_format" in request.body for request in server.requests]
    assert formats == [True, False]


@pytest.mark.parametrize(
    ("structured", "sent"), [("json_object", {"type": "json_object"}), ("none", None)]
)
def test_other_formats(structured, sent):
    with ChatServer() as server:
        _assert_right(_annotator(server, structured=structured).labels(TEXTS))
        assert all(r.body.get("response_format") == sent for r in server.requests)
        assert "JSON" in server.requests[0].body["messages"][0]["content"]


# The key


def _everything_in(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return b"".join(path.read_bytes() for path in files)


def test_the_key_is_sent_and_kept_nowhere(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MY_KEY", KEY)

    def echo(request):
        # Some servers repeat what they were sent.
        said = f"your {request.headers['authorization']}"
        if request.text == "bad":
            return _error(400, said)
        answer = {"label": "happy", "reason": said, "keywords": [said]}
        return Response(completion(json.dumps(answer)))

    folder = tmp_path / "cache"
    with ChatServer(echo) as server, caplog.at_level(logging.DEBUG):
        annotator = _annotator(
            server, api_key_env="MY_KEY", cache=folder, on_error="nan"
        )
        with pytest.warns(ExtractionWarning) as caught:
            table = annotator.transform(["so glad", "bad"])
        assert {r.headers["authorization"] for r in server.requests} == {
            f"Bearer {KEY}"
        }
        with pytest.raises(MediaError) as error:
            annotator.set_params(on_error="raise").transform(["so glad", "bad"])
        said = "".join(traceback.format_exception(error.value))
        failures = annotator.failures(["so glad", "bad"])
    assert table["chat__reason"][0] == "your Bearer ***"
    shown = [
        repr(annotator),
        repr(annotator.get_params()),
        str(vars(annotator)),
        said,
        table.to_csv(),
        failures.to_csv(),
        caplog.text,
        *(str(warning.message) for warning in caught),
    ]
    assert "Bearer ***" in said and "chat/completions" in caplog.text
    for text in shown:
        assert KEY not in text
    assert KEY.encode() not in pickle.dumps(annotator)
    assert KEY.encode() not in _everything_in(folder)


def test_the_key_of_openai_goes_to_no_other_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer() as server:
        _annotator(server).labels(["so glad"])
        assert KEY not in str(server.requests[0].headers)
        named = _annotator(server, api_key_env="OPENAI_API_KEY", cache=None)
        named.labels(["so glad"])
        assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("params", [{"base_url": None}, {"api_key_env": "MY_KEY"}])
def test_a_key_that_is_not_set(params, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ChatServer() as server:
        annotator = _annotator(server, **params)
        with pytest.raises(EndpointError, match="(OPENAI_API_KEY|MY_KEY) is to hold"):
            annotator.labels(["so glad"])
        assert not server.requests


def test_what_is_no_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{KEY}\u2013\n")
    with ChatServer() as server:
        with pytest.raises(EndpointError, match="MY_KEY holds characters") as error:
            _annotator(server, api_key_env="MY_KEY").labels(["so glad"])
        assert KEY not in "".join(traceback.format_exception(error.value))
        assert not server.requests


# What hostile servers do


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nothing_goes_to_where_a_server_sends_it_on(status, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer() as other:
        there = {"location": f"{other.url}/chat/completions"}
        with ChatServer(lambda r: Response(b"", status, there)) as server:
            annotator = _annotator(server, api_key_env="MY_KEY", on_error="nan")
            with pytest.raises(EndpointError, match="to another address, which is not"):
                annotator.labels(["so glad"])
            assert len(server.requests) == 1
        assert not other.requests


def test_names_of_openai_go_to_no_other_server(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    with ChatServer() as server:
        _annotator(server).labels(["so glad"])
        assert not {"openai-organization", "openai-project"} & set(
            server.requests[0].headers
        )


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"x" * 17_000_000, {}, "its answer is longer than 16 MB"),
        (gzip.compress(b"x" * 100), {"content-encoding": "gzip"}, "compresses answers"),
    ],
    ids=["long", "compressed"],
)
def test_no_answer_fills_the_memory(status, body, headers, reason):
    with ChatServer(lambda r: Response(body, status, headers)) as server:
        annotator = _annotator(server, structured="none", cache=None)
        with pytest.raises(MediaError, match=reason):
            annotator.labels(["so glad"])
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert len(server.requests) == 1


@pytest.mark.parametrize("charset", ["zlib", "hex", "idna", "rot13", "utf-16"])
def test_answers_are_text_whatever_they_call_themselves(charset):
    headers = {"content-type": f"application/json; charset={charset}"}

    def respond(request):
        response = _error(400) if request.text == "bad" else good_answer(request)
        response.headers = headers
        return response

    with ChatServer(respond) as server:
        annotator = _annotator(server, on_error="nan")
        with pytest.warns(ExtractionWarning, match="1 of 2 clips have no answer"):
            labels = annotator.labels(["so glad", "bad"])
        assert list(labels) == [label_of("so glad"), None]


@pytest.mark.parametrize(
    "n", [10**400, -5, True, 1.5, "7"], ids=["huge", "-5", "True", "1.5", "str"]
)
def test_counts_that_are_none(n):
    content = json.dumps({"label": "happy"})
    with ChatServer(lambda r: Response(completion(content, usage=(n, 20)))) as server:
        annotator = _annotator(server, prices=(1, 1))
        annotator.labels(["so glad"])
        usage = annotator.usage(["so glad"])
    assert usage["prompt_tokens"].isna().all() and usage["cost"].isna().all()
    assert list(usage["completion_tokens"]) == [20]


def test_no_part_of_the_key_is_shown_or_kept(monkeypatch, tmp_path):
    # Servers that repeat the key where messages are cut off.
    monkeypatch.setenv("MY_KEY", KEY)

    def echo(request):
        said = "x" * int(request.text[1:]) + KEY
        if request.text[0] == "e":
            return _error(400, said)
        if request.text[0] == "f":
            return Response(completion("?", finish=said))
        return Response(said.encode())

    texts = ["e290", "n90", "f0"]
    with ChatServer(echo) as server:
        annotator = _annotator(
            server, api_key_env="MY_KEY", cache=tmp_path, max_retries=0
        )
        failures = annotator.failures(texts)
    assert len(failures) == 3
    assert KEY[:5] not in failures.to_csv()
    assert KEY.encode() not in _everything_in(tmp_path)


# Breaking off


@pytest.mark.skipif(sys.platform == "win32", reason="has no os.kill of SIGINT")
def test_ctrl_c_keeps_what_is_finished(interruptible):
    release = threading.Event()
    texts = [f"text {i}" for i in range(40)]

    def respond(request):
        if request.number == 20:
            os.kill(os.getpid(), signal.SIGINT)
        if request.number >= 20:
            assert "skmer-endpoint" in {t.name for t in threading.enumerate()}
            release.wait(30)
        return good_answer(request)

    with ChatServer(respond) as server:
        annotator = _annotator(server, concurrency=4)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            annotator.transform(texts)
        assert time.monotonic() - start < 10
        asked = annotator.dry_run(texts)["asked"]
        n_asked = len(server.requests)
        # All that were answered: up to four were under way besides.
        assert 17 <= (~asked).sum() <= 20 <= n_asked <= 24
        release.set()
        assert "skmer-endpoint" not in {t.name for t in threading.enumerate()}
        server.respond = good_answer
        _assert_right(annotator.labels(texts), texts)
        assert len(server.requests) == n_asked + asked.sum()


# The endpoint itself, as other annotators use it


def _endpoint(server, **params):
    params = {
        "owner": "Asker",
        "base_url": server.url,
        "api_key_env": None,
        "structured": "json_schema",
        "options": {},
        "concurrency": 4,
        "max_retries": 0,
        "timeout": 30.0,
    } | params
    return Endpoint("tiny", **params)


def test_messages_of_any_kind():
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    schema = {"type": "object", "properties": {"cue": {"type": "string"}}}

    def messages(number):
        if number == 1:
            raise MediaError("b.mp4", "video", "no packet decodes")
        if number == 3:
            raise MemoryError
        return [{"role": "user", "content": parts}]

    with ChatServer(lambda r: Response(completion('{"cue": "a"}'))) as server:
        asked = list(_endpoint(server).ask(4, messages, schema, lambda: False, []))
    replies = {
        number: reply
        for numbers, some in asked
        for number, reply in zip(numbers, some, strict=True)
    }
    assert sorted(replies) == [0, 1, 2, 3]
    assert replies[0] == replies[2] == Reply('{"cue": "a"}', "stop", 100, 20)
    assert isinstance(replies[1], MediaError) and isinstance(replies[3], MemoryError)
    body = server.requests[0].body
    assert body["messages"] == [{"role": "user", "content": parts}]
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_an_error_of_the_caller_ends_all():
    def messages(number):
        raise ZeroDivisionError("in messages")

    with ChatServer() as server:
        with pytest.raises(ZeroDivisionError, match="in messages"):
            list(_endpoint(server).ask(5, messages, {}, lambda: False, []))
        assert not server.requests


def test_closing_the_generator_breaks_off():
    release = threading.Event()

    def respond(request):
        if request.number:
            release.wait(30)
        return good_answer(request)

    def messages(number):
        return [{"role": "user", "content": json.dumps({"text": str(number)})}]

    with ChatServer(respond) as server:
        endpoint = _endpoint(server, concurrency=1)
        asked = endpoint.ask(100, messages, {}, lambda: False, [])
        assert next(asked)[0] == [0]
        start = time.monotonic()
        asked.close()
        assert time.monotonic() - start < 5
        release.set()
        time.sleep(0.1)
        assert len(server.requests) <= 2


def test_requests_do_not_run_ahead_of_who_stores_the_answers():
    def messages(number):
        return [{"role": "user", "content": json.dumps({"text": str(number)})}]

    with ChatServer() as server:
        asked = _endpoint(server, concurrency=3).ask(
            50, messages, {}, lambda: False, []
        )
        n_done = 0
        for numbers, _ in asked:
            n_done += len(numbers)
            time.sleep(0.05)
            # What was taken just now is not stored before the next step.
            assert len(server.requests) <= n_done - len(numbers) + 6
        assert n_done == len(server.requests) == 50


def test_nothing_is_begun_after_stop():
    stopped = threading.Event()

    def respond(request):
        stopped.set()
        return _error(500)

    with ChatServer(respond) as server:
        endpoint = _endpoint(server, concurrency=1, max_retries=9)
        messages = [{"role": "user", "content": '{"text": "a"}'}]
        asked = list(endpoint.ask(9, lambda i: messages, {}, stopped.is_set, []))
    ((numbers, (error,)),) = asked
    assert numbers == [0] and isinstance(error, EndpointError)
    assert len(server.requests) == 1


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        ("0.5", 0.5),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2d", 172800.0),
        (" 3S ", 3.0),
        ("soon", None),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1s later", None),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


def test_waits():
    assert stated_wait({}) is None
    assert stated_wait({"retry-after": "never"}) is None
    assert stated_wait({"retry-after": "7"}) == 7
    assert stated_wait({"retry-after": _in(-100)}) == 0
    assert 58 < stated_wait({"retry-after": _in(60)}) <= 60
    # A point in time, as some servers send it
    assert stated_wait({"x-ratelimit-reset-requests": "1800000000"}) is None
    quota = {"x-ratelimit-reset-tokens": "3s", "x-ratelimit-reset-requests": "9s"}
    assert stated_wait(quota) == 9
    assert stated_wait(quota | {"x-ratelimit-remaining-tokens": "0"}) == 3
    assert reset_wait(quota) == 0
    assert reset_wait(quota | {"x-ratelimit-remaining-tokens": "0"}) == 3


def test_pauses_double_up_to_a_limit(monkeypatch):
    monkeypatch.undo()
    rng = Random(0)
    for n_failed, longest in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (2000, 30.0)]:
        pauses = [backoff(n_failed, rng) for _ in range(200)]
        assert longest / 2 <= min(pauses) < 0.55 * longest
        assert 0.95 * longest < max(pauses) <= longest
